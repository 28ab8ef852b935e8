//! Request and answer of KsanaLLM's native `POST /generate`.
//!
//! Its names are KsanaLLM's, and so are its defaults: the likeliest token is taken unless `topk` is above 1 and `do_sample` is
//! not false, and answers are streamed unless `stream` is false. Ranges are those of completions, whose request it becomes.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    answer_format::{self, NativeFormat},
    chat::ChatRequest,
    completions::{self, CompletionRequest},
    fields::Fields,
    invalid::Invalid,
    lenient,
};

/// A generate request that passed validation.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// What the model goes on from.
    pub input: GenerateInput,
    /// Whether the answer is sent as it grows.
    pub stream: bool,
    /// Fields that nobody knows, sorted.
    pub ignored_fields: Vec<String>,
}

/// What the model goes on from.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerateInput {
    /// One prompt as it is: `prompt` or `input_tokens`.
    Prompt(Box<CompletionRequest>),
    /// A conversation for the chat template: `messages`, or a `prompt` with `use_chat_template`.
    Chat(Box<ChatRequest>),
}

/// Names in `sampling_config`, and what completions call the same.
const SAMPLING: &[(&str, &str)] = &[
    ("temperature", "temperature"),
    ("topk", "top_k"),
    ("topp", "top_p"),
    ("repetition_penalty", "repetition_penalty"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
    ("do_sample", "do_sample"),
    ("max_new_tokens", "max_tokens"),
    ("num_return_sequences", "n"),
    ("stop_strings", "stop"),
    ("stop_token_ids", "stop_token_ids"),
    ("ignore_eos", "ignore_eos"),
    ("seed", "seed"),
];

/// Fields that ask for something that is not built, whatever their value.
const NOT_BUILT: &[&str] = &["input_refit_embedding", "pos", "embeddings"];

impl GenerateRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// The first field that is wrong or not built.
    pub fn from_json(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of_body(body)?;
        let mut request = Map::new();
        let model = fields.string("model_name")?.filter(|name| !name.is_empty());
        request.insert("model".to_owned(), model.into());
        let stream = fields.boolean("stream")?.unwrap_or(true);
        for name in NOT_BUILT {
            fields.not_built(name, |_| false)?;
        }
        let format = answer_format::take_native(&mut fields)?;
        fields.accept(&["model_type", "additional_params"]);
        let (prompt, messages) = read_input(&mut fields)?;
        let (ignored_sampling, config_format) = read_sampling(&mut fields, &mut request)?;
        let format = format.merged(config_format)?;
        let input = if let Some(messages) = messages {
            request.insert("messages".to_owned(), messages);
            let mut chat = ChatRequest::from_json(Value::Object(request)).map_err(as_spelled)?;
            chat.options.answer_format = format;
            GenerateInput::Chat(Box::new(chat))
        } else {
            request.insert("prompt".to_owned(), prompt);
            let mut completion =
                CompletionRequest::from_json(Value::Object(request)).map_err(as_spelled)?;
            completion.options.answer_format = format;
            GenerateInput::Prompt(Box::new(completion))
        };
        let mut ignored_fields = fields.unknown();
        ignored_fields.extend(ignored_sampling);
        Ok(Self {
            input,
            stream,
            ignored_fields,
        })
    }
}

/// The prompt, or the messages that take its place.
fn read_input(fields: &mut Fields) -> Result<(Value, Option<Value>), Invalid> {
    let text = fields.string("prompt")?;
    let tokens = fields.take("input_tokens");
    let messages = fields.take("messages");
    let templated = fields.boolean("use_chat_template")?.unwrap_or(false);
    match (text, tokens, messages) {
        (_, Some(Value::Array(items)), _) if !items.is_empty() => {
            let tokens = completions::read_tokens("input_tokens", &items)?;
            Ok((json!(tokens), None))
        }
        (_, Some(other), _) => {
            let expected = "a list of at least one token id";
            Err(Invalid::expected("input_tokens", expected, &other))
        }
        (_, None, Some(messages)) => Ok((Value::Null, Some(messages))),
        (Some(text), None, None) if templated => {
            let messages = json!([{"role": "user", "content": text}]);
            Ok((Value::Null, Some(messages)))
        }
        (Some(text), None, None) => Ok((text.into(), None)),
        (None, None, None) => {
            let message = "one of `prompt`, `input_tokens` and `messages` is required";
            Err(Invalid::bad_value("prompt", message))
        }
    }
}

/// Reads `sampling_config` into the request; answers its fields that nobody knows, and what it says of the answer's form.
fn read_sampling(
    fields: &mut Fields,
    request: &mut Map<String, Value>,
) -> Result<(Vec<String>, Option<NativeFormat>), Invalid> {
    // The likeliest token, unless more are asked for.
    request.insert("top_k".to_owned(), 1.into());
    let Some(mut config) = fields.object("sampling_config")? else {
        return Ok((Vec::new(), None));
    };
    for (name, standard) in SAMPLING {
        let value = config.take(name);
        // -1 new tokens are as many as there is room for.
        let value =
            value.filter(|value| *name != "max_new_tokens" || lenient::integer(value) != Some(-1));
        if let Some(value) = value {
            request.insert((*standard).to_owned(), value);
        }
    }
    let format = answer_format::take_native(&mut config)?;
    for (name, neutral) in [
        ("num_beams", 1),
        ("logprobs", 0),
        ("no_repeat_ngram_size", 0),
        ("encoder_no_repeat_ngram_size", 0),
        ("decoder_no_repeat_ngram_size", 0),
    ] {
        config.not_built(name, |value| lenient::integer(value) == Some(neutral))?;
    }
    // It bears on beams alone.
    config.accept(&["length_penalty"]);
    Ok((config.unknown(), Some(format)))
}

/// A complaint that names the field as the caller wrote it.
fn as_spelled(mut invalid: Invalid) -> Invalid {
    let param = invalid.param.as_deref().unwrap_or_default();
    let known = SAMPLING.iter().find(|(_, standard)| *standard == param);
    let Some((name, _)) = known else {
        return invalid;
    };
    let spelled = format!("sampling_config.{name}");
    invalid.message = invalid
        .message
        .replacen(&format!("`{param}`"), &format!("`{spelled}`"), 1);
    invalid.param = Some(spelled);
    invalid
}

/// The answer: whole, or as far as it has grown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Generation {
    /// Each answer's text.
    pub texts: Vec<String>,
    /// Each answer's token ids, without the end token.
    pub output_token_ids: Vec<Vec<u32>>,
    /// Not built: always empty.
    #[schema(value_type = Vec<Object>, max_items = 0)]
    pub logprobs: Vec<()>,
    /// The prompt's token ids.
    pub input_token_ids: Vec<u32>,
}
