//! A team of threads that lives as long as its owner and runs one closure at a time, all of them together.
//!
//! The calling thread is worker 0, so a team of one has no thread at all. Between two closures the others sleep. A
//! panic in a worker ends the closure for all of them and is reported to the caller; the next closure gets new threads and
//! a new barrier, because nobody knows how far the old ones came.
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

use thiserror::Error;

use crate::barrier::{Abandoned, Barrier};

/// What all workers run: their number, from 0, and the barrier they meet at.
type Work<'a> = dyn Fn(usize, &Barrier) -> Result<(), Abandoned> + Sync + 'a;

/// How one worker's part ended: a panic's message, None where another's panic ended it.
type Answer = Result<(), Option<String>>;

/// A closure on its way to a thread.
struct Job(*const Work<'static>);

// SAFETY: the closure is `Sync`, and `Team::run` keeps it alive until every thread has answered.
unsafe impl Send for Job {}

/// Why a closure did not run to its end on every worker.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TeamError {
    /// One of them panicked; the next closure may fare better.
    #[error("{0}")]
    Panicked(String),
    /// The team had to be renewed, and the system gives no thread.
    #[error("the system gives no thread: {0}")]
    NoThread(String),
}

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
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

impl Team {
    /// Starts `workers - 1` threads; 0 workers are 1.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn new(workers: usize) -> std::io::Result<Self> {
        let workers = workers.max(1);
        let barrier = Arc::<Barrier>::default();
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
    /// The message of a worker's panic, or that there are no threads for a team that had panicked before.
    pub(crate) fn run(&mut self, work: &Work<'_>) -> Result<(), TeamError> {
        if self.barrier.is_abandoned() {
            let renewed = Self::new(self.workers());
            *self = renewed.map_err(|error| TeamError::NoThread(error.to_string()))?;
        }
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
        let mut failures: Vec<Option<String>> = own.err().into_iter().collect();
        for member in &self.members {
            let answer = member.working.then(|| member.answers.recv().ok());
            let answer = answer.flatten();
            let gone = || Err(Some("a worker of the team is gone".to_owned()));
            failures.extend(answer.unwrap_or_else(gone).err());
        }
        if failures.is_empty() {
            return Ok(());
        }
        // Who ended because another panicked has nothing to say of it.
        let message = failures.into_iter().flatten().next();
        Err(TeamError::Panicked(message.unwrap_or_default()))
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
fn answer(work: &Work<'_>, index: usize, barrier: &Barrier) -> Answer {
    match catch_unwind(AssertUnwindSafe(|| work(index, barrier))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Abandoned)) => Err(None),
        Err(panic) => {
            barrier.abandon();
            Err(Some(message(&*panic)))
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
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::barrier::Phase;

    fn phases<const COUNT: usize>() -> [Phase; COUNT] {
        std::array::from_fn(|_| Phase::default())
    }

    #[test]
    fn every_worker_sees_what_was_written_in_the_phases_before() {
        const PIECES: usize = 7;
        for workers in [1, 2, 5] {
            let mut team = Team::new(workers).unwrap();
            for _ in 0..50 {
                let phases = phases::<20>();
                let written: Vec<_> = (0..PIECES).map(|_| AtomicUsize::new(0)).collect();
                team.run(&|_, barrier| {
                    for (round, phase) in phases.iter().enumerate() {
                        barrier.share(phase, PIECES, 2, |piece| {
                            for index in piece {
                                let before = written[index].fetch_add(1, Ordering::Relaxed);
                                assert_eq!(before, round);
                            }
                        })?;
                        let least = written.iter().map(|w| w.load(Ordering::Relaxed)).min();
                        assert!(least > Some(round));
                    }
                    Ok(())
                })
                .unwrap();
                assert!(written.iter().all(|w| w.load(Ordering::Relaxed) == 20));
            }
        }
    }

    #[test]
    fn a_sleeper_is_woken() {
        let mut team = Team::new(3).unwrap();
        for _ in 0..3 {
            let phases = phases::<2>();
            team.run(&|_, barrier| {
                for phase in &phases {
                    barrier.share(phase, 3, 1, |piece| {
                        let slow = u64::from(piece.start == 0);
                        std::thread::sleep(Duration::from_millis(20 * slow));
                    })?;
                }
                Ok(())
            })
            .unwrap();
        }
    }

    #[test]
    fn nobody_waits_for_a_worker_that_holds_no_piece() {
        let mut team = Team::new(2).unwrap();
        let phases = phases::<10>();
        let over = AtomicUsize::new(0);
        team.run(&|index, barrier| {
            // The second comes when all is over: it waits for the first, which so cannot wait for it.
            while index == 1 && over.load(Ordering::SeqCst) < phases.len() {
                std::thread::yield_now();
            }
            for phase in &phases {
                barrier.share(phase, 4, 1, |_| assert_eq!(index, 0))?;
                if index == 0 {
                    over.fetch_add(1, Ordering::SeqCst);
                }
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_panic_ends_the_run_and_the_next_run_has_a_new_team() {
        for workers in [1, 3] {
            let mut team = Team::new(workers).unwrap();
            for culprit in 0..workers {
                // Whoever has the phase's one piece has it until somebody has panicked.
                let first = Phase::default();
                let outcome = team.run(&|index, barrier| {
                    assert!(index != culprit, "by hand");
                    barrier.share(&first, workers, workers, |_| {
                        while !barrier.is_abandoned() {
                            std::thread::yield_now();
                        }
                    })
                });
                let Err(TeamError::Panicked(message)) = outcome else {
                    panic!("{outcome:?}");
                };
                assert!(message.contains("by hand"), "{message}");
                let (second, ran) = (Phase::default(), AtomicUsize::new(0));
                team.run(&|_, barrier| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    barrier.share(&second, workers, 1, drop)
                })
                .unwrap();
                assert_eq!(ran.into_inner(), workers);
            }
        }
    }
}
