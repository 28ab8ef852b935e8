//! The parser boundary: factories of per-request sessions, with the roles reasoning, tools or both.

use serde::{Deserialize, Serialize};

use crate::{
    call_id::CallIdFormat,
    error::PluginError,
    event::{Event, FinishReason, Fragment},
    grammar::Segment,
};

/// Which parts of a model's output a parser takes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// Splits reasoning from content.
    pub reasoning: bool,
    /// Finds tool calls.
    pub tools: bool,
}

/// What a parser says about itself at load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParserInfo {
    /// The plugin's own name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// What it does.
    pub roles: Roles,
    /// Other names users know the format by.
    pub aliases: Vec<String>,
    /// Texts that start something in this format; other parsers of the chain may need them.
    pub markers: Vec<String>,
    /// Special tokens the detokenizer must not drop.
    pub special_tokens: Vec<String>,
    /// Tokens that end generation.
    pub stop_tokens: Vec<String>,
    /// A chat template with tools, for models whose own has none.
    pub chat_template: Option<String>,
    /// Which ids calls get whose format writes none.
    pub call_ids: CallIdFormat,
    /// The configuration it takes, with every default, as JSON text; empty when it takes none.
    pub default_config: String,
}

/// A tool the request offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of its arguments, as text.
    pub parameters: String,
    /// Whether arguments must match the schema.
    pub strict: bool,
}

/// What the request says about calling tools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// No calls.
    None,
    /// The model decides.
    #[default]
    Auto,
    /// At least one call.
    Required,
    /// This tool.
    Named(String),
}

/// What the request says about the form of the answer's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ResponseFormat {
    /// Any text.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that matches this schema, as text.
    JsonSchema(String),
}

/// What a session may know of its request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestContext {
    /// The tools on offer.
    pub tools: Vec<Tool>,
    /// Which may be called.
    pub tool_choice: ToolChoice,
    /// Whether several calls may stand in one answer.
    pub parallel_tool_calls: bool,
    /// The form of the content.
    pub response_format: ResponseFormat,
    /// The end of the rendered prompt: tells whether the output starts inside reasoning.
    pub prompt_tail: String,
    /// Markers of the tool parser behind this parser in the chain.
    pub tool_markers: Vec<String>,
    /// Whether a marker counts only as a control fragment.
    pub strict_markers: bool,
}

/// A factory of sessions; one per configured plugin.
pub trait Parser: Send + Sync {
    /// What the plugin said at load.
    fn info(&self) -> &ParserInfo;

    /// A fresh session for one choice of one request; sessions are never reused.
    ///
    /// # Errors
    /// When the plugin's constructor fails.
    fn session(&self, context: &RequestContext) -> Result<Box<dyn ParserSession>, PluginError>;

    /// How the format is forced for a request: what the model must write. `None` when it cannot be, or nothing is to be
    /// forced.
    ///
    /// # Errors
    /// When the plugin fails.
    fn grammar(&self, _context: &RequestContext) -> Result<Option<Segment>, PluginError> {
        Ok(None)
    }
}

/// One choice's parsing. After an error every further call answers [`crate::PluginErrorKind::Dead`].
pub trait ParserSession: Send {
    /// Takes the next fragment and appends what it means to `events`.
    ///
    /// # Errors
    /// When the plugin fails; `events` then holds nothing of this call.
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) -> Result<(), PluginError>;

    /// Says that nothing more comes and appends what was held back. Called once.
    ///
    /// # Errors
    /// When the plugin fails; `events` then holds nothing of this call.
    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) -> Result<(), PluginError>;
}
