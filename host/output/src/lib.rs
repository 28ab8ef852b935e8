//! From tokens to events: what a model wrote becomes reasoning, content and tool calls.
//!
//! Invariants: a fold of events is the same under every chunking; non-streaming is push-everything then finish, there is
//! one code path. It does not know wasm, HTTP or the engine; plugins reach it through [`Parser`] and [`PostProcessor`]. The
//! words of [`RequestProcessor`], which works before there are tokens, stand here because all plugin-facing traits do.

pub mod call_id;
pub mod calls;
pub mod chain;
pub mod detokenizer;
pub mod error;
pub mod event;
pub mod fold;
pub mod grammar;
pub mod parser;
pub mod post_processor;
pub mod request_processor;
pub mod stop_strings;

mod parsing;
mod post;
mod token_trace;

pub use call_id::{CallIdFormat, CallIds};
pub use calls::{ToolCallStreaming, is_json_object};
pub use chain::{Configured, OnError, OutputPipeline, PipelineSpec};
pub use detokenizer::Detokenizer;
pub use error::{PluginError, PluginErrorKind};
pub use event::{Event, FinishReason, Fragment, FragmentKind};
pub use fold::{ChatFinishReason, FoldedCall, FoldedMessage, MessageFold};
pub use grammar::{GrammarError, Segment};
pub use parser::{
    Parser, ParserInfo, ParserSession, RequestContext, ResponseFormat, Roles, Tool, ToolChoice,
};
pub use post_processor::{
    Action, Interests, PostProcessor, PostProcessorInfo, PostProcessorSession,
};
pub use request_processor::{
    Grants, PlannedMessage, PlannedModel, PlannedRequest, ProcessorAction, ProcessorOutcome,
    ProcessorStep, RequestProcessor, RequestProcessorInfo, RequestSession,
};
pub use stop_strings::StopStrings;
pub use token_trace::TracedToken;
