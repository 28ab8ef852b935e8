//! The thread that embeds, and the handle through which request tasks reach it.
//!
//! Invariants: what waits is bounded. One pass takes the texts that wait, one of each request in turn, up to a number of
//! tokens: a request of a thousand texts delays one of a single text by a pass, not by a thousand texts. A request
//! whose client is gone is dropped before the next pass. Without work the thread sleeps.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;
use weir_engine::{EmbeddingInfo, EmbeddingRunner, EngineError};

/// Tokens of one pass; a single text may have more. Enough to read each matrix for many rows, few enough that who comes
/// next does not wait long.
const PASS_TOKENS: usize = 2048;

type Vectors = Result<Vec<Vec<f32>>, EngineError>;

/// The request tasks' side. Cheap to clone; the thread ends when the last one is gone.
#[derive(Clone)]
pub struct EmbeddingHandle {
    inner: Arc<HandleInner>,
}

struct HandleInner {
    shared: Arc<Shared>,
    info: EmbeddingInfo,
    max_queue: usize,
}

impl Drop for HandleInner {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.wake.notify_one();
    }
}

/// What request tasks and the thread share.
#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
}

#[derive(Default)]
struct Inbox {
    submitted: Vec<Job>,
    /// Requests that were submitted and have no answer yet.
    unfinished: usize,
    /// No more submissions; the thread ends, or has ended.
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        // A panic elsewhere leaves no half-made change behind the lock.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's texts.
struct Job {
    /// At least one.
    texts: Vec<Vec<u32>>,
    /// How many went into a pass; they go in order, so that `vectors` come in order.
    taken: usize,
    vectors: Vec<Vec<f32>>,
    sender: oneshot::Sender<Vectors>,
}

impl EmbeddingHandle {
    /// Moves the runner to a thread of its own. At most `max_queue` requests wait or run.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn spawn(runner: Box<dyn EmbeddingRunner>, max_queue: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let info = *runner.info();
        let worker = Worker {
            runner,
            shared: Arc::clone(&shared),
            jobs: BTreeMap::new(),
            turns: VecDeque::new(),
            next_job: 0,
        };
        thread::Builder::new()
            .name("embedding".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            inner: Arc::new(HandleInner {
                shared,
                info,
                max_queue,
            }),
        })
    }

    /// The model's sizes.
    pub fn info(&self) -> &EmbeddingInfo {
        &self.inner.info
    }

    /// Requests that wait or run.
    pub fn unfinished(&self) -> usize {
        self.inner.shared.lock().unfinished
    }

    /// One vector a text, in order. The texts fit the model; dropping the future gives the work up.
    ///
    /// # Errors
    /// [`EngineError::QueueFull`], [`EngineError::Runner`] or [`EngineError::Stopped`].
    pub async fn embed(&self, texts: Vec<Vec<u32>>) -> Vectors {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let receiver = self.submit(texts)?;
        // A channel that closes without an answer: the thread is gone.
        receiver.await.unwrap_or(Err(EngineError::Stopped))
    }

    fn submit(&self, texts: Vec<Vec<u32>>) -> Result<oneshot::Receiver<Vectors>, EngineError> {
        let (sender, receiver) = oneshot::channel();
        let HandleInner {
            shared, max_queue, ..
        } = &*self.inner;
        {
            let mut inbox = shared.lock();
            if inbox.stopped {
                return Err(EngineError::Stopped);
            }
            if inbox.unfinished >= *max_queue {
                return Err(EngineError::QueueFull {
                    queued: inbox.unfinished,
                    limit: *max_queue,
                });
            }
            inbox.unfinished += 1;
            inbox.submitted.push(Job {
                vectors: Vec::with_capacity(texts.len()),
                texts,
                taken: 0,
                sender,
            });
        }
        shared.wake.notify_one();
        Ok(receiver)
    }
}

/// The thread's side.
struct Worker {
    runner: Box<dyn EmbeddingRunner>,
    shared: Arc<Shared>,
    /// The requests without an answer, by number.
    jobs: BTreeMap<u64, Job>,
    /// Requests with texts that were not taken, in the order in which they may give one.
    turns: VecDeque<u64>,
    next_job: u64,
}

/// However the thread ends, nobody waits for it any more.
impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
    }
}

impl Worker {
    fn run(mut self) {
        while let Some(submitted) = self.wait() {
            for job in submitted {
                self.jobs.insert(self.next_job, job);
                self.turns.push_back(self.next_job);
                self.next_job += 1;
            }
            self.drop_abandoned();
            let pass = self.next_pass();
            if pass.is_empty() {
                continue;
            }
            let texts: Vec<&[u32]> = pass
                .iter()
                .map(|(job, text)| self.jobs[job].texts[*text].as_slice())
                .collect();
            match self.runner.embed(&texts) {
                Ok(vectors) => self.deliver(&pass, vectors),
                Err(error) => self.fail(&pass, &error),
            }
        }
    }

    /// What was submitted since the last pass, once there is something to do; None to end.
    fn wait(&self) -> Option<Vec<Job>> {
        let idle = self.jobs.is_empty();
        let inbox = self.shared.lock();
        let mut inbox = self
            .shared
            .wake
            .wait_while(inbox, |inbox| {
                idle && inbox.submitted.is_empty() && !inbox.stopped
            })
            .unwrap_or_else(PoisonError::into_inner);
        (!inbox.stopped).then(|| mem::take(&mut inbox.submitted))
    }

    fn drop_abandoned(&mut self) {
        let abandoned: Vec<u64> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.sender.is_closed())
            .map(|(number, _)| *number)
            .collect();
        for number in abandoned {
            self.remove(number);
        }
    }

    /// The texts of the next pass, as numbers of request and text.
    fn next_pass(&mut self) -> Vec<(u64, usize)> {
        let mut pass = Vec::new();
        let mut tokens = 0;
        while let Some(number) = self.turns.front().copied()
            && let Some(job) = self.jobs.get_mut(&number)
        {
            tokens += job.texts[job.taken].len();
            if tokens > PASS_TOKENS && !pass.is_empty() {
                break;
            }
            pass.push((number, job.taken));
            job.taken += 1;
            self.turns.pop_front();
            if job.taken < job.texts.len() {
                self.turns.push_back(number);
            }
        }
        pass
    }

    fn deliver(&mut self, pass: &[(u64, usize)], vectors: Vec<Vec<f32>>) {
        for ((number, _), vector) in pass.iter().zip(vectors) {
            let Some(job) = self.jobs.get_mut(number) else {
                continue;
            };
            job.vectors.push(vector);
            if job.vectors.len() == job.texts.len()
                && let Some(job) = self.remove(*number)
            {
                // A client that went away wants no answer.
                drop(job.sender.send(Ok(job.vectors)));
            }
        }
    }

    fn fail(&mut self, pass: &[(u64, usize)], error: &EngineError) {
        for (number, _) in pass {
            if let Some(job) = self.remove(*number) {
                drop(job.sender.send(Err(error.clone())));
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Job> {
        let job = self.jobs.remove(&number)?;
        self.turns.retain(|turn| *turn != number);
        self.shared.lock().unfinished -= 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests;
