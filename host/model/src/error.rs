//! Everything that can go wrong between a file on disk and a runner that is ready. Every message is one line that
//! names the file, the metadata key or the tensor at fault.

use std::path::PathBuf;

use thiserror::Error;

use crate::data_file::one_line;

/// A model could not be opened, described or loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file could not be opened.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The header is damaged, or holds a tensor type that is not supported.
    #[error("cannot read {} as GGUF: {reason}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or folder of a model that is damaged, or holds what is not supported.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A metadata key the model cannot do without.
    #[error("GGUF metadata {key} is missing")]
    MissingMetadata {
        /// The key.
        key: String,
    },
    /// A metadata value of another type than the format lays down.
    #[error("GGUF metadata {key} is not {expected}")]
    MetadataType {
        /// The key.
        key: String,
        /// What it should be, with its article.
        expected: &'static str,
    },
    /// A key of config.json that the model cannot do without.
    #[error("config.json: {key} is missing")]
    MissingConfig {
        /// The key, after the objects it is in.
        key: String,
    },
    /// A value in config.json that asks for something the decoder does not compute, or that contradicts another.
    #[error("config.json: {key}: {reason}")]
    UnsupportedConfig {
        /// The key, after the objects it is in.
        key: String,
        /// What is not supported about its value.
        reason: String,
    },
    /// Numbers of a model that cannot all be true.
    #[error("the model contradicts itself: {0}")]
    Contradiction(String),
    /// A model family that has no description yet.
    #[error("architecture {found} is not supported (supported: {supported})")]
    UnsupportedArchitecture {
        /// `general.architecture` of a GGUF file, `model_type` of a folder.
        found: String,
        /// The supported ones, comma-separated.
        supported: String,
    },
    /// Metadata that asks for something the decoder does not compute, or that contradicts itself.
    #[error("GGUF metadata {key}: {reason}")]
    UnsupportedMetadata {
        /// The key.
        key: String,
        /// What is not supported about its value.
        reason: String,
    },
    /// A tensor the decoder needs.
    #[error("tensor {name} is missing")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor that does not fit the metadata.
    #[error("tensor {name} has shape {found:?}, the metadata asks for {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// Its shape, outermost dimension first.
        found: Vec<usize>,
        /// The shape the metadata asks for.
        expected: Vec<usize>,
    },
    /// A tensor the decoder would ignore, and so compute another model than the file holds.
    #[error("tensor {name} is not supported in architecture {architecture}")]
    UnexpectedTensor {
        /// Its name.
        name: String,
        /// `general.architecture` of the file.
        architecture: String,
    },
    /// A tensor of a type that is not computed.
    #[error("tensor {name} is of type {dtype}, which is not supported")]
    UnsupportedTensorType {
        /// Its name.
        name: String,
        /// Its type, as its format spells it.
        dtype: &'static str,
    },
    /// A tensor's data could not be read.
    #[error("tensor {name} cannot be read: {reason}")]
    UnreadableTensor {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Runner options that cannot work with this model.
    #[error("{0}")]
    InvalidOptions(String),
    /// Token ids that the model has no answer to.
    #[error("{0}")]
    InvalidInput(String),
    /// A tensor operation failed while loading.
    #[error("loading failed: {0}")]
    Compute(#[from] candle_core::Error),
}

impl ModelError {
    /// A key of config.json with a value that is not supported; both may be quoted from the file, whatever they hold.
    pub(crate) fn unsupported_config(key: &str, reason: &str) -> Self {
        Self::UnsupportedConfig {
            key: one_line(key),
            reason: one_line(reason),
        }
    }

    /// The same of a metadata key.
    pub(crate) fn unsupported_metadata(key: &str, reason: &str) -> Self {
        Self::UnsupportedMetadata {
            key: one_line(key),
            reason: one_line(reason),
        }
    }

    /// An architecture that is none of a table's.
    pub(crate) fn unsupported_architecture<T>(found: &str, supported: &[(&str, T)]) -> Self {
        let names: Vec<&str> = supported.iter().map(|(name, _)| *name).collect();
        Self::UnsupportedArchitecture {
            found: one_line(found),
            supported: names.join(", "),
        }
    }
}
