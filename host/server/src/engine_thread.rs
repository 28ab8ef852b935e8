//! The engine's own thread, and the handle through which request tasks reach it.
//!
//! Invariants: the thread never waits for a client. A sequence is stepped only while its lane has room for all that a
//! step may say of it; a slow reader's sequence is paused, never dropped and never buffered without bound. A sequence
//! whose reader is gone is aborted before the next step. Readers are woken when all that a step says is said.
//! Without work the thread sleeps. It knows no text: detokenizing and plugins run in the request's task.

use std::{
    collections::HashMap,
    mem,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    thread::{self, JoinHandle},
};

use futures_core::Stream;
use tokio::task::coop;
use weir_engine::{
    Engine, EngineCounters, EngineError, EngineFigures, GeneratedStream, Generator, Measurements,
    SequenceId, SequenceRequest, StepOutput,
};

mod lane;

use lane::{Lane, Reader};

/// Sequences submitted between two steps; what waits longer waits in the engine's own queue.
const INBOX_CAPACITY: usize = 1024;

/// Starts the engine's thread.
pub struct EngineThread;

impl EngineThread {
    /// Moves the engine to a thread of its own. The thread ends when [`EngineHandle::shutdown`] is called or the last
    /// handle and stream are gone.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn spawn(engine: Engine) -> std::io::Result<EngineHandle> {
        let shared = Arc::new(Shared::default());
        shared.lock().counters = engine.counters();
        let measurements = Arc::clone(engine.measurements());
        let worker = Worker {
            engine,
            shared: Arc::clone(&shared),
            readers: HashMap::new(),
            outputs: Vec::new(),
            wakers: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || worker.run())?;
        Ok(EngineHandle {
            inner: Arc::new(HandleInner {
                shared,
                measurements,
                thread: Mutex::new(Some(thread)),
            }),
        })
    }
}

/// What request tasks and the engine's thread share.
#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
}

#[derive(Default)]
struct Inbox {
    submissions: Vec<Submission>,
    /// A reader caught up or went away since the thread last looked.
    readers_changed: bool,
    /// No more submissions; the thread ends, or has ended.
    stopped: bool,
    /// The thread has ended because the engine panicked.
    panicked: bool,
    /// As of the last step.
    counters: EngineCounters,
}

/// Sequences that are queued together or not at all, and who reads them, in the same order.
struct Submission {
    requests: Vec<SequenceRequest>,
    readers: Vec<Reader>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    fn reader_changed(&self) {
        self.lock().readers_changed = true;
        self.wake.notify_one();
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_one();
    }
}

impl Inbox {
    /// Sequences the thread has not seen yet.
    fn queued(&self) -> usize {
        let sizes = self.submissions.iter().map(|group| group.requests.len());
        sizes.sum()
    }

    /// Why nothing more comes of a thread that is gone.
    fn end(&self) -> EngineError {
        match self.panicked {
            true => EngineError::Lost("its thread has panicked".to_owned()),
            false => EngineError::Stopped,
        }
    }
}

/// A panic elsewhere leaves no half-made change behind any of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The request tasks' side of the engine. Cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    inner: Arc<HandleInner>,
}

struct HandleInner {
    shared: Arc<Shared>,
    measurements: Arc<Measurements>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for HandleInner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl EngineHandle {
    /// The two ends of one sequence. The stream holds the handle, so that the thread outlives every stream.
    fn channel(&self) -> (Reader, GeneratedStream) {
        let lane = Arc::new(Lane::default());
        let stream = TokenStream {
            lane: Arc::clone(&lane),
            handle: Arc::clone(&self.inner),
            ended: false,
        };
        (Reader::new(lane), Box::pin(stream))
    }

    fn send(&self, submission: Submission) -> Result<(), EngineError> {
        let shared = &self.inner.shared;
        let mut inbox = shared.lock();
        if inbox.stopped {
            return Err(inbox.end());
        }
        let queued = inbox.queued();
        if queued + submission.requests.len() > INBOX_CAPACITY {
            return Err(EngineError::QueueFull {
                queued,
                limit: INBOX_CAPACITY,
            });
        }
        inbox.submissions.push(submission);
        drop(inbox);
        shared.wake.notify_one();
        Ok(())
    }

    /// What the engine was doing after its last step.
    pub fn counters(&self) -> EngineCounters {
        self.inner.shared.lock().counters
    }

    /// Ends the thread and waits for it, at most one step long. Running streams end with [`EngineError::Stopped`].
    pub fn shutdown(&self) {
        self.inner.shared.stop();
        let thread = lock(&self.inner.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the engine thread had panicked");
        }
    }
}

impl Generator for EngineHandle {
    /// A request that the engine refuses gets its error as the stream's first item.
    fn submit(&self, request: SequenceRequest) -> Result<GeneratedStream, EngineError> {
        let (reader, stream) = self.channel();
        self.send(Submission {
            requests: vec![request],
            readers: vec![reader],
        })?;
        Ok(stream)
    }

    fn submit_all(
        &self,
        requests: Vec<SequenceRequest>,
    ) -> Result<Vec<GeneratedStream>, EngineError> {
        let (readers, streams) = requests.iter().map(|_| self.channel()).unzip();
        self.send(Submission { requests, readers })?;
        Ok(streams)
    }

    fn figures(&self) -> Option<EngineFigures> {
        Some(EngineFigures {
            counters: self.counters(),
            measurements: Arc::clone(&self.inner.measurements),
        })
    }

    fn check(&self) -> Result<(), EngineError> {
        let inbox = self.inner.shared.lock();
        if inbox.panicked {
            return Err(inbox.end());
        }
        match inbox.counters.lost {
            true => Err(EngineError::Lost("its last step could not run".to_owned())),
            false => Ok(()),
        }
    }
}

/// The reader's end of one sequence.
struct TokenStream {
    lane: Arc<Lane>,
    handle: Arc<HandleInner>,
    ended: bool,
}

impl Stream for TokenStream {
    type Item = lane::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<lane::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // A reader that always finds something lets other tasks have their turns.
        let turn = ready!(coop::poll_proceed(context));
        let taken = ready!(self.lane.poll_take(context));
        turn.made_progress();
        if taken.caught_up {
            self.handle.shared.reader_changed();
        }
        // A lane that closes without an end: the thread is gone.
        let item = taken.item;
        let item = item.unwrap_or_else(|| Err(self.handle.shared.lock().end()));
        self.ended = lane::is_end(&item);
        Poll::Ready(Some(item))
    }
}

impl Drop for TokenStream {
    fn drop(&mut self) {
        if !self.ended {
            self.lane.leave();
            self.handle.shared.reader_changed();
        }
    }
}

/// The thread's side.
struct Worker {
    engine: Engine,
    shared: Arc<Shared>,
    readers: HashMap<SequenceId, Reader>,
    /// Of the step at hand.
    outputs: Vec<StepOutput>,
    /// Of those who wait for them.
    wakers: Vec<Waker>,
}

/// What came since the last step.
struct News {
    submissions: Vec<Submission>,
    readers_changed: bool,
}

impl Worker {
    fn run(mut self) {
        while let Some(news) = self.wait() {
            if !news.submissions.is_empty() {
                for submission in news.submissions {
                    self.admit(submission);
                }
                // A step may take long: who waits for it is seen meanwhile.
                self.publish_counters();
            }
            if news.readers_changed {
                self.look_at_readers();
            }
            self.engine.step_into(&mut self.outputs);
            // Before the outputs: whoever reads one finds it counted.
            self.publish_counters();
            self.deliver();
        }
    }

    fn publish_counters(&self) {
        self.shared.lock().counters = self.engine.counters();
    }

    /// What is new, once there is something to do; None to end.
    fn wait(&self) -> Option<News> {
        let idle = !self.engine.has_work();
        let inbox = self.shared.lock();
        let mut inbox = self
            .shared
            .wake
            .wait_while(inbox, |inbox| {
                idle && inbox.submissions.is_empty() && !inbox.readers_changed && !inbox.stopped
            })
            .unwrap_or_else(PoisonError::into_inner);
        (!inbox.stopped).then(|| News {
            submissions: mem::take(&mut inbox.submissions),
            readers_changed: mem::take(&mut inbox.readers_changed),
        })
    }

    fn admit(&mut self, submission: Submission) {
        let Submission { requests, readers } = submission;
        if readers.iter().all(|reader| reader.has_left()) {
            return;
        }
        match self.engine.add_all(requests) {
            Ok(ids) => self.readers.extend(ids.into_iter().zip(readers)),
            Err(error) => {
                for reader in readers {
                    reader.refuse(error.clone());
                }
            }
        }
    }

    /// Aborts the sequences whose readers are gone and resumes those whose readers caught up.
    fn look_at_readers(&mut self) {
        let engine = &mut self.engine;
        self.readers.retain(|&id, reader| {
            if reader.has_left() {
                engine.abort(id);
                return false;
            }
            if reader.goes_on() {
                engine.resume(id);
            }
            true
        });
    }

    /// Hands each output to its sequence's reader, pauses the sequences whose readers are slow, and wakes those who wait.
    fn deliver(&mut self) {
        let mut paused = false;
        for StepOutput { sequence, result } in self.outputs.drain(..) {
            let ended = lane::is_end(&result);
            let Some(reader) = self.readers.get(&sequence) else {
                continue;
            };
            // A reader that went away is looked after before the next step.
            let put = reader.put(result);
            self.wakers.extend(put.waker);
            if ended {
                self.readers.remove(&sequence);
            } else if put.full {
                self.engine.pause(sequence);
                paused = true;
            }
        }
        if paused {
            self.publish_counters();
        }
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl Drop for Worker {
    /// Also when the engine panicked: nobody new is taken, and whoever reads sees the lane close.
    fn drop(&mut self) {
        let mut inbox = self.shared.lock();
        inbox.stopped = true;
        inbox.panicked = thread::panicking();
        inbox.submissions.clear();
        inbox.counters = EngineCounters {
            blocks_total: inbox.counters.blocks_total,
            ..EngineCounters::default()
        };
    }
}
