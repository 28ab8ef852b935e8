//! Takes an upstream out of service that fails again and again; when it has rested it is tried with a token of our own, so no
//! client's request is.
//!
//! Invariant: pure, time is handed in.

use std::time::{Duration, Instant};

/// Failures in a row that take it out.
const LIMIT: u32 = 3;
/// How long an upstream rests the first time; twice as long each time that a trial fails.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// One upstream's.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    rest: Option<Rest>,
}

#[derive(Debug)]
struct Rest {
    until: Instant,
    length: Duration,
}

impl Breaker {
    /// Whether requests go to it.
    pub(crate) fn in_service(&self) -> bool {
        self.rest.is_none()
    }

    /// Whether it is to be tried now.
    pub(crate) fn trial_is_due(&self, now: Instant) -> bool {
        self.rest.as_ref().is_some_and(|rest| now >= rest.until)
    }

    /// A trial got what it asked for.
    pub(crate) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// A request got its first token. One that was under way when the upstream was taken out does not bring it back.
    pub(crate) fn answered(&mut self) {
        if self.rest.is_none() {
            self.failures = 0;
        }
    }

    /// A request failed. Those that were under way when it was taken out say nothing new.
    pub(crate) fn fail(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= LIMIT && self.rest.is_none() {
            self.rest_for(now, FIRST_REST);
        }
    }

    /// A trial failed.
    pub(crate) fn fail_trial(&mut self, now: Instant) {
        if let Some(rest) = &self.rest {
            let length = (2 * rest.length).min(LONGEST_REST);
            self.rest_for(now, length);
        }
    }

    fn rest_for(&mut self, now: Instant, length: Duration) {
        let until = now + length;
        self.rest = Some(Rest { until, length });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_take_it_out_and_a_trial_brings_it_back() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        breaker.fail(now);
        breaker.fail(now);
        breaker.answered();
        breaker.fail(now);
        breaker.fail(now);
        assert!(breaker.in_service());
        breaker.fail(now);
        breaker.answered();
        assert!(!breaker.in_service() && !breaker.trial_is_due(now));
        assert!(breaker.trial_is_due(now + FIRST_REST));
        breaker.succeed();
        assert!(breaker.in_service() && !breaker.trial_is_due(now + FIRST_REST));
    }

    #[test]
    fn each_failed_trial_doubles_the_rest() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..LIMIT {
            breaker.fail(now);
        }
        let mut length = FIRST_REST;
        for _ in 0..8 {
            breaker.fail(now);
            now += length;
            assert!(breaker.trial_is_due(now));
            breaker.fail_trial(now);
            length = (2 * length).min(LONGEST_REST);
            assert!(!breaker.trial_is_due(now + length - Duration::from_millis(1)));
        }
        assert_eq!(length, LONGEST_REST);
    }
}
