//! Answer and chunks of `POST /v1/chat/completions`.
//!
//! `reasoning_content` and `reasoning` always hold the same text: clients read the one or the other.

use serde::Serialize;
use utoipa::ToSchema;

use serde_json::Value;

use crate::{
    logprobs::{ChatLogprobs, PromptLogprob, PromptLogprobs},
    usage::Usage,
};

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatCompletion {
    /// `chatcmpl-...`.
    pub id: String,
    /// Always `chat.completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// Tells which build and model answered.
    pub system_fingerprint: String,
    /// The answers, by index.
    pub choices: Vec<ChatChoice>,
    /// Token counts.
    pub usage: Usage,
    /// The prompt, for requests with `return_token_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
    /// Of the prompt's tokens, null for the first, for requests with `prompt_logprobs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Option<BTreeMap<String, PromptLogprob>>>>)]
    pub prompt_logprobs: Option<PromptLogprobs>,
    /// What was asked for in the request's `nvext`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nvext: Option<Value>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChoice {
    /// Which of the `n`.
    pub index: usize,
    /// What the model said.
    pub message: AssistantMessage,
    /// Of the content's tokens, where asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// Why it ended.
    pub finish_reason: &'static str,
    /// Every token that was generated, the end token too, for requests with `return_token_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// What the model said.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AssistantMessage {
    /// Always `assistant`.
    pub role: &'static str,
    /// The text; null when the model only called tools.
    pub content: Option<String>,
    /// Always null: no model here refuses in a field of its own.
    pub refusal: Option<String>,
    /// The reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// The reasoning under its other name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The call, for requests with `functions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall>,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ToolCall {
    /// Its id, to be named by the tool's answer.
    pub id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What is called.
    pub function: FunctionCall,
}

/// Name and arguments of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// JSON text, byte for byte as the model wrote it.
    pub arguments: String,
}

/// One chunk of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChunk {
    /// `chatcmpl-...`, the same in all chunks.
    pub id: String,
    /// Always `chat.completion.chunk`.
    pub object: &'static str,
    /// Seconds since 1970, the same in all chunks.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// Tells which build and model answered.
    pub system_fingerprint: String,
    /// One piece; none in the usage chunk.
    pub choices: Vec<ChatChunkChoice>,
    /// Token counts, only in the usage chunk, or so far in each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The prompt, in an answer's first chunk, for requests with `return_token_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
}

/// A piece of one answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChunkChoice {
    /// Which of the `n`.
    pub index: usize,
    /// What is new.
    pub delta: ChatDelta,
    /// Of the tokens of a piece of content, where asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// Why it ended; null before the last chunk.
    pub finish_reason: Option<&'static str>,
    /// The tokens since they were told last, for requests with `return_token_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// What is new in a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct ChatDelta {
    /// `assistant`, in the first chunk only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// A piece of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// A piece of reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// The piece of reasoning under its other name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Pieces of calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallDelta>,
    /// A piece of the call, for requests with `functions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionDelta>,
}

/// A piece of a call: id, type and name in its first, arguments after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ToolCallDelta {
    /// Which call of this answer; in every delta.
    pub index: u32,
    /// The call's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Name and a piece of the arguments.
    pub function: FunctionDelta,
}

/// Name and a piece of the arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FunctionDelta {
    /// The name, in the first delta; never null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The piece; empty in the first delta.
    pub arguments: String,
}
