//! The few threads on which grammars go on and masks are computed while the model runs.
//!
//! What a step waits for comes before what is only wanted when it is over: all sequences' forced tokens before any mask. The
//! threads end with the last handle. A job that panics ends itself only.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::ConstrainError;

type Job = Box<dyn FnOnce() + Send>;

/// One is not enough, since a mask may take long, and more than a few are the model's.
const FEWEST: usize = 2;
const MOST: usize = 4;

/// A handle.
pub(crate) struct MaskThreads(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    first: VecDeque<Job>,
    then: VecDeque<Job>,
    over: bool,
}

impl MaskThreads {
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start() -> Result<Self, ConstrainError> {
        let threads = Self(Arc::default());
        let cores = thread::available_parallelism().map_or(FEWEST, usize::from);
        for index in 0..(cores / 4).clamp(FEWEST, MOST) {
            let shared = Arc::clone(&threads.0);
            let thread = thread::Builder::new().name(format!("weir-mask-{index}"));
            let thread = thread.spawn(move || shared.work());
            thread.map_err(|error| ConstrainError::Internal(error.to_string()))?;
        }
        Ok(threads)
    }

    /// Does it before all that can wait.
    pub(crate) fn run_first(&self, job: impl FnOnce() + Send + 'static) {
        self.0.queue().first.push_back(Box::new(job));
        self.0.changed.notify_one();
    }

    /// Does it when nothing else is to be done first.
    pub(crate) fn run_then(&self, job: impl FnOnce() + Send + 'static) {
        self.0.queue().then.push_back(Box::new(job));
        self.0.changed.notify_one();
    }
}

impl Drop for MaskThreads {
    fn drop(&mut self) {
        self.0.queue().over = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does jobs until there are none and will be none.
    fn work(&self) {
        while let Some(job) = self.next() {
            // Whoever waits learns of it from what the job leaves behind.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            let job = queue.first.pop_front();
            if let Some(job) = job.or_else(|| queue.then.pop_front()) {
                return Some(job);
            }
            if queue.over {
                return None;
            }
            let waited = self.changed.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}
