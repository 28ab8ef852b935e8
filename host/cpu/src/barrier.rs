//! Where a team's workers share out a phase of work and wait for its end: they spin for some microseconds, then sleep.
//!
//! Invariant: a phase is over when all its pieces are done, not when all workers have come. On a busy machine a worker may
//! not run for milliseconds; while it holds no piece, nobody waits for it, and when it runs again it passes over the phases
//! that are over. Spinning alone collapses there, where the one waited for may not even run; sleeping alone costs more than
//! the work between two waits. A worker that panics abandons the barrier, so that the others do not wait forever.

use std::{
    ops::Range,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Looks at a phase before a worker sleeps: some 10 microseconds, as one pause takes 40 to 70 cycles.
const SPINS: u32 = 600;

/// What is taken and what is done of a phase's pieces.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    taken: AtomicUsize,
    done: AtomicUsize,
}

impl Phase {
    /// As if nothing had been taken.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Where the workers of a team wait, phase after phase.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    sleeping: AtomicUsize,
    abandoned: AtomicBool,
    lock: Mutex<()>,
    woken: Condvar,
}

/// Another worker has panicked: this step will not be finished.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl Barrier {
    /// Takes pieces of `size` of `0..total` until none is left, then waits until those of all workers are done. What any
    /// of them wrote in the phase is visible to all of them after. `total` and `size` are the same for every worker.
    pub(crate) fn share(
        &self,
        phase: &Phase,
        total: usize,
        size: usize,
        mut body: impl FnMut(Range<usize>),
    ) -> Result<(), Abandoned> {
        let is_over = || phase.done.load(Ordering::SeqCst) >= total;
        // So that a late worker only reads what is over.
        if is_over() {
            return self.check();
        }
        let mut own = 0;
        loop {
            let start = phase.taken.fetch_add(size, Ordering::Relaxed);
            if start >= total {
                break;
            }
            let piece = start..(start + size).min(total);
            own += piece.len();
            body(piece);
        }
        if own > 0 && phase.done.fetch_add(own, Ordering::SeqCst) + own == total {
            self.wake();
        } else {
            self.wait_until(|| is_over() || self.is_abandoned());
        }
        self.check()
    }

    /// Lets everybody go who waits or will wait.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether somebody gave it up: it is of no more use.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), Abandoned> {
        if self.is_abandoned() {
            Err(Abandoned)
        } else {
            Ok(())
        }
    }

    fn wake(&self) {
        // A sleeper counts itself before it looks for the last time, so one of the two sees the other.
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.woken.notify_all();
        }
    }

    fn wait_until(&self, is_over: impl Fn() -> bool) {
        for _ in 0..SPINS {
            if is_over() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        while !is_over() {
            guard = self
                .woken
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
    }
}
