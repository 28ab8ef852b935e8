//! One upstream: where it is, what it said of itself, whether it gets requests, and what it has done.
//!
//! Invariants: whether it gets requests is decided in one place, under one lock, by its health checks and by how requests
//! ended; whoever waits for its first token is told when it goes down. What is outstanding at it is given back when the
//! request's guard is dropped, however that comes.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::watch;
use weir_engine::{
    Histogram, UpstreamFigures, UpstreamState,
    histogram::{MILLISECOND, SECOND},
};

use crate::{
    breaker::Breaker,
    connections::{BaseUrl, Connections, connection_error},
    dialect::{Dialect, PromptForm},
};

/// From a cached prompt on a GPU in the next rack to a long one behind a queue.
const FIRST_TOKEN_BOUNDS: &[u64] = &[
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
];
/// Checks in a row that must fail until it counts as down: one may be lost in a busy moment.
const FAILED_CHECKS: u32 = 2;

/// What an upstream said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) dialect: Dialect,
    /// What the model is called there.
    pub(crate) model: String,
    /// Its context in tokens, where it says.
    pub(crate) max_model_len: Option<usize>,
    pub(crate) prompt: PromptForm,
    /// Whether it takes fields that OpenAI's API has not.
    pub(crate) extras: bool,
}

/// What is to be found out about an upstream.
pub(crate) enum Look {
    /// What it is: it never said, or was away and may be another since.
    Describe,
    /// Whether it generates again; asked as the first time.
    Trial,
    /// Whether it is well.
    Check(Arc<Description>),
}

/// What a health check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    Healthy,
    /// It answers that it takes no requests now.
    Draining,
    Failed(String),
}

/// One of several.
pub(crate) struct Upstream {
    /// As the operator wrote it.
    pub(crate) name: String,
    pub(crate) base: BaseUrl,
    key: Option<HeaderValue>,
    connections: Connections,
    status: Mutex<Status>,
    state: watch::Sender<UpstreamState>,
    outstanding: AtomicUsize,
    streams: AtomicUsize,
    /// Tokens that have come from it.
    tokens: AtomicU64,
    counters: Counters,
    first_token: Histogram,
}

#[derive(Default)]
struct Status {
    /// None until it answered once.
    description: Option<Arc<Description>>,
    breaker: Breaker,
    failed_checks: u32,
    draining: bool,
}

#[derive(Default)]
struct Counters {
    finished: AtomicU64,
    cancelled: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
    broken: AtomicU64,
    failed_checks: AtomicU64,
    taken_out: AtomicU64,
    taken_back: AtomicU64,
}

impl Upstream {
    pub(crate) fn new(
        name: String,
        base: BaseUrl,
        key: Option<HeaderValue>,
        connections: Connections,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            base,
            key,
            connections,
            status: Mutex::default(),
            state: watch::Sender::new(UpstreamState::Down),
            outstanding: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            tokens: AtomicU64::new(0),
            counters: Counters::default(),
            first_token: Histogram::new(FIRST_TOKEN_BOUNDS),
        })
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        // A panic elsewhere leaves no half-made change behind the lock.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the status and tells who waits for it what became of the state.
    fn change<T>(&self, change: impl FnOnce(&mut Status) -> T) -> T {
        let mut status = self.status();
        let result = change(&mut status);
        let now = status.state();
        let mut before = now;
        self.state.send_if_modified(|state| {
            before = std::mem::replace(state, now);
            before != now
        });
        drop(status);
        match (before == UpstreamState::Down, now == UpstreamState::Down) {
            (false, true) => {
                count(&self.counters.taken_out);
                tracing::warn!(engine = self.name, "the engine gets no more requests");
            }
            (true, false) => {
                count(&self.counters.taken_back);
                tracing::info!(
                    engine = self.name,
                    state = now.as_str(),
                    "the engine gets requests"
                );
            }
            _ => {}
        }
        result
    }

    /// What it said of itself, if it has.
    pub(crate) fn description(&self) -> Option<Arc<Description>> {
        self.status().description.clone()
    }

    /// What is to be found out about it now.
    pub(crate) fn next_look(&self, now: Instant) -> Look {
        let status = self.status();
        match &status.description {
            Some(_) if status.breaker.trial_is_due(now) => Look::Trial,
            Some(description) if status.is_healthy() => Look::Check(Arc::clone(description)),
            _ => Look::Describe,
        }
    }

    /// It has said what it is, and generated a token.
    pub(crate) fn describe(&self, description: Description) {
        self.change(|status| {
            status.description = Some(Arc::new(description));
            status.failed_checks = 0;
            status.draining = false;
            status.breaker.succeed();
        });
    }

    /// It generated nothing when it was tried.
    pub(crate) fn failed_trial(&self) {
        let now = Instant::now();
        self.change(|status| status.breaker.fail_trial(now));
    }

    /// How many tokens have come from it.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// A health check came back; so many tokens had come when it was sent. An engine may be too busy with its streams to answer a
    /// check (llama.cpp's server has a thread for each): whatever has sent tokens since is not down.
    pub(crate) fn checked(&self, check: &Check, tokens_before: u64) {
        let works = self.tokens() != tokens_before;
        if let Check::Failed(reason) = check {
            count(&self.counters.failed_checks);
            tracing::debug!(engine = self.name, reason, "a health check failed");
        }
        self.change(|status| {
            status.draining = *check == Check::Draining;
            match check {
                Check::Failed(_) if works => {}
                Check::Failed(_) => status.failed_checks = status.failed_checks.saturating_add(1),
                Check::Healthy | Check::Draining => status.failed_checks = 0,
            }
        });
    }

    /// What it is, if it may get a request.
    pub(crate) fn available(&self) -> Option<Arc<Description>> {
        let status = self.status();
        let up = status.state() == UpstreamState::Up;
        status.description.clone().filter(|_| up)
    }

    pub(crate) fn state(&self) -> UpstreamState {
        *self.state.borrow()
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Where its state is told; a change is one from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<UpstreamState> {
        self.state.subscribe()
    }

    /// Sends a request and waits for the head of the answer, however long that takes.
    ///
    /// # Errors
    /// One line: there is no connection, or it broke.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let answer = self.connections.request(request).await;
        answer.map_err(|error| connection_error(&error))
    }

    /// Where it takes requests of this dialect with such prompts.
    pub(crate) fn completions(&self, (dialect, prompt): (Dialect, PromptForm)) -> String {
        let (route, of_api) = dialect.route(prompt);
        let base = if of_api {
            &self.base.api
        } else {
            &self.base.root
        };
        format!("{base}{route}")
    }

    /// A request of so many tokens goes to it.
    pub(crate) fn begin(self: &Arc<Self>, tokens: usize) -> InFlight {
        self.outstanding.fetch_add(tokens, Ordering::Relaxed);
        self.streams.fetch_add(1, Ordering::Relaxed);
        InFlight {
            upstream: Arc::clone(self),
            begun: Instant::now(),
            tokens,
            first_token_came: false,
            outcome: Outcome::Cancelled,
        }
    }

    pub(crate) fn figures(&self) -> UpstreamFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        UpstreamFigures {
            name: self.name.clone(),
            state: self.state(),
            streams: self.streams.load(Ordering::Relaxed),
            outstanding_tokens: self.outstanding(),
            finished: read(&counters.finished),
            cancelled: read(&counters.cancelled),
            refused: read(&counters.refused),
            lost: read(&counters.lost),
            broken: read(&counters.broken),
            failed_checks: read(&counters.failed_checks),
            taken_out: read(&counters.taken_out),
            taken_back: read(&counters.taken_back),
            first_token: self.first_token.snapshot(),
        }
    }
}

impl Status {
    fn is_healthy(&self) -> bool {
        self.description.is_some() && self.failed_checks < FAILED_CHECKS
    }

    fn state(&self) -> UpstreamState {
        match self.is_healthy() && self.breaker.in_service() {
            false => UpstreamState::Down,
            true if self.draining => UpstreamState::Draining,
            true => UpstreamState::Up,
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// How a request at an upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Finished,
    /// The reader left, or the request was moved elsewhere before anything was wrong.
    Cancelled,
    /// A wrong request: the upstream is well.
    Refused,
    /// It has too much to do: it is well, but the request goes elsewhere.
    Busy,
    /// It failed.
    Failed,
}

/// A request at an upstream, until it is dropped.
pub(crate) struct InFlight {
    pub(crate) upstream: Arc<Upstream>,
    begun: Instant,
    /// Those that are still outstanding.
    tokens: usize,
    first_token_came: bool,
    outcome: Outcome,
}

impl InFlight {
    /// Tokens came.
    pub(crate) fn came(&mut self, tokens: usize) {
        if tokens == 0 {
            return;
        }
        if !std::mem::replace(&mut self.first_token_came, true) {
            self.upstream
                .first_token
                .observe_duration(self.begun.elapsed());
            self.upstream.change(|status| status.breaker.answered());
        }
        let upstream = &self.upstream;
        upstream.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        let done = tokens.min(self.tokens);
        self.tokens -= done;
        self.upstream.outstanding.fetch_sub(done, Ordering::Relaxed);
    }

    /// It ended so.
    pub(crate) fn ended(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let upstream = &self.upstream;
        upstream
            .outstanding
            .fetch_sub(self.tokens, Ordering::Relaxed);
        upstream.streams.fetch_sub(1, Ordering::Relaxed);
        let counters = &upstream.counters;
        count(match (self.outcome, self.first_token_came) {
            (Outcome::Finished, _) => &counters.finished,
            (Outcome::Cancelled, _) => &counters.cancelled,
            (Outcome::Refused, _) => &counters.refused,
            (Outcome::Busy | Outcome::Failed, false) => &counters.lost,
            (Outcome::Busy | Outcome::Failed, true) => &counters.broken,
        });
        let (outcome, now) = (self.outcome, Instant::now());
        upstream.change(|status| match outcome {
            Outcome::Failed => status.breaker.fail(now),
            Outcome::Finished | Outcome::Refused | Outcome::Busy | Outcome::Cancelled => {}
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_whose_tokens_come_is_not_down() {
        let url = "http://127.0.0.1:1";
        let base = BaseUrl::parse(url).expect("a URL");
        let connections = Connections::new(false, 1, None).expect("no TLS");
        let upstream = Upstream::new(url.to_owned(), base, None, connections);
        upstream.describe(Description {
            dialect: Dialect::Llama,
            model: "m".to_owned(),
            max_model_len: None,
            prompt: PromptForm::Ids,
            extras: true,
        });
        let failed = Check::Failed("no answer".to_owned());
        let mut flight = upstream.begin(10);
        for _ in 0..3 {
            let before = upstream.tokens();
            flight.came(1);
            upstream.checked(&failed, before);
            assert_eq!(upstream.state(), UpstreamState::Up);
        }
        for state in [UpstreamState::Up, UpstreamState::Down] {
            upstream.checked(&failed, upstream.tokens());
            assert_eq!(upstream.state(), state);
        }
        assert_eq!(upstream.figures().failed_checks, 5);
    }
}
