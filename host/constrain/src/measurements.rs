//! What masks cost.

use weir_engine::histogram::{Histogram, MICROSECOND, MILLISECOND, SECOND};

const BOUNDS: &[u64] = &[
    10 * MICROSECOND,
    25 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    250 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    2_500 * MICROSECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    100 * MILLISECOND,
    SECOND,
];

/// Histograms of one model's constraints, since its start.
#[derive(Debug)]
pub struct MaskMeasurements {
    /// Nanoseconds of each mask, on a thread of its own.
    pub mask: Histogram,
    /// Nanoseconds that the engine's thread, logits in hand, waited for each: what masks add to steps.
    pub wait: Histogram,
    /// Nanoseconds that it waited before a step to learn which tokens need none.
    pub forced_wait: Histogram,
}

impl Default for MaskMeasurements {
    fn default() -> Self {
        Self {
            mask: Histogram::new(BOUNDS),
            wait: Histogram::new(BOUNDS),
            forced_wait: Histogram::new(BOUNDS),
        }
    }
}
