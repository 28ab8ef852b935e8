//! Anthropic's error envelope.

use serde::Serialize;
use utoipa::ToSchema;

/// The body of an error answer, and the data of a stream's `error` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AnthropicErrorEnvelope)]
pub struct ErrorEnvelope {
    /// Always `error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The error.
    pub error: ErrorBody,
    /// The request's id, as in the header `request-id`.
    pub request_id: Option<String>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AnthropicErrorBody)]
pub struct ErrorBody {
    /// Anthropic's class of errors.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// One sentence for a human.
    pub message: String,
}

impl ErrorEnvelope {
    /// An error of this class.
    pub fn new(kind: &'static str, message: String, request_id: Option<String>) -> Self {
        Self {
            kind: "error",
            error: ErrorBody { kind, message },
            request_id,
        }
    }
}
