//! What each plugin did, for the server's metrics. Sessions tally locally and add up when they end, so that a push
//! touches no shared cache line; failures are rare and count at once.
//!
//! Counters belong to a name, not to a version: they go on over a reload.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// One plugin's counters since the host started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CounterSnapshot {
    /// Sessions that run now.
    pub live: u64,
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
    live: AtomicU64,
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
            live: self.live.load(Ordering::Relaxed),
            sessions: self.sessions.load(Ordering::Relaxed),
            pushes: self.pushes.load(Ordering::Relaxed),
            nanoseconds: self.nanoseconds.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

/// The counters of all plugins that ever ran in this process, by name.
#[derive(Debug, Default)]
pub(crate) struct AllCounters(Mutex<BTreeMap<String, Arc<PluginCounters>>>);

impl AllCounters {
    /// Those of this name, which start at zero when it is new.
    pub(crate) fn of(&self, name: &str) -> Arc<PluginCounters> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(name.to_owned()).or_default())
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

    /// Says that these are a session's and that it runs from now on.
    pub(crate) fn begin_session(&mut self) {
        self.count.sessions = 1;
        self.total.live.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.total
            .live
            .fetch_sub(self.count.sessions, Ordering::Relaxed);
        let add = |total: &AtomicU64, count: u64| {
            total.fetch_add(count, Ordering::Relaxed);
        };
        add(&self.total.sessions, self.count.sessions);
        add(&self.total.pushes, self.count.pushes);
        add(&self.total.nanoseconds, self.count.nanoseconds);
        add(&self.total.events, self.count.events);
    }
}
