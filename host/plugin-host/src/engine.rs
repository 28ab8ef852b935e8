//! The WebAssembly engines: their settings, the clock that ends calls, and the gate that bounds live sessions.
//!
//! There are two, which differ in nothing but where a session's memory comes from, so that compiled code fits both: a pool,
//! whose slots are ready and small, and memory on demand for components with more in them than a slot has room for (a
//! language's whole runtime). A component is in the pool if it fits.
//!
//! Invariants: the pool holds exactly as many instances as the gate lets in, so a full house is a clear error of ours;
//! the clock runs as long as any session lives, whoever dropped the host, and sleeps when none does.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, component::Component,
};
use weir_output::PluginErrorKind;

use crate::{
    cache::{ComponentCache, deserialize},
    counters::AllCounters,
    error::PluginHostError,
    limits::TABLE_ELEMENTS,
};

/// How often the clock ticks; a call may overrun its limit by up to two ticks.
const TICK: Duration = Duration::from_millis(5);

/// Native stack of a guest; below the 2 MiB of a worker thread.
const WASM_STACK_BYTES: usize = 512 << 10;

/// Core instances a component of the pool may hold. Ours hold one.
const CORE_INSTANCES: u32 = 8;

/// Tables a component of the pool may hold.
const TABLES: u32 = 4;

/// Linear memory kept and zeroed by copy when a session ends: a short session touches less, and page faults cost more.
const RESIDENT_BYTES: usize = 128 << 10;

/// Settings of a [`PluginHost`].
#[derive(Debug, Clone)]
pub struct PluginHostConfig {
    /// Sessions alive at one time, over all plugins. Each reserves 4 GiB of address space, not of memory.
    pub max_sessions: u32,
    /// Where compiled components are kept; a folder of this user's alone. `None` compiles at every start.
    pub cache_dir: Option<PathBuf>,
}

impl Default for PluginHostConfig {
    fn default() -> Self {
        Self {
            max_sessions: 1024,
            cache_dir: None,
        }
    }
}

/// What all plugins of a process share. Outlives the [`crate::Registry`]s built on it, which are replaced on reload.
#[derive(Debug)]
pub struct PluginHost {
    pooled: Engine,
    on_demand: Engine,
    pub(crate) gate: Arc<SessionGate>,
    pub(crate) cache: Option<ComponentCache>,
    pub(crate) counters: AllCounters,
}

impl PluginHost {
    /// Sets up the engines, the pool and the clock. A cache folder that cannot be used is warned about and left alone.
    ///
    /// # Errors
    /// [`PluginHostError::Engine`] when this machine cannot run it (no address space, no thread).
    pub fn new(config: &PluginHostConfig) -> Result<Arc<Self>, PluginHostError> {
        let engine = |allocation| {
            Engine::new(&engine_config(allocation))
                .map_err(|error| PluginHostError::Engine(format!("{error:#}")))
        };
        let pooled = engine(pool(config.max_sessions))?;
        let on_demand = engine(InstanceAllocationStrategy::OnDemand)?;
        let gate = SessionGate::start([pooled.clone(), on_demand.clone()], config.max_sessions)
            .map_err(|error| PluginHostError::Engine(error.to_string()))?;
        let cache = config.cache_dir.as_deref().and_then(|dir| {
            ComponentCache::open(dir, &on_demand)
                .inspect_err(|error| {
                    tracing::warn!(dir = %dir.display(), %error, "compiled plugins are not cached");
                })
                .ok()
        });
        Ok(Arc::new(Self {
            pooled,
            on_demand,
            gate,
            cache,
            counters: AllCounters::default(),
        }))
    }

    /// The machine code of a component, as either engine takes it.
    pub(crate) fn compile(&self, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
        self.on_demand.precompile_component(wasm)
    }

    /// A component of code that is sound: this process compiled it, or the cache vouches for it.
    pub(crate) fn load(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // The pool's only objection to its own code is that a slot is too small.
        deserialize(&self.pooled, code).or_else(|_| deserialize(&self.on_demand, code))
    }

    /// Whether the component was too large for the pool.
    pub(crate) fn is_on_demand(&self, component: &Component) -> bool {
        Engine::same(component.engine(), &self.on_demand)
    }

    /// Sessions alive now.
    #[must_use]
    pub fn live_sessions(&self) -> u32 {
        self.gate.clock.lock().live
    }
}

fn pool(max_sessions: u32) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(max_sessions)
        .total_core_instances(max_sessions.saturating_mul(CORE_INSTANCES))
        .total_memories(max_sessions)
        .total_tables(max_sessions.saturating_mul(TABLES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(RESIDENT_BYTES)
        .table_keep_resident(RESIDENT_BYTES);
    InstanceAllocationStrategy::Pooling(pool)
}

fn engine_config(allocation: InstanceAllocationStrategy) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(allocation)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .wasm_component_model(true)
        .wasm_memory64(false)
        // What wasmtime puts between a runtime and the stubs of what it would import works on two memories.
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(false)
        .generate_address_map(false);
    config
}

/// The ticks that a time limit is: rounded up, and one more because the current tick may be almost over.
pub(crate) fn ticks(limit: Duration) -> u64 {
    let ticks = limit.as_nanos().div_ceil(TICK.as_nanos()) + 1;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// Lets sessions in, up to the limit, and keeps the clock running while there are any.
#[derive(Debug)]
pub(crate) struct SessionGate {
    clock: Arc<Clock>,
    limit: u32,
}

#[derive(Debug, Default)]
struct Clock {
    state: Mutex<ClockState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ClockState {
    live: u32,
    closed: bool,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, ClockState> {
        // A count is whole at every point where a panic could strike.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, engines: &[Engine]) {
        loop {
            let state = self
                .changed
                .wait_while(self.lock(), |state| state.live == 0 && !state.closed)
                .unwrap_or_else(PoisonError::into_inner);
            if state.closed {
                return;
            }
            drop(state);
            thread::sleep(TICK);
            engines.iter().for_each(Engine::increment_epoch);
        }
    }
}

impl SessionGate {
    fn start(engines: [Engine; 2], limit: u32) -> std::io::Result<Arc<Self>> {
        let clock = Arc::new(Clock::default());
        let ticking = Arc::clone(&clock);
        thread::Builder::new()
            .name("weir-plugin-clock".to_owned())
            .spawn(move || ticking.run(&engines))?;
        Ok(Arc::new(Self { clock, limit }))
    }

    /// A place for one session.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<SessionPermit, PluginErrorKind> {
        let mut state = self.clock.lock();
        if state.live >= self.limit {
            return Err(PluginErrorKind::Sessions { limit: self.limit });
        }
        state.live += 1;
        if state.live == 1 {
            self.clock.changed.notify_one();
        }
        Ok(SessionPermit(Arc::clone(self)))
    }
}

impl Drop for SessionGate {
    fn drop(&mut self) {
        self.clock.lock().closed = true;
        self.clock.changed.notify_one();
    }
}

/// One live session's place; given back on drop.
#[derive(Debug)]
pub(crate) struct SessionPermit(Arc<SessionGate>);

impl Drop for SessionPermit {
    fn drop(&mut self) {
        self.0.clock.lock().live -= 1;
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{Component as Encoded, InstanceSection, Module, ModuleSection};

    use super::*;

    /// A component that instantiates an empty module so many times.
    fn component(instances: u32) -> Vec<u8> {
        let mut encoded = Encoded::new();
        encoded.section(&ModuleSection(&Module::new()));
        let mut section = InstanceSection::new();
        for _ in 0..instances {
            section.instantiate::<[(&str, wasm_encoder::ModuleArg); 0], &str>(0, []);
        }
        encoded.section(&section);
        encoded.finish()
    }

    #[test]
    fn what_does_not_fit_the_pool_is_allocated_on_demand() {
        let host = PluginHost::new(&PluginHostConfig {
            max_sessions: 1,
            cache_dir: None,
        })
        .unwrap();
        for (instances, on_demand) in [(CORE_INSTANCES, false), (CORE_INSTANCES + 1, true)] {
            let code = host.compile(&component(instances)).unwrap();
            let component = host.load(&code).unwrap();
            assert_eq!(host.is_on_demand(&component), on_demand, "{instances}");
        }
    }
}
