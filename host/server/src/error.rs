//! Every error as the client sees it: the one place that knows HTTP statuses.
//!
//! Invariant: what went wrong inside (a trap, a path, a panic's words) goes to the log under an id; the client gets the id.
//! The one exception is a model that could not be loaded: whoever asks for it is told why.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use uuid::Uuid;
use weir_engine::{EngineError, UpstreamFailure};
use weir_output::PluginError;
use weir_prompt::PromptError;
use weir_protocol::{ErrorBody, ErrorEnvelope, Invalid, InvalidKind};

/// When a client that was turned away for load may come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
    /// When it is worth coming back; sent in whole seconds.
    retry_after: Option<Duration>,
}

/// OpenAI's class of errors for a status.
pub(crate) fn kind_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "authentication_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        503 => "service_unavailable",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// A message without its middle, where it quotes more of a request than anyone reads.
fn cut(message: String) -> String {
    /// Characters that are kept of the beginning and of the end.
    const KEPT: [usize; 2] = [1500, 500];
    let length = message.chars().count();
    if length <= KEPT[0] + KEPT[1] {
        return message;
    }
    let beginning = message.chars().take(KEPT[0]).collect::<String>();
    let end = message.chars().skip(length - KEPT[1]);
    beginning + " ... " + &end.collect::<String>()
}

impl ApiError {
    /// An error of this status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let body = ErrorBody {
            message: cut(message.into()),
            kind: kind_of(status),
            param: None,
            code: None,
        };
        let turned_away = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        Self {
            status,
            body,
            retry_after: turned_away.then_some(RETRY_AFTER),
        }
    }

    /// The same, naming the field at fault.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.body.param = Some(param.into());
        self
    }

    /// The same, with a word for programs.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.body.code = Some(code);
        self
    }

    /// The same, naming another field where it named `from`: what is `messages` inside is `input` to some clients.
    #[must_use]
    pub fn with_param_renamed(mut self, from: &str, to: &str) -> Self {
        if self.body.param.as_deref() == Some(from) {
            self.body.param = Some(to.to_owned());
        }
        self
    }

    /// The same, to be tried again after this time.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// A wrong request: 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// What is asked for is not here: 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Another model than those served: 404.
    pub fn model_not_found(name: &str, served: &[&str]) -> Self {
        let message = format!(
            "the model `{name}` is not served here; served: {}",
            served.join(", ")
        );
        Self::new(StatusCode::NOT_FOUND, message)
            .with_param("model")
            .with_code("model_not_found")
    }

    /// A failure of ours: 500, with an id that finds `detail` in the log.
    pub fn internal(detail: &dyn std::fmt::Display) -> Self {
        let id = Uuid::new_v4();
        tracing::error!(error.id = %id, error.detail = %detail, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("internal error {id}; the server's log has the details"),
        )
        .with_code("internal_error")
    }

    /// A request processor failed, with its name and what it did: 500.
    pub fn plugin(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message).with_code("plugin_error")
    }

    /// No model, or no more requests: 503.
    pub fn unavailable(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// The request ran past its time: 504.
    pub fn deadline() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the request ran past the server's time limit for one request",
        )
        .with_code("timeout")
    }

    /// Whether the request is to blame, as it stands: 400.
    pub fn is_bad_request(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its kind in one word of ours: the code, or else the type.
    pub fn word(&self) -> &'static str {
        self.body.code.unwrap_or(self.body.kind)
    }

    /// What went wrong, for APIs with an envelope of their own.
    pub fn into_body(self) -> ErrorBody {
        self.body
    }

    /// OpenAI's envelope, for errors that go into a stream.
    pub fn into_envelope(self) -> ErrorEnvelope {
        ErrorEnvelope { error: self.body }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after);
        // For the counters and the log, and for routes of APIs that have an envelope of their own.
        let error = self.clone();
        let mut response = (status, Json(self.into_envelope())).into_response();
        response.extensions_mut().insert(error);
        if let Some(wait) = retry_after {
            let whole = u64::from(wait.subsec_nanos() > 0);
            let seconds = HeaderValue::from(wait.as_secs() + whole);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        let status = match invalid.kind {
            InvalidKind::BadValue => StatusCode::BAD_REQUEST,
            InvalidKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        };
        let error = Self::new(status, invalid.message);
        match invalid.param {
            Some(param) => error.with_param(param),
            None => error,
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::TooLong { .. } => {
                Self::bad_request(error.to_string()).with_code("context_length_exceeded")
            }
            // A constraint is the request's: what becomes too complex for its compiler became so by what was asked for.
            EngineError::InvalidRequest(_) | EngineError::Constraint(_) => {
                Self::bad_request(error.to_string())
            }
            EngineError::QueueFull { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).with_code("queue_full")
            }
            EngineError::Lost(reason) => {
                tracing::error!(reason, "the engine is lost");
                Self::unavailable("the model's engine has failed; the server's log has the details")
            }
            EngineError::Upstream { failure, message } => match failure {
                UpstreamFailure::Failed => Self::new(StatusCode::BAD_GATEWAY, message),
                UpstreamFailure::Busy => Self::new(StatusCode::TOO_MANY_REQUESTS, message),
                UpstreamFailure::Unavailable => Self::unavailable(&message),
                UpstreamFailure::TimedOut => Self::new(StatusCode::GATEWAY_TIMEOUT, message),
            }
            .with_code("upstream_error"),
            EngineError::Stopped => Self::unavailable("the server is shutting down"),
            other => Self::internal(&other),
        }
    }
}

impl From<PromptError> for ApiError {
    fn from(error: PromptError) -> Self {
        if error.is_request() {
            Self::bad_request(error.to_string()).with_param("messages")
        } else {
            Self::internal(&error)
        }
    }
}

impl From<PluginError> for ApiError {
    fn from(error: PluginError) -> Self {
        Self::internal(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_output::PluginErrorKind;

    #[test]
    fn a_name_that_is_endless_is_quoted_in_part() {
        let error = ApiError::model_not_found(&"é".repeat(1 << 20), &["m"]);
        let message = error.into_body().message;
        assert!(message.chars().count() < 2100, "{message}");
        assert!(message.starts_with("the model `éé"), "{message}");
        assert!(
            message.contains("é ... é") && message.ends_with("served: m"),
            "{message}"
        );
    }

    #[test]
    fn each_error_has_its_status_and_type() {
        let too_long = EngineError::TooLong {
            what: "the prompt",
            needed: 9,
            limit: 8,
        };
        let plugin = PluginError {
            plugin: "p".into(),
            call: "push",
            kind: PluginErrorKind::Trap("secret".into()),
        };
        let cases: [(ApiError, u16, &str); 10] = [
            (
                Invalid::bad_value("n", "x").into(),
                400,
                "invalid_request_error",
            ),
            (
                Invalid::not_implemented("n", "x").into(),
                501,
                "server_error",
            ),
            (too_long.into(), 400, "invalid_request_error"),
            (
                EngineError::QueueFull {
                    queued: 1,
                    limit: 1,
                }
                .into(),
                429,
                "rate_limit_error",
            ),
            (EngineError::Stopped.into(), 503, "service_unavailable"),
            (
                EngineError::Lost("secret".into()).into(),
                503,
                "service_unavailable",
            ),
            (
                EngineError::Runner("secret".into()).into(),
                500,
                "server_error",
            ),
            (plugin.into(), 500, "server_error"),
            (
                PromptError::Template("no".into()).into(),
                400,
                "invalid_request_error",
            ),
            (ApiError::deadline(), 504, "server_error"),
        ];
        for (error, status, kind) in cases {
            assert_eq!(
                (error.status.as_u16(), error.body.kind),
                (status, kind),
                "{error:?}"
            );
            assert!(!error.body.message.contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn load_says_when_to_come_back() {
        let response = ApiError::from(EngineError::QueueFull {
            queued: 1,
            limit: 1,
        })
        .into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let wait = Duration::from_millis(2_001);
        let response = ApiError::unavailable("x").with_retry_after(wait);
        let response = response.into_response();
        assert_eq!(
            response.headers()[header::RETRY_AFTER],
            "3",
            "never too early"
        );
    }
}
