//! The request-processor boundary: a plugin that plans a request before it is answered. It says what it wants done, whoever
//! drives it does that within what is granted and hands the results back.
//!
//! Nothing here does anything: this is the words of the contract, and the account of what a plugin asked for.

mod account;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{error::PluginError, event::FinishReason};

pub use account::Account;

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlannedMessage {
    /// Who says it.
    pub role: String,
    /// None where the message has none.
    pub content: Option<String>,
    /// The message's other fields as the text of a JSON object; empty when it has none.
    pub more: String,
}

impl PlannedMessage {
    /// Of a message as requests have it, whose content is text or nothing.
    pub fn of_json(message: &Value) -> Self {
        let fields = message.as_object().cloned().unwrap_or_default();
        let text = |name: &str| Some(message.get(name)?.as_str()?.to_owned());
        let own = |name: &String| name != "role" && name != "content";
        let more: Map<String, Value> = fields.into_iter().filter(|(name, _)| own(name)).collect();
        Self {
            role: text("role").unwrap_or_default(),
            content: text("content"),
            more: match more.is_empty() {
                true => String::new(),
                false => Value::Object(more).to_string(),
            },
        }
    }

    /// The message as requests have it.
    ///
    /// # Errors
    /// What is wrong with it: no role, or other fields that are no JSON object.
    pub fn to_json(&self) -> Result<Value, String> {
        if self.role.is_empty() {
            return Err("a message without a role".to_owned());
        }
        let mut fields = Map::new();
        fields.insert("role".to_owned(), self.role.clone().into());
        fields.insert("content".to_owned(), self.content.clone().into());
        if !self.more.is_empty() {
            match serde_json::from_str(&self.more) {
                Ok(Value::Object(more)) => fields.extend(more),
                _ => return Err("a message whose other fields are no JSON object".to_owned()),
            }
        }
        Ok(Value::Object(fields))
    }
}

/// A request as a plugin sees it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlannedRequest {
    /// The conversation.
    pub messages: Vec<PlannedMessage>,
    /// Of each message's content, its SHA-256 in hexadecimal.
    pub digests: Vec<String>,
    /// What the request says to plugins, each as JSON text.
    pub parameters: Vec<(String, String)>,
    /// Tokens of the answer at most, where the request says so.
    pub max_tokens: Option<u32>,
    /// Whether the answer may be calls of tools.
    pub may_call_tools: bool,
    /// Answers that were made already, where the plugin is asked to choose among them; else none.
    pub candidates: Vec<PlannedAnswer>,
}

/// What is done at most for a plugin in one request. A plugin that nothing was granted to may think and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Calls of `start` and `resume` together.
    pub steps: u32,
    /// Answers that the model generates.
    pub generations: u32,
    /// Tokens of all of them together.
    pub generated_tokens: u32,
    /// Texts that become vectors.
    pub embeddings: u32,
    /// Bytes of keys and values that the store keeps of all requests' documents.
    pub stored_bytes: u64,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            steps: 16,
            generations: 0,
            generated_tokens: 0,
            embeddings: 0,
            stored_bytes: 0,
        }
    }
}

/// What a plugin may know of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlannedModel {
    /// Tokens of prompt and answer together.
    pub context_tokens: u32,
    /// Tokens of the longest text that becomes a vector; None without an embedding model.
    pub embedding_tokens: Option<u32>,
}

/// An answer that the model is to generate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlannedGeneration {
    /// Of these messages.
    pub messages: Vec<PlannedMessage>,
    /// Tokens at most.
    pub max_tokens: u32,
    /// The request's own when there is none.
    pub temperature: Option<f32>,
    /// The client sees the text as reasoning behind this one; None keeps it to the plugin.
    pub shown: Option<String>,
}

/// One thing that a plugin wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessorAction {
    /// Generate all of these in one batch.
    Generate(Vec<PlannedGeneration>),
    /// Make a vector of each text.
    Embed(Vec<String>),
    /// Count the tokens of each text.
    CountTokens(Vec<String>),
    /// Count the tokens of the prompt that these messages make.
    CountPrompt(Vec<PlannedMessage>),
    /// Look up entries of a document.
    StoreGet {
        /// Its digest.
        document: String,
        /// Names of entries.
        keys: Vec<String>,
    },
    /// Store entries of a document.
    StorePut {
        /// Its digest.
        document: String,
        /// Names and values.
        entries: Vec<(String, Vec<u8>)>,
    },
}

/// An answer that was generated.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedAnswer {
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
pub enum ProcessorOutcome {
    /// The answers, in the order of the generations.
    Generated(Vec<PlannedAnswer>),
    /// The vectors.
    Embedded(Vec<Vec<f32>>),
    /// The counts.
    Counted(Vec<u32>),
    /// The values; None for what the store has not.
    Found(Vec<Option<Vec<u8>>>),
    /// Whether it was kept.
    Kept(bool),
    /// It could not be done; why.
    Failed(String),
}

/// What is next.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessorStep {
    /// Do these, in order, and resume with what came of them.
    Perform(Vec<ProcessorAction>),
    /// The request goes on with these messages in place of its own.
    ContinueWith(Vec<PlannedMessage>),
    /// The same; when the answer is over, do these and resume.
    ContinueAndPerform(Vec<PlannedMessage>, Vec<ProcessorAction>),
    /// Nothing is left to do behind the answer.
    Done,
    /// This is the answer.
    Answer(String),
    /// The request cannot be answered: words for the client.
    Refuse(String),
    /// The best of the request's candidates by number, the best first: at least one, none twice.
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
    /// Whether it chooses among a request's candidates.
    pub chooses: bool,
}

/// A factory of sessions.
pub trait RequestProcessor: Send + Sync {
    /// The name that the user knows it by.
    fn name(&self) -> &str;

    /// What the plugin said at load.
    fn info(&self) -> &RequestProcessorInfo;

    /// What it is granted.
    fn grants(&self) -> &Grants;

    /// Begins a request: a session, and what is to be done first.
    ///
    /// # Errors
    /// When the plugin fails, or asks for more than it is granted.
    fn start(
        &self,
        request: &PlannedRequest,
        model: &PlannedModel,
    ) -> Result<(Box<dyn RequestSession>, ProcessorStep), PluginError>;
}

/// One request's planning.
pub trait RequestSession: Send {
    /// Takes what came of the actions of the last step, in their order.
    ///
    /// # Errors
    /// When the plugin fails, or asks for more than it is granted; it is over then.
    fn resume(&mut self, outcomes: &[ProcessorOutcome]) -> Result<ProcessorStep, PluginError>;
}
