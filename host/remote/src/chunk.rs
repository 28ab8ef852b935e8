//! What one event of an engine's stream says, whichever form it has.

use serde::Deserialize;
use serde_json::Value;
use weir_engine::{FinishReason, TokenLogprobs};

/// What an engine counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) prompt: usize,
    pub(crate) cached: Option<usize>,
    pub(crate) completion: usize,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Piece {
    /// Its tokens, where the engine tells them.
    pub(crate) ids: Vec<u32>,
    /// Its text.
    pub(crate) text: String,
    /// Of each of `ids`, where asked for.
    pub(crate) logprobs: Vec<TokenLogprobs>,
    pub(crate) finish: Option<FinishReason>,
    pub(crate) counts: Option<Counts>,
    /// Nothing follows.
    pub(crate) last: bool,
}

/// Reads an event of OpenAI's completions, with vLLM's and SGLang's `token_ids`.
///
/// # Errors
/// What the engine says went wrong, or why this is no event.
pub(crate) fn of_openai(data: &str) -> Result<Piece, String> {
    if data == "[DONE]" {
        return Ok(Piece {
            last: true,
            ..Piece::default()
        });
    }
    piece(read(data)?)
}

fn piece(event: Event) -> Result<Piece, String> {
    if let Some(error) = event.error {
        return Err(message(&error));
    }
    let counts = event.usage.map(|usage| Counts {
        prompt: usage.prompt_tokens.unwrap_or(0),
        cached: usage.prompt_tokens_details.and_then(|of| of.cached_tokens),
        completion: usage.completion_tokens.unwrap_or(0),
    });
    let Some(choice) = event.choices.into_iter().next() else {
        return Ok(Piece {
            counts,
            ..Piece::default()
        });
    };
    let finish = match choice.finish_reason.as_deref() {
        None => None,
        Some("length") => Some(FinishReason::Length),
        Some("abort" | "error") => return Err("it gave the sequence up".to_owned()),
        Some(_) => Some(FinishReason::Stop),
    };
    Ok(Piece {
        ids: choice.token_ids.unwrap_or_default(),
        text: choice.text.unwrap_or_default(),
        logprobs: choice.logprobs.map(Logprobs::told).unwrap_or_default(),
        finish,
        counts,
        last: false,
    })
}

/// Reads an event of a chat, whose text must be as the model wrote it.
///
/// # Errors
/// As [`of_openai`]; and that the engine has taken the text apart itself.
pub(crate) fn of_chat(data: &str) -> Result<Piece, String> {
    if data == "[DONE]" {
        return of_openai(data);
    }
    let event: ChatEvent = read(data)?;
    let choice = event.choices.and_then(|choices| choices.into_iter().next());
    let choice = choice.unwrap_or_default();
    let delta = choice.delta.unwrap_or_default();
    let taken_apart =
        |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let reasoning = delta.reasoning_content.or(delta.reasoning);
    if taken_apart(&delta.tool_calls) || reasoning.is_some_and(|text| !text.is_empty()) {
        return Err(TAKEN_APART.to_owned());
    }
    piece(Event {
        choices: vec![Choice {
            text: delta.content,
            token_ids: None,
            logprobs: None,
            finish_reason: choice.finish_reason,
        }],
        usage: event.usage,
        error: event.error,
    })
}

/// Said of an engine that leaves nothing for our parsers.
pub(crate) const TAKEN_APART: &str = "it reads calls or reasoning out of its text itself: start it without its parsers, or weir with --tokenizer";

/// Reads an event of llama.cpp's `/completion`.
///
/// # Errors
/// As [`of_openai`].
pub(crate) fn of_llama(data: &str) -> Result<Piece, String> {
    let event: LlamaEvent = read(data)?;
    if let Some(error) = event.error {
        return Err(message(&error));
    }
    let counts = Counts {
        prompt: event.tokens_evaluated,
        cached: event.timings.map(|timings| timings.cache_n),
        completion: event.tokens_predicted,
    };
    let finish = match event.stop_type.as_deref() {
        _ if !event.stop => None,
        Some("limit") => Some(FinishReason::Length),
        _ => Some(FinishReason::Stop),
    };
    let told = event.completion_probabilities.into_iter();
    Ok(Piece {
        ids: event.tokens,
        text: event.content,
        logprobs: told.map(LlamaProbability::told).collect(),
        finish,
        counts: Some(counts),
        last: event.stop,
    })
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, String> {
    serde_json::from_str(data).map_err(|error| format!("it sent an event that is none: {error}"))
}

/// The words of an error in any of the forms that engines send: an object with `message`, in `error` or not, or a text.
pub(crate) fn message(error: &Value) -> String {
    let inner = error.get("error").unwrap_or(error);
    let text = inner.get("message").or_else(|| inner.get("detail"));
    match text.unwrap_or(inner) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<UsageFields>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    text: Option<String>,
    token_ids: Option<Vec<u32>>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct ChatEvent {
    choices: Option<Vec<ChatChoice>>,
    usage: Option<UsageFields>,
    error: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ChatChoice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

/// What came with an event; engines call what they split off as reasoning one thing or the other.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    tool_calls: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct UsageFields {
    prompt_tokens: Option<usize>,
    completion_tokens: Option<usize>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<usize>,
}

/// OpenAI's legacy form; `tokens` and the keys of `top_logprobs` are `token_id:N` where vLLM is asked for that.
#[derive(Deserialize)]
struct Logprobs {
    #[serde(default)]
    token_logprobs: Vec<Option<f32>>,
    #[serde(default)]
    top_logprobs: Option<Vec<Option<serde_json::Map<String, Value>>>>,
}

impl Logprobs {
    fn told(self) -> Vec<TokenLogprobs> {
        let mut tops = self.top_logprobs.unwrap_or_default().into_iter();
        let told = self.token_logprobs.into_iter().map(|sampled| {
            let top = tops.next().flatten().unwrap_or_default();
            let by_id = top.iter().filter_map(|(token, logprob)| {
                let id = token.strip_prefix("token_id:")?.parse().ok()?;
                Some((id, logprob.as_f64()? as f32))
            });
            logprobs(sampled.unwrap_or(0.0), by_id.collect())
        });
        told.collect()
    }
}

#[derive(Deserialize)]
struct LlamaEvent {
    #[serde(default)]
    content: String,
    #[serde(default)]
    tokens: Vec<u32>,
    #[serde(default)]
    stop: bool,
    stop_type: Option<String>,
    #[serde(default)]
    tokens_predicted: usize,
    #[serde(default)]
    tokens_evaluated: usize,
    timings: Option<LlamaTimings>,
    #[serde(default)]
    completion_probabilities: Vec<LlamaProbability>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct LlamaTimings {
    #[serde(default)]
    cache_n: usize,
}

#[derive(Deserialize)]
struct LlamaProbability {
    logprob: f32,
    #[serde(default)]
    top_logprobs: Vec<LlamaTop>,
}

#[derive(Deserialize)]
struct LlamaTop {
    id: u32,
    logprob: f32,
}

impl LlamaProbability {
    fn told(self) -> TokenLogprobs {
        let top = self.top_logprobs.into_iter();
        logprobs(self.logprob, top.map(|top| (top.id, top.logprob)).collect())
    }
}

/// No engine tells a token's rank: it is counted among the alternatives, behind all of them where it is none.
fn logprobs(sampled: f32, mut top: Vec<(u32, f32)>) -> TokenLogprobs {
    top.sort_by(|a, b| b.1.total_cmp(&a.1));
    let likelier = top.iter().filter(|(_, logprob)| *logprob > sampled);
    TokenLogprobs {
        sampled,
        rank: likelier.count() + 1,
        top,
    }
}
