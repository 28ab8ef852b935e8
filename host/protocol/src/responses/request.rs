//! Reads the body of `POST /v1/responses`.
//!
//! OpenAI's fields are those of its API reference; what chat takes beyond OpenAI's (`top_k`, `stop`, `chat_template_kwargs`,
//! ...) is taken here too, under the same names.

use serde_json::{Map, Value};

use super::{
    item::Item,
    response::{ReasoningSettings, Settings, TextFormat, TextSettings},
    tools::{self, OfferedTools, ToolNames},
};
use crate::{
    answer_format::{self, AnswerFormat, Formats},
    chat::{self, ChatRequest},
    fields::Fields,
    invalid::Invalid,
    lenient,
    options::RequestOptions,
    reasoning_budget,
    sampling::SamplingFields,
    tools::{ToolChoice, take_streaming},
};

/// A request that passed validation.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponsesRequest {
    /// The input in order; a string stands for one user message.
    pub input: Vec<Item>,
    /// What the offered tools are called by client and model.
    pub names: ToolNames,
    /// What the answer repeats.
    pub settings: Settings,
    /// Everything the generation needs but the messages, which are none until the conversation is put together.
    pub chat: ChatRequest,
    /// Fields that nobody knows and tools that are left out, sorted.
    pub ignored_fields: Vec<String>,
}

/// Fields that change nothing in an answer and are not repeated in it.
const WITHOUT_EFFECT: &[&str] = &["prompt_cache_options", "service_tier", "client_metadata"];

/// Fields that are known, not built, and ask for something whatever their value.
const NOT_BUILT: &[&str] = &[
    "conversation",
    "prompt",
    "context_management",
    "moderation",
    "background_options",
];

/// What `include` may name without effect: it belongs to tools and inputs that are not there.
const INCLUDABLE: &[&str] = &[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
];

impl ResponsesRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// The first field that is wrong or not built.
    pub fn from_json(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of_body(body)?;
        let model = fields.string("model")?;
        let mut settings = take_settings(&mut fields)?;
        let may_be_empty =
            settings.previous_response_id.is_some() || settings.instructions.is_some();
        let input = take_input(&mut fields, may_be_empty)?;
        let max_output_tokens = fields.count("max_output_tokens", 1, usize::MAX)?;
        let mut sampling = SamplingFields::take(&mut fields)?;
        sampling.max_tokens = max_output_tokens.or(sampling.max_tokens);
        let mut ignored = Vec::new();
        let stream = take_stream(&mut fields, &mut ignored)?;
        let (offered, choice, tool_choice) = take_tools(&mut fields)?;
        let tool_call_streaming = take_streaming(&mut fields)?;
        ignored.extend(offered.left_out);
        let mut kwargs = chat::take_template_kwargs(&mut fields)?;
        let (reasoning, reasoning_budget) = take_reasoning(&mut fields, &mut kwargs, &mut ignored)?;
        let reasoning_budget = reasoning_budget::take_named(&mut fields)?.or(reasoning_budget);
        let (text, format) = take_text(&mut fields, &mut kwargs, &mut ignored)?;
        let mut formats = Formats::default();
        formats.add(format)?;
        formats.take(&mut fields)?;
        settings = Settings {
            max_output_tokens,
            reasoning,
            text,
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            tool_choice,
            tools: offered.given,
            ..settings
        };
        refuse_not_built(&mut fields)?;
        fields.accept(WITHOUT_EFFECT);
        ignored.extend(fields.unknown());
        ignored.sort_unstable();
        let chat = ChatRequest {
            options: RequestOptions {
                answer_format: formats.into_format(),
                reasoning_budget,
                ..RequestOptions::default()
            },
            model,
            sampling,
            stream,
            tools: offered.definitions,
            tool_choice: choice,
            parallel_tool_calls: settings.parallel_tool_calls,
            tool_call_streaming,
            chat_template_kwargs: kwargs,
            user: settings.user.clone(),
            ..ChatRequest::of_messages(Vec::new())
        };
        Ok(Self {
            input,
            names: offered.names,
            settings,
            chat,
            ignored_fields: ignored,
        })
    }
}

/// What is repeated as it came.
fn take_settings(fields: &mut Fields) -> Result<Settings, Invalid> {
    Ok(Settings {
        instructions: fields.string("instructions")?,
        max_tool_calls: fields.count("max_tool_calls", 0, usize::MAX)?,
        metadata: take_metadata(fields)?,
        parallel_tool_calls: fields.boolean("parallel_tool_calls")?.unwrap_or(true),
        previous_response_id: fields.string("previous_response_id")?,
        prompt_cache_key: fields.string("prompt_cache_key")?,
        prompt_cache_retention: fields.string("prompt_cache_retention")?,
        safety_identifier: fields.string("safety_identifier")?,
        store: fields.boolean("store")?.unwrap_or(true),
        user: fields.string("user")?,
        ..Settings::default()
    })
}

fn take_input(fields: &mut Fields, may_be_empty: bool) -> Result<Vec<Item>, Invalid> {
    const EXPECTED: &str = "a string or a list of input items";
    match fields.take("input") {
        Some(Value::String(text)) => Ok(vec![Item::user(&text)]),
        Some(Value::Array(items)) if !items.is_empty() || may_be_empty => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| Item::read(&format!("input[{index}]"), item))
            .collect(),
        Some(Value::Array(_)) => Err(Invalid::bad_value(
            "input",
            "`input` must hold at least one item",
        )),
        Some(other) => Err(Invalid::expected("input", EXPECTED, &other)),
        None => Err(Invalid::bad_value(
            "input",
            format!("`input` is required: {EXPECTED}"),
        )),
    }
}

fn take_stream(fields: &mut Fields, ignored: &mut Vec<String>) -> Result<bool, Invalid> {
    let stream = fields.boolean("stream")?.unwrap_or(false);
    if let Some(mut options) = fields.object("stream_options")? {
        if !stream {
            return Err(Invalid::bad_value(
                "stream_options",
                "`stream_options` is only allowed when `stream` is true",
            ));
        }
        options.not_built("include_obfuscation", |value| {
            lenient::boolean(value) == Some(false)
        })?;
        ignored.extend(options.unknown());
    }
    Ok(stream)
}

/// The tools, what may be called of them, and that as it came.
fn take_tools(fields: &mut Fields) -> Result<(OfferedTools, ToolChoice, Value), Invalid> {
    let mut offered = OfferedTools::read(fields.take("tools"))?;
    let given = fields.take("tool_choice").unwrap_or_else(|| "auto".into());
    let choice = tools::read_choice(&given, &mut offered)?;
    Ok((offered, choice, given))
}

fn take_reasoning(
    fields: &mut Fields,
    kwargs: &mut Map<String, Value>,
    ignored: &mut Vec<String>,
) -> Result<(ReasoningSettings, Option<usize>), Invalid> {
    const SUMMARIES: &[&str] = &["auto", "concise", "detailed"];
    let Some(mut reasoning) = fields.object("reasoning")? else {
        return Ok((ReasoningSettings::default(), None));
    };
    let budget = reasoning_budget::take_one(&mut reasoning, "max_tokens")?;
    let effort = reasoning.string("effort")?;
    if let Some(effort) = &effort {
        kwargs.insert("reasoning_effort".to_owned(), effort.as_str().into());
    }
    let summary = reasoning.word("summary", SUMMARIES)?;
    let deprecated = reasoning.word("generate_summary", SUMMARIES)?;
    // Every reasoning item that comes in is given to the template, which decides what it writes of them.
    reasoning.accept(&["context"]);
    ignored.extend(reasoning.unknown());
    let settings = ReasoningSettings {
        effort,
        summary: summary.or(deprecated),
    };
    Ok((settings, budget))
}

fn take_text(
    fields: &mut Fields,
    kwargs: &mut Map<String, Value>,
    ignored: &mut Vec<String>,
) -> Result<(TextSettings, Option<AnswerFormat>), Invalid> {
    let Some(mut text) = fields.object("text")? else {
        return Ok((TextSettings::default(), None));
    };
    let given = text.take("format");
    let format = match &given {
        None => None,
        Some(given) => answer_format::read_response_format("text.format", given)?,
    };
    let verbosity = text.word("verbosity", &["low", "medium", "high"])?;
    if let Some(verbosity) = verbosity {
        kwargs.insert("verbosity".to_owned(), verbosity.into());
    }
    ignored.extend(text.unknown());
    let settings = TextSettings {
        format: TextFormat::of(given),
        verbosity: verbosity.unwrap_or("medium"),
    };
    Ok((settings, format))
}

/// OpenAI's bounds: 16 pairs, keys of 64 and values of 512 characters.
fn take_metadata(fields: &mut Fields) -> Result<Map<String, Value>, Invalid> {
    const EXPECTED: &str =
        "an object of at most 16 strings of up to 512 characters under keys of up to 64";
    let pairs = match fields.take("metadata") {
        None => return Ok(Map::new()),
        Some(Value::Object(pairs)) => pairs,
        Some(other) => return Err(Invalid::expected("metadata", EXPECTED, &other)),
    };
    let fits = |text: &str, most: usize| text.chars().nth(most).is_none();
    let bad = pairs.iter().find(|(key, value)| {
        !fits(key, 64) || !value.as_str().is_some_and(|value| fits(value, 512))
    });
    if let Some((key, value)) = bad {
        let path = format!("metadata.{}", key.chars().take(64).collect::<String>());
        let expected = "a string of up to 512 characters under a key of up to 64";
        return Err(Invalid::expected(path, expected, value));
    }
    if pairs.len() > 16 {
        return Err(Invalid::expected(
            "metadata",
            EXPECTED,
            &Value::Object(pairs),
        ));
    }
    Ok(pairs)
}

fn refuse_not_built(fields: &mut Fields) -> Result<(), Invalid> {
    let is_false = |value: &Value| lenient::boolean(value) == Some(false);
    fields.not_built("background", is_false)?;
    fields.not_built("top_logprobs", |value| lenient::integer(value) == Some(0))?;
    fields.not_built("truncation", |value| value == "disabled")?;
    for name in NOT_BUILT {
        fields.not_built(name, |_| false)?;
    }
    match fields.take("include") {
        None => Ok(()),
        Some(Value::Array(names)) => names.iter().try_for_each(check_included),
        Some(other) => Err(Invalid::expected("include", "a list of strings", &other)),
    }
}

fn check_included(name: &Value) -> Result<(), Invalid> {
    match name.as_str() {
        Some("message.output_text.logprobs") => Err(Invalid::not_implemented(
            "include",
            "`message.output_text.logprobs`",
        )),
        Some(known) if INCLUDABLE.contains(&known) => Ok(()),
        _ => {
            let expected = format!("a list of {}", INCLUDABLE.join(", "));
            Err(Invalid::expected("include", &expected, name))
        }
    }
}
