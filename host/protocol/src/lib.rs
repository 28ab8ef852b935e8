//! Wire types of the HTTP APIs and their validation: JSON in, typed requests out; typed answers in, JSON out.
//!
//! Invariants: any JSON value gives a request or an [`Invalid`], never a panic; a field of ours is read, refused with its
//! name or refused as not built, never dropped in silence; unknown fields are listed in `ignored_fields`.
//! It knows no HTTP status, no model and no default that depends on one.

pub mod answer_format;
pub mod anthropic;
pub mod chat;
pub mod chat_response;
pub mod completions;
pub mod embeddings;
pub mod error;
pub mod generate;
pub mod health;
pub mod invalid;
pub mod logprobs;
pub mod messages;
pub mod models;
pub mod nvext;
pub mod options;
pub mod prompt_embeds;
pub mod responses;
pub mod sampling;
pub mod schema;
pub mod structural_tag;
pub mod tokenize;
pub mod tools;
pub mod usage;

mod fields;
mod lenient;
mod reasoning_budget;

pub use answer_format::{AnswerForm, AnswerFormat};
pub use anthropic::MessagesRequest;
pub use chat::ChatRequest;
pub use completions::{CompletionRequest, Prompt};
pub use embeddings::{EmbeddingRequest, EncodingFormat, Truncation};
pub use error::{ErrorBody, ErrorEnvelope};
pub use generate::GenerateRequest;
pub use invalid::{Invalid, InvalidKind, parse_json};
pub use nvext::Annotations;
pub use options::{RequestOptions, Selector};
pub use prompt_embeds::EncodedTensor;
pub use responses::ResponsesRequest;
pub use sampling::SamplingFields;
pub use tokenize::{DetokenizeRequest, TokenizeRequest};
pub use tools::{ToolCallStreaming, ToolChoice, ToolDefinition};
pub use usage::Usage;

/// Choices one request may ask for: `n` times its prompts.
pub const MAX_CHOICES: usize = 128;
