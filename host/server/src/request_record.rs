//! What is noted of one request while it runs, for the one line that is logged when its answer is complete.
//!
//! The record belongs to the task that runs the request's handler, as its tracing span does: whoever generates for a
//! request finds it without every route handing it on. Invariants: it holds counts, times, names of models
//! and words of ours; never a prompt, an answer or a key.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::generation::TokenCounts;

tokio::task_local! {
    static CURRENT: Arc<RequestRecord>;
}

/// One request's notes.
#[derive(Debug)]
pub struct RequestRecord {
    started: Instant,
    model: OnceLock<String>,
    first_token: OnceLock<Duration>,
    finish_reason: OnceLock<&'static str>,
    error: OnceLock<&'static str>,
    forced: OnceLock<()>,
    prompt_tokens: AtomicUsize,
    cached_tokens: AtomicUsize,
    generated_tokens: AtomicUsize,
}

impl RequestRecord {
    /// Of a request that begins now.
    pub fn begin() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            model: OnceLock::new(),
            first_token: OnceLock::new(),
            finish_reason: OnceLock::new(),
            error: OnceLock::new(),
            forced: OnceLock::new(),
            prompt_tokens: AtomicUsize::new(0),
            cached_tokens: AtomicUsize::new(0),
            generated_tokens: AtomicUsize::new(0),
        })
    }

    /// Runs a request's handler with this record.
    pub async fn during<F: Future>(self: Arc<Self>, handler: F) -> F::Output {
        CURRENT.scope(self, handler).await
    }

    /// The record of the request whose handler runs here; outside of one, a record that nobody reads.
    pub fn current() -> Arc<Self> {
        CURRENT
            .try_with(Arc::clone)
            .unwrap_or_else(|_| Self::begin())
    }

    /// Time since the request's head came.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes the id of the model that answers. The first word counts, here and below.
    pub fn note_model(&self, id: &str) {
        self.model.get_or_init(|| id.to_owned());
    }

    /// Notes that the first token is there; answers its time if it was not there before.
    pub fn note_first_token(&self) -> Option<Duration> {
        let time = self.elapsed();
        self.first_token.set(time).is_ok().then_some(time)
    }

    /// Notes how an answer ended.
    pub fn note_finish(&self, reason: &'static str) {
        self.finish_reason.get_or_init(|| reason);
    }

    /// Notes that the answer is held to something.
    pub fn note_forced(&self) {
        self.forced.get_or_init(|| ());
    }

    /// Notes what kind of error ended the answer.
    pub fn note_error(&self, word: &'static str) {
        self.error.get_or_init(|| word);
    }

    /// Adds a prompt's tokens.
    pub fn add_prompt(&self, tokens: usize, cached: usize) {
        self.prompt_tokens.fetch_add(tokens, Ordering::Relaxed);
        self.cached_tokens.fetch_add(cached, Ordering::Relaxed);
    }

    /// Adds an answer's tokens, and its prompt's if they count with it.
    pub fn add(&self, counts: &TokenCounts, with_prompt: bool) {
        if with_prompt {
            self.add_prompt(counts.prompt, counts.cached);
        }
        self.generated_tokens
            .fetch_add(counts.completion, Ordering::Relaxed);
    }

    /// The kind of error that was noted.
    pub fn error(&self) -> Option<&'static str> {
        self.error.get().copied()
    }

    /// Logs the one line of a request that has ended; numbers that it has none of are left out.
    pub fn log(&self, span: &tracing::Span, status: u16, aborted: bool, error: Option<&str>) {
        let generated = self.generated_tokens.load(Ordering::Relaxed);
        let prompt = self.prompt_tokens.load(Ordering::Relaxed);
        let cached = self.cached_tokens.load(Ordering::Relaxed);
        let first_token = self.first_token.get();
        tracing::info!(
            parent: span,
            status,
            ms = milliseconds(self.elapsed()),
            model = self.model.get().map(String::as_str),
            prompt_tokens = (prompt > 0).then_some(prompt),
            cached_tokens = (prompt > 0).then_some(cached),
            completion_tokens = first_token.map(|_| generated),
            first_token_ms = first_token.copied().map(milliseconds),
            forced = self.forced.get().map(|()| true),
            finish_reason = self.finish_reason.get().copied(),
            error,
            aborted = aborted.then_some(true),
            "answered"
        );
    }
}

/// With microseconds, as a number of three decimals.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
