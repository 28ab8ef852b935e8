//! Request bodies: JSON in OpenAI's envelope of errors, or bytes as they are, and the header that lists what was ignored.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, Request},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{error::ApiError, state::AppState};

/// Lists the fields of a request that nobody knows.
pub(super) const IGNORED_FIELDS: HeaderName = HeaderName::from_static("x-weir-ignored-fields");
/// Names the header lists at most.
const MAX_LISTED: usize = 20;

/// Longer bodies are parsed on a thread of their own: others' tokens would wait for milliseconds.
const AT_ONCE: usize = 256 << 10;

/// Largest bodies that may be under way at once; what all bodies hold together is bounded by that.
const LARGEST_AT_ONCE: usize = 16;

/// A JSON body of any shape.
pub(super) struct JsonBody(pub(super) Value);

impl FromRequest<Arc<AppState>> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, ApiError> {
        check_content_type(request.headers().get(header::CONTENT_TYPE))?;
        let mut held = Held::new(&state.body_bytes, state.settings.body_limit);
        let bytes = read_in_time(request, state, &mut held).await?;
        if bytes.len() <= AT_ONCE {
            return Ok(Self(weir_protocol::parse_json(&bytes)?));
        }
        let parsed = spawn_blocking(move || weir_protocol::parse_json(&bytes)).await;
        let parsed = parsed
            .map_err(|error| ApiError::internal(&format!("a body was not parsed: {error}")))?;
        Ok(Self(parsed?))
    }
}

/// A body of bytes.
pub(super) struct RawBody(pub(super) Vec<u8>);

impl FromRequest<Arc<AppState>> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, ApiError> {
        let mut held = Held::new(&state.body_bytes, state.settings.body_limit);
        Ok(Self(read_in_time(request, state, &mut held).await?))
    }
}

async fn read_in_time(
    request: Request,
    state: &AppState,
    held: &mut Held<'_>,
) -> Result<Vec<u8>, ApiError> {
    let reading = read(request.into_body(), held);
    timeout(state.settings.body_timeout, reading)
        .await
        .map_err(|_| {
            let message = "the request body took longer to arrive than this server waits";
            ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
        })?
}

/// All of a body. One that says it is too large is not read at all.
async fn read(mut body: Body, held: &mut Held<'_>) -> Result<Vec<u8>, ApiError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    held.check(announced)?;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken = |_| ApiError::bad_request("the request body could not be read");
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            held.grow(data.len())?;
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// What a body that is read holds of the memory that all have together; gives it back when dropped.
struct Held<'a> {
    bytes: usize,
    limit: usize,
    all: &'a AtomicUsize,
}

impl<'a> Held<'a> {
    fn new(all: &'a AtomicUsize, limit: usize) -> Self {
        let bytes = 0;
        Self { bytes, limit, all }
    }

    fn check(&self, bytes: usize) -> Result<(), ApiError> {
        if bytes <= self.limit {
            return Ok(());
        }
        let message = format!(
            "the request body is larger than this server's limit of {} bytes",
            self.limit
        );
        Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message))
    }

    fn grow(&mut self, more: usize) -> Result<(), ApiError> {
        self.check(self.bytes.saturating_add(more))?;
        self.bytes += more;
        let before = self.all.fetch_add(more, Ordering::Relaxed);
        match before.saturating_add(more) > self.limit.saturating_mul(LARGEST_AT_ONCE) {
            true => Err(ApiError::unavailable(
                "the server is reading as many large requests as it can hold",
            )),
            false => Ok(()),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
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
