//! A grammar on its way along one sequence, and the lexers that sequences leave to those behind them.
//!
//! A lexer finds its states out as texts come along: the first masks of a fresh copy of a grammar take many times as long as those
//! behind texts it has seen the like of. Sharing one would have sequences wait for each other, so each has one of its own, and
//! takes that of a sequence that is over where there is one.
//!
//! Invariants: a lexer serves one sequence at a time; one that failed serves no other; those that are free have together found
//! out no more than a limit allows. Masks do not depend on what a lexer has seen.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use llguidance::Matcher;

use crate::{compilation::Compiled, limits};

/// What free lexers have cost, those of all grammars together, in llguidance's fuel.
pub(crate) type FreeFuel = Arc<AtomicU64>;

/// A grammar's free lexers.
pub(crate) struct Lexers {
    free: Mutex<Vec<Lexer>>,
    total: FreeFuel,
}

/// A grammar at its start, and the lexer it shares with shallow copies.
struct Lexer {
    start: Matcher,
    /// What finding states out has cost.
    fuel: u64,
}

impl Lexers {
    pub(crate) fn new(total: &FreeFuel) -> Self {
        Self {
            free: Mutex::default(),
            total: Arc::clone(total),
        }
    }

    fn free(&self) -> MutexGuard<'_, Vec<Lexer>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.free().len()
    }

    fn take(&self) -> Option<Lexer> {
        let lexer = self.free().pop()?;
        self.total.fetch_sub(lexer.fuel, Ordering::Relaxed);
        Some(lexer)
    }

    fn give(&self, lexer: Lexer) {
        let fuel = lexer.fuel;
        let before = self.total.fetch_add(fuel, Ordering::Relaxed);
        if before + fuel <= limits::FREE_LEXER_FUEL {
            self.free().push(lexer);
        } else {
            self.total.fetch_sub(fuel, Ordering::Relaxed);
        }
    }
}

impl Drop for Lexers {
    fn drop(&mut self) {
        let fuel = self.free().iter().map(|lexer| lexer.fuel).sum();
        self.total.fetch_sub(fuel, Ordering::Relaxed);
    }
}

/// See the module.
pub(crate) struct Follower {
    grammar: Arc<Compiled>,
    matcher: Matcher,
    /// None once it is given back.
    lexer: Option<Lexer>,
    sound: bool,
}

impl Follower {
    /// At the grammar's start.
    pub(crate) fn new(grammar: Arc<Compiled>) -> Self {
        let lexer = grammar.lexers.take().unwrap_or_else(|| Lexer {
            start: grammar.matcher.deep_clone(),
            // A copy's own size; what the grammar's first mask has found out counts with the grammar.
            fuel: limits::COPIED_LEXER_FUEL,
        });
        Self {
            matcher: lexer.start.clone(),
            lexer: Some(lexer),
            grammar,
            sound: true,
        }
    }

    /// Does something that may fail or panic, behind which the lexer is not what it should be.
    pub(crate) fn attempt<T, E>(
        &mut self,
        work: impl FnOnce(&mut Matcher) -> Result<T, E>,
    ) -> Result<T, E> {
        let was_sound = std::mem::replace(&mut self.sound, false);
        let done = work(&mut self.matcher)?;
        if let (Some(lexer), Ok(step)) = (&mut self.lexer, self.matcher.last_step_stats()) {
            lexer.fuel += step.lexer_cost;
            self.sound = was_sound;
        }
        Ok(done)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(lexer) = self.lexer.take()
            && self.sound
        {
            self.grammar.lexers.give(lexer);
        }
    }
}
