//! What one model's requests add up to, and the meter that each answer in the making holds.
//!
//! Invariant: a prompt counts once, however many answers it gets, and once its first token is there; a token counts when
//! its request's task takes it, whether or not the client ever does.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use weir_engine::Histogram;
use weir_output::{ChatFinishReason, Event, ToolChoice};

use super::{MILLISECOND, SECOND};
use crate::{
    error::ApiError,
    generation::{Step, TokenCounts},
    request_record::RequestRecord,
};

/// From a cached prompt on a GPU to a long one behind a queue.
const FIRST_TOKEN_BOUNDS: &[u64] = &[
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    75 * MILLISECOND,
    100 * MILLISECOND,
    150 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    750 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
];

/// From a grammar that is known to one that takes the compiler all the time it has.
const CONSTRAINT_BOUNDS: &[u64] = &[
    MILLISECOND,
    2 * MILLISECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2 * SECOND,
];

/// The ways an answer ends, as the counters' labels have them.
const FINISH_REASONS: [ChatFinishReason; 4] = [
    ChatFinishReason::Stop,
    ChatFinishReason::Length,
    ChatFinishReason::ToolCalls,
    ChatFinishReason::ContentFilter,
];

/// One model's counters; its engine has its own.
pub struct ModelMetrics {
    /// Nanoseconds from a request's head to its first token.
    pub(super) first_token: Histogram,
    /// Nanoseconds until what is forced was compiled.
    pub(super) constraint: Histogram,
    pub(super) constraints_refused: AtomicU64,
    pub(super) prompt_tokens: AtomicU64,
    pub(super) cached_tokens: AtomicU64,
    pub(super) generated_tokens: AtomicU64,
    answers: [AtomicU64; FINISH_REASONS.len()],
    load_time: OnceLock<Duration>,
}

impl Default for ModelMetrics {
    fn default() -> Self {
        Self {
            first_token: Histogram::new(FIRST_TOKEN_BOUNDS),
            constraint: Histogram::new(CONSTRAINT_BOUNDS),
            constraints_refused: AtomicU64::default(),
            prompt_tokens: AtomicU64::default(),
            cached_tokens: AtomicU64::default(),
            generated_tokens: AtomicU64::default(),
            answers: Default::default(),
            load_time: OnceLock::new(),
        }
    }
}

impl ModelMetrics {
    /// Says how long it took to fetch and load the model; the first word counts.
    pub fn loaded_in(&self, time: Duration) {
        self.load_time.get_or_init(|| time);
    }

    pub(super) fn load_time(&self) -> Option<Duration> {
        self.load_time.get().copied()
    }

    /// Counts the tokens of a prompt, and those of them that were not computed again.
    pub fn count_prompt(&self, tokens: usize, cached: usize) {
        self.prompt_tokens
            .fetch_add(tokens as u64, Ordering::Relaxed);
        self.cached_tokens
            .fetch_add(cached as u64, Ordering::Relaxed);
    }

    /// Counts a request that forces something, by the time until that was compiled; or one that could not be.
    pub fn count_constraint(&self, compiled: bool, time: Duration) {
        match compiled {
            true => self.constraint.observe_duration(time),
            false => drop(self.constraints_refused.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Answers that ended, by finish reason.
    pub(super) fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let words = FINISH_REASONS.iter().map(|reason| reason.as_str());
        words.zip(
            self.answers
                .iter()
                .map(|count| count.load(Ordering::Relaxed)),
        )
    }
}

/// Watches one answer come into being, for its model's counters and its request's record.
pub struct ChoiceMeter {
    model: Arc<ModelMetrics>,
    record: Arc<RequestRecord>,
    /// Whether the prompt counts with this answer.
    first_of_prompt: bool,
    tool_choice: ToolChoice,
    call_completed: bool,
    begun: bool,
    counted: TokenCounts,
}

impl ChoiceMeter {
    /// For an answer of the request that runs in this task.
    pub fn new(model: Arc<ModelMetrics>, first_of_prompt: bool, tool_choice: ToolChoice) -> Self {
        Self {
            model,
            record: RequestRecord::current(),
            first_of_prompt,
            tool_choice,
            call_completed: false,
            begun: false,
            counted: TokenCounts::default(),
        }
    }

    /// Counts what is new in `counts` and notes what the step says.
    pub fn see(&mut self, step: &Result<Step, ApiError>, counts: &TokenCounts) {
        let step = match step {
            Ok(step) => step,
            Err(error) => return self.record.note_error(error.word()),
        };
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(counts);
        }
        let new = counts.completion.saturating_sub(self.counted.completion);
        self.model
            .generated_tokens
            .fetch_add(new as u64, Ordering::Relaxed);
        self.counted = *counts;
        self.call_completed |= step
            .events
            .iter()
            .any(|event| matches!(event, Event::CallEnd { .. }));
        if let Some(end) = step.end {
            let reason = ChatFinishReason::new(end.reason, self.call_completed, &self.tool_choice);
            self.record.note_finish(reason.as_str());
            let index = FINISH_REASONS.iter().position(|known| *known == reason);
            if let Some(count) = index.and_then(|index| self.model.answers.get(index)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn begin(&self, counts: &TokenCounts) {
        if let Some(time) = self.record.note_first_token() {
            self.model.first_token.observe_duration(time);
        }
        if self.first_of_prompt {
            self.model.count_prompt(counts.prompt, counts.cached);
        }
    }
}

/// However the answer ends, its request's record has its tokens.
impl Drop for ChoiceMeter {
    fn drop(&mut self) {
        if self.begun {
            self.record.add(&self.counted, self.first_of_prompt);
        }
    }
}
