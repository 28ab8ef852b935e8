//! The requests of `POST /v1/messages` and `POST /v1/messages/count_tokens`.
//!
//! A body is brought into the spelling of a chat request and read as one: ranges, defaults and refusals are those of chat. What
//! Anthropic spells in its own way is checked here first, so that every complaint names the field as the caller wrote it.

use serde_json::{Map, Value};

use super::{
    history,
    tools::{self, Tools},
};
use crate::{
    answer_format::{self, AnswerFormat, Formats},
    chat::ChatRequest,
    fields::Fields,
    invalid::Invalid,
    sampling::MAX_STOP_STRINGS,
    tools::ToolCallStreaming,
};

/// A messages request that passed validation.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagesRequest {
    /// The same as a chat request, for one answer. Its `max_tokens` is a bound and not a wish: it gives way to the context.
    pub chat: ChatRequest,
    /// At least 1.
    pub max_tokens: usize,
}

impl MessagesRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// The first field that is wrong or not built.
    pub fn from_json(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of_body(body)?;
        let max_tokens = fields.count("max_tokens", 1, usize::MAX)?.ok_or_else(|| {
            let message = "`max_tokens` is required: the most tokens that the answer may have";
            Invalid::bad_value("max_tokens", message)
        })?;
        let mut chat = read_chat(fields)?;
        chat.sampling.max_tokens = Some(max_tokens);
        Ok(Self { chat, max_tokens })
    }
}

/// Reads the body of a request to count a prompt's tokens. Fields of a messages request that are none of the prompt's may stand
/// in it.
///
/// # Errors
/// The first field that is wrong or not built.
pub fn count_tokens(body: Value) -> Result<ChatRequest, Invalid> {
    let mut fields = Fields::of_body(body)?;
    fields.accept(&["max_tokens"]);
    read_chat(fields)
}

/// Fields that mean what they mean in a chat request; those below `stream` are no fields of Anthropic's.
const AS_IN_CHAT: &[&str] = &[
    "model",
    "temperature",
    "top_p",
    "top_k",
    "stream",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "stop_token_ids",
    "ignore_eos",
    "chat_template_kwargs",
];

/// Fields that change nothing in an answer: labels, caches, tiers, and edits of a history that is longer than the context.
const WITHOUT_EFFECT: &[&str] = &[
    "anthropic_beta",
    "anthropic_version",
    "betas",
    "cache_control",
    "context_management",
    "inference_geo",
    "service_tier",
    "speed",
    "user_profile_id",
];

fn read_chat(mut fields: Fields) -> Result<ChatRequest, Invalid> {
    let mut chat = Map::new();
    for name in AS_IN_CHAT {
        if let Some(value) = fields.take(name) {
            chat.insert((*name).to_owned(), value);
        }
    }
    let messages = history::read(fields.take("system"), fields.take("messages"))?;
    if messages
        .last()
        .is_some_and(|last| last["role"] == "assistant")
    {
        // The answer goes on where the caller's beginning of it ends.
        chat.insert("continue_final_message".to_owned(), Value::Bool(true));
    }
    chat.insert("messages".to_owned(), Value::Array(messages));
    chat.insert("stop".to_owned(), read_stop(fields.take("stop_sequences"))?);
    let Tools {
        offered,
        left_out,
        eager,
    } = tools::read(fields.take("tools"))?;
    chat.insert("tools".to_owned(), Value::Array(offered));
    let streaming = if eager { "incremental" } else { "complete" };
    chat.insert("tool_call_streaming".to_owned(), streaming.into());
    if let Some(choice) = fields.object("tool_choice")? {
        tools::read_choice(choice, &mut chat)?;
    }
    let Told {
        kwargs,
        format,
        budget,
    } = read_told(&mut fields)?;
    chat.insert("chat_template_args".to_owned(), kwargs);
    if let Some(mut metadata) = fields.object("metadata")? {
        let user = metadata.string("user_id")?;
        chat.insert("user".to_owned(), user.into());
    }
    refuse_not_built(&mut fields)?;
    fields.accept(WITHOUT_EFFECT);
    let mut request = ChatRequest::from_json(Value::Object(chat))?;
    request.options.answer_format = format;
    request.options.reasoning_budget = budget;
    if !request.stream {
        // The input of a plain answer's call is an object, and so whole.
        request.tool_call_streaming = Some(ToolCallStreaming::Complete);
    }
    request.ignored_fields = fields.unknown();
    request.ignored_fields.extend(left_out);
    Ok(request)
}

fn refuse_not_built(fields: &mut Fields) -> Result<(), Invalid> {
    fields.not_built("container", |_| false)?;
    fields.not_built("mcp_servers", |servers| {
        servers.as_array().is_some_and(Vec::is_empty)
    })
}

fn read_stop(value: Option<Value>) -> Result<Value, Invalid> {
    const NAME: &str = "stop_sequences";
    let Some(value) = value else {
        return Ok(Value::Null);
    };
    let is_text = |item: &Value| item.as_str().is_some_and(|text| !text.is_empty());
    match value.as_array() {
        Some(items) if items.len() > MAX_STOP_STRINGS => {
            let expected = format!("a list of at most {MAX_STOP_STRINGS} strings");
            Err(Invalid::expected(NAME, &expected, &value))
        }
        Some(items) if items.iter().all(is_text) => Ok(value),
        _ => {
            let expected = "a list of strings that are not empty";
            Err(Invalid::expected(NAME, expected, &value))
        }
    }
}

/// What `thinking` and `output_config` say.
struct Told {
    /// To the chat template; templates know two names for the switch.
    kwargs: Value,
    /// Of the answer's form.
    format: Option<AnswerFormat>,
    /// Of the most tokens for reasoning.
    budget: Option<usize>,
}

fn read_told(fields: &mut Fields) -> Result<Told, Invalid> {
    let mut kwargs = Map::new();
    let mut formats = Formats::default();
    let mut budget = None;
    // The name it had while it was new.
    if let Some(format) = fields.take("output_format") {
        formats.add(read_format("output_format", &format)?)?;
    }
    if let Some(mut thinking) = fields.object("thinking")? {
        budget = thinking.count("budget_tokens", 1, usize::MAX)?;
        let kind = thinking.required_string("type")?;
        let enabled = match kind.as_str() {
            "enabled" | "adaptive" => true,
            "disabled" => false,
            _ => {
                let expected = "one of enabled, disabled, adaptive";
                let path = thinking.path("type");
                return Err(Invalid::expected(path, expected, &kind.into()));
            }
        };
        kwargs.insert("enable_thinking".to_owned(), enabled.into());
        kwargs.insert("thinking".to_owned(), enabled.into());
    }
    if let Some(mut config) = fields.object("output_config")? {
        if let Some(format) = config.take("format") {
            formats.add(read_format("output_config.format", &format)?)?;
        }
        if let Some(effort) = config.string("effort")? {
            // Templates know three levels.
            let effort = match effort.as_str() {
                "low" | "medium" => effort,
                _ => "high".to_owned(),
            };
            kwargs.insert("reasoning_effort".to_owned(), effort.into());
        }
    }
    Ok(Told {
        kwargs: Value::Object(kwargs),
        format: formats.into_format(),
        budget,
    })
}

/// Anthropic has one format: `json_schema`, with a `schema`.
fn read_format(path: &str, value: &Value) -> Result<Option<AnswerFormat>, Invalid> {
    match value.get("type").and_then(Value::as_str) {
        Some("json_schema") => answer_format::read_response_format(path, value),
        _ => {
            let kind = value.get("type").unwrap_or(&Value::Null);
            Err(Invalid::expected(
                format!("{path}.type"),
                "\"json_schema\"",
                kind,
            ))
        }
    }
}
