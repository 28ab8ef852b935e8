//! A histogram that any thread may add to and read: fixed buckets, two atomic additions a value, no allocation.
//!
//! Values are whole numbers of a unit that the owner chooses: durations are nanoseconds, sizes are counts.
//! A reader may see a value's bucket before its sum; nothing else is ever torn.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Nanoseconds of a microsecond.
pub const MICROSECOND: u64 = 1_000;
/// Nanoseconds of a millisecond.
pub const MILLISECOND: u64 = 1_000 * MICROSECOND;
/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000 * MILLISECOND;

/// Counts values by size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what lies above all.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Upper bounds of all buckets but the last, ascending; a value that equals a bound is below it.
    pub bounds: &'static [u64],
    /// Values in each bucket; one more than there are bounds.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// An empty one with these ascending upper bounds.
    pub fn new(bounds: &'static [u64]) -> Self {
        debug_assert!(bounds.is_sorted_by(|a, b| a < b));
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Adds a value.
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Adds a duration, in nanoseconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What it holds now.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let counts = self.buckets.iter();
        HistogramSnapshot {
            bounds: self.bounds,
            counts: counts.map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl HistogramSnapshot {
    /// Number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21, 1000] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.counts, [2, 2, 2]);
        assert_eq!((snapshot.count(), snapshot.sum), (6, 1062));
    }

    #[test]
    fn durations_are_nanoseconds() {
        let histogram = Histogram::new(&[1_000_000]);
        histogram.observe_duration(Duration::from_millis(1));
        histogram.observe_duration(Duration::from_secs(2));
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.counts, [1, 1]);
        assert_eq!(snapshot.sum, 2_001_000_000);
    }
}
