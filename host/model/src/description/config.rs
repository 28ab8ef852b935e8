//! The description of a checkpoint folder's model, from its config.json.
//!
//! Key names and their defaults are those of the families' classes in the `transformers` library, in the spelling of its
//! version 5 (`rope_parameters`) and in the older one (`rope_theta`, `rope_scaling`). A key is honoured by being read: one
//! that no family's function asked for is refused in the end, unless it is known to change nothing or is switched off.

mod deepseek;
mod families;
mod keys;
mod rope;

use std::borrow::Cow;

use serde_json::Value;

use super::ModelDescription;
use crate::{error::ModelError, safetensors::SafetensorsFolder};
use keys::Keys;

/// A family's reader.
type Describe = fn(&Keys<'_>) -> Result<ModelDescription, ModelError>;

const FAMILIES: &[(&str, Describe)] = &[
    ("llama", families::llama),
    ("mistral", families::mistral),
    ("qwen2", families::qwen2),
    ("qwen3", families::qwen3),
    ("qwen3_moe", families::qwen3_moe),
    ("gemma2", families::gemma2),
    ("gemma3_text", families::gemma3),
    ("deepseek_v2", deepseek::deepseek_v2),
    ("deepseek_v3", deepseek::deepseek_v3),
    ("kimi_k2", deepseek::deepseek_v3),
    ("phi3", families::phi3),
    ("granite", families::granite),
    ("smollm3", families::smollm3),
];

/// Models that see, too: what they read and write is a model of its own, described under `text_config`.
const WITH_A_TEXT_MODEL: &[&str] = &["gemma3", "mistral3"];

impl ModelDescription {
    /// Reads the description of the model in a folder.
    ///
    /// # Errors
    /// Names the architecture, key or tensor that is missing or not supported.
    pub fn from_folder(folder: &SafetensorsFolder) -> Result<Self, ModelError> {
        let whole = folder.config();
        let model_type = |config: &serde_json::Map<String, Value>| -> Result<String, ModelError> {
            match config.get("model_type") {
                Some(Value::String(name)) => Ok(name.clone()),
                Some(other) => Err(ModelError::unsupported_config(
                    "model_type",
                    &format!("{other} is no name"),
                )),
                None => Err(ModelError::MissingConfig {
                    key: "model_type".to_owned(),
                }),
            }
        };
        let mut found = model_type(whole)?;
        let mut config = Cow::Borrowed(whole);
        if WITH_A_TEXT_MODEL.contains(&found.as_str())
            && let Some(Value::Object(text)) = whole.get("text_config")
        {
            found = model_type(text)?;
            config = Cow::Borrowed(text);
            let key = "tie_word_embeddings";
            if let (None, Some(tied)) = (text.get(key), whole.get(key)) {
                config.to_mut().insert(key.to_owned(), tied.clone());
            }
        }
        let (architecture, describe) = FAMILIES
            .iter()
            .find(|(name, _)| *name == found)
            .ok_or_else(|| ModelError::unsupported_architecture(&found, FAMILIES))?;
        let keys = Keys::new(folder, &config, architecture);
        let mut description = describe(&keys)?;
        keys.refuse_unread()?;
        description.eos_token_ids = end_tokens(folder, &config)?;
        super::check::check(&description).map_err(ModelError::Contradiction)?;
        Ok(description)
    }
}

/// The tokens that generation_config.json ends a sequence with, or else config.json: one or several.
fn end_tokens(
    folder: &SafetensorsFolder,
    config: &serde_json::Map<String, Value>,
) -> Result<Vec<u32>, ModelError> {
    let key = "eos_token_id";
    let given = [
        folder
            .generation_config()
            .and_then(|config| config.get(key)),
        config.get(key),
        folder.config().get(key),
    ];
    let says =
        |value: &&Value| !value.is_null() && value.as_array().is_none_or(|ids| !ids.is_empty());
    let Some(given) = given.into_iter().flatten().find(says) else {
        return Ok(Vec::new());
    };
    let listed = match given {
        Value::Array(ids) => ids.as_slice(),
        one => std::slice::from_ref(one),
    };
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| ModelError::unsupported_config(key, &format!("{value} is no token id")))
    };
    let mut ids = listed.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
