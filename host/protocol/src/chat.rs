//! The request of `POST /v1/chat/completions`.

use serde_json::{Map, Value};

use crate::{
    fields::Fields,
    invalid::Invalid,
    lenient, messages,
    sampling::{self, SamplingFields},
    tools::{ToolCallStreaming, ToolChoice, ToolDefinition, ToolFields},
};

/// A chat request that passed validation.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The model asked for; None means the one that is served.
    pub model: Option<String>,
    /// At least one message; `content` is a string, or null beside tool calls. See [`crate::messages`].
    pub messages: Vec<Value>,
    /// How tokens are chosen and when generation ends.
    pub sampling: SamplingFields,
    /// How many answers, 1 to [`crate::MAX_CHOICES`].
    pub n: usize,
    /// Whether to stream.
    pub stream: bool,
    /// Whether a stream ends with a usage chunk.
    pub include_usage: bool,
    /// Tools on offer; narrowed to the allowed ones.
    pub tools: Vec<ToolDefinition>,
    /// Which tools may be called.
    pub tool_choice: ToolChoice,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: bool,
    /// How calls are streamed; None is the server's default.
    pub tool_call_streaming: Option<ToolCallStreaming>,
    /// Variables for the chat template; `reasoning_effort` is one of them.
    pub chat_template_kwargs: Map<String, Value>,
    /// Whether the prompt ends with the start of an assistant turn.
    pub add_generation_prompt: bool,
    /// Whether the last message is left open for the model to write on.
    pub continue_final_message: bool,
    /// The caller's name for its user.
    pub user: Option<String>,
    /// Fields that nobody knows, sorted.
    pub ignored_fields: Vec<String>,
}

/// Fields that change nothing in an answer: labels, caches, and KsanaLLM's switch for a `response_format` that is checked itself.
const WITHOUT_EFFECT: &[&str] = &[
    "metadata",
    "enable_structured_output",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
];

/// Fields that are known, not built, and ask for something whatever their value.
const NOT_BUILT: &[&str] = &[
    "audio",
    "prediction",
    "web_search_options",
    "functions",
    "function_call",
    "verbosity",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "mpr_candidates",
    "nvext",
    "media_io_kwargs",
];

/// The same for both generation routes: fields with a value that asks for nothing.
pub(crate) fn refuse_unless_neutral(fields: &mut Fields) -> Result<(), Invalid> {
    let is_false = |value: &Value| lenient::boolean(value) == Some(false);
    let is_text = |value: &Value| value.get("type").and_then(Value::as_str) == Some("text");
    fields.not_built("best_of", |value| lenient::integer(value) == Some(1))?;
    fields.not_built("priority", |value| lenient::integer(value) == Some(0))?;
    fields.not_built("response_format", is_text)?;
    fields.not_built("store", is_false)
}

impl ChatRequest {
    /// A request for one answer to these messages that says nothing else.
    pub(crate) fn of_messages(messages: Vec<Value>) -> Self {
        Self {
            model: None,
            messages,
            sampling: SamplingFields::default(),
            n: 1,
            stream: false,
            include_usage: false,
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            parallel_tool_calls: true,
            tool_call_streaming: None,
            chat_template_kwargs: Map::new(),
            add_generation_prompt: true,
            continue_final_message: false,
            user: None,
            ignored_fields: Vec::new(),
        }
    }

    /// Reads a request body.
    ///
    /// # Errors
    /// The first field that is wrong or not built.
    pub fn from_json(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of_body(body)?;
        let model = fields.string("model")?;
        let messages = messages::read_messages(fields.take("messages"))?;
        let sampling = SamplingFields::take(&mut fields)?;
        let n = sampling::take_n(&mut fields, &sampling, 1)?;
        let (stream, include_usage) = sampling::take_stream(&mut fields)?;
        let tools = ToolFields::take(&mut fields)?;
        let chat_template_kwargs = take_template_kwargs(&mut fields)?;
        let (add_generation_prompt, continue_final_message) = take_prompt_end(&mut fields)?;
        let user = fields.string("user")?;
        refuse_not_built(&mut fields)?;
        fields.accept(WITHOUT_EFFECT);
        Ok(Self {
            model,
            messages,
            sampling,
            n,
            stream,
            include_usage,
            tools: tools.tools,
            tool_choice: tools.choice,
            parallel_tool_calls: tools.parallel,
            tool_call_streaming: tools.streaming,
            chat_template_kwargs,
            add_generation_prompt,
            continue_final_message,
            user,
            ignored_fields: fields.unknown(),
        })
    }
}

fn refuse_not_built(fields: &mut Fields) -> Result<(), Invalid> {
    refuse_unless_neutral(fields)?;
    let is_false = |value: &Value| lenient::boolean(value) == Some(false);
    fields.not_built("logprobs", is_false)?;
    fields.not_built("top_logprobs", |value| lenient::integer(value) == Some(0))?;
    fields.not_built("echo", is_false)?;
    fields.not_built("modalities", |value| {
        value
            .as_array()
            .is_some_and(|kinds| kinds.iter().all(|kind| kind == "text"))
    })?;
    for name in NOT_BUILT {
        fields.not_built(name, |_| false)?;
    }
    Ok(())
}

pub(crate) fn take_template_kwargs(fields: &mut Fields) -> Result<Map<String, Value>, Invalid> {
    let mut kwargs = Map::new();
    if let Some(effort) = fields.string("reasoning_effort")? {
        kwargs.insert("reasoning_effort".to_owned(), Value::String(effort));
    }
    for name in ["chat_template_args", "chat_template_kwargs"] {
        match fields.take(name) {
            None => {}
            Some(Value::Object(more)) => kwargs.extend(more),
            Some(other) => return Err(Invalid::expected(name, "an object", &other)),
        }
    }
    Ok(kwargs)
}

fn take_prompt_end(fields: &mut Fields) -> Result<(bool, bool), Invalid> {
    let add = fields.boolean("add_generation_prompt")?;
    let proceed = fields.boolean("continue_final_message")?.unwrap_or(false);
    if proceed && add == Some(true) {
        let message = "`continue_final_message` and `add_generation_prompt` exclude each other";
        return Err(Invalid::bad_value("continue_final_message", message));
    }
    Ok((add.unwrap_or(!proceed), proceed))
}
