//! Metadata under one architecture's prefix, and which of it was read.

use std::{cell::RefCell, collections::BTreeSet};

use crate::{error::ModelError, gguf::GgufFile};

/// Keys that describe the file's history, or what the tensors say better, or that change no answer but a text's vector.
const HARMLESS: &[&str] = &[
    "attention.causal",
    "expert_used_count",
    "nextn_predict_layers",
    "pooling_type",
    "rope.scaling.finetuned",
    "tensor_data_layout",
];

/// Typed access that remembers what was asked for.
pub(super) struct Keys<'a> {
    file: &'a GgufFile,
    architecture: &'static str,
    read: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(file: &'a GgufFile, architecture: &'static str) -> Self {
        Self {
            file,
            architecture,
            read: RefCell::default(),
        }
    }

    pub(super) fn file(&self) -> &'a GgufFile {
        self.file
    }

    pub(super) fn architecture(&self) -> &'static str {
        self.architecture
    }

    fn key(&self, name: &'static str) -> String {
        self.read.borrow_mut().insert(name);
        self.full(name)
    }

    fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// An error about a key's value.
    pub(super) fn unsupported(&self, name: &str, reason: impl AsRef<str>) -> ModelError {
        ModelError::unsupported_metadata(&self.full(name), reason.as_ref())
    }

    fn missing(&self, name: &str) -> ModelError {
        ModelError::MissingMetadata {
            key: self.full(name),
        }
    }

    /// A count, which may be zero.
    pub(super) fn optional_count(&self, name: &'static str) -> Result<Option<usize>, ModelError> {
        let value = self.file.unsigned(&self.key(name))?;
        let count = value.map(|value| {
            u32::try_from(value)
                .map(|count| count as usize)
                .map_err(|_| self.unsupported(name, format!("{value} is no size")))
        });
        count.transpose()
    }

    /// A size: a positive integer.
    pub(super) fn optional_size(&self, name: &'static str) -> Result<Option<usize>, ModelError> {
        match self.optional_count(name)? {
            Some(0) => Err(self.unsupported(name, "0 is no size")),
            size => Ok(size),
        }
    }

    pub(super) fn size(&self, name: &'static str) -> Result<usize, ModelError> {
        self.optional_size(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn optional_float(&self, name: &'static str) -> Result<Option<f32>, ModelError> {
        match self.file.float(&self.key(name))? {
            Some(value) if !value.is_finite() => {
                Err(self.unsupported(name, format!("{value} is no finite number")))
            }
            value => Ok(value),
        }
    }

    /// A positive number.
    pub(super) fn optional_factor(&self, name: &'static str) -> Result<Option<f32>, ModelError> {
        match self.optional_float(name)? {
            Some(value) if value <= 0.0 => {
                Err(self.unsupported(name, format!("{value} is no factor")))
            }
            value => Ok(value),
        }
    }

    pub(super) fn factor(&self, name: &'static str) -> Result<f32, ModelError> {
        self.optional_factor(name)?
            .ok_or_else(|| self.missing(name))
    }

    pub(super) fn string(&self, name: &'static str) -> Result<Option<&'a str>, ModelError> {
        self.file.string(&self.key(name))
    }

    pub(super) fn boolean(&self, name: &'static str) -> Result<Option<bool>, ModelError> {
        self.file.boolean(&self.key(name))
    }

    /// Refuses what nobody asked for.
    pub(super) fn refuse_unread(&self) -> Result<(), ModelError> {
        if self.file.boolean(&self.full("attention.causal"))? == Some(false) {
            return Err(self.unsupported("attention.causal", "only causal attention is supported"));
        }
        let (prefix, read) = (self.full(""), self.read.borrow());
        let unread = self
            .file
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .filter(|name| !read.contains(name) && !HARMLESS.contains(name))
            .min();
        match unread {
            None => Ok(()),
            Some(name) => Err(self.unsupported(
                name,
                "not supported, and ignoring it could change the answers",
            )),
        }
    }
}
