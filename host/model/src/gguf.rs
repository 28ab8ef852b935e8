//! A GGUF file: typed access to its metadata, the list of its tensors, and their data on demand.
//!
//! A model split into several files opens as one, from its first part. Integers of every width read as one type,
//! because writers differ in the widths they choose; everything else must have the type the format lays down. Nothing
//! is interpreted here: `description` knows what keys mean.

mod ggml_type;
mod header;
mod value;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    path::Path,
};

use candle_core::{
    Device, Tensor,
    quantized::{QTensor, ggml_file::qtensor_from_ggml},
};

use crate::{
    data_file::{DataFile, one_line},
    error::ModelError,
    tensor_entry::{TensorEntry, section_width},
};
use header::StoredTensor;
use value::{Value, boolean, float, integer, text};

/// An open GGUF file whose header has been read; tensor data stays on disk until asked for.
#[derive(Debug)]
pub struct GgufFile {
    /// The file, and the further parts of a model that is split.
    parts: Vec<DataFile>,
    metadata: HashMap<String, Value>,
    /// By name: the number of the part, and where in it.
    tensors: BTreeMap<String, (usize, StoredTensor)>,
}

impl GgufFile {
    /// Opens a file and reads its header; with the first part of a split model (`NAME-00001-of-0000N.gguf`), all parts.
    ///
    /// # Errors
    /// [`ModelError::Io`] when a file cannot be opened, [`ModelError::Gguf`] when its header cannot be read, does not
    /// fit the file, or is of another part than expected.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let mut model = Self::open_part(path)?;
        let count = model.unsigned("split.count")?.unwrap_or(1);
        if count <= 1 {
            return Ok(model);
        }
        let first = format!("-00001-of-{count:05}.gguf");
        let name = path.file_name().and_then(|name| name.to_str());
        let (Some(name), Some(0)) = (
            name.and_then(|name| name.strip_suffix(&first)),
            model.unsigned("split.no")?,
        ) else {
            return Err(model.refuse(&format!(
                "it is split into {count} parts and opened by the first, NAME{first}"
            )));
        };
        for number in 2..=count {
            let part = path.with_file_name(format!("{name}-{number:05}-of-{count:05}.gguf"));
            let part = Self::open_part(&part)?;
            if part.unsigned("split.no")? != Some(number - 1)
                || part.unsigned("split.count")? != Some(count)
            {
                return Err(part.refuse(&format!("it is not part {number} of {count}")));
            }
            model.append(part)?;
        }
        match model.unsigned("split.tensors.count")? {
            Some(tensors) if tensors != model.tensors.len() as u64 => Err(model.refuse(&format!(
                "split.tensors.count is {tensors}, the parts hold {}",
                model.tensors.len()
            ))),
            _ => Ok(model),
        }
    }

    fn open_part(path: &Path) -> Result<Self, ModelError> {
        let file = DataFile::open(path)?;
        match header::read(&file) {
            Ok(header) => Ok(Self {
                parts: vec![file],
                metadata: header.metadata,
                tensors: header
                    .tensors
                    .into_iter()
                    .map(|(name, tensor)| (name, (0, tensor)))
                    .collect(),
            }),
            Err(reason) => Err(refuse(path, &reason)),
        }
    }

    /// Takes over the tensors of a further part.
    fn append(&mut self, part: Self) -> Result<(), ModelError> {
        let twice = part
            .tensors
            .keys()
            .find(|name| self.tensors.contains_key(*name));
        if let Some(name) = twice {
            return Err(part.refuse(&format!("tensor {name} is in another part too")));
        }
        let number = self.parts.len();
        let tensors = part.tensors.into_iter();
        self.tensors
            .extend(tensors.map(|(name, (_, tensor))| (name, (number, tensor))));
        self.parts.extend(part.parts);
        Ok(())
    }

    fn refuse(&self, reason: &str) -> ModelError {
        refuse(self.path(), reason)
    }

    /// Where the file lies; of a split model, its first part.
    pub fn path(&self) -> &Path {
        self.parts[0].path()
    }

    /// All metadata keys, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.metadata.keys().map(String::as_str)
    }

    /// Whether a key is there and holds an array: some keys hold one value, or one a layer.
    pub fn is_array(&self, key: &str) -> bool {
        self.metadata.get(key).is_some_and(|value| value.is_array)
    }

    /// A string, such as `tokenizer.chat_template`; None when the key is absent.
    ///
    /// # Errors
    /// [`ModelError::MetadataType`], here and in all getters, when the value has another type.
    pub fn string(&self, key: &str) -> Result<Option<&str>, ModelError> {
        let bytes = self.value(key, "a string", |value| value.one(text))?;
        bytes.map(|bytes| utf8(key, bytes)).transpose()
    }

    /// A non-negative integer of any width, such as `tokenizer.ggml.eos_token_id`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, ModelError> {
        self.value(key, "a non-negative integer", |value| value.one(integer))
    }

    /// A floating-point number; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn float(&self, key: &str) -> Result<Option<f32>, ModelError> {
        self.value(key, "a floating-point number", |value| value.one(float))
    }

    /// A boolean, such as `tokenizer.ggml.add_bos_token`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.value(key, "a boolean", |value| value.one(boolean))
    }

    /// An array of strings, such as `tokenizer.ggml.tokens`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&str>>, ModelError> {
        let list = self.value(key, "an array of strings", |value| value.all(text))?;
        list.map(|list| list.into_iter().map(|bytes| utf8(key, bytes)).collect())
            .transpose()
    }

    /// An array of integers of any width, such as `tokenizer.ggml.token_type`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, ModelError> {
        self.value(key, "an array of integers", |value| value.all(integer))
    }

    /// An array of non-negative integers of any width, such as `llama.attention.head_count_kv` with a number a layer;
    /// None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn unsigneds(&self, key: &str) -> Result<Option<Vec<u64>>, ModelError> {
        self.value(key, "an array of non-negative integers", |value| {
            value.all(integer)
        })
    }

    /// An array of floating-point numbers, such as `tokenizer.ggml.scores`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, ModelError> {
        self.value(key, "an array of floating-point numbers", |value| {
            value.all(float)
        })
    }

    /// An array of booleans, such as a `sliding_window_pattern`; None when the key is absent.
    ///
    /// # Errors
    /// See [`GgufFile::string`].
    pub fn booleans(&self, key: &str) -> Result<Option<Vec<bool>>, ModelError> {
        self.value(key, "an array of booleans", |value| value.all(boolean))
    }

    /// The tensors, ordered by name.
    pub fn tensors(&self) -> impl Iterator<Item = TensorEntry<'_>> {
        self.tensors.iter().map(|(name, (_, tensor))| TensorEntry {
            name,
            shape: &tensor.shape,
            dtype: tensor.dtype.name.to_owned(),
            bytes: tensor.bytes,
        })
    }

    /// The shape of a tensor, outermost dimension first; None when there is no such tensor.
    pub fn tensor_shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors
            .get(name)
            .map(|(_, tensor)| tensor.shape.as_slice())
    }

    /// The name of a tensor's type (`Q4_K`); None when there is no such tensor.
    pub fn tensor_type(&self, name: &str) -> Option<&'static str> {
        self.tensors.get(name).map(|(_, tensor)| tensor.dtype.name)
    }

    /// Reads a tensor in the type it is stored in.
    ///
    /// # Errors
    /// Names the tensor that is missing, of a type that is not supported, or unreadable.
    pub fn read_tensor(&self, name: &str, device: &Device) -> Result<QTensor, ModelError> {
        let tensor = self.stored(name)?;
        self.read(
            name,
            tensor.1.offset,
            tensor.1.bytes,
            &tensor.1.shape,
            device,
        )
    }

    /// Reads a tensor's bytes as they are stored, and the name of the type that says what they mean (`Q4_K`).
    ///
    /// # Errors
    /// Names the tensor that is missing or unreadable.
    pub fn read_bytes(&self, name: &str) -> Result<(&'static str, Vec<u8>), ModelError> {
        let (part, tensor) = self.stored(name)?;
        let data = self.parts[*part]
            .read(tensor.offset, tensor.bytes)
            .map_err(|error| unreadable(name, error))?;
        Ok((tensor.dtype.name, data))
    }

    /// Reads some of a matrix' rows, or of stacked matrices, as [`GgufFile::read_bytes`] reads all: what lies in memory is as
    /// much as is asked for.
    ///
    /// # Errors
    /// See [`GgufFile::read_bytes`]; rows that the tensor does not have are one, and so are any of a vector.
    pub fn read_rows(
        &self,
        name: &str,
        rows: Range<usize>,
    ) -> Result<(&'static str, Vec<u8>), ModelError> {
        let (part, tensor) = self.stored(name)?;
        let shape = tensor.shape.as_slice();
        if shape.len() < 2 || rows.start > rows.end || rows.end > shape[0] {
            return Err(unreadable(
                name,
                format!("rows {rows:?} of shape {shape:?}"),
            ));
        }
        // Rows are whole blocks, so whole bytes.
        let row_bytes = tensor.bytes / shape[0] as u64;
        let offset = tensor.offset + row_bytes * rows.start as u64;
        let data = self.parts[*part]
            .read(offset, row_bytes * rows.len() as u64)
            .map_err(|error| unreadable(name, error))?;
        Ok((tensor.dtype.name, data))
    }

    /// Reads some columns of some of a matrix' rows, as f32. Of a row no more is read than the blocks that hold them.
    ///
    /// # Errors
    /// See [`GgufFile::read_tensor`]; rows and columns that the tensor does not have are one.
    pub fn read_section(
        &self,
        name: &str,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<Tensor, ModelError> {
        let (part, tensor) = self.stored(name)?;
        let width = section_width(name, &tensor.shape, &rows, &columns)?;
        let Some(dtype) = tensor.dtype.candle else {
            return Err(ModelError::UnsupportedTensorType {
                name: name.to_owned(),
                dtype: tensor.dtype.name,
            });
        };
        let block = tensor.dtype.block_size as usize;
        let (first, end) = (columns.start / block, columns.end.div_ceil(block));
        let bytes = |blocks: usize| blocks as u64 * tensor.dtype.block_bytes;
        let row_bytes = bytes(width / block);
        let offset = tensor.offset + row_bytes * rows.start as u64 + bytes(first);
        let data = self.parts[*part]
            .read_pieces(offset, bytes(end - first), row_bytes, rows.len())
            .map_err(|error| unreadable(name, error))?;
        let shape = vec![rows.len(), (end - first) * block];
        let blocks = qtensor_from_ggml(dtype, &data, shape, &Device::Cpu)
            .map_err(|error| unreadable(name, error))?;
        let wide = blocks.dequantize(&Device::Cpu)?;
        let own = wide.narrow(1, columns.start - first * block, columns.len())?;
        Ok(own.contiguous()?)
    }

    /// Reads one index of the outermost dimension: of stacked matrices, one matrix.
    ///
    /// # Errors
    /// See [`GgufFile::read_tensor`]; an index that the tensor does not have is one, and so is any in a vector.
    pub fn read_part(
        &self,
        name: &str,
        index: usize,
        device: &Device,
    ) -> Result<QTensor, ModelError> {
        let (_, tensor) = self.stored(name)?;
        let [count, part @ ..] = tensor.shape.as_slice() else {
            return Err(unreadable(name, "it is a scalar"));
        };
        if part.is_empty() || index >= *count {
            let shape = &tensor.shape;
            return Err(unreadable(name, format!("part {index} of shape {shape:?}")));
        }
        // Rows are whole blocks, so parts are whole bytes.
        let bytes = tensor.bytes / *count as u64;
        let offset = tensor.offset + bytes * index as u64;
        self.read(name, offset, bytes, part, device)
    }

    fn stored(&self, name: &str) -> Result<&(usize, StoredTensor), ModelError> {
        self.tensors
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor {
                name: name.to_owned(),
            })
    }

    fn read(
        &self,
        name: &str,
        offset: u64,
        bytes: u64,
        shape: &[usize],
        device: &Device,
    ) -> Result<QTensor, ModelError> {
        let (part, tensor) = self.stored(name)?;
        let Some(dtype) = tensor.dtype.candle else {
            return Err(ModelError::UnsupportedTensorType {
                name: name.to_owned(),
                dtype: tensor.dtype.name,
            });
        };
        let data = self.parts[*part]
            .read(offset, bytes)
            .map_err(|error| unreadable(name, error))?;
        qtensor_from_ggml(dtype, &data, shape.to_vec(), device)
            .map_err(|error| unreadable(name, error))
    }

    fn value<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        decode: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(value) => match decode(value) {
                Some(decoded) => Ok(Some(decoded)),
                None => Err(ModelError::MetadataType {
                    key: key.to_owned(),
                    expected,
                }),
            },
        }
    }
}

fn utf8<'a>(key: &str, bytes: &'a [u8]) -> Result<&'a str, ModelError> {
    std::str::from_utf8(bytes).map_err(|_| ModelError::MetadataType {
        key: key.to_owned(),
        expected: "UTF-8",
    })
}

fn unreadable(name: &str, reason: impl ToString) -> ModelError {
    ModelError::UnreadableTensor {
        name: name.to_owned(),
        reason: one_line(&reason.to_string()),
    }
}

fn refuse(path: &Path, reason: &str) -> ModelError {
    ModelError::Gguf {
        path: path.to_path_buf(),
        reason: one_line(reason),
    }
}
