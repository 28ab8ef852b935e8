//! What makes vectors: an embedding model, the encoder on its own thread and the tokenizer beside it, or the engine of a
//! generative model.

use std::sync::Arc;

use weir_engine::{EmbeddingInfo, Engine, Pooling};
use weir_model::{Checkpoint, Embedder, ModelError, TextPooling};
use weir_prompt::Tokenizer;

use super::WiringError;
use crate::{
    embedding_thread::EmbeddingHandle,
    engine_thread::EngineHandle,
    pooled_embeddings::PooledEmbedder,
    state::{self, ServedModel},
};

/// The embedding model of a checkpoint; None when it holds a model of another kind.
///
/// # Errors
/// Names what is missing or not supported.
pub(super) fn embedder(checkpoint: &Checkpoint) -> Result<Option<Embedder>, ModelError> {
    match checkpoint {
        Checkpoint::Gguf(file) if Embedder::is_gguf(file)? => Embedder::from_gguf(file).map(Some),
        Checkpoint::Folder(folder) if Embedder::is_folder(folder) => {
            Embedder::from_folder(folder).map(Some)
        }
        _ => Ok(None),
    }
}

/// Starts its thread; at most `max_queue` requests wait.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn serve(
    id: String,
    embedder: Embedder,
    tokenizer: Tokenizer,
    max_queue: usize,
) -> Result<ServedModel, WiringError> {
    let handle =
        EmbeddingHandle::spawn(Box::new(embedder), max_queue).map_err(WiringError::Thread)?;
    Ok(ServedModel::embedding(id, handle, tokenizer.into()))
}

/// The sizes of the vectors that an engine makes, and of the texts; None if it makes none.
pub(super) fn sizes(engine: &Engine) -> Option<EmbeddingInfo> {
    let info = engine.info();
    Some(EmbeddingInfo {
        dimensions: engine.hidden_size()?,
        max_tokens: info.longest_sequence(),
        vocab_size: info.vocab_size,
    })
}

/// Vectors by a generative model's engine; the log says how they are made, or why not.
///
/// # Errors
/// Why it makes none.
pub(super) fn of_engine(
    engine: &EngineHandle,
    sizes: Option<EmbeddingInfo>,
    pooling: Result<TextPooling, ModelError>,
    max_queue: usize,
) -> Result<state::Embedder, String> {
    let refuse = |reason: String| {
        tracing::warn!("this model makes no embeddings: {reason}");
        Err(reason)
    };
    let TextPooling {
        pooling,
        normalize,
        max_tokens,
        declared,
    } = match pooling {
        Ok(pooling) => pooling,
        Err(error) => return refuse(error.to_string()),
    };
    let Some(sizes) = sizes else {
        return refuse("its runner tells no hidden states".to_owned());
    };
    let whose = match pooling {
        Pooling::Last => "the last token's last hidden state",
        Pooling::Mean => "the mean of all tokens' last hidden states",
    };
    let scaled = if normalize {
        ", scaled to length 1"
    } else {
        ""
    };
    let why = match declared {
        true => "the model's files say so",
        false => "the model's files do not say how",
    };
    tracing::info!("embeddings are {whose}{scaled}: {why}");
    Ok(state::Embedder::Decoder(PooledEmbedder {
        generator: Arc::new(engine.clone()),
        info: EmbeddingInfo {
            max_tokens: max_tokens.map_or(sizes.max_tokens, |most| most.min(sizes.max_tokens)),
            ..sizes
        },
        pooling,
        normalize,
        max_queue,
    }))
}
