//! The answer of `POST /v1/responses`: the response object, its output items and its usage.
//!
//! The fields are those that the official clients' types hold; what no model here has (annotations, encrypted reasoning) is
//! there and empty.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::usage::Usage;

/// A response, finished or not.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ResponseObject {
    /// `resp_...`.
    pub id: String,
    /// Always `response`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: u64,
    /// How far it is.
    pub status: ResponseStatus,
    /// Always false: not built.
    pub background: bool,
    /// When it was finished, seconds since 1970.
    pub completed_at: Option<u64>,
    /// Why it failed.
    pub error: Option<FailedBecause>,
    /// Why it is incomplete.
    pub incomplete_details: Option<Incomplete>,
    /// The model's name.
    pub model: String,
    /// What the model said, in order.
    pub output: Vec<OutputItem>,
    /// Token counts, when it ended.
    pub usage: Option<ResponseUsage>,
    /// What the request said, or did not.
    #[serde(flatten)]
    pub settings: Settings,
}

/// How far a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    /// Being generated.
    InProgress,
    /// Ended by the model.
    Completed,
    /// Cut.
    Incomplete,
    /// Ended by an error.
    Failed,
}

/// Why a response failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ResponseError)]
pub struct FailedBecause {
    /// A word for programs.
    pub code: &'static str,
    /// One sentence for a human.
    pub message: String,
}

/// Why a response is incomplete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ResponseIncomplete)]
pub struct Incomplete {
    /// `max_output_tokens` or `content_filter`.
    pub reason: &'static str,
}

/// The settings of a request as its answer repeats them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ResponseSettings)]
pub struct Settings {
    /// The instructions.
    pub instructions: Option<String>,
    /// The limit of generated tokens.
    pub max_output_tokens: Option<usize>,
    /// Repeated only: no hosted tool runs here.
    pub max_tool_calls: Option<usize>,
    /// The request's pairs.
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Map<String, Value>,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: bool,
    /// The response whose conversation goes on here.
    pub previous_response_id: Option<String>,
    /// Repeated only.
    pub prompt_cache_key: Option<String>,
    /// Repeated only.
    pub prompt_cache_retention: Option<String>,
    /// How the model was to reason.
    pub reasoning: ReasoningSettings,
    /// Repeated only.
    pub safety_identifier: Option<String>,
    /// Always `default`: there is one tier.
    pub service_tier: &'static str,
    /// Whether it is kept for later requests.
    pub store: bool,
    /// What it was sampled with.
    pub temperature: Option<f32>,
    /// How its text was to be.
    pub text: TextSettings,
    /// As it came.
    pub tool_choice: Value,
    /// As they came.
    pub tools: Vec<Value>,
    /// Always 0: not built.
    pub top_logprobs: u8,
    /// What it was sampled with.
    pub top_p: Option<f32>,
    /// Always `disabled`: what does not fit the context is refused.
    pub truncation: &'static str,
    /// The caller's name for its user.
    pub user: Option<String>,
}

impl Default for Settings {
    /// What a request says that says nothing.
    fn default() -> Self {
        Self {
            instructions: None,
            max_output_tokens: None,
            max_tool_calls: None,
            metadata: Map::new(),
            parallel_tool_calls: true,
            previous_response_id: None,
            prompt_cache_key: None,
            prompt_cache_retention: None,
            reasoning: ReasoningSettings::default(),
            safety_identifier: None,
            service_tier: "default",
            store: true,
            temperature: None,
            text: TextSettings::default(),
            tool_choice: Value::Null,
            tools: Vec::new(),
            top_logprobs: 0,
            top_p: None,
            truncation: "disabled",
            user: None,
        }
    }
}

/// How the model was to reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ResponseReasoningSettings)]
pub struct ReasoningSettings {
    /// The chat template's `reasoning_effort`.
    pub effort: Option<String>,
    /// Which summary was asked for.
    pub summary: Option<&'static str>,
}

/// How the text was to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ResponseTextSettings)]
pub struct TextSettings {
    /// What the text must be.
    pub format: TextFormat,
    /// `low`, `medium` or `high`; the chat template's `verbosity`.
    pub verbosity: &'static str,
}

impl Default for TextSettings {
    fn default() -> Self {
        Self {
            format: TextFormat::default(),
            verbosity: "medium",
        }
    }
}

/// What an answer's text must be, as the request says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ResponseTextFormat)]
pub struct TextFormat {
    /// `text`, or one of the others that a request may name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The rest of the request's format: name, schema and what else it has.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl TextFormat {
    /// The format that a request gives, if it gives one.
    pub(super) fn of(given: Option<Value>) -> Self {
        let Some(Value::Object(mut rest)) = given else {
            return Self::default();
        };
        match rest.remove("type") {
            Some(Value::String(kind)) => Self { kind, rest },
            _ => Self::default(),
        }
    }
}

impl Default for TextFormat {
    fn default() -> Self {
        Self {
            kind: "text".to_owned(),
            rest: Map::new(),
        }
    }
}

/// A piece of what the model said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputItem {
    /// Text for the user.
    Message {
        /// `msg_...`.
        id: String,
        /// How far it is.
        status: ItemStatus,
        /// Always `assistant`.
        role: &'static str,
        /// One part.
        content: Vec<ContentPart>,
    },
    /// Reasoning.
    Reasoning {
        /// `rs_...`.
        id: String,
        /// The reasoning again, where a summary was asked for; no model here writes one.
        summary: Vec<SummaryPart>,
        /// One part.
        content: Vec<ContentPart>,
        /// Always null: nothing is hidden.
        encrypted_content: Option<String>,
        /// How far it is.
        status: ItemStatus,
    },
    /// A call of a function.
    FunctionCall {
        /// `fc_...`.
        id: String,
        /// To be named by the function's answer.
        call_id: String,
        /// The function's name.
        name: String,
        /// The function's group, if it is in one.
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// JSON text, byte for byte as the model wrote it.
        arguments: String,
        /// How far it is; incomplete arguments may be no JSON.
        status: ItemStatus,
    },
    /// A call of a tool that takes any text.
    CustomToolCall {
        /// `ctc_...`.
        id: String,
        /// To be named by the tool's answer.
        call_id: String,
        /// The tool's name.
        name: String,
        /// The tool's group, if it is in one.
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// The text.
        input: String,
        /// How far it is.
        status: ItemStatus,
    },
}

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OutputItemStatus)]
pub enum ItemStatus {
    /// Being generated.
    InProgress,
    /// Whole.
    Completed,
    /// Cut.
    Incomplete,
}

impl OutputItem {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Message { id, .. }
            | Self::Reasoning { id, .. }
            | Self::FunctionCall { id, .. }
            | Self::CustomToolCall { id, .. } => id,
        }
    }

    /// How far it is.
    pub fn status_mut(&mut self) -> &mut ItemStatus {
        match self {
            Self::Message { status, .. }
            | Self::Reasoning { status, .. }
            | Self::FunctionCall { status, .. }
            | Self::CustomToolCall { status, .. } => status,
        }
    }

    /// What grows while it is generated: the text of message and reasoning, arguments or input of a call. None before a
    /// message has its part.
    pub fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Message { content, .. } | Self::Reasoning { content, .. } => {
                content.first_mut().map(ContentPart::text_mut)
            }
            Self::FunctionCall { arguments, .. } => Some(arguments),
            Self::CustomToolCall { input, .. } => Some(input),
        }
    }
}

/// A part of a message or of reasoning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentPart {
    /// Text for the user.
    OutputText {
        /// The text.
        text: String,
        /// Always empty.
        annotations: Vec<Value>,
        /// Always empty: not built.
        logprobs: Vec<Value>,
    },
    /// Reasoning.
    ReasoningText {
        /// The text.
        text: String,
    },
}

impl ContentPart {
    /// Text for the user.
    pub fn output(text: String) -> Self {
        Self::OutputText {
            text,
            annotations: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        match self {
            Self::OutputText { text, .. } | Self::ReasoningText { text } => text,
        }
    }

    fn text_mut(&mut self) -> &mut String {
        match self {
            Self::OutputText { text, .. } | Self::ReasoningText { text } => text,
        }
    }
}

/// A part of a summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SummaryPart {
    /// All there are.
    SummaryText {
        /// The text.
        text: String,
    },
}

/// Token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseUsage {
    /// Tokens of the prompt.
    pub input_tokens: usize,
    /// Where they came from.
    pub input_tokens_details: InputTokensDetails,
    /// Generated tokens.
    pub output_tokens: usize,
    /// What they were.
    pub output_tokens_details: OutputTokensDetails,
    /// The sum of both.
    pub total_tokens: usize,
}

/// Where input tokens came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ResponseInputTokensDetails)]
pub struct InputTokensDetails {
    /// Those that were not computed again.
    pub cached_tokens: usize,
    /// Always 0: nothing is charged for keeping tokens.
    pub cache_write_tokens: usize,
}

/// What output tokens were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ResponseOutputTokensDetails)]
pub struct OutputTokensDetails {
    /// Those that were reasoning.
    pub reasoning_tokens: usize,
}

impl From<Usage> for ResponseUsage {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputTokensDetails {
                cached_tokens: usage.prompt_tokens_details.cached_tokens,
                cache_write_tokens: 0,
            },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputTokensDetails {
                reasoning_tokens: usage.completion_tokens_details.reasoning_tokens,
            },
            total_tokens: usage.total_tokens,
        }
    }
}

/// The answer of `DELETE /v1/responses/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeletedResponse {
    /// The response's id.
    pub id: String,
    /// Always `response`.
    pub object: &'static str,
    /// Always true; what is not there is not found.
    pub deleted: bool,
}

/// A page of `GET /v1/responses/{id}/input_items`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = InputItemList)]
pub struct ItemList<'a> {
    /// Always `list`.
    pub object: &'static str,
    /// The items.
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<&'a Map<String, Value>>,
    /// The first item's id; null in an empty list.
    pub first_id: Option<&'a str>,
    /// The last item's id; null in an empty list.
    pub last_id: Option<&'a str>,
    /// Whether items follow behind the last.
    pub has_more: bool,
}
