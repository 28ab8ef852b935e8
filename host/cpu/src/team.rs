//! A team of threads that lives as long as its owner and runs one closure at a time, all of them together.
//!
//! The calling thread is worker 0, so a team of one has no thread at all. Between two closures the others sleep. A
//! panic in a worker ends the closure for all of them, is reported to the caller, and ends the team.
#![allow(
    unsafe_code,
    reason = "threads that outlive a call borrow what the call borrows"
)]

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use crate::barrier::{Abandoned, Barrier};

/// What all workers run: their number, from 0, and the barrier they meet at.
type Work<'a> = dyn Fn(usize, &Barrier) -> Result<(), Abandoned> + Sync + 'a;

/// A closure on its way to a thread.
struct Job(*const Work<'static>);

// SAFETY: the closure is `Sync`, and `Team::run` keeps it alive until every thread has answered.
unsafe impl Send for Job {}

/// The threads, and the barrier they meet at.
#[derive(Debug)]
pub(crate) struct Team {
    barrier: Arc<Barrier>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    jobs: Option<SyncSender<Job>>,
    /// Whether it got the job at hand.
    working: bool,
    answers: Receiver<Result<(), String>>,
    thread: Option<JoinHandle<()>>,
}

impl Team {
    /// Starts `workers - 1` threads; 0 workers are 1.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn new(workers: usize) -> std::io::Result<Self> {
        let workers = workers.max(1);
        let barrier = Arc::new(Barrier::new(workers));
        let members = (1..workers)
            .map(|index| Member::start(index, Arc::clone(&barrier)))
            .collect::<Result<_, _>>()?;
        Ok(Self { barrier, members })
    }

    /// How many workers there are, the caller among them.
    pub(crate) fn workers(&self) -> usize {
        self.members.len() + 1
    }

    /// Runs `work` on every worker and waits for all of them.
    ///
    /// # Errors
    /// The message of a worker's panic, of this run or an earlier one.
    pub(crate) fn run(&mut self, work: &Work<'_>) -> Result<(), String> {
        let job: *const Work<'_> = work;
        // SAFETY: only the lifetime changes. Below, this function waits for an answer of every thread that got the
        // pointer, and a thread answers when it has done with it.
        let job: *const Work<'static> = unsafe { std::mem::transmute(job) };
        for member in &mut self.members {
            let jobs = member.jobs.as_ref();
            member.working = jobs.is_some_and(|jobs| jobs.send(Job(job)).is_ok());
        }
        if self.members.iter().any(|member| !member.working) {
            self.barrier.abandon();
        }
        let own = answer(work, 0, &self.barrier);
        let others = self.members.iter().map(|member| {
            let gone = || Err("a worker of the team is gone".to_owned());
            if !member.working {
                return gone();
            }
            member.answers.recv().unwrap_or_else(|_| gone())
        });
        others.fold(own, Result::and)
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        for member in &mut self.members {
            member.jobs = None;
            if let Some(thread) = member.thread.take() {
                // A panic was answered already.
                let _ = thread.join();
            }
        }
    }
}

impl Member {
    fn start(index: usize, barrier: Arc<Barrier>) -> std::io::Result<Self> {
        // One place each, made once: a channel without bounds would allocate from time to time.
        let (jobs, inbox) = sync_channel::<Job>(1);
        let (outbox, answers) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("weir-cpu-{index}"))
            .spawn(move || {
                for Job(work) in inbox {
                    // SAFETY: `Team::run` waits for the answer that follows, so the closure is alive.
                    let work = unsafe { &*work };
                    if outbox.send(answer(work, index, &barrier)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            jobs: Some(jobs),
            working: false,
            answers,
            thread: Some(thread),
        })
    }
}

/// Runs one worker's part; a panic lets the others go.
fn answer(work: &Work<'_>, index: usize, barrier: &Barrier) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| work(index, barrier))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Abandoned)) => Err("another worker of the team has panicked".to_owned()),
        Err(panic) => {
            barrier.abandon();
            Err(message(&*panic))
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a worker has panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_worker_sees_what_all_wrote_before_the_barrier() {
        for workers in [1, 2, 5] {
            let mut team = Team::new(workers).unwrap();
            for _ in 0..50 {
                let written: Vec<_> = (0..workers).map(|_| AtomicUsize::new(0)).collect();
                team.run(&|index, barrier| {
                    for round in 1..20 {
                        written[index].store(round, Ordering::Relaxed);
                        barrier.wait()?;
                        assert!(written.iter().all(|w| w.load(Ordering::Relaxed) == round));
                        barrier.wait()?;
                    }
                    Ok(())
                })
                .unwrap();
            }
        }
    }

    #[test]
    fn a_sleeper_is_woken() {
        let mut team = Team::new(3).unwrap();
        for late in 0..3 {
            team.run(&|index, barrier| {
                if index == late {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                barrier.wait()
            })
            .unwrap();
        }
    }

    #[test]
    fn a_panic_ends_the_run_and_not_the_process() {
        let mut team = Team::new(3).unwrap();
        let outcome = team.run(&|index, barrier| {
            assert!(index != 1, "by hand");
            barrier.wait()
        });
        assert!(outcome.is_err());
        // The team is of no more use, and says so.
        assert!(team.run(&|_, barrier| barrier.wait()).is_err());
    }
}
