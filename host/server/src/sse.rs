//! Server-sent events: what an API makes of a generation's steps, and keep-alive comments between.
//!
//! Invariants: nothing is sent before the first token, so that an error up to there has its HTTP status; an error after
//! it ends the stream; dropping the response aborts the generation. What is there goes out at once, and in one piece: a client
//! that keeps up gets each token by itself, one that does not gets as many events as there are. An API whose chunks are
//! `data:` lines (chat, completions) says what they hold in [`Chunks`]; one that names its events and has its own ending says
//! so in [`Events`].

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
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

pub use event_text::{ChunkFrame, EventText};

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
        running: Some((steps, events)),
        guard: Some(guard),
        text,
        keep_alive,
        sent: Instant::now(),
        silence: Box::pin(sleep(keep_alive)),
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
struct EventStream<E> {
    /// What comes, and what is made of it; None once the last event was written.
    running: Option<(Steps, E)>,
    /// Counts the request as running until the last event is taken.
    guard: Option<RequestGuard>,
    /// Written and not sent.
    text: EventText,
    keep_alive: Duration,
    /// When something was sent last.
    sent: Instant,
    /// Wakes at a time when there may have been silence for long enough. Setting it anew for every event would cost more
    /// than looking at the clock once it rings.
    silence: Pin<Box<Sleep>>,
}

impl<E: Events> EventStream<E> {
    /// Writes the events of all steps that are there.
    fn gather(&mut self, context: &mut Context<'_>) {
        while self.text.len() < FULL_PIECE
            && let Some((steps, events)) = &mut self.running
            && let Poll::Ready(step) = steps.poll_next_unpin(context)
        {
            let text = &mut self.text;
            match step {
                Some(Ok(step)) => {
                    events.step(step, text);
                    continue;
                }
                Some(Err(error)) => events.fail(error, text),
                None => events.end(text),
            }
            self.running = None;
        }
    }

    /// Writes what fills a silence, once there was one.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
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
}

impl<E: Events> HttpBody for EventStream<E> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.gather(context);
        if self.text.is_empty() {
            if self.running.is_none() {
                self.guard = None;
                return Poll::Ready(None);
            }
            ready!(self.poll_silence(context));
        }
        self.sent = Instant::now();
        Poll::Ready(Some(Ok(Frame::data(self.text.take()))))
    }
}
