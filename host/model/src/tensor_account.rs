//! An account of a checkpoint's tensors while a runner loads them: their shapes, and which were taken.
//!
//! Invariant: after [`TensorAccount::finish`] every tensor of the files is part of the runner's model; one that nobody
//! asked for (a bias, an expert) is an error, because a model without it would be another one. Several threads may take
//! tensors at a time. Nothing is read here.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use crate::{checkpoint::Checkpoint, description::ModelDescription, error::ModelError};

/// How far loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes of tensors read so far.
    pub loaded_bytes: u64,
    /// Bytes of all tensors in the files.
    pub total_bytes: u64,
}

/// Which of a checkpoint's tensors were taken.
#[derive(Debug)]
pub struct TensorAccount<'a> {
    checkpoint: &'a Checkpoint,
    bytes: HashMap<&'a str, u64>,
    taken: Mutex<HashSet<String>>,
}

impl<'a> TensorAccount<'a> {
    /// Of a checkpoint none of whose tensors are taken yet.
    pub fn new(checkpoint: &'a Checkpoint) -> Self {
        Self {
            checkpoint,
            bytes: checkpoint.tensors().into_iter().collect(),
            taken: Mutex::default(),
        }
    }

    /// Progress before the first tensor is read.
    pub fn nothing_loaded(&self) -> LoadProgress {
        LoadProgress {
            loaded_bytes: 0,
            total_bytes: self.bytes.values().sum(),
        }
    }

    /// Takes a tensor of a shape, outermost dimension first, and says how many bytes it has in the files.
    ///
    /// # Errors
    /// Names the tensor that is missing or has another shape.
    pub fn take(&self, name: &str, expected: &[usize]) -> Result<u64, ModelError> {
        match self.checkpoint.tensor_shape(name) {
            None => Err(ModelError::MissingTensor {
                name: name.to_owned(),
            }),
            Some(found) if found != expected => Err(ModelError::TensorShape {
                name: name.to_owned(),
                found: found.to_vec(),
                expected: expected.to_vec(),
            }),
            Some(_) => {
                let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
                taken.insert(name.to_owned());
                Ok(self.bytes.get(name).copied().unwrap_or_default())
            }
        }
    }

    /// Checks that no tensor is left over.
    ///
    /// # Errors
    /// Names the first that nobody took and that the model cannot be without.
    pub fn finish(self, description: &ModelDescription) -> Result<(), ModelError> {
        let taken = self
            .taken
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let left = self
            .bytes
            .keys()
            .filter(|name| !taken.contains(**name))
            .filter(|name| !self.checkpoint.may_leave(name, description))
            .min();
        match left {
            None => Ok(()),
            Some(name) => Err(ModelError::UnexpectedTensor {
                name: (*name).to_owned(),
                architecture: description.architecture.clone(),
            }),
        }
    }
}
