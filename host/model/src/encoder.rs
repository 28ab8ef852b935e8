//! Embedding models: one encoder described by data (BERT and its kin), from token ids to a vector a text.
//!
//! Invariants: a text's vector depends on its own tokens alone, whatever is computed beside it; what a file holds that
//! the encoder does not compute is an error at load. Tokenizing, truncating and batching are the caller's: all texts of
//! one call are one pass. Computed in f32 on the CPU.

mod description;
pub(crate) mod folder;
pub(crate) mod gguf;
mod json;
mod network;
mod pooling;
mod weights;

use weir_engine::{EmbeddingInfo, EmbeddingRunner, EngineError};

use crate::{error::ModelError, gguf::GgufFile, safetensors::SafetensorsFolder};
use description::EncoderDescription;
pub(crate) use description::Pooling;
use network::Encoder;
use weights::EncoderWeights;

/// An embedding model with its weights.
#[derive(Debug)]
pub struct Embedder {
    description: EncoderDescription,
    encoder: Encoder,
    info: EmbeddingInfo,
}

impl Embedder {
    /// Whether a GGUF file holds an embedding model.
    ///
    /// # Errors
    /// When `general.architecture` is no string.
    pub fn is_gguf(gguf: &GgufFile) -> Result<bool, ModelError> {
        Ok(gguf.string("general.architecture")? == Some(gguf::ARCHITECTURE))
    }

    /// Whether a folder holds an embedding model, by `model_type` in its config.json.
    pub fn is_folder(folder: &SafetensorsFolder) -> bool {
        let model_type = folder.config().get("model_type");
        folder::is_encoder(model_type.and_then(|value| value.as_str()))
    }

    /// Loads the model in a GGUF file.
    ///
    /// # Errors
    /// Names the key or tensor that is missing or not supported.
    pub fn from_gguf(gguf: &GgufFile) -> Result<Self, ModelError> {
        if !Self::is_gguf(gguf)? {
            return Err(ModelError::UnsupportedArchitecture {
                found: gguf
                    .string("general.architecture")?
                    .unwrap_or("(none)")
                    .to_owned(),
                supported: gguf::ARCHITECTURE.to_owned(),
            });
        }
        Self::load(gguf::describe(gguf)?, EncoderWeights::of_gguf(gguf))
    }

    /// Loads the model in a safetensors folder.
    ///
    /// # Errors
    /// Names the file and key, or the tensor, that is missing or not supported.
    pub fn from_folder(folder: &SafetensorsFolder) -> Result<Self, ModelError> {
        Self::load(folder::describe(folder)?, EncoderWeights::of_folder(folder))
    }

    fn load(
        description: EncoderDescription,
        mut weights: EncoderWeights<'_>,
    ) -> Result<Self, ModelError> {
        let encoder = Encoder::load(&description, &mut weights)?;
        weights.finish(&description.architecture)?;
        let info = EmbeddingInfo {
            dimensions: description.hidden,
            max_tokens: description.max_tokens,
            vocab_size: description.vocab,
        };
        Ok(Self {
            description,
            encoder,
            info,
        })
    }

    /// Elements of a vector.
    pub fn dimensions(&self) -> usize {
        self.info.dimensions
    }

    /// Longest text in tokens, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.info.max_tokens
    }

    /// One vector of [`Embedder::dimensions`] elements a text, in order, all in one pass. The texts are token ids with
    /// the model's special tokens among them.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`] for an empty text, one that is too long, or an id outside the vocabulary.
    pub fn embed<T: AsRef<[u32]>>(&self, texts: &[T]) -> Result<Vec<Vec<f32>>, ModelError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        for (index, text) in texts.iter().enumerate() {
            self.check(text.as_ref())
                .map_err(|reason| ModelError::InvalidInput(format!("text {index} {reason}")))?;
        }
        let hidden = self.encoder.forward(texts)?;
        let lens: Vec<usize> = texts.iter().map(|text| text.as_ref().len()).collect();
        let mut vectors = pooling::pool(&hidden, &lens, self.description.pooling)?;
        if self.description.normalize {
            vectors
                .iter_mut()
                .for_each(|vector| pooling::normalize(vector));
        }
        Ok(vectors)
    }

    fn check(&self, text: &[u32]) -> Result<(), String> {
        let EmbeddingInfo {
            max_tokens,
            vocab_size,
            ..
        } = self.info;
        if text.is_empty() || text.len() > max_tokens {
            return Err(format!("has {} tokens, not 1 to {max_tokens}", text.len()));
        }
        match text.iter().find(|id| **id as usize >= vocab_size) {
            Some(id) => Err(format!(
                "has token id {id}, the vocabulary has {vocab_size}"
            )),
            None => Ok(()),
        }
    }
}

impl EmbeddingRunner for Embedder {
    fn info(&self) -> &EmbeddingInfo {
        &self.info
    }

    fn embed(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, EngineError> {
        Embedder::embed(self, texts).map_err(|error| EngineError::Runner(error.to_string()))
    }
}
