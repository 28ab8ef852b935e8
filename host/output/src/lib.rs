//! From tokens to events: what a model wrote becomes reasoning, content and tool calls.
//!
//! Invariants: a fold of events is the same under every chunking; non-streaming is push-everything then finish, there is
//! one code path. It does not know wasm, HTTP or the engine; plugins reach it through [`Parser`] and [`PostProcessor`].

pub mod error;
pub mod event;
pub mod parser;
pub mod post_processor;

pub use error::{PluginError, PluginErrorKind};
pub use event::{Event, FinishReason, Fragment, FragmentKind};
pub use parser::{Parser, ParserInfo, ParserSession, RequestContext, Roles, Tool, ToolChoice};
pub use post_processor::{Action, Interests, PostProcessor, PostProcessorInfo, PostProcessorSession};
