//! The API of `/v1/responses`: its request, read into a chat request and what an answer repeats of it, and its answers.
//!
//! Invariants: a request that passes has a validated input item for every entry, and all its settings are in `chat` or in
//! `settings`; tools that only OpenAI's own servers could run are left out of the chat request and listed among the ignored
//! fields. References to stored items are not resolved here, ids are not made here, and nothing is stored here.

mod conversation;
mod event;
mod item;
mod request;
mod response;
mod tools;

pub use conversation::conversation;
pub use event::{EventBody, Place, StreamEvent};
pub use item::Item;
pub use request::ResponsesRequest;
pub use response::{
    ContentPart, DeletedResponse, FailedBecause, Incomplete, InputTokensDetails, ItemList,
    ItemStatus, OutputItem, OutputTokensDetails, ReasoningSettings, ResponseObject, ResponseStatus,
    ResponseUsage, Settings, SummaryPart, TextFormat, TextSettings,
};
pub use tools::{ToolName, ToolNames};
