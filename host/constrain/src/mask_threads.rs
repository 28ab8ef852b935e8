//! The few threads on which masks are computed while the model runs.
//!
//! They end with the last handle. A job that panics ends itself only.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use crate::ConstrainError;

type Job = Box<dyn FnOnce() + Send>;

/// One is not enough, since a mask may take long, and more than a few are the model's.
const FEWEST: usize = 2;
const MOST: usize = 4;

/// A handle.
#[derive(Debug)]
pub(crate) struct MaskThreads {
    jobs: Sender<Job>,
}

impl MaskThreads {
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start() -> Result<Self, ConstrainError> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let cores = thread::available_parallelism().map_or(FEWEST, usize::from);
        for index in 0..(cores / 4).clamp(FEWEST, MOST) {
            let queue = Arc::clone(&queue);
            let thread = thread::Builder::new().name(format!("weir-mask-{index}"));
            let thread = thread.spawn(move || while work(&queue) {});
            thread.map_err(|error| ConstrainError::Internal(error.to_string()))?;
        }
        Ok(Self { jobs })
    }

    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        // Threads end behind the last sender only, and a job that panics does not end one.
        let _ = self.jobs.send(Box::new(job));
    }
}

/// Does one job; false when there will be none.
fn work(queue: &Mutex<Receiver<Job>>) -> bool {
    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let Ok(job) = job else {
        return false;
    };
    // Whoever waits learns of it from what the job leaves behind.
    let _ = catch_unwind(AssertUnwindSafe(job));
    true
}
