//! What every request passes before its handler: the log, and the check of its key.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use tracing::Instrument;

use crate::{error::ApiError, state::AppState};

/// Runs the request in a span with its id and logs one line when the answer starts; never a body, never a key.
pub(super) async fn log(request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let span =
        tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    async move {
        let started = Instant::now();
        let response = next.run(request).await;
        let milliseconds = started.elapsed().as_millis();
        tracing::info!(
            status = response.status().as_u16(),
            milliseconds,
            "answered"
        );
        response
    }
    .instrument(span)
    .await
}

/// Lets a request in if no keys are configured or it bears one of them.
pub(super) async fn check_key(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let keys = &state.settings.api_keys;
    if keys.is_empty() || key(request.headers()).is_some_and(|key| is_one_of(key, keys)) {
        return next.run(request).await;
    }
    let error = ApiError::new(
        StatusCode::UNAUTHORIZED,
        "this server needs an API key: `Authorization: Bearer KEY` or `x-api-key: KEY`",
    );
    let mut response = error.with_code("invalid_api_key").into_response();
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The bearer, or what Anthropic's clients send.
fn key(headers: &HeaderMap) -> Option<&str> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return headers.get("x-api-key")?.to_str().ok();
    };
    let value = value.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// Compares hashes: the time it takes says nothing of how much of a key was right.
fn is_one_of(key: &str, keys: &[String]) -> bool {
    let hash = Sha256::digest(key);
    keys.iter().any(|known| Sha256::digest(known) == hash)
}
