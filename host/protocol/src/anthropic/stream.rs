//! The events of a streamed answer, and the answer they add up to.
//!
//! Order: one `message_start`; for each block, in the order of their indices, one `content_block_start`, its deltas and one
//! `content_block_stop`; one `message_delta`; one `message_stop`. A `ping` may come anywhere.

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{ContentBlock, Message, StopReason, Usage};

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = AnthropicStreamEvent)]
pub enum StreamEvent {
    /// The answer begins.
    MessageStart {
        /// The answer without content.
        message: Message,
    },
    /// Nothing; keeps a connection open.
    Ping,
    /// A block begins.
    ContentBlockStart {
        /// Its place in the content.
        index: usize,
        /// The block, empty.
        content_block: ContentBlock,
    },
    /// A block goes on.
    ContentBlockDelta {
        /// Its place in the content.
        index: usize,
        /// What is new.
        delta: Delta,
    },
    /// A block is complete.
    ContentBlockStop {
        /// Its place in the content.
        index: usize,
    },
    /// The answer ended.
    MessageDelta {
        /// How.
        delta: Stop,
        /// Token counts of the whole answer.
        usage: Usage,
    },
    /// Nothing follows.
    MessageStop,
}

/// What is new in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(clippy::enum_variant_names, reason = "the wire's names")]
#[schema(as = AnthropicDelta)]
pub enum Delta {
    /// A piece of a text.
    TextDelta {
        /// The piece.
        text: String,
    },
    /// A piece of reasoning.
    ThinkingDelta {
        /// The piece.
        thinking: String,
    },
    /// What ends reasoning.
    SignatureDelta {
        /// [`super::answer::SIGNATURE`].
        signature: String,
    },
    /// A piece of a call's arguments.
    InputJsonDelta {
        /// A piece of JSON text.
        partial_json: String,
    },
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AnthropicStop)]
pub struct Stop {
    /// Why.
    pub stop_reason: StopReason,
    /// The stop sequence that ended it.
    pub stop_sequence: Option<String>,
}

impl StreamEvent {
    /// The event's name, which is its `type` too.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::Ping => "ping",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
        }
    }

    /// Adds the event to the answer in the making, which the first event makes.
    pub fn fold_into(self, answer: &mut Option<Message>) {
        if let Self::MessageStart { message } = self {
            *answer = Some(message);
            return;
        }
        let Some(answer) = answer else { return };
        match self {
            Self::ContentBlockStart { content_block, .. } => answer.content.push(content_block),
            Self::ContentBlockDelta { index, delta } => {
                if let Some(block) = answer.content.get_mut(index) {
                    delta.fold_into(block);
                }
            }
            Self::MessageDelta { delta, usage } => {
                answer.stop_reason = Some(delta.stop_reason);
                answer.stop_sequence = delta.stop_sequence;
                answer.usage = usage;
            }
            Self::MessageStart { .. }
            | Self::Ping
            | Self::ContentBlockStop { .. }
            | Self::MessageStop => {}
        }
    }
}

impl Delta {
    /// A delta of another sort of block is nothing.
    fn fold_into(self, block: &mut ContentBlock) {
        match (self, block) {
            (Self::TextDelta { text: new }, ContentBlock::Text { text }) => text.push_str(&new),
            (Self::ThinkingDelta { thinking: new }, ContentBlock::Thinking { thinking, .. }) => {
                thinking.push_str(&new);
            }
            (Self::SignatureDelta { signature: new }, ContentBlock::Thinking { signature, .. }) => {
                signature.push_str(&new);
            }
            (Self::InputJsonDelta { partial_json }, ContentBlock::ToolUse { input, .. }) => {
                input.push_str(&partial_json);
            }
            _ => {}
        }
    }
}
