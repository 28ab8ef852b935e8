//! The events of a streamed response, as OpenAI's reference of streaming events names and shapes them.

use serde::Serialize;
use utoipa::ToSchema;

use super::response::{ContentPart, OutputItem, ResponseObject, SummaryPart};

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ResponseStreamEvent)]
pub struct StreamEvent {
    /// Its name, which also stands in the `event:` line.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// Counts the events of a stream from 0.
    pub sequence_number: u64,
    /// The rest.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What an event holds.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ResponseEventBody)]
pub enum EventBody {
    /// `response.created`, `.in_progress`, `.completed`, `.incomplete`, `.failed`.
    Response {
        /// As it is now.
        response: Box<ResponseObject>,
    },
    /// `response.output_item.added` and `.done`.
    Item {
        /// Which item.
        output_index: usize,
        /// As it is now.
        item: OutputItem,
    },
    /// `response.content_part.added` and `.done`.
    Part {
        /// Where it is.
        #[serde(flatten)]
        place: Place,
        /// As it is now.
        part: ContentPart,
    },
    /// `response.reasoning_summary_part.added` and `.done`.
    Summary {
        /// Where it is.
        #[serde(flatten)]
        place: Place,
        /// As it is now.
        part: SummaryPart,
    },
    /// Every `.delta`.
    Delta {
        /// Where it goes.
        #[serde(flatten)]
        place: Place,
        /// What is new.
        delta: String,
        /// Empty, beside text for the user only.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Vec<Object>>, max_items = 0)]
        logprobs: Option<[(); 0]>,
    },
    /// `.done` of text, reasoning and summary.
    Text {
        /// Where it is.
        #[serde(flatten)]
        place: Place,
        /// All of it.
        text: String,
        /// Empty, beside text for the user only.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Vec<Object>>, max_items = 0)]
        logprobs: Option<[(); 0]>,
    },
    /// `response.function_call_arguments.done`.
    Arguments {
        /// Where they are.
        #[serde(flatten)]
        place: Place,
        /// The function's name.
        name: String,
        /// All of them.
        arguments: String,
    },
    /// `response.custom_tool_call_input.done`.
    Input {
        /// Where it is.
        #[serde(flatten)]
        place: Place,
        /// All of it.
        input: String,
    },
}

/// Which item, and which part of it, an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ResponseEventPlace)]
pub struct Place {
    /// The item's id.
    pub item_id: String,
    /// Its place in the output.
    pub output_index: usize,
    /// Which part of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_index: Option<usize>,
    /// Which part of its summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary_index: Option<usize>,
}
