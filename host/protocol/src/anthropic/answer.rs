//! The answer of `POST /v1/messages`, whole, and that of `POST /v1/messages/count_tokens`.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// What [`ContentBlock::Thinking`] is signed with: nothing. Clients drop reasoning that has no signature at all.
pub const SIGNATURE: &str = "unsigned";

/// A whole answer; in a stream's first event one without content.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AnthropicMessage)]
pub struct Message {
    /// `msg_...`.
    pub id: String,
    /// Always `message`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Always `assistant`.
    pub role: &'static str,
    /// The model's name.
    pub model: String,
    /// What the model said, block after block; may be nothing.
    pub content: Vec<ContentBlock>,
    /// Why it ended; null only in a stream's first event.
    pub stop_reason: Option<StopReason>,
    /// The stop sequence that ended it.
    pub stop_sequence: Option<String>,
    /// Token counts.
    pub usage: Usage,
}

/// One block of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = AnthropicContentBlock)]
pub enum ContentBlock {
    /// Reasoning.
    Thinking {
        /// The text.
        thinking: String,
        /// [`SIGNATURE`] once the block is complete.
        signature: String,
    },
    /// Text for the user.
    Text {
        /// The text.
        text: String,
    },
    /// A call.
    ToolUse {
        /// Its id, to be named by the tool's result.
        id: String,
        /// The tool's name.
        name: String,
        /// JSON text of the arguments as the model wrote it, written as JSON; what is no JSON object is written as `{}`.
        #[serde(serialize_with = "object")]
        #[schema(value_type = Object)]
        input: String,
    },
}

/// Writes JSON text as the JSON it is. Not by parsing: nesting of any depth and numbers of any length stay as they are.
fn object<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let raw = serde_json::from_str::<&RawValue>(text).ok();
    match raw.filter(|raw| raw.get().starts_with('{')) {
        Some(raw) => raw.serialize(serializer),
        None => serde_json::Map::new().serialize(serializer),
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AnthropicStopReason)]
pub enum StopReason {
    /// The model ended it.
    EndTurn,
    /// The tokens asked for are used up.
    MaxTokens,
    /// A stop sequence came.
    StopSequence,
    /// The model waits for at least one tool.
    ToolUse,
    /// A plugin ended it.
    Refusal,
    /// The context is full, before the tokens asked for are used up.
    ModelContextWindowExceeded,
}

/// Token counts as Anthropic counts them: the prompt's tokens are the sum of the three counts of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = AnthropicUsage)]
pub struct Usage {
    /// Prompt tokens that were computed.
    pub input_tokens: usize,
    /// Always 0: whatever is computed may be found again, and nothing is charged for it.
    pub cache_creation_input_tokens: usize,
    /// Prompt tokens that were not computed again.
    pub cache_read_input_tokens: usize,
    /// Generated tokens.
    pub output_tokens: usize,
    /// What they were.
    pub output_tokens_details: OutputTokensDetails,
}

/// What generated tokens were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = AnthropicOutputTokensDetails)]
pub struct OutputTokensDetails {
    /// Generated tokens that were reasoning; told at the end.
    pub thinking_tokens: usize,
}

/// How long a prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AnthropicTokenCount)]
pub struct TokenCount {
    /// Tokens of the prompt, cached or not.
    pub input_tokens: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(input: &str) -> String {
        let block = ContentBlock::ToolUse {
            id: "toolu_1".to_owned(),
            name: "f".to_owned(),
            input: input.to_owned(),
        };
        serde_json::to_string(&block).unwrap()
    }

    #[test]
    fn an_input_is_the_models_own_json() {
        let head = r#"{"type":"tool_use","id":"toolu_1","name":"f","input":"#;
        for input in [
            "{}",
            r#"{"a":1.0,"b":123456789012345678901234567890}"#,
            "{\"a\":\n\"\\ud83d\"}",
        ] {
            assert_eq!(written(input), format!("{head}{input}}}"));
        }
        let depth = 5_000;
        let deep = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert_eq!(written(&deep), format!("{head}{deep}}}"));
    }

    #[test]
    fn what_is_no_object_is_an_empty_one() {
        for input in ["", "[1]", "{\"a\":", "{} {}", "null", "'"] {
            assert!(written(input).ends_with(r#""input":{}}"#), "{input}");
        }
    }
}
