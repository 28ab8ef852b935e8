//! Request, answer and chunk of `POST /v1/completions`.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    chat,
    fields::Fields,
    invalid::Invalid,
    logprobs::{CompletionLogprobs, PromptLogprob, PromptLogprobs},
    options::{self, RequestOptions},
    prompt_embeds::{self, EncodedTensor},
    sampling::{self, MAX_TOP_LOGPROBS, SamplingFields, StreamFields},
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
    /// Embeddings that stand for prompts; their answers come before those to `prompts`.
    pub prompt_embeds: Vec<EncodedTensor>,
    /// At least one prompt, unless there are embeddings.
    pub prompts: Vec<Prompt>,
    /// How tokens are chosen and when generation ends.
    pub sampling: SamplingFields,
    /// How many answers a prompt; prompts times n is at most [`crate::MAX_CHOICES`].
    pub n: usize,
    /// Whether to stream.
    pub stream: bool,
    /// Whether a stream ends with a usage chunk.
    pub include_usage: bool,
    /// What else was asked for.
    pub options: RequestOptions,
    /// The caller's name for its user.
    pub user: Option<String>,
    /// Fields that nobody knows, sorted.
    pub ignored_fields: Vec<String>,
}

/// Fields that are known, not built, and ask for something whatever their value.
const NOT_BUILT: &[&str] = &["mpr_candidates"];

impl CompletionRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// The first field that is wrong or not built.
    pub fn from_json(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of_body(body)?;
        let model = fields.string("model")?;
        for name in NOT_BUILT {
            fields.not_built(name, |_| false)?;
        }
        let prompt_embeds = EncodedTensor::read_list(fields.take(prompt_embeds::NAME))?;
        let prompts = read_prompts(fields.take("prompt"), !prompt_embeds.is_empty())?;
        let given = prompt_embeds.len() + prompts.len();
        let StreamFields {
            stream,
            include_usage,
            continuous_usage,
        } = sampling::take_stream(&mut fields)?;
        let sampling = take_sampling(&mut fields)?;
        let n = sampling::take_n(&mut fields, &sampling, given)?;
        let (mut sampling, mut options) =
            RequestOptions::take(&mut fields, sampling, n, given, stream)?;
        options.selector.check_built_in()?;
        options.continuous_usage = continuous_usage;
        let echoed = sampling.logprobs.filter(|_| options.echo);
        sampling.prompt_logprobs = options.prompt_logprobs.max(echoed);
        if !prompt_embeds.is_empty() {
            refuse_beside_embeds(&sampling, &options)?;
        }
        let user = fields.string("user")?;
        chat::refuse_unless_neutral(&mut fields)?;
        fields.not_built("suffix", |value| value.as_str() == Some(""))?;
        fields.accept(&["metadata"]);
        // What is reasoning nobody looks for in a completion.
        if options.reasoning_budget.take().is_some() {
            fields.ignore(vec!["nvext.max_thinking_tokens".to_owned()]);
        }
        let ignored_fields = fields.unknown();
        Ok(Self {
            model,
            prompt_embeds,
            prompts,
            sampling,
            n,
            stream,
            include_usage,
            options,
            user,
            ignored_fields,
        })
    }
}

impl CompletionRequest {
    /// How many answers are made to each prompt; `n` of them are given.
    pub fn made(&self) -> usize {
        self.n.max(self.options.best_of)
    }
}

/// The sampling fields as completions have them: `logprobs` is a number, and with `echo` nothing need be generated.
fn take_sampling(fields: &mut Fields) -> Result<SamplingFields, Invalid> {
    let nothing = options::take_no_tokens(fields);
    let mut sampling = SamplingFields::take(fields)?;
    sampling.logprobs = fields.count("logprobs", 0, MAX_TOP_LOGPROBS)?;
    if nothing {
        sampling.max_tokens = Some(0);
        sampling.check_length()?;
    }
    Ok(sampling)
}

/// What has a meaning for tokens alone.
fn refuse_beside_embeds(
    sampling: &SamplingFields,
    options: &RequestOptions,
) -> Result<(), Invalid> {
    let asked = [
        ("echo", options.echo),
        ("prompt_logprobs", sampling.prompt_logprobs.is_some()),
        (
            "truncate_prompt_tokens",
            options.truncate_prompt_tokens.is_some(),
        ),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        None => Ok(()),
        Some((name, _)) => {
            let message =
                format!("`{name}` cannot be had beside `prompt_embeds`, which has no tokens");
            Err(Invalid::bad_value(name, message))
        }
    }
}

/// An empty text beside embeddings is none: OpenAI's clients must send a prompt.
fn read_prompts(prompt: Option<Value>, embedded: bool) -> Result<Vec<Prompt>, Invalid> {
    match prompt {
        None if embedded => Ok(Vec::new()),
        Some(Value::String(text)) if embedded && text.is_empty() => Ok(Vec::new()),
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

pub(crate) fn read_tokens(path: &str, items: &[Value]) -> Result<Vec<u32>, Invalid> {
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
    /// Token counts; in a stream only in the usage chunk, or so far in each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What was asked for in the request's `nvext`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nvext: Option<Value>,
}

/// One answer, or a piece of one.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CompletionChoice {
    /// Prompt number times n, plus the answer's number.
    pub index: usize,
    /// The text.
    pub text: String,
    /// Of its tokens, where asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// Why it ended; null while it goes on.
    pub finish_reason: Option<&'static str>,
    /// Every token that was generated, the end token too, for requests with `return_token_ids`; in a chunk the new ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
    /// Its prompt, beside the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
    /// Of its prompt's tokens, null for the first, for requests with `prompt_logprobs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Option<BTreeMap<String, PromptLogprob>>>>)]
    pub prompt_logprobs: Option<PromptLogprobs>,
}
