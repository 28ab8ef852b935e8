//! A model's files, whatever kind they are of: the checkpoint, and the tokenizer, templates and defaults beside it.

use std::{fs, path::Path};

use serde_json::{Map, Value};
use weir_model::{Checkpoint, GgufFile, ModelError, SafetensorsFolder};
use weir_prompt::{GgufVocabulary, Tokenizer, TokenizerConfig};

use super::WiringError;
use crate::state::SamplingDefaults;

/// What there is before weights are loaded.
pub(super) struct ModelFiles {
    pub(super) checkpoint: Checkpoint,
    pub(super) tokenizer: Tokenizer,
    pub(super) chat_template: Option<String>,
    /// For requests with tools, of models that have two templates.
    pub(super) tool_chat_template: Option<String>,
    /// What the model's makers sample it with.
    pub(super) defaults: SamplingDefaults,
}

impl ModelFiles {
    /// Opens a GGUF file or a folder.
    ///
    /// # Errors
    /// What is missing, damaged or not supported, in one line.
    pub(super) fn open(path: &Path) -> Result<Self, WiringError> {
        match Checkpoint::open(path)? {
            Checkpoint::Gguf(file) => Ok(Self {
                tokenizer: Tokenizer::from_gguf(gguf_vocabulary(&file)?)?,
                chat_template: file.string("tokenizer.chat_template")?.map(str::to_owned),
                tool_chat_template: file
                    .string("tokenizer.chat_template.tool_use")?
                    .map(str::to_owned),
                defaults: SamplingDefaults::default(),
                checkpoint: Checkpoint::Gguf(file),
            }),
            Checkpoint::Folder(folder) => Self::of_folder(folder),
        }
    }

    fn of_folder(folder: SafetensorsFolder) -> Result<Self, WiringError> {
        let config = TokenizerConfig::read(folder.path())?;
        Ok(Self {
            tokenizer: Tokenizer::from_folder(folder.path(), &config)?,
            chat_template: config.chat_template,
            tool_chat_template: config.tool_chat_template,
            defaults: folder
                .generation_config()
                .map(sampling_defaults)
                .unwrap_or_default(),
            checkpoint: Checkpoint::Folder(folder),
        })
    }
}

/// What there is of a model that is computed elsewhere.
pub(super) struct TextFiles {
    pub(super) tokenizer: Tokenizer,
    pub(super) chat_template: Option<String>,
    pub(super) tool_chat_template: Option<String>,
    pub(super) defaults: SamplingDefaults,
}

impl TextFiles {
    /// Opens a GGUF file, or a folder that may have no weights.
    ///
    /// # Errors
    /// As [`ModelFiles::open`].
    pub(super) fn open(path: &Path) -> Result<Self, WiringError> {
        if path.is_file() {
            return ModelFiles::open(path).map(Self::from);
        }
        let config = TokenizerConfig::read(path)?;
        let defaults = fs::read(path.join("generation_config.json")).ok();
        let defaults = defaults.and_then(|json| serde_json::from_slice(&json).ok());
        Ok(Self {
            tokenizer: Tokenizer::from_folder(path, &config)?,
            chat_template: config.chat_template,
            tool_chat_template: config.tool_chat_template,
            defaults: defaults.as_ref().map(sampling_defaults).unwrap_or_default(),
        })
    }
}

impl From<ModelFiles> for TextFiles {
    fn from(files: ModelFiles) -> Self {
        Self {
            tokenizer: files.tokenizer,
            chat_template: files.chat_template,
            tool_chat_template: files.tool_chat_template,
            defaults: files.defaults,
        }
    }
}

/// generation_config.json, in the spelling of the `transformers` library. A value out of range is none.
fn sampling_defaults(config: &Map<String, Value>) -> SamplingDefaults {
    let number = |name: &str, range: std::ops::RangeInclusive<f64>| {
        let number = config.get(name)?.as_f64()?;
        range.contains(&number).then_some(number as f32)
    };
    let count = |name: &str| {
        let count = config.get(name)?.as_u64()?;
        usize::try_from(count).ok().filter(|count| *count > 0)
    };
    // A model that its makers do not sample has a temperature that means nothing.
    let sampled = config.get("do_sample") != Some(&Value::Bool(false));
    SamplingDefaults {
        temperature: number("temperature", 0.0..=2.0).filter(|_| sampled),
        top_p: number("top_p", f64::MIN_POSITIVE..=1.0).filter(|_| sampled),
        top_k: count("top_k").filter(|_| sampled),
        min_p: number("min_p", 0.0..=1.0).filter(|_| sampled),
        repetition_penalty: number("repetition_penalty", f64::MIN_POSITIVE..=2.0),
        max_tokens: count("max_new_tokens"),
        reasoning_budget: None,
        mpr_candidates: None,
        structured_output_reserve: None,
    }
}

/// The `tokenizer.ggml.*` keys; their names are llama.cpp's (gguf-py/gguf/constants.py).
fn gguf_vocabulary(gguf: &GgufFile) -> Result<GgufVocabulary, WiringError> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let id = |name: &str| -> Result<Option<u32>, ModelError> {
        Ok(gguf
            .unsigned(&key(name))?
            .and_then(|id| u32::try_from(id).ok()))
    };
    let strings = |name: &str| -> Result<Vec<String>, ModelError> {
        let list = gguf.strings(&key(name))?.unwrap_or_default();
        Ok(list.into_iter().map(str::to_owned).collect())
    };
    let flag = |name: &str| gguf.boolean(&key(name));
    let types = gguf.integers(&key("token_type"))?.unwrap_or_default();
    Ok(GgufVocabulary {
        model: gguf.string(&key("model"))?.unwrap_or_default().to_owned(),
        pre: gguf.string(&key("pre"))?.map(str::to_owned),
        tokens: strings("tokens")?,
        token_types: types
            .into_iter()
            .map(|kind| i32::try_from(kind).unwrap_or(0))
            .collect(),
        model_name: gguf.string("general.name")?.unwrap_or_default().to_owned(),
        scores: gguf.floats(&key("scores"))?.unwrap_or_default(),
        merges: strings("merges")?,
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        unk: id("unknown_token_id")?,
        pad: id("padding_token_id")?,
        eom: id("eom_token_id")?,
        // The key is spelled so.
        sep: id("seperator_token_id")?,
        cls: id("cls_token_id")?,
        mask: id("mask_token_id")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?.unwrap_or(false),
        add_sep: flag("add_sep_token")?,
        add_space_prefix: flag("add_space_prefix")?,
        remove_extra_whitespaces: flag("remove_extra_whitespaces")?.unwrap_or(false),
        lowercase: flag("normalizer.lowercase")?,
        strip_accents: flag("normalizer.strip_accents")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_the_makers_where_they_make_sense() {
        let read = |config: Value| sampling_defaults(config.as_object().expect("an object"));
        let qwen = read(json!({
            "do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05,
            "eos_token_id": [1, 2], "transformers_version": "4.37.0",
        }));
        assert_eq!(
            qwen,
            SamplingDefaults {
                temperature: Some(0.7),
                top_p: Some(0.8),
                top_k: Some(20),
                repetition_penalty: Some(1.05),
                ..SamplingDefaults::default()
            }
        );
        let odd = json!({"temperature": -1, "top_p": "x", "top_k": 0, "max_new_tokens": 64});
        let only_length = SamplingDefaults {
            max_tokens: Some(64),
            ..SamplingDefaults::default()
        };
        assert_eq!(read(odd), only_length);
        let greedy = json!({"do_sample": false, "temperature": 0.9, "max_new_tokens": 64});
        assert_eq!(read(greedy), only_length);
    }
}
