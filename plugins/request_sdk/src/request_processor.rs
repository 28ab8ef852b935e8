//! Plugins that plan a request before it is answered, and the words of their contract (`wit/request-v0.1/request.wit`) in plain
//! Rust.
//!
//! A plugin says what it wants done; the host does it within what is granted and hands the results back.

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::FinishReason;

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Who says it.
    pub role: String,
    /// None where the message has none.
    pub content: Option<String>,
    /// The message's other fields as the text of a JSON object; empty when it has none.
    pub more: String,
}

impl Message {
    /// One that is its role and its content.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: Some(content.into()),
            more: String::new(),
        }
    }
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// The conversation.
    pub messages: Vec<Message>,
    /// Of each message's content, its SHA-256 in hexadecimal.
    pub digests: Vec<String>,
    /// What the request says to plugins, each as JSON text.
    pub parameters: Vec<(String, String)>,
    /// Tokens of the answer at most, where the request says so.
    pub max_tokens: Option<u32>,
    /// Whether the answer may be calls of tools. What is generated for the plugin has none.
    pub may_call_tools: bool,
    /// Answers that were made already, where the plugin is asked to choose among them; else none.
    pub candidates: Vec<Generated>,
}

impl Request {
    /// What the request says under a name, as JSON text.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let named = self.parameters.iter().find(|(own, _)| own == name);
        named.map(|(_, value)| value.as_str())
    }
}

/// What the host does at most for this plugin in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grants {
    /// Calls of `start` and `resume` together.
    pub steps: u32,
    /// Answers that the model generates.
    pub generations: u32,
    /// Tokens of all of them together.
    pub generated_tokens: u32,
    /// Texts that become vectors.
    pub embeddings: u32,
    /// Bytes that the store keeps of all requests' documents.
    pub stored_bytes: u64,
}

/// What the model is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Model {
    /// Tokens of prompt and answer together.
    pub context_tokens: u32,
    /// Tokens of the longest text that becomes a vector; None without an embedding model.
    pub embedding_tokens: Option<u32>,
}

/// An answer that the model is to generate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Generation {
    /// Of these messages.
    pub messages: Vec<Message>,
    /// Tokens at most.
    pub max_tokens: u32,
    /// The request's own when there is none.
    pub temperature: Option<f32>,
    /// The client sees the text as reasoning behind this one; None keeps it to the plugin.
    pub shown: Option<String>,
}

/// One thing that the host does.
#[derive(Debug, Clone, PartialEq)]
pub enum HostAction {
    /// Generates all of these in one batch.
    Generate(Vec<Generation>),
    /// Makes a vector of each text.
    Embed(Vec<String>),
    /// Counts the tokens of each text.
    CountTokens(Vec<String>),
    /// Counts the tokens of the prompt that these messages make.
    CountPrompt(Vec<Message>),
    /// Looks up what the store has of a document.
    StoreGet {
        /// Its digest.
        document: String,
        /// Names of entries.
        keys: Vec<String>,
    },
    /// Stores entries of a document.
    StorePut {
        /// Its digest.
        document: String,
        /// Names and values.
        entries: Vec<(String, Vec<u8>)>,
    },
}

/// An answer that was generated.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Without its reasoning.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Of its tokens, where the engine tells.
    pub mean_logprob: Option<f32>,
    /// Its tokens, reasoning with it.
    pub tokens: u32,
}

/// What came of one action.
#[derive(Debug, Clone, PartialEq)]
pub enum HostOutcome {
    /// Of [`HostAction::Generate`].
    Generated(Vec<Generated>),
    /// Of [`HostAction::Embed`].
    Embedded(Vec<Vec<f32>>),
    /// Of both counts.
    Counted(Vec<u32>),
    /// Of [`HostAction::StoreGet`]; None for what the store has not.
    Found(Vec<Option<Vec<u8>>>),
    /// Of [`HostAction::StorePut`]: whether it was kept.
    Kept(bool),
    /// The host could not; why.
    Failed(String),
}

/// What is next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Do these, in order, and call [`RequestProcessor::resume`].
    Perform(Vec<HostAction>),
    /// The request goes on with these messages in place of its own.
    ContinueWith(Vec<Message>),
    /// As [`Step::ContinueWith`]; behind the answer these are done, and [`RequestProcessor::resume`] asks for more or is
    /// [`Step::Done`].
    ContinueAndPerform(Vec<Message>, Vec<HostAction>),
    /// Nothing is left to do behind the answer.
    Done,
    /// This is the answer.
    Answer(String),
    /// The request cannot be answered: words for the client.
    Refuse(String),
    /// Numbers of [`Request::candidates`], the best first.
    Choose(Vec<u32>),
}

/// What a request processor says about itself at load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestProcessorInfo {
    /// The plugin's own name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// The configuration it takes, with every default, as JSON text; empty when it takes none.
    pub default_config: String,
    /// Whether it chooses among [`Request::candidates`].
    pub chooses: bool,
}

/// One request's planning; the value is made with the request and never reused.
pub trait RequestProcessor: Sized + 'static {
    /// Says at load what this plugin is. `config` is JSON text (`{}` when the user gave none).
    ///
    /// # Errors
    /// A message for the user when `config` is unusable; the plugin is then refused.
    fn describe(config: &str) -> Result<RequestProcessorInfo, String>;

    /// Begins a request. `config` is one that [`RequestProcessor::describe`] took.
    fn start(config: &str, request: Request, grants: Grants, model: Model) -> (Self, Step);

    /// Takes what came of the actions of the last step, in their order.
    fn resume(&mut self, outcomes: Vec<HostOutcome>) -> Step;
}
