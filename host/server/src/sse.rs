//! Server-sent events: what an API makes of a generation's steps, and keep-alive comments between.
//!
//! Invariants: nothing is sent before the first token, so that an error up to there has its HTTP status; an error after
//! it ends the stream; dropping the response aborts the generation. What is there goes out at once, and in one piece: a client
//! that keeps up gets each token by itself, one that does not gets as many events as there are. Text is made in the rounds of
//! `sse/rounds`, never for a client that has not taken what there is. An API whose chunks are
//! `data:` lines (chat, completions) says what they hold in [`Chunks`]; one that names its events and has its own ending says
//! so in [`Events`].

use std::{
    io, mem,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use futures_util::StreamExt;
use hyper::body::Frame;
use serde_json::Value;
use tokio::time::{Instant, Sleep, sleep, timeout};
use weir_engine::EngineError;

use crate::{
    error::ApiError,
    generation::{Step, Steps},
    state::RequestGuard,
};

mod event_text;
mod rounds;
#[cfg(test)]
mod tests;

pub use event_text::{ChunkFrame, EventText};
pub use rounds::Rounds;
use rounds::{Queue, Writer};

/// Events are put together until they have so many bytes.
const FULL_PIECE: usize = 16 << 10;

/// Turns steps into the events of one API.
pub trait Events: Send + Unpin + 'static {
    /// Writes the events of a step; may be none.
    fn step(&mut self, step: Step, text: &mut EventText);

    /// Writes what follows the last choice's end.
    fn end(&mut self, text: &mut EventText);

    /// Writes what ends the stream in place of steps that fail to come.
    fn fail(&mut self, error: ApiError, text: &mut EventText);

    /// Writes what comes before the first step's.
    fn before(&self, _text: &mut EventText) {}

    /// Writes what fills a silence: a comment, unless the API has an event for it.
    fn silence(text: &mut EventText) {
        text.comment();
    }
}

/// Turns steps into the chunks of one API: `data:` lines, `[DONE]` behind them or `event: error` in its place.
pub trait Chunks: Send + Unpin + 'static {
    /// Writes the chunks of a step; may be none.
    fn step(&mut self, step: Step, text: &mut EventText);

    /// Writes what follows the last choice's end, before `[DONE]`.
    fn end(&mut self, text: &mut EventText);

    /// Events of their own names before the first chunk.
    fn before(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// The same behind the last.
    fn after(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}

impl<C: Chunks> Events for C {
    fn step(&mut self, step: Step, text: &mut EventText) {
        Chunks::step(self, step, text);
    }

    fn end(&mut self, text: &mut EventText) {
        Chunks::end(self, text);
        for (name, value) in Chunks::after(self) {
            text.named(name, &value);
        }
        text.done();
    }

    fn before(&self, text: &mut EventText) {
        for (name, value) in Chunks::before(self) {
            text.named(name, &value);
        }
    }

    fn fail(&mut self, error: ApiError, text: &mut EventText) {
        text.named("error", &error.into_envelope());
    }
}

/// Waits for the first token, then answers with the stream of events. Once the wait has been as long as a silence may be, the
/// stream begins without it: clients and proxies give up on a server that says nothing.
///
/// # Errors
/// Whatever happened in that time.
pub async fn respond<E: Events>(
    mut steps: Steps,
    mut events: E,
    keep_alive: Duration,
    guard: RequestGuard,
) -> Result<Response, ApiError> {
    let first = match timeout(keep_alive, steps.next()).await {
        Ok(step) => Some(step.unwrap_or(Err(EngineError::Stopped.into()))?),
        Err(_) => None,
    };
    let mut text = EventText::default();
    events.before(&mut text);
    match first {
        Some(step) => events.step(step, &mut text),
        None => E::silence(&mut text),
    }
    let body = EventStream {
        shared: Arc::new(Shared {
            writing: Mutex::new(Some(Writing::new(steps, events, text, keep_alive))),
            queued: AtomicBool::new(false),
            queue: guard.state().rounds.queue(),
        }),
        guard: Some(guard),
    };
    let mut response = Response::new(Body::new(body));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // Proxies of nginx's kind hold streams back otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    Ok(response)
}

/// The body of a streamed answer.
struct EventStream<E: Events> {
    shared: Arc<Shared<E>>,
    /// Counts the request as running until the last event is taken.
    guard: Option<RequestGuard>,
}

/// What the body and the rounds in which its text is made share. It is what the steps wake.
struct Shared<E> {
    /// None once the body is gone: what it holds knows whom to wake, and that is this.
    writing: Mutex<Option<Writing<E>>>,
    /// It waits for its turn.
    queued: AtomicBool,
    queue: Arc<Queue>,
}

/// A streamed answer in the making.
struct Writing<E> {
    /// What comes, and what is made of it; None once the last event was written.
    running: Option<(Steps, E)>,
    /// The steps will wake when there is another.
    asked: bool,
    /// Whatever made the text has panicked.
    broken: bool,
    /// Written and not sent.
    text: EventText,
    /// Who sends, if it waits.
    sender: Option<Waker>,
    keep_alive: Duration,
    /// When something was sent last.
    sent: Instant,
    /// Wakes at a time when there may have been silence for long enough. Setting it anew for every event would cost more
    /// than looking at the clock once it rings.
    silence: Pin<Box<Sleep>>,
    /// It was polled, and wakes by itself.
    silence_set: bool,
}

impl<E: Events> Writing<E> {
    fn new(steps: Steps, events: E, text: EventText, keep_alive: Duration) -> Self {
        Self {
            running: Some((steps, events)),
            asked: false,
            broken: false,
            text,
            sender: None,
            keep_alive,
            sent: Instant::now(),
            silence: Box::pin(sleep(keep_alive)),
            silence_set: false,
        }
    }

    /// Writes the events of all steps that are there.
    fn gather(&mut self, context: &mut Context<'_>) {
        self.asked = false;
        while self.text.len() < FULL_PIECE
            && let Some((steps, events)) = &mut self.running
        {
            let text = &mut self.text;
            match steps.poll_next_unpin(context) {
                Poll::Pending => {
                    self.asked = true;
                    return;
                }
                Poll::Ready(Some(Ok(step))) => {
                    events.step(step, text);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => events.fail(error, text),
                Poll::Ready(None) => events.end(text),
            }
            self.running = None;
        }
    }

    /// Writes what fills a silence, once there was one.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if mem::replace(&mut self.silence_set, true) && !self.silence.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            ready!(self.silence.as_mut().poll(context));
            let end = self.sent + self.keep_alive;
            if end <= Instant::now() {
                E::silence(&mut self.text);
                return Poll::Ready(());
            }
            self.silence.as_mut().reset(end);
        }
    }

    /// What a sender finds: whatever was written, and what has come since if nobody was to wait for it.
    fn poll_own(&mut self, shared: &Arc<Shared<E>>) -> Poll<()> {
        if self.asked && !self.text.is_empty() {
            return Poll::Ready(());
        }
        if self.asked && self.silence_set && !self.silence.is_elapsed() {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(shared));
        let mut context = Context::from_waker(&waker);
        if !self.asked {
            self.gather(&mut context);
        }
        self.poll_ready(&mut context)
    }

    /// Whether there is something to send, or nothing more to wait for.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.text.is_empty() && self.running.is_some() {
            true => self.poll_silence(context),
            false => Poll::Ready(()),
        }
    }
}

impl<E: Events> Shared<E> {
    fn writing(&self) -> MutexGuard<'_, Option<Writing<E>>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Events> Wake for Shared<E> {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let queue = Arc::clone(&self.queue);
            queue.join(self);
        }
    }
}

impl<E: Events> Writer for Shared<E> {
    /// Text that nobody has taken waits alone: a slow reader's steps stay where they are.
    fn write(self: Arc<Self>) -> Option<Waker> {
        // Whoever wakes from now on has news.
        self.queued.store(false, Ordering::Release);
        let mut writing = self.writing();
        let answer = writing.as_mut()?;
        if !answer.text.is_empty() {
            answer.asked = false;
            return None;
        }
        let waker = Waker::from(Arc::clone(&self));
        let mut context = Context::from_waker(&waker);
        // Others are in the same round.
        let written = panic::catch_unwind(AssertUnwindSafe(|| {
            answer.gather(&mut context);
            answer.poll_ready(&mut context)
        }));
        if written.is_err() {
            answer.running = None;
            answer.broken = true;
        }
        match written {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(())) | Err(_) => answer.sender.take(),
        }
    }
}

impl<E: Events> HttpBody for EventStream<E> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let stream = &mut *self;
        let mut writing = stream.shared.writing();
        let Some(answer) = writing.as_mut() else {
            return Poll::Ready(None);
        };
        if answer.broken {
            return Poll::Ready(Some(Err(io::Error::other("an answer's task has panicked"))));
        }
        if answer.poll_own(&stream.shared).is_pending() {
            if !(answer.sender.as_ref()).is_some_and(|sender| sender.will_wake(context.waker())) {
                answer.sender = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        if answer.text.is_empty() {
            stream.guard = None;
            return Poll::Ready(None);
        }
        answer.sent = Instant::now();
        Poll::Ready(Some(Ok(Frame::data(answer.text.take()))))
    }
}

impl<E: Events> Drop for EventStream<E> {
    /// Gives the generation up.
    fn drop(&mut self) {
        let answer = self.shared.writing().take();
        drop(answer);
    }
}
