//! Request and answer of `POST /v1/embeddings`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{completions::Prompt, fields::Fields, invalid::Invalid, lenient};

/// Texts one request may hold; OpenAI's limit.
pub const MAX_INPUTS: usize = 2048;

/// An embeddings request that passed validation.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingRequest {
    /// The model asked for; None means the one that is served.
    pub model: Option<String>,
    /// 1 to [`MAX_INPUTS`] texts, none empty.
    pub inputs: Vec<Prompt>,
    /// How vectors are written.
    pub encoding: EncodingFormat,
    /// Elements to keep of each vector; at least 1. The model knows the most.
    pub dimensions: Option<usize>,
    /// Where longer texts are cut.
    pub truncation: Truncation,
    /// The caller's name for its user.
    pub user: Option<String>,
    /// Fields that nobody knows, sorted.
    pub ignored_fields: Vec<String>,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// Base64 of little-endian f32.
    Base64,
}

/// Where texts are cut (`truncate_prompt_tokens`, vLLM's name).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Truncation {
    /// Nowhere: a text beyond the model's window is an error.
    #[default]
    None,
    /// At the model's window (-1).
    Window,
    /// At this many tokens; at least 1.
    Tokens(usize),
}

/// Where a text stands in the request, for messages.
pub fn input_path(index: usize, inputs: usize) -> String {
    if inputs == 1 {
        "input".to_owned()
    } else {
        format!("input[{index}]")
    }
}

impl EmbeddingRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// The first field that is wrong or not built.
    pub fn from_json(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of_body(body)?;
        let model = fields.string("model")?;
        // Before `input`, which is absent beside it.
        fields.not_built("messages", |_| false)?;
        let inputs = read_inputs(fields.take("input"))?;
        let encoding = read_encoding(fields.take("encoding_format"))?;
        let dimensions = fields.count("dimensions", 1, usize::MAX)?;
        let truncation = read_truncation(fields.take("truncate_prompt_tokens"))?;
        let user = fields.string("user")?;
        for name in ["add_special_tokens", "normalize"] {
            fields.not_built(name, |value| lenient::boolean(value) == Some(true))?;
        }
        Ok(Self {
            model,
            inputs,
            encoding,
            dimensions,
            truncation,
            user,
            ignored_fields: fields.unknown(),
        })
    }
}

fn read_inputs(input: Option<Value>) -> Result<Vec<Prompt>, Invalid> {
    let inputs = match input {
        None => return Err(Invalid::bad_value("input", "`input` is required")),
        Some(input) => Prompt::read_list("input", input)?,
    };
    if inputs.len() > MAX_INPUTS {
        let message = format!(
            "`input` must hold at most {MAX_INPUTS} texts, got {}",
            inputs.len()
        );
        return Err(Invalid::bad_value("input", message));
    }
    match inputs
        .iter()
        .position(|input| *input == Prompt::Text(String::new()))
    {
        Some(index) => {
            let path = input_path(index, inputs.len());
            let message = format!("`{path}` must not be an empty string");
            Err(Invalid::bad_value(path, message))
        }
        None => Ok(inputs),
    }
}

fn read_encoding(value: Option<Value>) -> Result<EncodingFormat, Invalid> {
    match value.as_ref().map(|value| (value, value.as_str())) {
        None | Some((_, Some("float"))) => Ok(EncodingFormat::Float),
        Some((_, Some("base64"))) => Ok(EncodingFormat::Base64),
        Some((value, _)) => Err(Invalid::expected(
            "encoding_format",
            "float or base64",
            value,
        )),
    }
}

fn read_truncation(value: Option<Value>) -> Result<Truncation, Invalid> {
    let Some(value) = value else {
        return Ok(Truncation::None);
    };
    let tokens = lenient::integer(&value);
    match (
        tokens,
        tokens.and_then(|tokens| usize::try_from(tokens).ok()),
    ) {
        (Some(-1), _) => Ok(Truncation::Window),
        (_, Some(tokens)) if tokens > 0 => Ok(Truncation::Tokens(tokens)),
        _ => Err(Invalid::expected(
            "truncate_prompt_tokens",
            "-1 (the model's window) or an integer of at least 1",
            &value,
        )),
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EmbeddingList {
    /// Always `list`.
    pub object: &'static str,
    /// One a text, in order.
    pub data: Vec<Embedding>,
    /// The model's name.
    pub model: String,
    /// Token counts.
    pub usage: EmbeddingUsage,
}

/// One text's vector.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Embedding {
    /// Always `embedding`.
    pub object: &'static str,
    /// The text's number.
    pub index: usize,
    /// Its vector.
    pub embedding: Vector,
}

/// A vector as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vector {
    /// Numbers.
    Floats(Vec<f32>),
    /// Base64 of little-endian f32.
    Base64(String),
}

/// Token counts of an embeddings request; nothing is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct EmbeddingUsage {
    /// Tokens of all texts, special tokens with them.
    pub prompt_tokens: usize,
    /// The same.
    pub total_tokens: usize,
}

impl EmbeddingList {
    /// The answer to a request whose texts had `tokens` tokens together.
    pub fn new(
        model: String,
        vectors: Vec<Vec<f32>>,
        encoding: EncodingFormat,
        tokens: usize,
    ) -> Self {
        let data = vectors
            .into_iter()
            .enumerate()
            .map(|(index, vector)| Embedding {
                object: "embedding",
                index,
                embedding: Vector::new(vector, encoding),
            })
            .collect();
        Self {
            object: "list",
            data,
            model,
            usage: EmbeddingUsage {
                prompt_tokens: tokens,
                total_tokens: tokens,
            },
        }
    }
}

impl Vector {
    fn new(values: Vec<f32>, encoding: EncodingFormat) -> Self {
        match encoding {
            EncodingFormat::Float => Self::Floats(values),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> = values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                Self::Base64(BASE64_STANDARD.encode(bytes))
            }
        }
    }
}
