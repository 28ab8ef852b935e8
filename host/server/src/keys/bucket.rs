//! A minute's allowance: what is taken flows back evenly, all of it within a minute.
//!
//! Invariants: within any minute no more than twice the limit is taken, in the long run the limit; a wait that is told is
//! as long as it takes if nobody else takes anything.

use std::time::{Duration, Instant};

const MINUTE: f64 = 60.0;

/// How much of a minute's allowance is taken.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    taken: f64,
    /// When that was so; None before the first time.
    at: Option<Instant>,
}

impl Bucket {
    /// Takes `amount` if the limit allows.
    ///
    /// # Errors
    /// How long it takes until it does.
    pub(super) fn take(&mut self, amount: usize, limit: u32, now: Instant) -> Result<(), Duration> {
        self.flow_back(limit, now);
        let excess = self.taken + amount as f64 - f64::from(limit);
        if excess > 0.0 {
            return Err(Duration::from_secs_f64(excess * MINUTE / f64::from(limit)));
        }
        self.taken += amount as f64;
        Ok(())
    }

    /// Takes `amount` whatever the limit.
    pub(super) fn add(&mut self, amount: usize, limit: u32, now: Instant) {
        self.flow_back(limit, now);
        self.taken += amount as f64;
    }

    fn flow_back(&mut self, limit: u32, now: Instant) {
        let passed = self
            .at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.taken = (self.taken - passed * f64::from(limit) / MINUTE).max(0.0);
        self.at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_minutes_worth_may_be_taken_at_once_and_flows_back_evenly() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        for _ in 0..30 {
            bucket.take(2, 60, start).expect("within the limit");
        }
        assert_eq!(bucket.take(2, 60, start), Err(Duration::from_secs(2)));
        assert!(bucket.take(2, 60, after(start, 1.9)).is_err());
        bucket
            .take(2, 60, after(start, 2.1))
            .expect("two have flowed back");
        bucket.take(60, 60, after(start, 90.0)).expect("all have");
    }

    #[test]
    fn a_debt_is_waited_for() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        bucket.add(120, 60, start);
        let wait = bucket
            .take(1, 60, start)
            .expect_err("two minutes' worth is taken");
        assert_eq!(wait, Duration::from_secs(61));
        bucket.take(1, 60, start + wait).expect("as was told");
    }
}
