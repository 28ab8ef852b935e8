//! The request of `POST /v1/chat/completions`.

use serde_json::{Map, Value};

use crate::{
    fields::Fields,
    invalid::Invalid,
    lenient, messages,
    options::{self, RequestOptions},
    reasoning_budget,
    sampling::{self, SamplingFields, StreamFields},
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
    /// What else was asked for.
    pub options: RequestOptions,
    /// The preloaded document that the conversation is about.
    pub document: Option<String>,
    /// Candidates of multi-path reasoning, 1 to [`MOST_MPR_CANDIDATES`]; None is the server's default, 1 turns it off.
    pub mpr_candidates: Option<usize>,
    /// What is said to request processors: names and JSON texts.
    pub parameters: Vec<(String, String)>,
    /// Variables for the chat template; `reasoning_effort` and `verbosity` are among them.
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

/// The most candidates of one request.
pub const MOST_MPR_CANDIDATES: usize = 16;

/// Fields that change nothing in an answer: labels, caches, a guess of the answer that would only hasten it, and KsanaLLM's switch
/// for a `response_format` that binds without it.
const WITHOUT_EFFECT: &[&str] = &[
    "metadata",
    "enable_structured_output",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
];

/// Fields that are known, not built, and ask for something whatever their value.
const NOT_BUILT: &[&str] = &[
    "audio",
    "web_search_options",
    "media_io_kwargs",
    "chat_template",
];

/// The same for both generation routes: fields with a value that asks for nothing.
pub(crate) fn refuse_unless_neutral(fields: &mut Fields) -> Result<(), Invalid> {
    let is_false = |value: &Value| lenient::boolean(value) == Some(false);
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
            options: RequestOptions::default(),
            document: None,
            mpr_candidates: None,
            parameters: Vec::new(),
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
        let StreamFields {
            stream,
            include_usage,
            continuous_usage,
        } = sampling::take_stream(&mut fields)?;
        let sampling = SamplingFields::take(&mut fields)?;
        let n = sampling::take_n(&mut fields, &sampling, 1)?;
        let (mut sampling, mut options) =
            RequestOptions::take(&mut fields, sampling, n, 1, stream)?;
        sampling.logprobs = options::take_chat_logprobs(&mut fields)?;
        sampling.prompt_logprobs = options.prompt_logprobs;
        options.continuous_usage = continuous_usage;
        let tools = ToolFields::take(&mut fields)?;
        options.functions = tools.functions;
        options.reasoning_budget =
            reasoning_budget::take(&mut fields)?.or(options.reasoning_budget);
        let chat_template_kwargs = take_template_kwargs(&mut fields)?;
        let (add_generation_prompt, continue_final_message) = take_prompt_end(&mut fields)?;
        let user = fields.string("user")?;
        let document = fields.string("document")?;
        let mpr_candidates = fields.count("mpr_candidates", 1, MOST_MPR_CANDIDATES)?;
        let parameters = take_parameters(&mut fields)?;
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
            options,
            document,
            mpr_candidates,
            parameters,
            chat_template_kwargs,
            add_generation_prompt,
            continue_final_message,
            user,
            ignored_fields: fields.unknown(),
        })
    }

    /// How many answers are made; `n` of them are given.
    pub fn made(&self) -> usize {
        self.n.max(self.options.best_of)
    }
}

fn refuse_not_built(fields: &mut Fields) -> Result<(), Invalid> {
    refuse_unless_neutral(fields)?;
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

/// `processor_options`: whatever it holds is for plugins to judge.
fn take_parameters(fields: &mut Fields) -> Result<Vec<(String, String)>, Invalid> {
    const NAME: &str = "processor_options";
    match fields.take(NAME) {
        None => Ok(Vec::new()),
        Some(Value::Object(options)) => {
            let text = |(name, value): (String, Value)| (name, value.to_string());
            Ok(options.into_iter().map(text).collect())
        }
        Some(other) => Err(Invalid::expected(NAME, "an object", &other)),
    }
}

pub(crate) fn take_template_kwargs(fields: &mut Fields) -> Result<Map<String, Value>, Invalid> {
    let mut kwargs = Map::new();
    for name in ["reasoning_effort", "verbosity"] {
        if let Some(word) = fields.string(name)? {
            kwargs.insert(name.to_owned(), Value::String(word));
        }
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
