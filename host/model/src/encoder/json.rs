//! Typed access to the small JSON files of a model folder; every complaint names the file, the key and the value.
//!
//! A key that is null is absent, as the libraries that write these files mean it.

use std::{fmt::Display, path::PathBuf};

use serde_json::{Map, Value};

use crate::{data_file::DataFile, error::ModelError};

/// These files hold a few hundred bytes; lists of prompts some kilobytes.
const SIZE_LIMIT: u64 = 4_000_000;

/// A file's JSON value, or an object in it.
pub(super) struct Json {
    path: PathBuf,
    value: Value,
}

impl Json {
    /// A value that was read from the file at `path`.
    pub(super) fn new(path: PathBuf, value: Value) -> Self {
        Self { path, value }
    }

    /// Reads a file; None when there is none.
    pub(super) fn read(path: PathBuf) -> Result<Option<Self>, ModelError> {
        let Some(file) = DataFile::open_if_there(&path)? else {
            return Ok(None);
        };
        match serde_json::from_str(&file.read_text(SIZE_LIMIT)?) {
            Ok(value) => Ok(Some(Self { path, value })),
            Err(error) => Err(file.refuse(error.to_string())),
        }
    }

    /// An error about the file.
    pub(super) fn refuse(&self, reason: impl Display) -> ModelError {
        ModelError::File {
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }

    /// The elements of a list.
    pub(super) fn items(&self) -> Result<Vec<Self>, ModelError> {
        match &self.value {
            Value::Array(items) => Ok(items
                .iter()
                .map(|item| Self::new(self.path.clone(), item.clone()))
                .collect()),
            _ => Err(self.refuse("is not a list")),
        }
    }

    /// The keys that are true.
    pub(super) fn true_keys(&self) -> impl Iterator<Item = &str> {
        let object = self.value.as_object().into_iter().flat_map(Map::iter);
        object
            .filter(|(_, value)| **value == Value::Bool(true))
            .map(|(key, _)| key.as_str())
    }

    /// A key's value, unless absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    /// A positive integer.
    pub(super) fn size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.typed(key, "a positive integer", |value| {
            usize::try_from(value.as_u64()?)
                .ok()
                .filter(|size| *size > 0)
        })
    }

    /// A non-negative integer.
    pub(super) fn count(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.typed(key, "a non-negative integer", |value| {
            usize::try_from(value.as_u64()?).ok()
        })
    }

    /// A positive integer that must be there.
    pub(super) fn required_size(&self, key: &str) -> Result<usize, ModelError> {
        self.size(key)?
            .ok_or_else(|| self.refuse(format!("{key} is missing")))
    }

    /// A number.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// A string.
    pub(super) fn string(&self, key: &str) -> Result<Option<&str>, ModelError> {
        self.typed(key, "a string", Value::as_str)
    }

    /// Refuses a value other than `only`; absent means it.
    pub(super) fn only(&self, key: &str, only: &Value) -> Result<(), ModelError> {
        match self.get(key) {
            Some(value) if value != only => {
                Err(self.refuse(format!("{key} is {value}, supported is {only} alone")))
            }
            _ => Ok(()),
        }
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(self.refuse(format!("{key} is {value}, not {expected}"))),
        }
    }
}
