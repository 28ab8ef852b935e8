//! What every request of the API passes before its handler: the check of its key.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use tracing::Span;

use crate::{error::ApiError, keys::Caller, response_store::Tenant, state::AppState};

/// Lets a request in if no keys are configured or it bears one of them, and puts its `Caller` into its extensions.
pub(super) async fn check_key(
    State(state): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match state.keys.guards_api() {
        false => Caller::anonymous(),
        true => match state.keys.caller(presented(request.headers())) {
            Some(caller) => caller,
            None => return unauthorized("API"),
        },
    };
    note(&caller);
    if !caller.may_call() {
        return forbidden("this key is for the admin routes alone");
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Lets an admin in; where no key opens the admin routes there are none.
pub(super) async fn check_admin(
    State(state): State<Arc<AppState>>,
    uri: Uri,
    request: Request,
    next: Next,
) -> Response {
    if !state.keys.guards_admin() {
        return super::no_route(uri).await.into_response();
    }
    let Some(caller) = state.keys.caller(presented(request.headers())) else {
        return unauthorized("admin");
    };
    note(&caller);
    match caller.is_admin() {
        true => next.run(request).await,
        false => forbidden("this key does not open the admin routes"),
    }
}

/// From here on the request's log lines say who sent it.
fn note(caller: &Caller) {
    if let Some(name) = caller.name() {
        Span::current().record("caller", name);
    }
}

fn unauthorized(kind: &str) -> Response {
    let message =
        format!("this server needs an {kind} key: `Authorization: Bearer KEY` or `x-api-key: KEY`");
    let error = ApiError::new(StatusCode::UNAUTHORIZED, message);
    let mut response = error.with_code("invalid_api_key").into_response();
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Whose request it is, for what is kept between requests.
pub(super) fn tenant(headers: &HeaderMap) -> Tenant {
    presented(headers)
        .next()
        .map(|key| Sha256::digest(key).into())
}

fn forbidden(message: &str) -> Response {
    let error = ApiError::new(StatusCode::FORBIDDEN, message);
    error.with_code("key_not_allowed").into_response()
}

/// The keys a request bears: as OpenAI's clients send them, and as Anthropic's do.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let own = headers.get("x-api-key").and_then(|key| key.to_str().ok());
    [bearer(headers), own].into_iter().flatten()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}
