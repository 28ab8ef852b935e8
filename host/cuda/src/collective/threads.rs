//! Devices that are threads of one processor: parts meet in memory that all of them see. It is what tests compute with.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use candle_core::{Result, Tensor};

use super::Collective;

/// One thread's place at the table.
#[derive(Debug)]
struct Threads {
    table: Arc<Table>,
    rank: usize,
}

#[derive(Debug)]
struct Table {
    state: Mutex<State>,
    changed: Condvar,
}

/// One sum at a time: all put their parts down, then all take them up.
#[derive(Debug)]
struct State {
    /// One a thread.
    parts: Vec<Option<Tensor>>,
    /// How many threads have taken all parts up.
    taken: usize,
    ended: Option<String>,
}

/// A collective for each of so many threads.
pub(super) fn connect(count: usize) -> Vec<Arc<dyn Collective>> {
    let table = Arc::new(Table {
        state: Mutex::new(State {
            parts: vec![None; count],
            taken: 0,
            ended: None,
        }),
        changed: Condvar::new(),
    });
    let place = |rank| -> Arc<dyn Collective> {
        let table = Arc::clone(&table);
        Arc::new(Threads { table, rank })
    };
    (0..count).map(place).collect()
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something holds, or until somebody has left, which is an error.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'a, State>> {
        let waited = self
            .changed
            .wait_while(state, |state| state.ended.is_none() && !until(state));
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        match &state.ended {
            Some(reason) => Err(candle_core::Error::msg(reason)),
            None => Ok(state),
        }
    }
}

impl Collective for Threads {
    fn sum(&self, part: Tensor) -> Result<Tensor> {
        let Self { table, rank } = self;
        // The sum before this one may not be taken up by all yet.
        let mut state = table.wait(table.lock(), |state| state.parts[*rank].is_none())?;
        state.parts[*rank] = Some(part);
        table.changed.notify_all();
        let mut state = table.wait(state, |state| state.parts.iter().all(Option::is_some))?;
        let parts: Vec<Tensor> = state.parts.iter().flatten().cloned().collect();
        state.taken += 1;
        if state.taken == parts.len() {
            state.taken = 0;
            state.parts.fill(None);
            table.changed.notify_all();
        }
        drop(state);
        Tensor::stack(&parts, 0)?.sum(0)
    }

    fn leave(&self, reason: &str) {
        let mut state = self.table.lock();
        state.ended.get_or_insert_with(|| reason.to_owned());
        self.table.changed.notify_all();
    }

    fn ended(&self) -> Option<String> {
        self.table.lock().ended.clone()
    }
}
