//! Request, answer and chunk of `POST /v1/completions`.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    chat,
    fields::Fields,
    invalid::Invalid,
    lenient,
    sampling::{self, SamplingFields},
    usage::Usage,
};

/// One prompt of a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text for the tokenizer.
    Text(String),
    /// Token ids; at least one.
    Tokens(Vec<u32>),
}

/// A completion request that passed validation.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// The model asked for; None means the one that is served.
    pub model: Option<String>,
    /// At least one prompt.
    pub prompts: Vec<Prompt>,
    /// How tokens are chosen and when generation ends.
    pub sampling: SamplingFields,
    /// How many answers a prompt; prompts times n is at most [`crate::MAX_CHOICES`].
    pub n: usize,
    /// Whether to stream.
    pub stream: bool,
    /// Whether a stream ends with a usage chunk.
    pub include_usage: bool,
    /// Whether each answer starts with its prompt.
    pub echo: bool,
    /// The caller's name for its user.
    pub user: Option<String>,
    /// Fields that nobody knows, sorted.
    pub ignored_fields: Vec<String>,
}

/// Fields that are known, not built, and ask for something whatever their value.
const NOT_BUILT: &[&str] = &[
    "prompt_embeds",
    "logprobs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "mpr_candidates",
    "nvext",
];

impl CompletionRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// The first field that is wrong or not built.
    pub fn from_json(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of_body(body)?;
        let model = fields.string("model")?;
        // Before `prompt`, which may be absent beside it.
        for name in NOT_BUILT {
            fields.not_built(name, |_| false)?;
        }
        let prompts = read_prompts(fields.take("prompt"))?;
        let sampling = SamplingFields::take(&mut fields)?;
        let n = sampling::take_n(&mut fields, &sampling, prompts.len())?;
        let (stream, include_usage) = sampling::take_stream(&mut fields)?;
        let echo = fields.boolean("echo")?.unwrap_or(false);
        let user = fields.string("user")?;
        chat::refuse_unless_neutral(&mut fields)?;
        fields.not_built("suffix", |value| value.as_str() == Some(""))?;
        fields.not_built("use_beam_search", |value| {
            lenient::boolean(value) == Some(false)
        })?;
        fields.accept(&["metadata"]);
        let ignored_fields = fields.unknown();
        Ok(Self {
            model,
            prompts,
            sampling,
            n,
            stream,
            include_usage,
            echo,
            user,
            ignored_fields,
        })
    }
}

fn read_prompts(prompt: Option<Value>) -> Result<Vec<Prompt>, Invalid> {
    match prompt {
        None => Err(Invalid::bad_value("prompt", "`prompt` is required")),
        Some(prompt) => Prompt::read_list("prompt", prompt),
    }
}

impl Prompt {
    /// Reads the field `name`: one prompt or a list of them; at least one.
    pub(crate) fn read_list(name: &str, value: Value) -> Result<Vec<Self>, Invalid> {
        const EXPECTED: &str =
            "a string, a list of strings, a list of token ids or a list of lists of token ids";
        let items = match value {
            Value::String(text) => return Ok(vec![Self::Text(text)]),
            Value::Array(items) if !items.is_empty() => items,
            Value::Array(_) => {
                let message = format!("`{name}` must not be an empty list");
                return Err(Invalid::bad_value(name, message));
            }
            other => return Err(Invalid::expected(name, EXPECTED, &other)),
        };
        if items[0].is_number() {
            return Ok(vec![Self::Tokens(read_tokens(name, &items)?)]);
        }
        let read = |(index, item): (usize, Value)| match item {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Array(tokens) if !tokens.is_empty() => Ok(Self::Tokens(read_tokens(
                &format!("{name}[{index}]"),
                &tokens,
            )?)),
            other => Err(Invalid::expected(
                format!("{name}[{index}]"),
                "a string or a list of token ids",
                &other,
            )),
        };
        items.into_iter().enumerate().map(read).collect()
    }
}

fn read_tokens(path: &str, items: &[Value]) -> Result<Vec<u32>, Invalid> {
    let read = |item: &Value| {
        item.is_number()
            .then(|| sampling::token_id(item))
            .flatten()
            .ok_or_else(|| Invalid::expected(path, "a list of token ids", item))
    };
    items.iter().map(read).collect()
}

/// A completion, or one chunk of a streamed one: both have the same shape.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Completion {
    /// `cmpl-...`.
    pub id: String,
    /// Always `text_completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// Tells which build and model answered.
    pub system_fingerprint: String,
    /// The answers; in a chunk the pieces, none in the usage chunk.
    pub choices: Vec<CompletionChoice>,
    /// Token counts; in a stream only in the usage chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// One answer, or a piece of one.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CompletionChoice {
    /// Prompt number times n, plus the answer's number.
    pub index: usize,
    /// The text.
    pub text: String,
    /// Not built: always null.
    pub logprobs: Option<()>,
    /// Why it ended; null while it goes on.
    pub finish_reason: Option<&'static str>,
}
