//! What each plugin did, for the server's metrics. Sessions tally locally and add up when they end, so that a push
//! touches no shared cache line; failures are rare and count at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// One plugin's counters since the host started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CounterSnapshot {
    /// Sessions that ended or failed.
    pub sessions: u64,
    /// Calls of `push`.
    pub pushes: u64,
    /// Time inside calls, in nanoseconds.
    pub nanoseconds: u64,
    /// Events or actions returned.
    pub events: u64,
    /// Calls that failed, `describe` and the constructor included.
    pub failures: u64,
}

/// The shared side.
#[derive(Debug, Default)]
pub(crate) struct PluginCounters {
    sessions: AtomicU64,
    pushes: AtomicU64,
    nanoseconds: AtomicU64,
    events: AtomicU64,
    failures: AtomicU64,
}

impl PluginCounters {
    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> CounterSnapshot {
        CounterSnapshot {
            sessions: self.sessions.load(Ordering::Relaxed),
            pushes: self.pushes.load(Ordering::Relaxed),
            nanoseconds: self.nanoseconds.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

/// One session's side; adds itself to the plugin's counters when dropped.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) count: CounterSnapshot,
    total: Arc<PluginCounters>,
}

impl Tally {
    pub(crate) fn new(total: &Arc<PluginCounters>) -> Self {
        Self {
            count: CounterSnapshot::default(),
            total: Arc::clone(total),
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let add = |total: &AtomicU64, count: u64| {
            total.fetch_add(count, Ordering::Relaxed);
        };
        add(&self.total.sessions, self.count.sessions);
        add(&self.total.pushes, self.count.pushes);
        add(&self.total.nanoseconds, self.count.nanoseconds);
        add(&self.total.events, self.count.events);
    }
}
