//! Requests and answers of `POST /tokenize` and `POST /detokenize`, in vLLM's shapes.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{chat::ChatRequest, completions, fields::Fields, invalid::Invalid};

/// A tokenize request that passed validation.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizeRequest {
    /// The model asked for; None means the one that is served.
    pub model: Option<String>,
    /// What is tokenized.
    pub input: TokenizeInput,
    /// Whether the model's own begin and end tokens are put around it: by default around a text, not around a conversation,
    /// whose chat template writes them.
    pub add_special_tokens: bool,
    /// Whether each token's text is told too.
    pub return_token_strs: bool,
    /// Fields that nobody knows, sorted.
    pub ignored_fields: Vec<String>,
}

/// What is tokenized.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenizeInput {
    /// A text as it is.
    Text(String),
    /// A conversation, as a chat request would put it to the model.
    Chat(Box<ChatRequest>),
}

/// Fields of a conversation that mean what they mean in a chat request.
const AS_IN_CHAT: &[&str] = &[
    "messages",
    "tools",
    "tool_choice",
    "add_generation_prompt",
    "continue_final_message",
    "chat_template_args",
    "chat_template_kwargs",
    "reasoning_effort",
];

impl TokenizeRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// The first field that is wrong or not built.
    pub fn from_json(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of_body(body)?;
        let model = fields.string("model")?;
        let add_special_tokens = fields.boolean("add_special_tokens")?;
        let return_token_strs = fields.boolean("return_token_strs")?.unwrap_or(false);
        fields.not_built("chat_template", |_| false)?;
        // They say how pictures and sounds are read, of which there are none.
        fields.accept(&["media_io_kwargs", "mm_processor_kwargs"]);
        let prompt = fields.string("prompt")?;
        let mut chat = Map::new();
        for name in AS_IN_CHAT {
            if let Some(value) = fields.take(name) {
                chat.insert((*name).to_owned(), value);
            }
        }
        let input = match (prompt, chat.contains_key("messages")) {
            (Some(text), false) => TokenizeInput::Text(text),
            (None, true) => {
                let chat = ChatRequest::from_json(Value::Object(chat))?;
                TokenizeInput::Chat(Box::new(chat))
            }
            _ => {
                let message = "one of `prompt` and `messages` is required, and not both";
                return Err(Invalid::bad_value("prompt", message));
            }
        };
        Ok(Self {
            model,
            add_special_tokens: add_special_tokens
                .unwrap_or(matches!(input, TokenizeInput::Text(_))),
            input,
            return_token_strs,
            ignored_fields: fields.unknown(),
        })
    }
}

/// The answer to a [`TokenizeRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tokens {
    /// How many tokens.
    pub count: usize,
    /// Longest context in tokens, prompt and answer together.
    pub max_model_len: usize,
    /// The ids.
    pub tokens: Vec<u32>,
    /// Each token's text, where asked for: what it decodes to by itself, not its spelling in the vocabulary. Bytes of a character
    /// that several tokens share are U+FFFD.
    pub token_strs: Option<Vec<String>>,
}

/// A detokenize request that passed validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetokenizeRequest {
    /// The model asked for; None means the one that is served.
    pub model: Option<String>,
    /// Token ids; may be none.
    pub tokens: Vec<u32>,
    /// Fields that nobody knows, sorted.
    pub ignored_fields: Vec<String>,
}

impl DetokenizeRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn from_json(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of_body(body)?;
        let model = fields.string("model")?;
        let tokens = match fields.take("tokens") {
            Some(Value::Array(items)) => completions::read_tokens("tokens", &items)?,
            other => {
                let value = other.unwrap_or_default();
                return Err(Invalid::expected("tokens", "a list of token ids", &value));
            }
        };
        Ok(Self {
            model,
            tokens,
            ignored_fields: fields.unknown(),
        })
    }
}

/// The answer to a [`DetokenizeRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DetokenizedText)]
pub struct Text {
    /// The text, special tokens included.
    pub prompt: String,
}
