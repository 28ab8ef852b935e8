//! Anthropic's Messages API: its requests as chat requests, its answers, stream events and errors.
//!
//! Shapes are those of the `anthropic` Python package's types. Invariant: a request becomes the [`crate::ChatRequest`] that a
//! chat client would have sent, so that nothing behind it knows which API was spoken.
//!
//! What differs from Anthropic's own service: a `signature` says nothing and is not looked at, `budget_tokens` bounds nothing,
//! tools that Anthropic's servers run are left out and listed in `ignored_fields`.

pub mod answer;
pub mod error;
pub mod request;
pub mod stream;
pub mod tool_id;

mod blocks;
mod history;
mod tools;

pub use answer::{ContentBlock, Message, StopReason, TokenCount, Usage};
pub use error::{ErrorBody, ErrorEnvelope};
pub use request::{MessagesRequest, count_tokens};
pub use stream::{Delta, StreamEvent};
