//! A GGUF file: typed access to its metadata, the list of its tensors, and their data on demand.
//!
//! Integers of every width read as one type, because writers differ in the widths they choose; everything else must
//! have the type the format lays down. Nothing is interpreted here: `description` knows what keys mean.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use candle_core::{
    Device,
    quantized::{
        QTensor,
        gguf_file::{Content, Value},
    },
};

use crate::{error::ModelError, tensor_entry::TensorEntry};

/// An open GGUF file whose header has been read; tensor data stays on disk until asked for.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    file: File,
    content: Content,
}

impl GgufFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`ModelError::Io`] when it cannot be opened, [`ModelError::Gguf`] when its header cannot be read.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let path = path.to_path_buf();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(source) => return Err(ModelError::Io { path, source }),
        };
        match Content::read(&mut BufReader::new(&file)) {
            Ok(content) => Ok(Self {
                path,
                file,
                content,
            }),
            Err(error) => Err(ModelError::Gguf {
                path,
                reason: error.to_string(),
            }),
        }
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All metadata keys, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.content.metadata.keys().map(String::as_str)
    }

    /// A string, such as `tokenizer.chat_template`; None when the key is absent.
    ///
    /// # Errors
    /// [`ModelError::MetadataType`], here and in all getters, when the value has another type.
    pub fn string(&self, key: &str) -> Result<Option<&str>, ModelError> {
        self.value(key, "a string", string)
    }

    /// A non-negative integer of any width, such as `tokenizer.ggml.eos_token_id`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, ModelError> {
        self.value(key, "a non-negative integer", |value| {
            u64::try_from(integer(value)?).ok()
        })
    }

    /// A floating-point number; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn float(&self, key: &str) -> Result<Option<f32>, ModelError> {
        self.value(key, "a floating-point number", float)
    }

    /// A boolean, such as `tokenizer.ggml.add_bos_token`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.value(key, "a boolean", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// An array of strings, such as `tokenizer.ggml.tokens`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&str>>, ModelError> {
        self.value(key, "an array of strings", |value| array(value, string))
    }

    /// An array of integers of any width, such as `tokenizer.ggml.token_type`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, ModelError> {
        self.value(key, "an array of integers", |value| array(value, integer))
    }

    /// An array of floating-point numbers, such as `tokenizer.ggml.scores`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, ModelError> {
        self.value(key, "an array of floating-point numbers", |value| {
            array(value, float)
        })
    }

    /// The tensors, in no particular order.
    pub fn tensors(&self) -> impl Iterator<Item = TensorEntry<'_>> {
        self.content.tensor_infos.iter().map(|(name, info)| {
            let blocks = info.shape.elem_count() / info.ggml_dtype.block_size();
            TensorEntry {
                name,
                shape: info.shape.dims(),
                dtype: format!("{:?}", info.ggml_dtype),
                bytes: (blocks * info.ggml_dtype.type_size()) as u64,
            }
        })
    }

    /// The shape of a tensor, outermost dimension first; None when there is no such tensor.
    pub fn tensor_shape(&self, name: &str) -> Option<&[usize]> {
        self.content
            .tensor_infos
            .get(name)
            .map(|info| info.shape.dims())
    }

    /// Reads one tensor's data.
    pub(crate) fn read_tensor(&self, name: &str, device: &Device) -> Result<QTensor, ModelError> {
        let info =
            self.content
                .tensor_infos
                .get(name)
                .ok_or_else(|| ModelError::MissingTensor {
                    name: name.to_owned(),
                })?;
        info.read(&mut &self.file, self.content.tensor_data_offset, device)
            .map_err(|error| ModelError::UnreadableTensor {
                name: name.to_owned(),
                reason: error.to_string(),
            })
    }

    fn value<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.content.metadata.get(key) {
            None => Ok(None),
            Some(value) => match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(ModelError::MetadataType {
                    key: key.to_owned(),
                    expected,
                }),
            },
        }
    }
}

fn string(value: &Value) -> Option<&str> {
    match value {
        Value::String(value) => Some(value),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match *value {
        Value::U8(value) => Some(value.into()),
        Value::I8(value) => Some(value.into()),
        Value::U16(value) => Some(value.into()),
        Value::I16(value) => Some(value.into()),
        Value::U32(value) => Some(value.into()),
        Value::I32(value) => Some(value.into()),
        Value::U64(value) => value.try_into().ok(),
        Value::I64(value) => Some(value),
        _ => None,
    }
}

fn float(value: &Value) -> Option<f32> {
    match *value {
        Value::F32(value) => Some(value),
        Value::F64(value) => Some(value as f32),
        _ => None,
    }
}

fn array<'a, T>(value: &'a Value, element: impl Fn(&'a Value) -> Option<T>) -> Option<Vec<T>> {
    match value {
        Value::Array(values) => values.iter().map(element).collect(),
        _ => None,
    }
}
