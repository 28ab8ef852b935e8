//! How a generative model's hidden states become a text's vector.
//!
//! A model that was trained for vectors says it in its files: a GGUF file by `pooling_type`, a folder by the files of
//! sentence-transformers. Of all others the last token is taken, the only one that has seen the whole text; that is what
//! serving engines do that make vectors with decoders (vLLM and SGLang). Computing them is the runner's and the engine's.

use weir_engine::Pooling;

use crate::{
    checkpoint::Checkpoint,
    encoder::{self, folder::TextVectors, gguf::declared_pooling},
    error::ModelError,
};

/// How a text's vector is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPooling {
    /// How the tokens' hidden states become one vector.
    pub pooling: Pooling,
    /// Whether that is scaled to length 1.
    pub normalize: bool,
    /// Longest text in tokens, if the files limit it beyond the model's context.
    pub max_tokens: Option<usize>,
    /// Whether the model's files say so.
    pub declared: bool,
}

impl Default for TextPooling {
    /// What holds where no file says anything.
    fn default() -> Self {
        Self {
            pooling: Pooling::Last,
            normalize: true,
            max_tokens: None,
            declared: false,
        }
    }
}

impl TextPooling {
    /// What a decoder's files say.
    ///
    /// # Errors
    /// Names the file or key that asks for what is not computed.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, ModelError> {
        let plain = Self::default();
        let (said, place) = match checkpoint {
            Checkpoint::Gguf(file) => {
                let architecture = file.string("general.architecture")?.unwrap_or_default();
                let said = declared_pooling(file, architecture)?;
                (
                    TextVectors::new(said),
                    format!("{architecture}.pooling_type"),
                )
            }
            Checkpoint::Folder(folder) => {
                let path = folder.path().join("modules.json");
                (TextVectors::read(folder)?, path.display().to_string())
            }
        };
        Ok(Self {
            pooling: match said.pooling {
                None => plain.pooling,
                Some(encoder::Pooling::Last) => Pooling::Last,
                Some(encoder::Pooling::Mean) => Pooling::Mean,
                Some(other) => {
                    let reason = format!(
                        "pooling {other:?} of a decoder is not supported (supported: Last, Mean)"
                    );
                    return Err(ModelError::unsupported_metadata(&place, &reason));
                }
            },
            normalize: said.normalize,
            max_tokens: said.max_tokens,
            declared: said.pooling.is_some(),
        })
    }
}
