//! The words of the contract (`wit/v0.1/plugin.wit`) in plain Rust, the same natively and in a component.
//!
//! Plain data: no behaviour beyond building a value.

use alloc::{string::String, vec::Vec};

/// Text that may be short: a dozen bytes or two are held in the value itself. A token's text is, so that passing it on
/// takes no memory.
pub type Text = compact_str::CompactString;

/// What is known about a piece of model output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FragmentKind {
    /// Ordinary tokens.
    Text,
    /// Exactly one added or special token of the tokenizer.
    Control,
    /// A remote engine's text: may hold markers anywhere.
    Unknown,
}

/// A piece of model output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Whole UTF-8 characters; never empty.
    pub text: Text,
    /// What it is.
    pub kind: FragmentKind,
}

impl Fragment {
    /// A fragment of this text and kind.
    pub fn new(text: impl Into<Text>, kind: FragmentKind) -> Self {
        Self {
            text: text.into(),
            kind,
        }
    }
}

/// What a parser says. `index` counts the calls of one choice from 0.
///
/// Per call: `CallBegin`, any number of `CallArguments`, then `CallEnd` or `CallAbandoned`. A call whose name never came
/// is one `CallAbandoned` without a `CallBegin`; its index is then free for the next call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Text for the user; the kind survives, so that the next parser in the chain sees what the model sent.
    Content(Fragment),
    /// A piece of the model's reasoning.
    Reasoning {
        /// The text.
        text: Text,
    },
    /// A call starts.
    CallBegin {
        /// Which call.
        index: u32,
        /// The id the model wrote, for formats that have one; the host makes one otherwise.
        id: Option<String>,
        /// The tool's name as the model wrote it.
        name: String,
    },
    /// Raw argument bytes of the open call, as the model wrote them; never empty.
    CallArguments {
        /// Which call.
        index: u32,
        /// The bytes.
        delta: Text,
    },
    /// The call closed and its arguments are a JSON object.
    CallEnd {
        /// Which call.
        index: u32,
    },
    /// The call never closed, or its arguments are not a JSON object.
    CallAbandoned {
        /// Which call.
        index: u32,
        /// What the model wrote of this call, without the family's markers.
        raw: String,
    },
}

/// How generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// End token, stop token or stop string.
    Stop,
    /// Out of tokens.
    Length,
    /// A plugin ended it.
    ContentFilter,
}

/// A tool the request offers.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The end of the rendered prompt; a reasoning parser's starting state comes from the last reasoning marker there.
    pub prompt_tail: String,
    /// Markers of the tool parser behind this parser in the chain.
    pub tool_markers: Vec<String>,
    /// Whether a marker counts only as a control fragment; otherwise it counts as text too.
    pub strict_markers: bool,
}

/// Which parts of a model's output a parser takes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// Splits reasoning from content.
    pub reasoning: bool,
    /// Finds tool calls.
    pub tools: bool,
}

/// Which ids the host gives to calls whose format writes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallIdFormat {
    /// The host's own.
    #[default]
    Any,
    /// So many letters and digits, for families whose chat template takes no other.
    Alphanumeric(u8),
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
    /// Texts that start something in this format.
    pub markers: Vec<String>,
    /// Special tokens the detokenizer must keep.
    pub special_tokens: Vec<String>,
    /// Tokens that end generation.
    pub stop_tokens: Vec<String>,
    /// The text of a chat template with tools, for models whose own has none.
    pub chat_template: Option<String>,
    /// Which ids calls get.
    pub call_ids: CallIdFormat,
    /// The configuration it takes, with every default, as JSON text; empty when it takes none.
    pub default_config: String,
}

/// Which events a post-processor wants; the others pass it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interests {
    /// Content events.
    pub content: bool,
    /// Reasoning events.
    pub reasoning: bool,
    /// All call events.
    pub calls: bool,
}

/// What a post-processor says about itself at load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostProcessorInfo {
    /// The plugin's own name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// What it wants to see.
    pub interests: Interests,
    /// The configuration it takes, with every default, as JSON text; empty when it takes none.
    pub default_config: String,
}

/// What a post-processor does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Hands an event on. What was emitted stands.
    Emit(Event),
    /// Ends the generation; the text is the reason, for the log. `stop`, alone or before a colon, ends the answer as a stop
    /// string does; any other reason gives the finish reason `content_filter`.
    Stop(String),
}
