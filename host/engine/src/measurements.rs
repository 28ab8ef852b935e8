//! What an engine measures as it goes: how long its steps take, how full they are, and how far apart tokens come.
//!
//! The engine alone writes; whoever shows them reads at any time, without a lock.

use std::sync::Arc;

use crate::{
    engine::EngineCounters,
    histogram::{Histogram, MICROSECOND, MILLISECOND, SECOND},
};

/// From a small model's decode step to a chunk of prefill on a busy processor.
const STEP_BOUNDS: &[u64] = &[
    250 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    2_500 * MICROSECOND,
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
];

/// From a fast GPU's decode to streams that wait behind prefill.
const INTER_TOKEN_BOUNDS: &[u64] = &[
    MILLISECOND,
    2_500 * MICROSECOND,
    5 * MILLISECOND,
    7_500 * MICROSECOND,
    10 * MILLISECOND,
    15 * MILLISECOND,
    20 * MILLISECOND,
    30 * MILLISECOND,
    50 * MILLISECOND,
    75 * MILLISECOND,
    100 * MILLISECOND,
    150 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
];

const SEQUENCES_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

const TOKENS_BOUNDS: &[u64] = &[
    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192,
];

/// Histograms of one engine, since its start.
#[derive(Debug)]
pub struct Measurements {
    /// Nanoseconds of each step that ran the model, from scheduling to the last sampled token.
    pub step: Histogram,
    /// Sequences in each such step.
    pub step_sequences: Histogram,
    /// Tokens computed in each such step.
    pub step_tokens: Histogram,
    /// Nanoseconds between two tokens of a sequence, the end token included; not over a pause for a slow reader. Tokens that a
    /// constraint forces come with the one before them, and count as one.
    pub inter_token: Histogram,
}

impl Default for Measurements {
    fn default() -> Self {
        Self {
            step: Histogram::new(STEP_BOUNDS),
            step_sequences: Histogram::new(SEQUENCES_BOUNDS),
            step_tokens: Histogram::new(TOKENS_BOUNDS),
            inter_token: Histogram::new(INTER_TOKEN_BOUNDS),
        }
    }
}

/// All that can be said of an engine in numbers.
#[derive(Debug, Clone)]
pub struct EngineFigures {
    /// Gauges and totals as of its last step.
    pub counters: EngineCounters,
    /// What it measures.
    pub measurements: Arc<Measurements>,
}
