//! Copies of grammars at their start whose lexers know already what earlier sequences met: a lexer finds out its states as text
//! comes, so the first masks of a fresh one cost many times those behind them.
//!
//! Invariant: bounded in number, and in memory too, because states grow only with time spent on masks, and a lexer that has seen
//! much of that is given up.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use llguidance::Matcher;

use crate::{compilation::Compiled, limits};

/// See the module.
#[derive(Default)]
pub(crate) struct Spares(Mutex<VecDeque<(Arc<Compiled>, Spare)>>);

/// A copy at its start.
pub(crate) struct Spare {
    pub(crate) matcher: Matcher,
    /// What masks by its lexer have taken so far.
    pub(crate) used: Duration,
}

impl Spares {
    /// One of this grammar, the latest.
    pub(crate) fn take(&self, compiled: &Arc<Compiled>) -> Option<Spare> {
        let mut spares = self.spares();
        let of_it = |(of, _): &(Arc<Compiled>, Spare)| Arc::ptr_eq(of, compiled);
        let at = spares.iter().rposition(of_it)?;
        spares.remove(at).map(|(_, spare)| spare)
    }

    /// Keeps one, in place of the oldest.
    pub(crate) fn put(&self, compiled: &Arc<Compiled>, spare: Spare) {
        if spare.used > limits::SPARE_LIFE {
            return;
        }
        let mut spares = self.spares();
        spares.push_back((Arc::clone(compiled), spare));
        if spares.len() > limits::SPARES {
            spares.pop_front();
        }
    }

    fn spares(&self) -> MutexGuard<'_, VecDeque<(Arc<Compiled>, Spare)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
