//! The encoder that a GGUF file describes: architecture `bert`, keys and tensor names as in llama.cpp's
//! gguf-py/gguf/constants.py.
//!
//! The format does not say which activation a file was trained with: BERT's own, the exact GELU, is taken. It does not
//! say whether vectors are normalised either: they are, as every reader of these files does.

use crate::{
    encoder::description::{Activation, EncoderDescription, Pooling},
    error::ModelError,
    gguf::GgufFile,
};

/// The architecture that this module reads.
pub(super) const ARCHITECTURE: &str = "bert";

/// Keys under `bert.` that the description honours.
const HONOURED: &[&str] = &[
    "attention.causal",
    "attention.head_count",
    "attention.layer_norm_epsilon",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "pooling_type",
    "vocab_size",
];

/// Reads the description of the encoder in a file.
pub(super) fn describe(gguf: &GgufFile) -> Result<EncoderDescription, ModelError> {
    refuse_unknown_keys(gguf)?;
    if gguf.boolean(&key("attention.causal"))? == Some(true) {
        return Err(unsupported("attention.causal", "an encoder is not causal"));
    }
    let hidden = size(gguf, "embedding_length")?;
    let positions = size(gguf, "context_length")?;
    let eps_key = key("attention.layer_norm_epsilon");
    let description = EncoderDescription {
        architecture: ARCHITECTURE.to_owned(),
        vocab: rows(gguf, "token_embd.weight", hidden)?.ok_or_else(|| {
            ModelError::MissingTensor {
                name: "token_embd.weight".to_owned(),
            }
        })?,
        hidden,
        layers: size(gguf, "block_count")?,
        heads: size(gguf, "attention.head_count")?,
        intermediate: size(gguf, "feed_forward_length")?,
        positions,
        // Writers of this format leave out the rows before a text's first position.
        padding: None,
        token_types: rows(gguf, "token_types.weight", hidden)?.unwrap_or(0),
        norm_eps: gguf
            .float(&eps_key)?
            .ok_or(ModelError::MissingMetadata { key: eps_key })?,
        activation: Activation::Gelu,
        pooling: pooling(gguf)?,
        normalize: true,
        max_tokens: positions,
    };
    description
        .check()
        .map_err(|reason| unsupported("attention", &reason))?;
    Ok(description)
}

fn pooling(gguf: &GgufFile) -> Result<Pooling, ModelError> {
    let pooling = declared_pooling(gguf, ARCHITECTURE)?;
    if pooling.is_none() {
        tracing::info!(
            "{} is not set: vectors are averaged and normalised",
            key("pooling_type")
        );
    }
    Ok(pooling.unwrap_or(Pooling::Mean))
}

/// What `pooling_type` under an architecture's prefix says; numbers are llama.cpp's pooling types.
pub(crate) fn declared_pooling(
    gguf: &GgufFile,
    architecture: &str,
) -> Result<Option<Pooling>, ModelError> {
    let key = format!("{architecture}.pooling_type");
    match gguf.unsigned(&key)? {
        Some(1) => Ok(Some(Pooling::Mean)),
        Some(2) => Ok(Some(Pooling::Cls)),
        Some(3) => Ok(Some(Pooling::Last)),
        None | Some(0) => Ok(None),
        Some(other) => {
            let reason = format!("{other} is not supported (supported: 1 mean, 2 cls, 3 last)");
            Err(ModelError::unsupported_metadata(&key, &reason))
        }
    }
}

fn key(name: &str) -> String {
    format!("{ARCHITECTURE}.{name}")
}

fn unsupported(name: &str, reason: &str) -> ModelError {
    ModelError::UnsupportedMetadata {
        key: key(name),
        reason: reason.to_owned(),
    }
}

fn refuse_unknown_keys(gguf: &GgufFile) -> Result<(), ModelError> {
    let prefix = key("");
    let unknown = gguf
        .keys()
        .filter_map(|name| name.strip_prefix(&prefix))
        .filter(|name| !HONOURED.contains(name))
        .min();
    match unknown {
        None => Ok(()),
        Some(name) => Err(unsupported(
            name,
            "not supported, and ignoring it could change the vectors",
        )),
    }
}

/// A positive integer.
fn size(gguf: &GgufFile, name: &str) -> Result<usize, ModelError> {
    let value = gguf
        .unsigned(&key(name))?
        .ok_or_else(|| ModelError::MissingMetadata { key: key(name) })?;
    match usize::try_from(value) {
        Ok(size) if size > 0 => Ok(size),
        _ => Err(unsupported(name, &format!("{value} is no size"))),
    }
}

/// Rows of a table of `hidden` columns; None when there is no such tensor.
fn rows(gguf: &GgufFile, name: &str, hidden: usize) -> Result<Option<usize>, ModelError> {
    match gguf.tensor_shape(name) {
        None => Ok(None),
        Some([rows, columns]) if *rows > 0 && *columns == hidden => Ok(Some(*rows)),
        Some(shape) => Err(ModelError::TensorShape {
            name: name.to_owned(),
            found: shape.to_vec(),
            expected: vec![shape.first().copied().unwrap_or(1), hidden],
        }),
    }
}
