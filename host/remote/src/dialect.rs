//! How an engine wants a sequence asked for: the same wishes in each engine's own field names.
//!
//! Every sampling field is said, also where it changes nothing, because engines have defaults of their own; only the plain
//! dialect leaves out what it cannot be sure of. What an engine cannot do is refused by the field's name.
//!
//! The names are those of the engines' own protocols: vLLM and SGLang `CompletionRequest`, llama.cpp's `POST /completion`.
//! `tests/fields` holds them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use weir_engine::{EngineError, SamplingParams, SequenceRequest, TokenTexts};

mod forced;
mod messages;

/// llama.cpp keeps so many tokens in memory for each sequence.
const MAX_PENALTY_WINDOW: usize = 1 << 20;

/// What an engine understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// vLLM, and what is like it.
    Vllm,
    /// SGLang.
    Sglang,
    /// llama.cpp's server, by its own `/completion`: its `/v1/completions` tells no token ids.
    Llama,
    /// OpenAI's legacy completions, with vLLM's names for what differs from the defaults.
    Openai,
}

impl Dialect {
    /// The engine that calls its models its own.
    pub(crate) fn of_owner(owner: &str) -> Self {
        match owner {
            // weir takes vLLM's fields and answers as it does.
            "vllm" | "weir" => Self::Vllm,
            "sglang" => Self::Sglang,
            "llamacpp" => Self::Llama,
            _ => Self::Openai,
        }
    }
}

/// A prompt as an engine takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PromptForm {
    /// Messages, for the engine's own template: the prompt's bytes are the fields of a chat request, as JSON.
    Messages,
    /// Token ids.
    Ids,
    /// Text, which the engine's tokenizer must take apart as ours did.
    Text,
}

/// What is asked of an engine.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a SequenceRequest,
    /// The model's name there.
    pub(crate) model: &'a str,
    pub(crate) prompt: PromptForm,
    /// Tokens to generate at most; None leaves it to the engine.
    pub(crate) max_tokens: Option<usize>,
    /// Whether it takes fields that OpenAI's API has not; the other dialects always do.
    pub(crate) extras: bool,
    pub(crate) texts: &'a dyn TokenTexts,
}

/// Refuses what no remote engine can do for us.
pub(crate) fn check(request: &SequenceRequest) -> Result<(), EngineError> {
    let asked = [
        ("prompt_embeds", request.embeddings.is_some()),
        ("an embedding", request.pooling.is_some()),
        ("a reasoning budget", request.stop.reasoning.is_some()),
        (
            "structured_output_reserve",
            request.stop.closing_reserve > 0,
        ),
        (
            "prompt_logprobs",
            request.sampling.prompt_logprobs.is_some(),
        ),
        ("max_tokens of 0", request.stop.max_tokens == Some(0)),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(refused(what)),
        None => Ok(()),
    }
}

fn refused(what: &str) -> EngineError {
    EngineError::InvalidRequest(format!(
        "{what}: the engine behind this server cannot do that for it"
    ))
}

impl Dialect {
    /// The route, behind the engine's root or its API.
    pub(crate) fn route(self, prompt: PromptForm) -> (&'static str, bool) {
        match self {
            _ if prompt == PromptForm::Messages => ("/chat/completions", true),
            Self::Llama => ("/completion", false),
            Self::Vllm | Self::Sglang | Self::Openai => ("/completions", true),
        }
    }

    /// The body of a request for a stream.
    ///
    /// # Errors
    /// [`EngineError::InvalidRequest`] naming what the engine cannot do.
    pub(crate) fn body(self, asked: &Asked) -> Result<Value, EngineError> {
        let mut body = match self {
            Self::Vllm => vllm(asked)?,
            Self::Sglang => sglang(asked)?,
            Self::Llama => llama(asked)?,
            Self::Openai => openai(asked)?,
        };
        if let Some(constraint) = &asked.request.constraint {
            forced::put_forced(self, asked.prompt, &**constraint, &mut body)?;
        }
        if asked.prompt == PromptForm::Messages {
            messages::put_messages(self, asked, &mut body)?;
        }
        Ok(Value::Object(body))
    }
}

fn vllm(asked: &Asked) -> Result<Map<String, Value>, EngineError> {
    let SequenceRequest { sampling, stop, .. } = asked.request;
    refuse_if(&[("typical_p", sampling.typical_p != 1.0)])?;
    let mut body = openai_fields(asked);
    put(&mut body, "top_k", sampling.top_k);
    put(&mut body, "min_p", plain(sampling.min_p));
    put(
        &mut body,
        "repetition_penalty",
        plain(sampling.repetition_penalty),
    );
    put(&mut body, "min_tokens", stop.min_tokens);
    put(&mut body, "stop_token_ids", &stop.stop_token_ids);
    put(&mut body, "ignore_eos", stop.ignore_eos);
    if let Some(allowed) = &sampling.allowed_tokens {
        put(&mut body, "allowed_token_ids", allowed);
    }
    if !sampling.bad_words.is_empty() {
        put(&mut body, "bad_words", bad_words(asked));
    }
    if asked.request.priority != 0 {
        put(&mut body, "priority", asked.request.priority);
    }
    if sampling.logprobs.is_some() {
        put(&mut body, "return_tokens_as_token_ids", true);
    }
    if !stop.strings.is_empty() {
        put(&mut body, "include_stop_str_in_output", true);
    }
    put(&mut body, "skip_special_tokens", false);
    put(&mut body, "spaces_between_special_tokens", false);
    if asked.prompt != PromptForm::Messages {
        put(&mut body, "add_special_tokens", false);
        put(&mut body, "return_token_ids", true);
    }
    Ok(body)
}

fn sglang(asked: &Asked) -> Result<Map<String, Value>, EngineError> {
    let SequenceRequest { sampling, stop, .. } = asked.request;
    refuse_if(&[
        ("typical_p", sampling.typical_p != 1.0),
        ("allowed_token_ids", sampling.allowed_tokens.is_some()),
        ("bad_words", !sampling.bad_words.is_empty()),
        // Its alternatives are texts, which may be those of several tokens.
        (
            "logprobs above 0",
            sampling.logprobs.is_some_and(|top| top > 0),
        ),
    ])?;
    let mut body = openai_fields(asked);
    let top_k = i64::try_from(sampling.top_k).ok().filter(|&k| k > 0);
    put(&mut body, "top_k", top_k.unwrap_or(-1));
    put(&mut body, "min_p", plain(sampling.min_p));
    put(
        &mut body,
        "repetition_penalty",
        plain(sampling.repetition_penalty),
    );
    put(&mut body, "min_tokens", stop.min_tokens);
    put(&mut body, "stop_token_ids", &stop.stop_token_ids);
    put(&mut body, "ignore_eos", stop.ignore_eos);
    if asked.request.priority != 0 {
        put(&mut body, "priority", asked.request.priority);
    }
    if !stop.strings.is_empty() {
        put(&mut body, "no_stop_trim", true);
    }
    put(&mut body, "skip_special_tokens", false);
    if asked.prompt != PromptForm::Messages {
        put(&mut body, "return_token_ids", true);
    }
    Ok(body)
}

/// Stop tokens and stop strings are ours to see: llama.cpp takes no ids, and cuts a stop string off.
fn llama(asked: &Asked) -> Result<Map<String, Value>, EngineError> {
    let SequenceRequest { sampling, stop, .. } = asked.request;
    refuse_if(&[
        ("allowed_token_ids", sampling.allowed_tokens.is_some()),
        ("bad_words", !sampling.bad_words.is_empty()),
        ("min_tokens", stop.min_tokens > 0),
        ("priority", asked.request.priority != 0),
    ])?;
    let mut body = Map::new();
    put(&mut body, "stream", true);
    if asked.prompt == PromptForm::Messages {
        put(&mut body, "model", asked.model);
        put(&mut body, "stream_options", json!({"include_usage": true}));
    } else {
        put(&mut body, "prompt", prompt(asked));
        put(&mut body, "return_tokens", true);
    }
    if let Some(most) = asked.max_tokens {
        put(&mut body, "n_predict", most);
    }
    put(&mut body, "temperature", plain(sampling.temperature));
    put(&mut body, "top_k", sampling.top_k);
    put(&mut body, "top_p", plain(sampling.top_p));
    put(&mut body, "min_p", plain(sampling.min_p));
    put(&mut body, "typical_p", plain(sampling.typical_p));
    put(
        &mut body,
        "repeat_penalty",
        plain(sampling.repetition_penalty),
    );
    // All tokens that there may be, as the penalties of weir's own engine count.
    let answer = asked.max_tokens.unwrap_or(MAX_PENALTY_WINDOW);
    let all = asked.request.prompt.len().saturating_add(answer);
    put(&mut body, "repeat_last_n", all.min(MAX_PENALTY_WINDOW));
    put(
        &mut body,
        "presence_penalty",
        plain(sampling.presence_penalty),
    );
    put(
        &mut body,
        "frequency_penalty",
        plain(sampling.frequency_penalty),
    );
    put(&mut body, "ignore_eos", stop.ignore_eos);
    if !sampling.logit_bias.is_empty() {
        put(&mut body, "logit_bias", &sampling.logit_bias);
    }
    if let Some(seed) = sampling.seed {
        // 32 bits, the highest of which means a random one.
        put(&mut body, "seed", seed % u64::from(u32::MAX));
    }
    if let Some(top) = sampling.logprobs {
        put(&mut body, "n_probs", top.max(1));
    }
    Ok(body)
}

fn openai(asked: &Asked) -> Result<Map<String, Value>, EngineError> {
    let SequenceRequest { sampling, stop, .. } = asked.request;
    let mut body = openai_fields(asked);
    let off = SamplingParams::default();
    refuse_if(&[("logprobs", sampling.logprobs.is_some() && !asked.extras)])?;
    if sampling.top_k != off.top_k {
        put(&mut body, "top_k", sampling.top_k);
    }
    if sampling.min_p != off.min_p {
        put(&mut body, "min_p", plain(sampling.min_p));
    }
    if sampling.repetition_penalty != off.repetition_penalty {
        put(
            &mut body,
            "repetition_penalty",
            plain(sampling.repetition_penalty),
        );
    }
    if stop.min_tokens > 0 {
        put(&mut body, "min_tokens", stop.min_tokens);
    }
    if stop.ignore_eos {
        put(&mut body, "ignore_eos", true);
    }
    refuse_if(&[
        ("typical_p", sampling.typical_p != off.typical_p),
        ("allowed_token_ids", sampling.allowed_tokens.is_some()),
        ("bad_words", !sampling.bad_words.is_empty()),
        ("priority", asked.request.priority != 0),
    ])?;
    if asked.extras {
        put(&mut body, "skip_special_tokens", false);
        if asked.prompt != PromptForm::Messages {
            put(&mut body, "return_token_ids", true);
        }
        put(&mut body, "stop_token_ids", &stop.stop_token_ids);
        if !stop.strings.is_empty() {
            put(&mut body, "include_stop_str_in_output", true);
        }
    } else {
        // The stop string would be cut off, and with it what tells that it came.
        body.remove("stop");
    }
    Ok(body)
}

/// What all of OpenAI's form have.
fn openai_fields(asked: &Asked) -> Map<String, Value> {
    let SequenceRequest { sampling, stop, .. } = asked.request;
    let mut body = Map::new();
    put(&mut body, "model", asked.model);
    if asked.prompt != PromptForm::Messages {
        put(&mut body, "prompt", prompt(asked));
    }
    put(&mut body, "stream", true);
    put(&mut body, "stream_options", json!({"include_usage": true}));
    if let Some(most) = asked.max_tokens {
        put(&mut body, "max_tokens", most);
    }
    put(&mut body, "temperature", plain(sampling.temperature));
    put(&mut body, "top_p", plain(sampling.top_p));
    put(
        &mut body,
        "presence_penalty",
        plain(sampling.presence_penalty),
    );
    put(
        &mut body,
        "frequency_penalty",
        plain(sampling.frequency_penalty),
    );
    if let Some(seed) = sampling.seed {
        put(&mut body, "seed", seed.cast_signed());
    }
    if !sampling.logit_bias.is_empty() {
        let biases = sampling.logit_bias.iter();
        let biases = biases.map(|(token, bias)| (token.to_string(), json!(plain(*bias))));
        body.insert("logit_bias".to_owned(), Value::Object(biases.collect()));
    }
    if !stop.strings.is_empty() {
        put(&mut body, "stop", &stop.strings);
    }
    if let Some(top) = sampling.logprobs {
        put(&mut body, "logprobs", top);
    }
    body
}

fn prompt(asked: &Asked) -> Value {
    let ids = &asked.request.prompt;
    match asked.prompt {
        PromptForm::Ids => json!(ids),
        PromptForm::Text | PromptForm::Messages => Value::String(text(ids, asked.texts)),
    }
}

fn text(ids: &[u32], texts: &dyn TokenTexts) -> String {
    let bytes: Vec<u8> = ids
        .iter()
        .flat_map(|&id| texts.bytes(id))
        .copied()
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The texts once each: ours come as they stand at a beginning and behind something else.
fn bad_words(asked: &Asked) -> Vec<String> {
    let words = asked.request.sampling.bad_words.iter();
    let mut words: Vec<String> = words
        .map(|word| text(word, asked.texts).trim().to_owned())
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

fn refuse_if(asked: &[(&str, bool)]) -> Result<(), EngineError> {
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(refused(what)),
        None => Ok(()),
    }
}

/// The number that a client wrote: 0.1, where widening a float would make 0.10000000149.
fn plain(value: f32) -> f64 {
    value
        .to_string()
        .parse()
        .unwrap_or_else(|_| f64::from(value))
}

fn put(body: &mut Map<String, Value>, name: &str, value: impl Serialize) {
    // Numbers, texts and lists of them always are JSON.
    let value = serde_json::to_value(value).unwrap_or_default();
    body.insert(name.to_owned(), value);
}

#[cfg(test)]
mod tests;
