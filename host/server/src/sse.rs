//! Server-sent events: chunks as `data:` lines, keep-alive comments between them, `[DONE]` at the end.
//!
//! Invariants: nothing is sent before the first token, so that an error up to there has its HTTP status; an error after
//! it goes as `event: error` and ends the stream without `[DONE]`; dropping the response aborts the generation.

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

/// Turns steps into the chunks of one API.
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

/// What a stream in progress holds.
struct Sending<C> {
    steps: Steps,
    chunks: C,
    /// Counts the request as running until the last byte.
    _guard: RequestGuard,
}

/// Waits for the first token, then answers with the stream of chunks.
///
/// # Errors
/// Whatever happened before the first token.
pub async fn respond<C: Chunks>(
    mut steps: Steps,
    chunks: C,
    keep_alive: Duration,
    guard: RequestGuard,
) -> Result<Response, ApiError> {
    let first = steps
        .next()
        .await
        .unwrap_or(Err(EngineError::Stopped.into()))?;
    let steps = stream::once(ready(Ok(first))).chain(steps).boxed();
    let before = chunks.before();
    let sending = Sending {
        steps,
        chunks,
        _guard: guard,
    };
    let events = stream::unfold(Some(sending), |sending| async move {
        let mut sending = sending?;
        Some(match sending.steps.next().await {
            Some(Ok(step)) => (
                sending.chunks.step(step).iter().map(data).collect(),
                Some(sending),
            ),
            Some(Err(error)) => (
                vec![with_data(
                    Event::default().event("error"),
                    &error.into_envelope(),
                )],
                None,
            ),
            None => {
                let end = sending.chunks.end();
                let after = sending.chunks.after();
                (
                    end.iter()
                        .map(data)
                        .chain(after.iter().map(named))
                        .chain([Event::default().data("[DONE]")])
                        .collect::<Vec<_>>(),
                    None,
                )
            }
        })
    });
    let before: Vec<Event> = before.iter().map(named).collect();
    let events = stream::iter(before).chain(events.flat_map(stream::iter));
    let events = events.map(Ok::<_, Infallible>);
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(keep_alive))
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

fn named((name, value): &(&'static str, Value)) -> Event {
    with_data(Event::default().event(name), value)
}

fn with_data(event: Event, value: &impl Serialize) -> Event {
    match event.json_data(value) {
        Ok(event) => event,
        Err(error) => unreachable!("chunks have string keys and finite numbers: {error}"),
    }
}
