//! The engine's own thread, and the handle through which request tasks reach it.
//!
//! Invariants: the thread never waits for a client. A sequence is stepped only while its channel has room for all that a
//! step may say of it; a slow reader's sequence is paused, never dropped and never buffered without bound. A sequence
//! whose reader is gone is aborted before the next step. Without work the thread sleeps.
//! It knows no text: detokenizing and plugins run in the request's task.

use std::{
    collections::HashMap,
    mem,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    thread::{self, JoinHandle},
};

use futures_core::Stream;
use tokio::sync::mpsc;
use weir_engine::{
    Engine, EngineCounters, EngineError, EngineFigures, Generated, GeneratedStream, Generator,
    Measurements, SequenceId, SequenceRequest, StepOutput,
};

/// Items a reader may lag behind before its sequence is paused.
const CHANNEL_CAPACITY: usize = 64;
/// What one step may say of one sequence: what its prompt scored, a token and the end.
const ITEMS_PER_STEP: usize = 3;
/// Free places at which a paused sequence goes on.
const RESUME_CAPACITY: usize = CHANNEL_CAPACITY / 2;
/// Sequences submitted between two steps; what waits longer waits in the engine's own queue.
const INBOX_CAPACITY: usize = 1024;

type Item = Result<Generated, EngineError>;

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

/// Whether a sequence waits for its reader. Both sides look at the channel's room only while they hold the gate, so a
/// reader that made room before the pause is seen by the thread, and one that makes it after sees the pause.
#[derive(Default)]
struct Gate {
    paused: bool,
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
        let (sender, receiver) = mpsc::channel(CHANNEL_CAPACITY);
        let gate = Arc::new(Mutex::new(Gate::default()));
        let stream = TokenStream {
            receiver,
            gate: Arc::clone(&gate),
            handle: Arc::clone(&self.inner),
            ended: false,
        };
        (Reader { sender, gate }, Box::pin(stream))
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
    receiver: mpsc::Receiver<Item>,
    gate: Arc<Mutex<Gate>>,
    handle: Arc<HandleInner>,
    ended: bool,
}

impl Stream for TokenStream {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(item) = self.receiver.poll_recv(context) else {
            return Poll::Pending;
        };
        // A channel that closes without an end: the thread is gone.
        let item = item.unwrap_or_else(|| Err(self.handle.shared.lock().end()));
        self.ended = matches!(item, Err(_) | Ok(Generated::Finished { .. }));
        let caught_up = {
            let gate = lock(&self.gate);
            gate.paused && self.receiver.capacity() >= RESUME_CAPACITY
        };
        if caught_up {
            self.handle.shared.reader_changed();
        }
        Poll::Ready(Some(item))
    }
}

impl Drop for TokenStream {
    fn drop(&mut self) {
        if !self.ended {
            self.receiver.close();
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
}

struct Reader {
    sender: mpsc::Sender<Item>,
    gate: Arc<Mutex<Gate>>,
}

impl Worker {
    fn run(mut self) {
        while let Some(submissions) = self.wait() {
            for submission in submissions {
                self.admit(submission);
            }
            self.look_at_readers();
            self.engine.step_into(&mut self.outputs);
            // Before the outputs: whoever reads one finds it counted.
            self.publish_counters();
            self.deliver();
            self.pause_slow_readers();
            self.publish_counters();
        }
    }

    fn publish_counters(&self) {
        self.shared.lock().counters = self.engine.counters();
    }

    /// What was submitted since the last step, once there is something to do; None to end.
    fn wait(&self) -> Option<Vec<Submission>> {
        let idle = !self.engine.has_work();
        let inbox = self.shared.lock();
        let mut inbox = self
            .shared
            .wake
            .wait_while(inbox, |inbox| {
                idle && inbox.submissions.is_empty() && !inbox.readers_changed && !inbox.stopped
            })
            .unwrap_or_else(PoisonError::into_inner);
        inbox.readers_changed = false;
        (!inbox.stopped).then(|| mem::take(&mut inbox.submissions))
    }

    fn admit(&mut self, submission: Submission) {
        let Submission { requests, readers } = submission;
        if readers.iter().all(|reader| reader.sender.is_closed()) {
            return;
        }
        match self.engine.add_all(requests) {
            Ok(ids) => self.readers.extend(ids.into_iter().zip(readers)),
            Err(error) => {
                for reader in readers {
                    // The channel is new and has room; a reader that has gone meanwhile needs no answer.
                    drop(reader.sender.try_send(Err(error.clone())));
                }
            }
        }
    }

    /// Aborts the sequences whose readers are gone and resumes those whose readers caught up.
    fn look_at_readers(&mut self) {
        let engine = &mut self.engine;
        self.readers.retain(|&id, reader| {
            if reader.sender.is_closed() {
                engine.abort(id);
                return false;
            }
            let mut gate = lock(&reader.gate);
            if gate.paused && reader.sender.capacity() >= RESUME_CAPACITY {
                gate.paused = false;
                engine.resume(id);
            }
            true
        });
    }

    /// Hands each output to its sequence's reader.
    fn deliver(&mut self) {
        for StepOutput { sequence, result } in self.outputs.drain(..) {
            let ended = matches!(result, Err(_) | Ok(Generated::Finished { .. }));
            let Some(reader) = self.readers.get(&sequence) else {
                continue;
            };
            // There is room: a sequence without it is paused. A reader that went away is looked after before the next step.
            if let Err(mpsc::error::TrySendError::Full(_)) = reader.sender.try_send(result) {
                unreachable!("a sequence was stepped without room in its channel");
            }
            if ended {
                self.readers.remove(&sequence);
            }
        }
    }

    fn pause_slow_readers(&mut self) {
        for (&id, reader) in &self.readers {
            let mut gate = lock(&reader.gate);
            if !gate.paused && reader.sender.capacity() < ITEMS_PER_STEP {
                gate.paused = true;
                self.engine.pause(id);
            }
        }
    }
}

impl Drop for Worker {
    /// Also when the engine panicked: nobody new is taken, and whoever reads sees the channel close.
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
