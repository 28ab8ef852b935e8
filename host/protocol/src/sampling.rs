//! The sampling fields that chat and completions share, with their ranges.
//!
//! A field that was not given stays None: what it then means depends on the model and is the server's business.

use serde_json::Value;

use crate::{fields::Fields, invalid::Invalid, lenient};

/// How a request wants tokens chosen and when generation ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SamplingFields {
    /// 0 to 2; 0 is greedy.
    pub temperature: Option<f32>,
    /// 0 to 1.
    pub top_p: Option<f32>,
    /// The k likeliest; `Some(0)` keeps all (the wire's 0 and -1).
    pub top_k: Option<usize>,
    /// 0 to 1.
    pub min_p: Option<f32>,
    /// Above 0, at most 1.
    pub typical_p: Option<f32>,
    /// Above 0, at most 10.
    pub repetition_penalty: Option<f32>,
    /// -2 to 2.
    pub presence_penalty: Option<f32>,
    /// -2 to 2.
    pub frequency_penalty: Option<f32>,
    /// Token id and bias from -100 to 100.
    pub logit_bias: Vec<(u32, f32)>,
    /// The only tokens that may be written, at least one; an end token only if it is among them.
    pub allowed_token_ids: Option<Vec<u32>>,
    /// Texts that must not be written, none empty.
    pub bad_words: Vec<String>,
    /// Any 64 bits.
    pub seed: Option<i64>,
    /// KsanaLLM's switch: `Some(false)` is greedy whatever else is said.
    pub do_sample: Option<bool>,
    /// Stop strings, none empty.
    pub stop: Vec<String>,
    /// Tokens that end generation.
    pub stop_token_ids: Vec<u32>,
    /// At least 1; `max_completion_tokens` wins over `max_tokens`.
    pub max_tokens: Option<usize>,
    /// No end before this many tokens.
    pub min_tokens: usize,
    /// Run on past the end token.
    pub ignore_eos: bool,
    /// Leave the stop string in the answer.
    pub include_stop_string: bool,
    /// Show the special tokens that the model writes.
    pub show_special_tokens: bool,
    /// Who starts first of those that wait: the lowest.
    pub priority: i64,
    /// How many top log-probabilities are told beside a token's own; None tells nothing. Read by the routes that have them.
    pub logprobs: Option<usize>,
    /// How many are told beside each of the prompt's tokens; None tells nothing of them. Read by the routes that have them.
    pub prompt_logprobs: Option<usize>,
    /// How many of the last tokens of `max_tokens` a forced answer may be closed with.
    pub structured_output_reserve: Option<usize>,
    /// Tells the token ids of prompt and answer. Read by the routes that have them.
    pub return_token_ids: bool,
}

/// Texts that must not be written, and the characters that each may have.
const MAX_BAD_WORDS: usize = 128;
const LONGEST_BAD_WORD: usize = 256;

/// Stop strings a request may have.
pub(crate) const MAX_STOP_STRINGS: usize = 128;
/// Top log-probabilities a request may ask for.
pub(crate) const MAX_TOP_LOGPROBS: usize = 20;

impl SamplingFields {
    /// Takes the sampling fields out of `fields`.
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, Invalid> {
        let max_completion_tokens = fields.count("max_completion_tokens", 1, usize::MAX)?;
        let max_tokens = fields.count("max_tokens", 1, usize::MAX)?;
        let sampling = Self {
            temperature: fields.number("temperature", 0.0, 2.0)?,
            top_p: fields.number("top_p", 0.0, 1.0)?,
            top_k: take_top_k(fields)?,
            min_p: fields.number("min_p", 0.0, 1.0)?,
            typical_p: fields.number_above("typical_p", 0.0, 1.0)?,
            repetition_penalty: fields.number_above("repetition_penalty", 0.0, 10.0)?,
            presence_penalty: fields.number("presence_penalty", -2.0, 2.0)?,
            frequency_penalty: fields.number("frequency_penalty", -2.0, 2.0)?,
            logit_bias: take_logit_bias(fields)?,
            allowed_token_ids: take_allowed(fields)?,
            bad_words: take_bad_words(fields)?,
            seed: fields.integer("seed")?,
            do_sample: fields.boolean("do_sample")?,
            stop: take_stop(fields)?,
            stop_token_ids: take_token_ids(fields, "stop_token_ids")?,
            max_tokens: max_completion_tokens.or(max_tokens),
            min_tokens: fields.count("min_tokens", 0, usize::MAX)?.unwrap_or(0),
            ignore_eos: fields.boolean("ignore_eos")?.unwrap_or(false),
            include_stop_string: fields
                .boolean("include_stop_str_in_output")?
                .unwrap_or(false),
            show_special_tokens: fields.boolean("skip_special_tokens")? == Some(false),
            priority: fields.integer("priority")?.unwrap_or(0),
            logprobs: None,
            prompt_logprobs: None,
            structured_output_reserve: fields.count("structured_output_reserve", 0, usize::MAX)?,
            return_token_ids: fields.boolean("return_token_ids")?.unwrap_or(false),
        };
        sampling.refuse_not_built(fields)?;
        sampling.check_length()?;
        Ok(sampling)
    }

    /// Whether an answer can be as long as it must be.
    pub(crate) fn check_length(&self) -> Result<(), Invalid> {
        match self.max_tokens {
            Some(max_tokens) if self.min_tokens > max_tokens => {
                let message = format!(
                    "`min_tokens` must be at most `max_tokens`, got {} and {max_tokens}",
                    self.min_tokens
                );
                Err(Invalid::bad_value("min_tokens", message))
            }
            _ => Ok(()),
        }
    }

    /// Refuses neighbours of these fields that are known from vLLM and would change an answer.
    fn refuse_not_built(&self, fields: &mut Fields) -> Result<(), Invalid> {
        let is_false = |value: &Value| lenient::boolean(value) == Some(false);
        // Between special tokens that are not shown there is nothing to space.
        let spaced = !self.show_special_tokens;
        fields.not_built("spaces_between_special_tokens", |value| {
            spaced || is_false(value)
        })?;
        if self.include_stop_string && !self.stop_token_ids.is_empty() {
            return Err(Invalid::not_implemented(
                "include_stop_str_in_output",
                "to show a stop token of `stop_token_ids`",
            ));
        }
        fields.not_built("use_beam_search", is_false)?;
        fields.not_built("length_penalty", |value| {
            lenient::number(value) == Some(1.0)
        })
    }

    /// Whether the request itself says that the likeliest token is always taken.
    pub fn is_greedy(&self) -> bool {
        self.temperature == Some(0.0) || self.top_k == Some(1) || self.do_sample == Some(false)
    }
}

/// `n`, checked against the number of prompts and against greedy sampling.
pub(crate) fn take_n(
    fields: &mut Fields,
    sampling: &SamplingFields,
    prompts: usize,
) -> Result<usize, Invalid> {
    let n = fields.count("n", 1, crate::MAX_CHOICES)?.unwrap_or(1);
    if n > 1 && sampling.temperature == Some(0.0) {
        return Err(Invalid::bad_value(
            "n",
            format!("`n` must be 1 when `temperature` is 0, got {n}"),
        ));
    }
    if n.saturating_mul(prompts) > crate::MAX_CHOICES {
        let message = format!(
            "`n` times the number of prompts must be at most {}, got {n} times {prompts}",
            crate::MAX_CHOICES
        );
        return Err(Invalid::bad_value("n", message));
    }
    Ok(n)
}

/// Whether and how an answer is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StreamFields {
    pub(crate) stream: bool,
    /// The stream ends with a usage chunk.
    pub(crate) include_usage: bool,
    /// Each chunk tells the usage so far.
    pub(crate) continuous_usage: bool,
}

/// `stream` and its options.
pub(crate) fn take_stream(fields: &mut Fields) -> Result<StreamFields, Invalid> {
    let stream = fields.boolean("stream")?.unwrap_or(false);
    let Some(mut options) = fields.object("stream_options")? else {
        return Ok(StreamFields {
            stream,
            ..StreamFields::default()
        });
    };
    if !stream {
        return Err(Invalid::bad_value(
            "stream_options",
            "`stream_options` is only allowed when `stream` is true",
        ));
    }
    Ok(StreamFields {
        stream,
        include_usage: options.boolean("include_usage")?.unwrap_or(false),
        continuous_usage: options.boolean("continuous_usage_stats")?.unwrap_or(false),
    })
}

/// A token id, if the value is one.
pub(crate) fn token_id(value: &Value) -> Option<u32> {
    lenient::integer(value).and_then(|id| u32::try_from(id).ok())
}

fn take_top_k(fields: &mut Fields) -> Result<Option<usize>, Invalid> {
    match fields.integer("top_k")? {
        Some(-1) => Ok(Some(0)),
        Some(top_k) => match usize::try_from(top_k) {
            Ok(top_k) => Ok(Some(top_k)),
            Err(_) => Err(Invalid::expected(
                "top_k",
                "-1 (off) or an integer of at least 0",
                &top_k.into(),
            )),
        },
        None => Ok(None),
    }
}

fn take_logit_bias(fields: &mut Fields) -> Result<Vec<(u32, f32)>, Invalid> {
    let map = match fields.take("logit_bias") {
        None => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(other) => {
            return Err(Invalid::expected(
                "logit_bias",
                "an object from token id to bias",
                &other,
            ));
        }
    };
    let mut biases = Vec::with_capacity(map.len());
    for (token, bias) in map {
        let id: u32 = token.parse().map_err(|_| {
            Invalid::expected(
                "logit_bias",
                "an object whose keys are token ids",
                &Value::String(token.clone()),
            )
        })?;
        // Biases are within 100: no loss worth a word.
        #[allow(clippy::cast_possible_truncation)]
        let bias = lenient::number(&bias)
            .filter(|bias| (-100.0..=100.0).contains(bias))
            .map(|bias| bias as f32)
            .ok_or_else(|| {
                Invalid::expected(
                    format!("logit_bias.{id}"),
                    "a number between -100 and 100",
                    &bias,
                )
            })?;
        biases.push((id, bias));
    }
    Ok(biases)
}

fn take_stop(fields: &mut Fields) -> Result<Vec<String>, Invalid> {
    const EXPECTED: &str = "a string or a list of strings";
    let stop = match fields.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                other => Err(Invalid::expected("stop", EXPECTED, &other)),
            })
            .collect::<Result<Vec<_>, _>>()?,
        Some(other) => return Err(Invalid::expected("stop", EXPECTED, &other)),
    };
    if stop.iter().any(String::is_empty) {
        return Err(Invalid::bad_value(
            "stop",
            "`stop` must not hold an empty string",
        ));
    }
    if stop.len() > MAX_STOP_STRINGS {
        let message = format!(
            "`stop` must hold at most {MAX_STOP_STRINGS} strings, got {}",
            stop.len()
        );
        return Err(Invalid::bad_value("stop", message));
    }
    Ok(stop)
}

fn take_allowed(fields: &mut Fields) -> Result<Option<Vec<u32>>, Invalid> {
    const NAME: &str = "allowed_token_ids";
    let given = fields.is(NAME, |value| !value.is_null());
    let allowed = take_token_ids(fields, NAME)?;
    match (given, allowed.is_empty()) {
        (false, _) => Ok(None),
        (true, false) => Ok(Some(allowed)),
        (true, true) => Err(Invalid::expected(
            NAME,
            "a list of at least one token id",
            &Value::Array(Vec::new()),
        )),
    }
}

fn take_bad_words(fields: &mut Fields) -> Result<Vec<String>, Invalid> {
    const EXPECTED: &str = "a list of at most 128 strings of 1 to 256 characters";
    let wrong = |value: &Value| Invalid::expected("bad_words", EXPECTED, value);
    let items = match fields.take("bad_words") {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MAX_BAD_WORDS => items,
        Some(other) => return Err(wrong(&other)),
    };
    let word = |item: Value| match item {
        // White space alone is no word.
        Value::String(word)
            if !word.trim().is_empty() && word.chars().count() <= LONGEST_BAD_WORD =>
        {
            Ok(word)
        }
        other => Err(wrong(&other)),
    };
    items.into_iter().map(word).collect()
}

fn take_token_ids(fields: &mut Fields, name: &str) -> Result<Vec<u32>, Invalid> {
    const EXPECTED: &str = "a list of token ids";
    match fields.take(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| token_id(item).ok_or_else(|| Invalid::expected(name, EXPECTED, item)))
            .collect(),
        Some(other) => Err(Invalid::expected(name, EXPECTED, &other)),
    }
}
