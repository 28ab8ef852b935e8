//! Errors of Anthropic's routes, in Anthropic's envelope whatever they come from: the key, the path, the body, the engine, a
//! panic. The statuses are those of all routes.

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use weir_protocol::anthropic::ErrorEnvelope;

use crate::error::ApiError;

/// Where Anthropic's routes stand.
const ROOT: &str = "/v1/messages";
/// Where Anthropic's clients look for the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// Tells Anthropic's clients not to ask again: they do after every status from 500 on, and 501 is not going to change.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Brings the errors of Anthropic's paths into their envelope, and every answer's id into its header.
pub(super) async fn translate(request: Request, next: Next) -> Response {
    let rest = request.uri().path().strip_prefix(ROOT);
    if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return next.run(request).await;
    }
    let id = request_id(request.headers());
    let mut response = next.run(request).await;
    let value = id.as_deref().and_then(|id| HeaderValue::from_str(id).ok());
    if let Some(error) = response.extensions().get::<ApiError>().cloned() {
        response = in_envelope(response, error, id);
    }
    if let Some(value) = value {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The same answer, its other headers too, with another body.
fn in_envelope(answer: Response, error: ApiError, id: Option<String>) -> Response {
    let (mut parts, _) = answer.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    if parts.status == StatusCode::NOT_IMPLEMENTED {
        let no = HeaderValue::from_static("false");
        parts.headers.insert(SHOULD_RETRY, no);
    }
    (parts, Json(envelope(error, id))).into_response()
}

/// The envelope.
pub(super) fn envelope(error: ApiError, request_id: Option<String>) -> ErrorEnvelope {
    let kind = kind_of(error.status());
    ErrorEnvelope::new(kind, error.into_envelope().error.message, request_id)
}

/// The id that the request came with or was given.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    Some(id.to_owned())
}

/// Anthropic's class of errors for a status. Of what is not built Anthropic has no class; the request is what can be changed.
fn kind_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        400..=499 | 501 => "invalid_request_error",
        _ => "api_error",
    }
}
