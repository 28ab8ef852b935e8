//! One live instance of a plugin and what every call into it has in common, whatever the contract's version.
//!
//! Invariants: a call runs with a fresh deadline; after a failed call the instance is gone at once, its output is gone, and
//! every further call answers `Dead`. No guest code runs when an instance is dropped.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use wasmtime::{Store, component::InstancePre};
use weir_output::{Grants, PluginError, PluginErrorKind};

use crate::{
    contract::EventOrder,
    counters::{PluginCounters, Tally},
    engine::{PluginHost, SessionPermit, ticks},
    limits::{Limits, MemoryLimiter},
};

/// Of so many pushes of a session the first is timed.
const TIMED: u64 = 16;

/// A plugin that is verified and linked: everything its sessions share.
pub(crate) struct LinkedPlugin {
    pub(crate) name: String,
    /// JSON text.
    pub(crate) config: String,
    pub(crate) limits: Limits,
    /// What a request processor may ask for.
    pub(crate) grants: Grants,
    pub(crate) counters: Arc<PluginCounters>,
    pub(crate) host: Arc<PluginHost>,
    pub(crate) pre: InstancePre<MemoryLimiter>,
}

impl LinkedPlugin {
    /// An empty store under this plugin's limits.
    pub(crate) fn store(&self) -> Result<GuestStore, PluginErrorKind> {
        let permit = self.host.gate.enter()?;
        let mut store = Store::new(
            self.pre.component().engine(),
            MemoryLimiter::new(&self.limits),
        );
        store.limiter(|limiter| limiter);
        store.set_hostcall_fuel(self.limits.output_bytes);
        Ok(GuestStore {
            store,
            deadline: ticks(self.limits.call_time()),
            limits: self.limits,
            tally: Tally::new(&self.counters),
            _permit: permit,
        })
    }

    /// A failure of this plugin under the user's name for it; counts it.
    pub(crate) fn error(&self, call: &'static str, kind: PluginErrorKind) -> PluginError {
        if !matches!(
            kind,
            PluginErrorKind::Dead | PluginErrorKind::Sessions { .. }
        ) {
            self.counters.count_failure();
        }
        PluginError {
            plugin: self.name.clone(),
            call,
            kind,
        }
    }
}

/// A guest's store with its limits and its count. The store goes before the permit: a place is free when it is empty.
pub(crate) struct GuestStore {
    store: Store<MemoryLimiter>,
    deadline: u64,
    limits: Limits,
    pub(crate) tally: Tally,
    _permit: SessionPermit,
}

impl GuestStore {
    /// Looks functions up and checks their types: no guest code runs.
    pub(crate) fn typed<R>(
        &mut self,
        load: impl FnOnce(&mut Store<MemoryLimiter>) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R> {
        load(&mut self.store)
    }

    /// Runs guest code once, in bounded time.
    pub(crate) fn call<R>(
        &mut self,
        run: impl FnOnce(&mut Store<MemoryLimiter>) -> wasmtime::Result<R>,
    ) -> Result<R, PluginErrorKind> {
        self.timed(1, run)
    }

    /// Runs a push. One in [`TIMED`] is timed and stands for the others: asking for the time is a tenth of what a push
    /// costs.
    pub(crate) fn push<R>(
        &mut self,
        run: impl FnOnce(&mut Store<MemoryLimiter>) -> wasmtime::Result<R>,
    ) -> Result<R, PluginErrorKind> {
        let number = self.tally.count.pushes;
        self.tally.count.pushes += 1;
        if number.is_multiple_of(TIMED) {
            return self.timed(TIMED, run);
        }
        self.bounded(run)
    }

    /// Runs guest code once, in bounded time, and counts its time so many times.
    fn timed<R>(
        &mut self,
        times: u64,
        run: impl FnOnce(&mut Store<MemoryLimiter>) -> wasmtime::Result<R>,
    ) -> Result<R, PluginErrorKind> {
        let start = Instant::now();
        let result = self.bounded(run);
        let spent = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let counted = &mut self.tally.count.nanoseconds;
        *counted = counted.saturating_add(spent.saturating_mul(times));
        result
    }

    fn bounded<R>(
        &mut self,
        run: impl FnOnce(&mut Store<MemoryLimiter>) -> wasmtime::Result<R>,
    ) -> Result<R, PluginErrorKind> {
        self.store.set_epoch_deadline(self.deadline);
        run(&mut self.store).map_err(|error| self.limits.kind_of(&error))
    }
}

/// Numbers the sessions of a process, so that the lines of one can be told from the lines of another in a log.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// One session; `G` is the contract version's handle on the guest's functions, `O` follows what it says.
pub(crate) struct Session<G, O = EventOrder> {
    plugin: Arc<LinkedPlugin>,
    number: u64,
    live: Option<Live<G, O>>,
}

/// What a session has while it works.
pub(crate) struct Live<G, O = EventOrder> {
    pub(crate) guest: G,
    pub(crate) order: O,
    pub(crate) store: GuestStore,
}

impl<G, O> Session<G, O> {
    pub(crate) fn new(
        plugin: &Arc<LinkedPlugin>,
        guest: G,
        order: O,
        mut store: GuestStore,
    ) -> Self {
        store.tally.begin_session();
        Self {
            plugin: Arc::clone(plugin),
            number: SESSIONS.fetch_add(1, Ordering::Relaxed),
            live: Some(Live {
                guest,
                order,
                store,
            }),
        }
    }

    /// Makes one call with what is `sent`, which appends to `out` or leaves it as it was.
    pub(crate) fn step<T: Debug>(
        &mut self,
        call: &'static str,
        sent: &dyn Debug,
        out: &mut Vec<T>,
        run: impl FnOnce(&mut Live<G, O>, &mut Vec<T>) -> Result<(), PluginErrorKind>,
    ) -> Result<(), PluginError> {
        let Some(live) = &mut self.live else {
            return Err(self.plugin.error(call, PluginErrorKind::Dead));
        };
        let before = out.len();
        match run(live, out) {
            Ok(()) => {
                live.store.tally.count.events += (out.len() - before) as u64;
                tracing::trace!(
                    plugin = self.plugin.name,
                    session = self.number,
                    call,
                    ?sent,
                    said = ?&out[before..],
                );
                Ok(())
            }
            Err(kind) => {
                out.truncate(before);
                self.live = None;
                tracing::trace!(plugin = self.plugin.name, session = self.number, call, ?sent, failed = %kind);
                Err(self.plugin.error(call, kind))
            }
        }
    }

    /// Gives the instance up after `finish`: its place is another's.
    pub(crate) fn close(&mut self) {
        self.live = None;
    }
}
