//! An embedding model as it is served: the encoder on its own thread, and the tokenizer beside it.

use weir_model::{Embedder, GgufFile, SafetensorsFolder};
use weir_prompt::{Tokenizer, TokenizerConfig};

use super::{WiringError, gguf_vocabulary};
use crate::{embedding_thread::EmbeddingHandle, state::ServedModel};

/// The embedding model in a folder; None when it holds a model of another kind. At most `max_queue` requests wait.
///
/// # Errors
/// Whatever stands in the way, in one line.
pub fn from_folder(
    name: &str,
    folder: &SafetensorsFolder,
    max_queue: usize,
) -> Result<Option<ServedModel>, WiringError> {
    if !Embedder::is_folder(folder) {
        return Ok(None);
    }
    let dir = folder.path();
    let config = TokenizerConfig::read(dir)?;
    let tokenizer = Tokenizer::from_json_file(&dir.join("tokenizer.json"), &config)?;
    serve(name, Embedder::from_folder(folder)?, tokenizer, max_queue).map(Some)
}

/// The same for a GGUF file.
///
/// # Errors
/// See [`from_folder`].
pub fn from_gguf(
    name: &str,
    gguf: &GgufFile,
    max_queue: usize,
) -> Result<Option<ServedModel>, WiringError> {
    if !Embedder::is_gguf(gguf)? {
        return Ok(None);
    }
    let tokenizer = Tokenizer::from_gguf(gguf_vocabulary(gguf)?)?;
    serve(name, Embedder::from_gguf(gguf)?, tokenizer, max_queue).map(Some)
}

fn serve(
    name: &str,
    embedder: Embedder,
    tokenizer: Tokenizer,
    max_queue: usize,
) -> Result<ServedModel, WiringError> {
    let handle =
        EmbeddingHandle::spawn(Box::new(embedder), max_queue).map_err(WiringError::Thread)?;
    Ok(ServedModel::embedding(
        name.to_owned(),
        handle,
        tokenizer.into(),
    ))
}
