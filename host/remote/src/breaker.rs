//! Takes an upstream out of service that fails again and again, and lets one request try it when some time has passed.
//!
//! Invariant: pure, time is handed in. An upstream is in service, out of it until a time, or on trial with one request.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const LIMIT: u32 = 3;
/// How long an upstream rests the first time; twice as long each time that a trial fails.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Service {
    #[default]
    In,
    Out {
        until: Instant,
        rest: Duration,
    },
    Trial {
        rest: Duration,
    },
}

/// One upstream's.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    service: Service,
}

impl Breaker {
    /// Whether requests go to it without a trial.
    pub(crate) fn in_service(&self) -> bool {
        self.service == Service::In
    }

    /// Whether a request may go to it now.
    pub(crate) fn permits(&self, now: Instant) -> bool {
        match self.service {
            Service::In => true,
            Service::Out { until, .. } => now >= until,
            Service::Trial { .. } => false,
        }
    }

    /// A request goes to it, which is its trial if it was out of service.
    pub(crate) fn begin(&mut self) {
        if let Service::Out { rest, .. } = self.service {
            self.service = Service::Trial { rest };
        }
    }

    /// A request was given up before it was known how it would end: a trial is open again.
    pub(crate) fn give_up(&mut self, now: Instant) {
        if let Service::Trial { rest } = self.service {
            self.service = Service::Out { until: now, rest };
        }
    }

    /// A request got what it asked for.
    pub(crate) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// A request failed.
    pub(crate) fn fail(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let rest = match self.service {
            Service::In if self.failures < LIMIT => return,
            Service::In => FIRST_REST,
            // Requests that were under way when it was taken out say nothing new.
            Service::Out { .. } => return,
            Service::Trial { rest } => (2 * rest).min(LONGEST_REST),
        };
        self.service = Service::Out {
            until: now + rest,
            rest,
        };
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
        breaker.succeed();
        breaker.fail(now);
        breaker.fail(now);
        assert!(breaker.in_service() && breaker.permits(now));
        breaker.fail(now);
        assert!(!breaker.in_service() && !breaker.permits(now));
        let later = now + FIRST_REST;
        assert!(breaker.permits(later));
        breaker.begin();
        assert!(!breaker.permits(later), "one trial at a time");
        breaker.succeed();
        assert!(breaker.in_service());
    }

    #[test]
    fn a_failed_trial_doubles_the_rest_and_one_that_was_given_up_does_not() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..LIMIT {
            breaker.fail(now);
        }
        let mut rest = FIRST_REST;
        for _ in 0..8 {
            breaker.fail(now);
            now += rest;
            assert!(breaker.permits(now));
            breaker.begin();
            breaker.give_up(now);
            assert!(breaker.permits(now));
            breaker.begin();
            breaker.fail(now);
            rest = (2 * rest).min(LONGEST_REST);
            assert!(!breaker.permits(now + rest - Duration::from_millis(1)));
        }
        assert_eq!(rest, LONGEST_REST);
    }
}
