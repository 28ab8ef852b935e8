//! `nvext`, the extensions of NVIDIA Dynamo's frontend, as far as they mean something here.
//!
//! Hints to its router and its workers change no answer here and are listed as ignored; what would change one and is not built
//! is refused.

use serde_json::Value;

use crate::{answer_format::Formats, fields::Fields, invalid::Invalid, sampling::SamplingFields};

/// What is told beside an answer: as server-sent events of these names, or in the answer's own `nvext`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Annotations {
    /// The text the model reads, before the first chunk.
    pub formatted_prompt: bool,
    /// Its token ids, before the first chunk.
    pub token_ids: bool,
    /// Token counts, at the end.
    pub llm_metrics: bool,
    /// When the request came and how long it took, at the end.
    pub timing: bool,
}

impl Annotations {
    /// Whether any was asked for.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

pub(crate) struct NvExt {
    pub(crate) use_raw_prompt: bool,
    pub(crate) annotations: Annotations,
    pub(crate) reasoning_budget: Option<usize>,
    /// Paths of what means nothing here.
    pub(crate) ignored: Vec<String>,
}

/// Fields that would change an answer.
const NOT_BUILT: &[&str] = &["token_data"];

/// Reads the object; what it says of sampling goes into `sampling`, and of the answer's form into `formats`.
pub(crate) fn read(
    mut fields: Fields,
    sampling: &mut SamplingFields,
    formats: &mut Formats,
) -> Result<NvExt, Invalid> {
    let mut ignored = Vec::new();
    let mut annotations = Annotations::default();
    for list in ["annotations", "extra_fields"] {
        for name in take_names(&mut fields, list)? {
            match name.as_str() {
                "formatted_prompt" => annotations.formatted_prompt = true,
                "token_ids" => annotations.token_ids = true,
                "llm_metrics" => annotations.llm_metrics = true,
                "timing" => annotations.timing = true,
                _ => ignored.push(format!("nvext.{list}.{name}")),
            }
        }
    }
    if fields.boolean("greed_sampling")? == Some(true) {
        sampling.do_sample = Some(false);
    }
    if let Some(ignore_eos) = fields.boolean("ignore_eos")? {
        sampling.ignore_eos = ignore_eos;
    }
    let use_raw_prompt = fields.boolean("use_raw_prompt")?.unwrap_or(false);
    formats.take_guided(&mut fields)?;
    let reasoning_budget = fields.count("max_thinking_tokens", 0, usize::MAX)?;
    for name in NOT_BUILT {
        fields.not_built(name, |_| false)?;
    }
    ignored.extend(fields.unknown());
    Ok(NvExt {
        use_raw_prompt,
        annotations,
        reasoning_budget,
        ignored,
    })
}

fn take_names(fields: &mut Fields, name: &str) -> Result<Vec<String>, Invalid> {
    const EXPECTED: &str = "a list of names";
    let path = fields.path(name);
    match fields.take(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                other => Err(Invalid::expected(path.as_str(), EXPECTED, &other)),
            })
            .collect(),
        Some(other) => Err(Invalid::expected(path, EXPECTED, &other)),
    }
}
