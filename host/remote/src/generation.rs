//! One sequence at the upstreams: sent to one, and to another as long as nothing has come; then read to its end.
//!
//! Invariants: what a reader has seen is never said again, so nothing is sent twice once a token came; every stream ends with
//! its end or with one error; dropping it at any point gives up the request that runs.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::stream;
use hyper::{Method, StatusCode};
use tokio::{sync::watch, time::sleep};
use weir_engine::{
    EngineError, Generated, GeneratedStream, SequenceRequest, UpstreamFailure, UpstreamState,
};

use crate::{
    answer::Answer,
    balance::Head,
    connections::whole,
    dialect::Asked,
    engine::Core,
    probe::refusal,
    reading::Reading,
    upstream::{Description, InFlight, Outcome, Upstream},
};

/// Tokens that an answer is expected to have at most, for whoever counts what is outstanding: most end long before
/// `max_tokens`.
const EXPECTED_TOKENS: usize = 512;

/// Starts a sequence; nothing is sent before the stream is read.
pub(crate) fn stream(
    core: Arc<Core>,
    request: SequenceRequest,
    max_tokens: Option<usize>,
) -> GeneratedStream {
    let generation = Box::new(Generation {
        head: Head::of(&request.prompt),
        core,
        request,
        max_tokens,
        items: VecDeque::new(),
        running: None,
        error: None,
        ended: false,
    });
    Box::pin(stream::unfold(generation, Generation::next))
}

struct Generation {
    core: Arc<Core>,
    request: SequenceRequest,
    head: Option<Head>,
    max_tokens: Option<usize>,
    items: VecDeque<Generated>,
    running: Option<Running>,
    /// Said when all items are.
    error: Option<EngineError>,
    ended: bool,
}

/// A request whose first token has come.
struct Running {
    reading: Reading,
    flight: InFlight,
    state: watch::Receiver<UpstreamState>,
}

/// Why an upstream gave nothing.
enum Failure {
    /// The request is at fault: nobody else will do better.
    Wrong(EngineError),
    /// Another may do it.
    Elsewhere {
        /// What the client is told when there is no other.
        told: Told,
        /// What the log is told.
        reason: String,
    },
}

impl Failure {
    fn failed(reason: String) -> Self {
        let told = Told::Failed;
        Self::Elsewhere { told, reason }
    }
}

/// What clients are told of an upstream; the log has the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Failed,
    RefusesKey,
    UnknownModel,
    Busy,
    Unavailable,
    TimedOut,
}

impl Told {
    fn error(self) -> EngineError {
        let (failure, message) = match self {
            Self::Failed => (
                UpstreamFailure::Failed,
                "the engine behind this server failed",
            ),
            Self::RefusesKey => (
                UpstreamFailure::Failed,
                "the engine behind this server does not accept the server's key",
            ),
            Self::UnknownModel => (
                UpstreamFailure::Failed,
                "the engine behind this server does not know the model that it is asked for",
            ),
            Self::Busy => (
                UpstreamFailure::Busy,
                "the engine behind this server has too much to do",
            ),
            Self::Unavailable => (
                UpstreamFailure::Unavailable,
                "no engine behind this server takes requests now",
            ),
            Self::TimedOut => (
                UpstreamFailure::TimedOut,
                "the engine behind this server said nothing for too long",
            ),
        };
        EngineError::Upstream {
            failure,
            message: message.to_owned(),
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Busy => Outcome::Busy,
            _ => Outcome::Failed,
        }
    }
}

type Item = Result<Generated, EngineError>;

impl Generation {
    async fn next(mut self: Box<Self>) -> Option<(Item, Box<Self>)> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some((Ok(item), self));
            }
            if let Some(error) = self.error.take() {
                return Some((Err(error), self));
            }
            if self.ended {
                return None;
            }
            let went_on = match self.running.take() {
                None => self.begin().await,
                Some(running) => self.go_on(running).await,
            };
            // What came before the error is said before it.
            self.error = went_on.err();
            self.ended |= self.error.is_some();
        }
    }

    /// Asks one upstream after the other until one says something.
    async fn begin(&mut self) -> Result<(), EngineError> {
        let mut tried = Vec::new();
        let mut last = Told::Unavailable;
        loop {
            let Some((index, upstream, description)) = self.core.choose(self.head, &tried) else {
                return Err(last.error());
            };
            tried.push(index);
            let answer = self.max_tokens.unwrap_or(EXPECTED_TOKENS);
            let tokens = self.request.prompt.len() + answer.min(EXPECTED_TOKENS);
            let mut flight = upstream.begin(tokens);
            match self.attempt(&upstream, &description, &mut flight).await {
                Ok((reading, state)) => {
                    self.keep(Running {
                        reading,
                        flight,
                        state,
                    });
                    return Ok(());
                }
                Err(Failure::Wrong(error)) => {
                    flight.ended(Outcome::Refused);
                    return Err(error);
                }
                Err(Failure::Elsewhere { told, reason }) => {
                    tracing::warn!(engine = upstream.name, reason, "the engine lost a request");
                    flight.ended(told.outcome());
                    last = told;
                    // What it said before its first token is nobody's.
                    self.items.clear();
                }
            }
        }
    }

    /// Asks an upstream and waits for its first token.
    async fn attempt(
        &mut self,
        upstream: &Upstream,
        description: &Description,
        flight: &mut InFlight,
    ) -> Result<(Reading, watch::Receiver<UpstreamState>), Failure> {
        let asked = Asked {
            request: &self.request,
            model: &description.model,
            prompt: description.prompt,
            max_tokens: self.max_tokens,
            extras: description.extras,
            texts: &*self.core.texts,
        };
        let body = description.dialect.body(&asked).map_err(Failure::Wrong)?;
        let within = self.core.timeouts.first_token;
        let mut state = upstream.watch();
        let items = &mut self.items;
        let (core, request) = (&self.core, &self.request);
        let first = async {
            let form = (description.dialect, description.prompt);
            let url = upstream.completions(form);
            let body = body.to_string().into_bytes();
            let answer = upstream.send(Method::POST, &url, body).await;
            let answer = answer.map_err(Failure::failed)?;
            let status = answer.status();
            if status != StatusCode::OK {
                let body = whole(answer).await.unwrap_or_default();
                return Err(refused(status, &body));
            }
            let (ends, texts) = (Arc::clone(&core.end_tokens), Arc::clone(&core.texts));
            let answer_so_far = Answer::new(request, form, ends, texts);
            let mut reading = Reading::new(answer.into_body(), answer_so_far, form);
            while items.is_empty() && !reading.ended() {
                let tokens = reading.read(items).await.map_err(Failure::failed)?;
                flight.came(tokens);
            }
            Ok(reading)
        };
        let reading = tokio::select! {
            first = first => first?,
            () = went_down(&mut state) => return Err(Failure::failed("it went down".to_owned())),
            () = sleep(within) => return Err(Failure::Elsewhere {
                told: Told::TimedOut,
                reason: format!("no token within {} s", within.as_secs_f32()),
            }),
        };
        Ok((reading, state))
    }

    /// Reads the next piece of an answer.
    async fn go_on(&mut self, mut running: Running) -> Result<(), EngineError> {
        let timeouts = &self.core.timeouts;
        let read = tokio::select! {
            read = running.reading.read(&mut self.items) => read.map_err(|why| (Told::Failed, why)),
            () = silence(&mut running.state, timeouts.stall, timeouts.grace()) => {
                Err((Told::TimedOut, "it stopped in the middle of an answer".to_owned()))
            }
        };
        match read {
            Ok(tokens) => {
                running.flight.came(tokens);
                self.keep(running);
                Ok(())
            }
            Err((told, reason)) => {
                let engine = &running.flight.upstream.name;
                tracing::warn!(engine, reason, "the engine broke an answer off");
                running.flight.ended(Outcome::Failed);
                Err(told.error())
            }
        }
    }

    fn keep(&mut self, running: Running) {
        match running.reading.ended() {
            true => {
                self.ended = true;
                running.flight.ended(Outcome::Finished);
            }
            false => self.running = Some(running),
        }
    }
}

/// An answer that is none. What is wrong with the request is kept for the client; the rest is for the log.
fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let reason = refusal(status, body);
    let told = match status.as_u16() {
        400 | 413 | 422 => {
            let said = reason.split_once(": ").map_or(&*reason, |(_, said)| said);
            return Failure::Wrong(EngineError::InvalidRequest(said.to_owned()));
        }
        401 | 403 => Told::RefusesKey,
        404 => Told::UnknownModel,
        429 | 503 => Told::Busy,
        408 | 504 => Told::TimedOut,
        _ => Told::Failed,
    };
    Failure::Elsewhere { told, reason }
}

/// Until the upstream goes down; one that is down already, as it is while a request tries it, must do so again.
async fn went_down(state: &mut watch::Receiver<UpstreamState>) {
    while state.changed().await.is_ok() {
        if *state.borrow_and_update() == UpstreamState::Down {
            return;
        }
    }
    // The sender lives as long as the upstream, which whoever waits here holds.
    std::future::pending().await
}

/// Until nothing more is to be expected: a stream that stands still at an upstream that is down gets little time.
async fn silence(state: &mut watch::Receiver<UpstreamState>, stall: Duration, grace: Duration) {
    let down = async {
        if *state.borrow_and_update() != UpstreamState::Down {
            went_down(state).await;
        }
        sleep(grace).await;
    };
    tokio::select! {
        () = sleep(stall) => {}
        () = down => {}
    }
}
