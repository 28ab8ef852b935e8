//! The description of a GGUF file's model, from its metadata and the names of its tensors.
//!
//! Key names and their meaning are llama.cpp's. A key is honoured by being read: those under the architecture's prefix
//! that no family's function asked for are refused in the end, unless they are known to change nothing.

mod deepseek;
mod families;
mod keys;
mod rope;

use super::ModelDescription;
use crate::{error::ModelError, gguf::GgufFile};
use keys::Keys;

/// A family's reader.
type Describe = fn(&Keys<'_>) -> Result<ModelDescription, ModelError>;

const FAMILIES: &[(&str, Describe)] = &[
    ("llama", families::llama),
    ("qwen2", families::qwen2),
    ("qwen3", families::qwen3),
    ("qwen3moe", families::qwen3_moe),
    ("gemma2", families::gemma2),
    ("gemma3", families::gemma3),
    ("deepseek2", deepseek::deepseek2),
    ("phi3", families::phi3),
    ("granite", families::granite),
    ("smollm3", families::smollm3),
];

impl ModelDescription {
    /// Reads the description of the model in a GGUF file.
    ///
    /// # Errors
    /// Names the architecture, key or tensor that is missing or not supported.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, ModelError> {
        let key = "general.architecture";
        let found = file
            .string(key)?
            .ok_or_else(|| ModelError::MissingMetadata {
                key: key.to_owned(),
            })?;
        let (architecture, describe) = FAMILIES
            .iter()
            .find(|(name, _)| *name == found)
            .ok_or_else(|| ModelError::unsupported_architecture(found, FAMILIES))?;
        let keys = Keys::new(file, architecture);
        let description = describe(&keys)?;
        keys.refuse_unread()?;
        super::check::check(&description).map_err(ModelError::Contradiction)?;
        Ok(description)
    }
}
