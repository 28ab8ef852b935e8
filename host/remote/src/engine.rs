//! The upstreams together: a `Generator` over them, and the tasks that look after them.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{sync::Notify, task::JoinHandle, time::sleep};
use weir_engine::{
    EngineError, GeneratedStream, Generator, SequenceRequest, TokenTexts, UpstreamFailure,
    UpstreamFigures, UpstreamState,
};

use crate::{
    balance::{Candidate, Head, choose},
    connections::{BaseUrl, Connections, bearer},
    dialect::{self, Dialect},
    generation,
    probe::{self, Told},
    upstream::{Check, Description, Look, Upstream},
};

/// Connections to an upstream that are kept when they are idle.
const IDLE_CONNECTIONS: usize = 256;
/// An engine in the same cluster takes a connection at once or not at all.
const CONNECT: Duration = Duration::from_secs(5);
/// The first chat of an engine that is asked by messages.
const HELLO: &str = r#"{"messages": [{"role": "user", "content": "Hello"}]}"#;
/// How often the log says that there is still no engine.
const REMINDER: Duration = Duration::from_secs(30);

/// Where an upstream is, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Its API, such as `http://host:8000/v1`; without a path `/v1` is put behind it.
    pub url: String,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// What the model is called there; else the first that it lists.
    pub model: Option<String>,
    /// What it understands; else its list of models tells.
    pub dialect: Option<Dialect>,
}

/// How long upstreams may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Between two health checks; twice as long a check may take.
    pub health: Duration,
    /// From sending a request to its first token.
    pub first_token: Duration,
    /// Between two pieces of an answer.
    pub stall: Duration,
}

impl Timeouts {
    /// What a stream that stands still gets when its upstream is down.
    pub(crate) fn grace(&self) -> Duration {
        2 * self.health
    }
}

/// The upstreams of one model, and what its tokenizer says.
pub struct RemoteConfig {
    /// At least one.
    pub upstreams: Vec<UpstreamConfig>,
    /// Longest context in tokens; else what the upstreams say.
    pub max_model_len: Option<usize>,
    /// How long they may take.
    pub timeouts: Timeouts,
    /// Tokens that end a sequence.
    pub end_tokens: Vec<u32>,
    /// The model's tokens; bytes where there is no tokenizer.
    pub texts: Arc<dyn TokenTexts>,
    /// Whether the upstreams make prompts themselves: those of requests are then the fields of a chat as JSON, a byte a token,
    /// `messages` and what goes with them.
    pub messages: bool,
}

/// Upstreams that cannot be used as they are configured.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RemoteError {
    /// The address.
    #[error("engine `{url}`: {reason}; it is written as in http://host:8000/v1")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is no text that a header can hold.
    #[error("engine `{0}`: its API key cannot be sent in a header")]
    Key(String),
    /// No certificates.
    #[error("engine `{url}`: no TLS: {reason}")]
    Tls {
        /// Whose.
        url: String,
        /// Why.
        reason: String,
    },
    /// Nobody says how long a context may be.
    #[error("the engine does not say how long its context is: give it with --max-model-len")]
    NoContext,
}

/// Generates at upstreams.
pub struct RemoteEngine {
    core: Arc<Core>,
    /// One an upstream; they end with this.
    tasks: Vec<JoinHandle<()>>,
}

/// What sequences share.
pub(crate) struct Core {
    upstreams: Vec<Arc<Upstream>>,
    pub(crate) timeouts: Timeouts,
    pub(crate) end_tokens: Arc<[u32]>,
    pub(crate) texts: Arc<dyn TokenTexts>,
    messages: bool,
    given_len: Option<usize>,
    max_model_len: OnceLock<usize>,
    described: Notify,
    turn: AtomicUsize,
}

impl RemoteEngine {
    /// Starts to look after the upstreams, on the runtime that this is called in. Whether they answer is not waited for.
    ///
    /// # Errors
    /// An address or a key that cannot be used.
    pub fn start(config: RemoteConfig) -> Result<Self, RemoteError> {
        let RemoteConfig {
            upstreams: configured,
            max_model_len,
            timeouts,
            end_tokens,
            texts,
            messages,
        } = config;
        let mut upstreams = Vec::with_capacity(configured.len());
        let mut told = Vec::with_capacity(configured.len());
        for one in configured {
            upstreams.push(upstream(&one)?);
            told.push(Told {
                model: one.model,
                dialect: one.dialect,
                messages,
            });
        }
        let core = Arc::new(Core {
            upstreams,
            timeouts,
            end_tokens: end_tokens.into(),
            texts,
            messages,
            given_len: max_model_len,
            max_model_len: OnceLock::new(),
            described: Notify::new(),
            turn: AtomicUsize::new(0),
        });
        let tasks = core.upstreams.iter().zip(told).map(|(upstream, told)| {
            let (core, upstream) = (Arc::clone(&core), Arc::clone(upstream));
            tokio::spawn(async move { core.look_after(&upstream, &told).await })
        });
        let tasks = tasks.collect();
        Ok(Self { core, tasks })
    }

    /// Waits until one of the upstreams answers, however long that takes; returns the longest context in tokens: of several
    /// upstreams the shortest that answers now.
    ///
    /// # Errors
    /// [`RemoteError::NoContext`].
    pub async fn ready(&self) -> Result<usize, RemoteError> {
        let core = &self.core;
        loop {
            let mut described = std::pin::pin!(core.described.notified());
            // Whoever answers between the look and the wait is not overlooked.
            described.as_mut().enable();
            let known: Vec<_> = core
                .upstreams
                .iter()
                .filter_map(|one| one.description())
                .collect();
            if !known.is_empty() {
                let told = known.iter().filter_map(|one| one.max_model_len).min();
                let len = core.given_len.or(told).ok_or(RemoteError::NoContext)?;
                return Ok(*core.max_model_len.get_or_init(|| len));
            }
            tokio::select! {
                () = described => {}
                () = sleep(REMINDER) => tracing::warn!("no engine answers yet"),
            }
        }
    }
}

impl Drop for RemoteEngine {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn upstream(config: &UpstreamConfig) -> Result<Arc<Upstream>, RemoteError> {
    let url = &config.url;
    let base = BaseUrl::parse(url).map_err(|reason| RemoteError::Url {
        url: url.clone(),
        reason,
    })?;
    let key = config.api_key.as_deref().map(bearer).transpose();
    let key = key.map_err(|_| RemoteError::Key(url.clone()))?;
    let connections = Connections::new(base.tls, IDLE_CONNECTIONS, Some(CONNECT));
    let connections = connections.map_err(|reason| RemoteError::Tls {
        url: url.clone(),
        reason,
    })?;
    Ok(Upstream::new(url.clone(), base, key, connections))
}

impl Core {
    /// Asks an upstream what it is, then whether it is well, for ever. One that was down may be another engine when it is back.
    async fn look_after(&self, upstream: &Upstream, told: &Told) {
        let within = 2 * self.timeouts.health;
        let first = match self.messages {
            true => HELLO.bytes().map(u32::from).collect(),
            // Any token will do; the end token is in every vocabulary.
            false => vec![self.end_tokens.first().copied().unwrap_or(0)],
        };
        let mut reported = String::new();
        loop {
            let look = upstream.next_look(Instant::now());
            if let Look::Check(description) = &look {
                let tokens = upstream.tokens();
                let check = probe::check(upstream, description, within).await;
                upstream.checked(&check, tokens);
                sleep(self.timeouts.health).await;
                continue;
            }
            match probe::describe(upstream, told, &first, &*self.texts, within).await {
                Ok(description) => {
                    let Description { dialect, model, .. } = &description;
                    tracing::info!(
                        engine = upstream.name,
                        ?dialect,
                        model,
                        "the engine answers"
                    );
                    upstream.describe(description);
                    self.described.notify_waiters();
                    reported.clear();
                }
                Err(reason) => {
                    if reported != reason {
                        tracing::warn!(
                            engine = upstream.name,
                            reason,
                            "the engine does not answer"
                        );
                    }
                    reported.clone_from(&reason);
                    match look {
                        Look::Trial => upstream.failed_trial(),
                        _ => upstream.checked(&Check::Failed(reason), upstream.tokens()),
                    }
                }
            }
            sleep(self.timeouts.health).await;
        }
    }

    /// The upstream for a prompt, if there is one that was not tried yet.
    pub(crate) fn choose(
        &self,
        head: Option<Head>,
        tried: &[usize],
    ) -> Option<(usize, Arc<Upstream>, Arc<Description>)> {
        let mut described: Vec<_> = self.upstreams.iter().map(|one| one.available()).collect();
        let permitted = described.iter().enumerate();
        let permitted = permitted.filter(|(index, one)| one.is_some() && !tried.contains(index));
        let candidates = permitted.map(|(index, _)| {
            let upstream = &self.upstreams[index];
            Candidate {
                index,
                score: head.map_or(0, |head| head.score(&upstream.name)),
                outstanding: upstream.outstanding(),
            }
        });
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let index = choose(candidates.collect(), head.is_some(), turn)?;
        let description = described[index].take()?;
        Some((index, Arc::clone(&self.upstreams[index]), description))
    }

    /// How many tokens a request may generate; None where only the engine knows how long the prompt is.
    fn max_tokens(&self, request: &SequenceRequest) -> Result<Option<usize>, EngineError> {
        if self.messages {
            return Ok(request.stop.max_tokens);
        }
        let limit = self.max_model_len.get().copied().unwrap_or(usize::MAX);
        let prompt = request.prompt.len();
        if prompt == 0 {
            return Err(EngineError::InvalidRequest(
                "the prompt has no tokens".to_owned(),
            ));
        }
        let (what, wanted) = match request.stop.max_tokens {
            Some(wanted) if prompt < limit => ("the prompt with max_tokens", wanted),
            _ => ("the prompt with one generated token", 1),
        };
        let needed = prompt.saturating_add(wanted);
        match needed > limit {
            true => Err(EngineError::TooLong {
                what,
                needed,
                limit,
            }),
            false => Ok(Some(request.stop.max_tokens.unwrap_or(limit - prompt))),
        }
    }
}

impl Generator for RemoteEngine {
    /// What an upstream refuses comes as the stream's first item.
    fn submit(&self, request: SequenceRequest) -> Result<GeneratedStream, EngineError> {
        dialect::check(&request)?;
        let max_tokens = self.core.max_tokens(&request)?;
        Ok(generation::stream(
            Arc::clone(&self.core),
            request,
            max_tokens,
        ))
    }

    fn upstreams(&self) -> Vec<UpstreamFigures> {
        let upstreams = self.core.upstreams.iter();
        upstreams.map(|one| one.figures()).collect()
    }

    fn check(&self) -> Result<(), EngineError> {
        let mut figures = self.core.upstreams.iter().map(|one| one.state());
        match figures.any(|state| state == UpstreamState::Up) {
            true => Ok(()),
            false => Err(EngineError::Upstream {
                failure: UpstreamFailure::Unavailable,
                message: "no engine behind this server takes requests now".to_owned(),
            }),
        }
    }
}
