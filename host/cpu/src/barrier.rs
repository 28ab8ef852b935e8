//! A barrier for workers that meet every few microseconds: it spins for that long, then sleeps.
//!
//! Spinning alone collapses on a busy machine, where the one waited for may not even run; sleeping alone costs more than
//! the work between two meetings. A worker that panics abandons the barrier, so that the others do not wait forever.

use std::sync::{
    Condvar, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Looks at the barrier before a worker sleeps: some 10 microseconds, as one pause takes 40 to 70 cycles.
const SPINS: u32 = 600;

/// A meeting point of a fixed number of workers, used again and again.
#[derive(Debug)]
pub(crate) struct Barrier {
    workers: usize,
    arrived: AtomicUsize,
    /// How many meetings there were; waiting is waiting for it to change.
    meetings: AtomicUsize,
    sleeping: AtomicUsize,
    abandoned: AtomicBool,
    lock: Mutex<()>,
    woken: Condvar,
}

/// Another worker has panicked: this step will not be finished.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl Barrier {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            arrived: AtomicUsize::new(0),
            meetings: AtomicUsize::new(0),
            sleeping: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
            lock: Mutex::new(()),
            woken: Condvar::new(),
        }
    }

    /// Waits until all workers are here. What any of them wrote before is visible to all of them after.
    pub(crate) fn wait(&self) -> Result<(), Abandoned> {
        if self.workers == 1 {
            return Ok(());
        }
        let meeting = self.meetings.load(Ordering::SeqCst);
        if self.arrived.fetch_add(1, Ordering::SeqCst) + 1 == self.workers {
            self.arrived.store(0, Ordering::SeqCst);
            self.meetings
                .store(meeting.wrapping_add(1), Ordering::SeqCst);
            self.wake();
        } else {
            wait_until(
                || self.meetings.load(Ordering::SeqCst) != meeting || self.is_abandoned(),
                self,
            );
        }
        if self.is_abandoned() {
            Err(Abandoned)
        } else {
            Ok(())
        }
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

    fn wake(&self) {
        // A sleeper counts itself before it looks for the last time, so one of the two sees the other.
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.woken.notify_all();
        }
    }
}

fn wait_until(is_over: impl Fn() -> bool, barrier: &Barrier) {
    for _ in 0..SPINS {
        if is_over() {
            return;
        }
        std::hint::spin_loop();
    }
    let mut guard = barrier.lock.lock().unwrap_or_else(PoisonError::into_inner);
    barrier.sleeping.fetch_add(1, Ordering::SeqCst);
    while !is_over() {
        guard = barrier
            .woken
            .wait(guard)
            .unwrap_or_else(PoisonError::into_inner);
    }
    barrier.sleeping.fetch_sub(1, Ordering::SeqCst);
}
