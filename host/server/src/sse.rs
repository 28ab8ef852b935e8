//! Server-sent events: what an API makes of a generation's steps, and keep-alive comments between.
//!
//! Invariants: nothing is sent before the first token, so that an error up to there has its HTTP status; an error after
//! it ends the stream; dropping the response aborts the generation. An API whose chunks are `data:` lines (chat, completions)
//! says what they hold in [`Chunks`]; one that names its events and has its own ending says so in [`Events`].

use std::{convert::Infallible, future::ready, time::Duration};

use axum::{
    http::{HeaderName, HeaderValue},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use weir_engine::EngineError;

use crate::{
    error::ApiError,
    generation::{Step, Steps},
    state::RequestGuard,
};

/// Turns steps into the events of one API.
pub trait Events: Send + 'static {
    /// The events of a step; may be none.
    fn step(&mut self, step: Step) -> Vec<Event>;

    /// What follows the last choice's end.
    fn end(&mut self) -> Vec<Event>;

    /// What ends the stream in place of steps that fail to come.
    fn fail(&mut self, error: ApiError) -> Vec<Event>;

    /// What comes before the first step's.
    fn before(&self) -> Vec<Event> {
        Vec::new()
    }

    /// What fills a silence: a comment, unless the API has an event for it.
    fn silence() -> Event {
        Event::default().comment("")
    }
}

/// Turns steps into the chunks of one API: `data:` lines, `[DONE]` behind them or `event: error` in its place.
pub trait Chunks: Send + 'static {
    /// One `data:` line.
    type Chunk: Serialize;

    /// The chunks of a step; may be none.
    fn step(&mut self, step: Step) -> Vec<Self::Chunk>;

    /// What follows the last choice's end, before `[DONE]`.
    fn end(&mut self) -> Option<Self::Chunk>;

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
    fn step(&mut self, step: Step) -> Vec<Event> {
        Chunks::step(self, step).iter().map(data).collect()
    }

    fn end(&mut self) -> Vec<Event> {
        let last = Chunks::end(self);
        let after = Chunks::after(self);
        let after = after.iter().map(|(name, value)| named(name, value));
        let done = Event::default().data("[DONE]");
        last.iter().map(data).chain(after).chain([done]).collect()
    }

    fn before(&self) -> Vec<Event> {
        let before = Chunks::before(self);
        before
            .iter()
            .map(|(name, value)| named(name, value))
            .collect()
    }

    fn fail(&mut self, error: ApiError) -> Vec<Event> {
        vec![named("error", &error.into_envelope())]
    }
}

/// What a stream in progress holds.
struct Sending<C> {
    steps: Steps,
    events: C,
    /// Counts the request as running until the last byte.
    _guard: RequestGuard,
}

/// Waits for the first token, then answers with the stream of chunks.
///
/// # Errors
/// Whatever happened before the first token.
pub async fn respond<C: Events>(
    mut steps: Steps,
    events: C,
    keep_alive: Duration,
    guard: RequestGuard,
) -> Result<Response, ApiError> {
    let first = steps
        .next()
        .await
        .unwrap_or(Err(EngineError::Stopped.into()))?;
    let steps = stream::once(ready(Ok(first))).chain(steps).boxed();
    let before = events.before();
    let sending = Sending {
        steps,
        events,
        _guard: guard,
    };
    let events = stream::unfold(Some(sending), |sending| async move {
        let mut sending = sending?;
        Some(match sending.steps.next().await {
            Some(Ok(step)) => (sending.events.step(step), Some(sending)),
            Some(Err(error)) => (sending.events.fail(error), None),
            None => (sending.events.end(), None),
        })
    });
    let events = stream::iter(before).chain(events.flat_map(stream::iter));
    let events = events.map(Ok::<_, Infallible>);
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(keep_alive).event(C::silence()))
        .into_response();
    // Proxies of nginx's kind hold streams back otherwise.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

fn data(value: &impl Serialize) -> Event {
    with_data(Event::default(), value)
}

/// An event with its name in the `event:` line.
pub fn named(name: &str, value: &impl Serialize) -> Event {
    with_data(Event::default().event(name), value)
}

fn with_data(event: Event, value: &impl Serialize) -> Event {
    match event.json_data(value) {
        Ok(event) => event,
        Err(error) => unreachable!("chunks have string keys and finite numbers: {error}"),
    }
}
