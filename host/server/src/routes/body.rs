//! Request bodies: JSON in OpenAI's envelope of errors, and the header that lists what was ignored.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::Value;

use crate::error::ApiError;

/// Lists the fields of a request that nobody knows.
pub(super) const IGNORED_FIELDS: HeaderName = HeaderName::from_static("x-weir-ignored-fields");
/// Names the header lists at most.
const MAX_LISTED: usize = 20;

/// A JSON body of any shape.
pub(super) struct JsonBody(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        check_content_type(request.headers().get(header::CONTENT_TYPE))?;
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| {
                let status = rejection.status();
                match status {
                    StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
                        status,
                        "the request body is larger than this server's limit",
                    ),
                    _ => ApiError::bad_request("the request body could not be read"),
                }
            })?;
        Ok(Self(weir_protocol::parse_json(&bytes)?))
    }
}

/// A body without a type is taken for JSON.
fn check_content_type(value: Option<&HeaderValue>) -> Result<(), ApiError> {
    let Some(value) = value else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let essence = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return Ok(());
    }
    let message = format!(
        "the request body must be JSON with `Content-Type: application/json`, got `{essence}`"
    );
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

/// Lists ignored fields in the answer's header, as far as they can stand in one.
pub(super) fn list_ignored(response: &mut Response, ignored: &[String]) {
    let is_plain = |name: &&String| {
        name.len() <= 64
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b',')
    };
    let names: Vec<&str> = ignored
        .iter()
        .filter(is_plain)
        .take(MAX_LISTED)
        .map(String::as_str)
        .collect();
    if let (false, Ok(value)) = (names.is_empty(), HeaderValue::from_str(&names.join(","))) {
        response.headers_mut().insert(IGNORED_FIELDS, value);
    }
}
