//! A model folder's tokenizer: which of the files that models ship is read.

use std::path::Path;

use super::{Tokenizer, TokenizerConfig};
use crate::error::PromptError;

impl Tokenizer {
    /// Reads the tokenizer of a model folder; `config` is what [`TokenizerConfig::read`] found there.
    ///
    /// # Errors
    /// When the folder has no tokenizer, or [`Tokenizer::from_file`] refuses it.
    pub fn from_folder(dir: &Path, config: &TokenizerConfig) -> Result<Self, PromptError> {
        Self::from_file(&dir.join("tokenizer.json"), config)
    }

    /// Reads one tokenizer file.
    ///
    /// # Errors
    /// When the file cannot be read, contradicts itself or is of a kind that is not built.
    pub fn from_file(path: &Path, config: &TokenizerConfig) -> Result<Self, PromptError> {
        Self::from_json_file(path, config)
    }
}
