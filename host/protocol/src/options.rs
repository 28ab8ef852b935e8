//! What a request may ask beside its prompt and its sampling, the same for chat and completions: how many answers are made to
//! choose from, how the prompt is cut, what is told beside the answers.

use serde_json::{Value, json};

use crate::{
    answer_format::{AnswerFormat, Formats},
    fields::Fields,
    invalid::Invalid,
    lenient,
    nvext::Annotations,
    sampling::{self, SamplingFields},
};

/// Options of a generation. The default asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestOptions {
    /// Answers made to each prompt, at least `n`; the `n` best are given. 0 counts as `n`.
    pub best_of: usize,
    /// Which of them are the best.
    pub selector: Selector,
    /// Whether a completion starts with its prompt, and an answer with the message it continues.
    pub echo: bool,
    /// Whether each chunk tells the usage so far.
    pub continuous_usage: bool,
    /// Keep so many of the prompt's last tokens; `Some(0)` is as many as the model takes (the wire's -1).
    pub truncate_prompt_tokens: Option<usize>,
    /// Whether the tokenizer adds its special tokens to the prompt; None is the route's habit.
    pub add_special_tokens: Option<bool>,
    /// The chat's messages are the prompt as they are, without the template.
    pub use_raw_prompt: bool,
    /// What is told beside the answer.
    pub annotations: Annotations,
    /// How many log-probabilities are told beside each of the prompt's tokens, in the answer's `prompt_logprobs`.
    pub prompt_logprobs: Option<usize>,
    /// In log-probabilities tokens are told by their ids (`token_id:7`).
    pub tokens_as_ids: bool,
    /// Tools came as OpenAI's older `functions`, and calls are told in that shape.
    pub functions: bool,
    /// What the answer's text must be; None leaves it to the model.
    pub answer_format: Option<AnswerFormat>,
    /// The most tokens that may be spent on reasoning; None is the server's default.
    pub reasoning_budget: Option<usize>,
}

/// The words that [`Selector`] is written with.
const SELECTORS: &str = "\"mean_logprob\", \"majority\" or the name of a plugin that chooses";

/// What makes an answer better than another to the same prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selector {
    /// The mean log-probability of its tokens, as OpenAI's `best_of`.
    #[default]
    MeanLogprob,
    /// How many others say the same; among those that are said as often, the mean log-probability.
    Majority,
    /// What the plugin of this name says.
    Plugin(String),
}

impl Selector {
    /// For a request whose answers no plugin chooses among.
    pub(crate) fn check_built_in(&self) -> Result<(), Invalid> {
        let Self::Plugin(name) = self else {
            return Ok(());
        };
        let expected =
            "\"mean_logprob\" or \"majority\" (plugins choose among the answers of a chat)";
        Err(Invalid::expected("selector", expected, &json!(name)))
    }
}

impl RequestOptions {
    /// Takes the options out of `fields`; `n` answers to each of `prompts`. Some of them say something of sampling.
    pub(crate) fn take(
        fields: &mut Fields,
        mut sampling: SamplingFields,
        n: usize,
        prompts: usize,
        stream: bool,
    ) -> Result<(SamplingFields, Self), Invalid> {
        let best_of = take_best_of(fields, &sampling, n, prompts, stream)?;
        let mut options = Self {
            best_of,
            selector: take_selector(fields, best_of > 0)?,
            echo: fields.boolean("echo")?.unwrap_or(false),
            truncate_prompt_tokens: take_truncation(fields)?,
            add_special_tokens: fields.boolean("add_special_tokens")?,
            prompt_logprobs: take_prompt_logprobs(fields, stream)?,
            tokens_as_ids: fields
                .boolean("return_tokens_as_token_ids")?
                .unwrap_or(false),
            ..Self::default()
        };
        let mut formats = Formats::default();
        formats.take(fields)?;
        if let Some(nvext) = fields.object("nvext")? {
            let nvext = crate::nvext::read(nvext, &mut sampling, &mut formats)?;
            options.use_raw_prompt = nvext.use_raw_prompt;
            options.annotations = nvext.annotations;
            options.reasoning_budget = nvext.reasoning_budget;
            fields.ignore(nvext.ignored);
        }
        options.answer_format = formats.into_format();
        Ok((sampling, options))
    }
}

/// `best_of`, 0 if it was not given.
fn take_best_of(
    fields: &mut Fields,
    sampling: &SamplingFields,
    n: usize,
    prompts: usize,
    stream: bool,
) -> Result<usize, Invalid> {
    let Some(best_of) = fields.count("best_of", 1, crate::MAX_CHOICES)? else {
        return Ok(0);
    };
    let wrong = |message: String| Err(Invalid::bad_value("best_of", message));
    if best_of < n {
        return wrong(format!(
            "`best_of` must be at least `n`, got {best_of} and {n}"
        ));
    }
    if best_of > n && stream {
        return wrong(format!(
            "`best_of` must be `n` when `stream` is true, got {best_of} and {n}: which answer is best is known at the end"
        ));
    }
    if best_of > 1 && sampling.temperature == Some(0.0) {
        return wrong(format!(
            "`best_of` must be 1 when `temperature` is 0, got {best_of}"
        ));
    }
    if best_of.saturating_mul(prompts) > crate::MAX_CHOICES {
        return wrong(format!(
            "`best_of` times the number of prompts must be at most {}, got {best_of} times {prompts}",
            crate::MAX_CHOICES
        ));
    }
    Ok(best_of)
}

/// `selector`, which has nothing to choose from without a `best_of`.
fn take_selector(fields: &mut Fields, best_of: bool) -> Result<Selector, Invalid> {
    const NAME: &str = "selector";
    let selector = match fields.string(NAME)?.as_deref() {
        None => return Ok(Selector::default()),
        Some("mean_logprob") => Selector::MeanLogprob,
        Some("majority") => Selector::Majority,
        Some("") => {
            let message = format!("`{NAME}` must be {SELECTORS}, got \"\"");
            return Err(Invalid::bad_value(NAME, message));
        }
        Some(name) => Selector::Plugin(name.to_owned()),
    };
    if !best_of {
        let message =
            format!("`{NAME}` chooses among the answers of `best_of`, which is not given");
        return Err(Invalid::bad_value(NAME, message));
    }
    Ok(selector)
}

fn take_truncation(fields: &mut Fields) -> Result<Option<usize>, Invalid> {
    const NAME: &str = "truncate_prompt_tokens";
    match fields.integer(NAME)? {
        None => Ok(None),
        Some(-1) => Ok(Some(0)),
        Some(tokens) => match usize::try_from(tokens) {
            Ok(tokens) if tokens > 0 => Ok(Some(tokens)),
            _ => Err(Invalid::expected(
                NAME,
                "-1 (what the model takes) or an integer of at least 1",
                &tokens.into(),
            )),
        },
    }
}

/// `prompt_logprobs`, which a stream has no place for.
fn take_prompt_logprobs(fields: &mut Fields, stream: bool) -> Result<Option<usize>, Invalid> {
    const NAME: &str = "prompt_logprobs";
    match fields.count(NAME, 0, sampling::MAX_TOP_LOGPROBS)? {
        Some(count) if stream => {
            let message = format!("`{NAME}` cannot be had when `stream` is true, got {count}");
            Err(Invalid::bad_value(NAME, message))
        }
        count => Ok(count),
    }
}

/// How many top log-probabilities a chat request wants told; None for none at all.
pub(crate) fn take_chat_logprobs(fields: &mut Fields) -> Result<Option<usize>, Invalid> {
    let wanted = fields.boolean("logprobs")?.unwrap_or(false);
    let top = fields.count("top_logprobs", 0, sampling::MAX_TOP_LOGPROBS)?;
    match (wanted, top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(top)) => {
            let message = format!("`top_logprobs` needs `logprobs` true, got {top} without it");
            Err(Invalid::bad_value("top_logprobs", message))
        }
    }
}

/// Takes a `max_tokens` of 0 where there is an `echo`: nothing is generated.
pub(crate) fn take_no_tokens(fields: &mut Fields) -> bool {
    let is_zero = |value: &Value| lenient::integer(value) == Some(0);
    let is_true = |value: &Value| lenient::boolean(value) == Some(true);
    fields.is("echo", is_true)
        && fields.is("max_tokens", is_zero)
        && fields.take("max_tokens").is_some()
}
