//! An embedding model as it is served: the encoder on its own thread, and the tokenizer beside it.

use weir_model::{Checkpoint, Embedder, ModelError};
use weir_prompt::Tokenizer;

use super::WiringError;
use crate::{embedding_thread::EmbeddingHandle, state::ServedModel};

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
