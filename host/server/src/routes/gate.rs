//! What every request of the API passes before its handler: the check of its key.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use crate::{error::ApiError, state::AppState};

/// Lets a request in if no keys are configured or it bears one of them.
pub(super) async fn check_key(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let keys = &state.settings.api_keys;
    if keys.is_empty() || bearer(request.headers()).is_some_and(|key| is_one_of(key, keys)) {
        return next.run(request).await;
    }
    let error = ApiError::new(
        StatusCode::UNAUTHORIZED,
        "this server needs an API key: `Authorization: Bearer KEY`",
    );
    let mut response = error.with_code("invalid_api_key").into_response();
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// Compares hashes: the time it takes says nothing of how much of a key was right.
fn is_one_of(key: &str, keys: &[String]) -> bool {
    let hash = Sha256::digest(key);
    keys.iter().any(|known| Sha256::digest(known) == hash)
}
