//! A folder of safetensors as published on model hubs: config.json, tensors in one file or in shards, their data on
//! demand as f32.
//!
//! Invariant: a folder that opens has every tensor that its index promises, each inside its file. Data is read tensor
//! by tensor, a part of one where asked, never a whole file. Nothing is interpreted here but block scales, because
//! they are part of how a number is stored; what keys and names mean is known elsewhere.

mod block_scales;
mod header;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Component, Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    data_file::{DataFile, HEADER_LIMIT, check_name},
    error::ModelError,
    tensor_entry::{TensorEntry, section_width},
};
use block_scales::BlockSize;
use header::StoredTensor;

/// config.json and its like are some kilobytes, with a long list of labels a megabyte.
const CONFIG_LIMIT: u64 = 4_000_000;

/// Bytes read at once while widening; a multiple of every element's size.
const READ_SIZE: u64 = 1 << 20;

/// An open folder whose headers have been read; tensor data stays on disk until asked for.
#[derive(Debug)]
pub struct SafetensorsFolder {
    path: PathBuf,
    config: Map<String, Value>,
    generation_config: Option<Map<String, Value>>,
    block_size: Option<BlockSize>,
    shards: Vec<DataFile>,
    /// By name: the number of the shard, and where in it.
    tensors: BTreeMap<String, (usize, StoredTensor)>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
#[serde(expecting = "an object with weight_map")]
struct Index {
    /// Which file of the folder holds which tensor.
    weight_map: BTreeMap<String, String>,
}

impl SafetensorsFolder {
    /// Opens a folder: reads config.json, generation_config.json if it is there, and the headers of `model.safetensors`
    /// or of all shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// Names the file that is missing or damaged, the tensor that does not fit its file, or the quantization that is
    /// not supported.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let config_file = DataFile::open(&path.join("config.json"))?;
        let config = json_object(&config_file)?;
        let block_size =
            BlockSize::from_config(&config).map_err(|reason| config_file.refuse(reason))?;
        let generation_config = match DataFile::open_if_there(&path.join("generation_config.json"))?
        {
            None => None,
            Some(file) => Some(json_object(&file)?),
        };
        let mut folder = Self {
            path: path.to_path_buf(),
            config,
            generation_config,
            block_size,
            shards: Vec::new(),
            tensors: BTreeMap::new(),
        };
        match DataFile::open_if_there(&path.join("model.safetensors"))? {
            Some(file) => folder.add_shard(file)?,
            None => folder.add_indexed()?,
        }
        Ok(folder)
    }

    /// Where the folder lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// config.json, in its order.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// generation_config.json, None when the folder has none.
    pub fn generation_config(&self) -> Option<&Map<String, Value>> {
        self.generation_config.as_ref()
    }

    /// The tensors, ordered by name. Block scales are not listed: they are read with their weight, whose `bytes` count
    /// them.
    pub fn tensors(&self) -> impl Iterator<Item = TensorEntry<'_>> {
        let listed = self
            .tensors
            .iter()
            .filter(|(name, _)| !self.is_block_scale(name));
        listed.map(|(name, (_, tensor))| TensorEntry {
            name,
            shape: &tensor.shape,
            dtype: tensor.dtype.name.to_owned(),
            bytes: tensor.bytes + self.block_scale_bytes(name, tensor),
        })
    }

    /// The shape of a tensor, outermost dimension first; None when there is no such tensor.
    pub fn tensor_shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors
            .get(name)
            .map(|(_, tensor)| tensor.shape.as_slice())
    }

    /// Reads a tensor as f32, row after row. F32, F16, BF16 and, with block scales, F8_E4M3 are widened without loss.
    ///
    /// # Errors
    /// Names the tensor that is missing, of another type, or unreadable.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        let rows = self.tensor_shape(name).and_then(<[usize]>::first);
        self.read_rows_f32(name, 0..rows.copied().unwrap_or(1))
    }

    /// Reads some of the outermost dimension of a tensor as f32: rows of a matrix, matrices of a stack. A scalar counts
    /// as one row.
    ///
    /// # Errors
    /// See [`SafetensorsFolder::read_f32`]; rows that the tensor does not have are one.
    pub fn read_rows_f32(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, ModelError> {
        let (_, tensor) = self.stored(name)?;
        let mut values = self.widen(name, rows.clone())?;
        if tensor.dtype.candle == Some(DType::F8E4M3) && !values.is_empty() {
            self.scale(name, tensor, rows.start, &mut values)?;
        }
        Ok(values)
    }

    /// Reads a tensor in the float type it is stored in, on the CPU; None for one whose numbers need more than its own bytes.
    ///
    /// # Errors
    /// Names the tensor that is missing or unreadable.
    pub fn read_floats(&self, name: &str) -> Result<Option<Tensor>, ModelError> {
        let (shard, tensor) = self.stored(name)?;
        let Some(dtype @ (DType::BF16 | DType::F16 | DType::F32)) = tensor.dtype.candle else {
            return Ok(None);
        };
        let bytes = self.shards[*shard].read(tensor.offset, tensor.bytes);
        let bytes = bytes.map_err(|error| ModelError::UnreadableTensor {
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
        let floats = Tensor::from_raw_buffer(&bytes, dtype, &tensor.shape, &Device::Cpu)?;
        Ok(Some(floats))
    }

    /// Reads some columns of some of a matrix' rows, in the type and with the exception of [`SafetensorsFolder::read_floats`].
    /// What lies beside them is not read.
    ///
    /// # Errors
    /// See there; rows and columns that the tensor does not have are one.
    pub fn read_section(
        &self,
        name: &str,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<Option<Tensor>, ModelError> {
        let (shard, tensor) = self.stored(name)?;
        let width = section_width(name, &tensor.shape, &rows, &columns)?;
        let Some(dtype @ (DType::BF16 | DType::F16 | DType::F32)) = tensor.dtype.candle else {
            return Ok(None);
        };
        let bytes = |elements: usize| (elements * dtype.size_in_bytes()) as u64;
        let offset = tensor.offset + bytes(rows.start * width + columns.start);
        let read =
            self.shards[*shard].read_pieces(offset, bytes(columns.len()), bytes(width), rows.len());
        let read = read.map_err(|error| ModelError::UnreadableTensor {
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
        let shape = [rows.len(), columns.len()];
        let floats = Tensor::from_raw_buffer(&read, dtype, &shape, &Device::Cpu)?;
        Ok(Some(floats))
    }

    fn stored(&self, name: &str) -> Result<&(usize, StoredTensor), ModelError> {
        self.tensors
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor {
                name: name.to_owned(),
            })
    }

    /// Rows of a tensor as they are stored, as f32.
    fn widen(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, ModelError> {
        let (shard, tensor) = self.stored(name)?;
        let Some(dtype) = tensor.dtype.candle else {
            return Err(ModelError::UnsupportedTensorType {
                name: name.to_owned(),
                dtype: tensor.dtype.name,
            });
        };
        let unreadable = |reason: String| ModelError::UnreadableTensor {
            name: name.to_owned(),
            reason,
        };
        let count = tensor.shape.first().copied().unwrap_or(1);
        if rows.start > rows.end || rows.end > count {
            return Err(unreadable(format!("rows {rows:?} of {count}")));
        }
        let row_bytes = tensor.bytes.checked_div(count as u64).unwrap_or(0);
        let mut offset = tensor.offset + row_bytes * rows.start as u64;
        let end = tensor.offset + row_bytes * rows.end as u64;
        let mut values = Vec::with_capacity((end - offset) as usize / dtype.size_in_bytes());
        while offset < end {
            let size = READ_SIZE.min(end - offset);
            let bytes = self.shards[*shard]
                .read(offset, size)
                .map_err(|error| unreadable(error.to_string()))?;
            let elements = bytes.len() / dtype.size_in_bytes();
            let stored = Tensor::from_raw_buffer(&bytes, dtype, &[elements], &Device::Cpu)?;
            values.extend(stored.to_dtype(DType::F32)?.to_vec1::<f32>()?);
            offset += size;
        }
        Ok(values)
    }

    /// Multiplies rows of a quantized tensor, from `first` of its outermost dimension on, with their block scales.
    fn scale(
        &self,
        name: &str,
        tensor: &StoredTensor,
        first: usize,
        values: &mut [f32],
    ) -> Result<(), ModelError> {
        let (Some(block_size), &[.., rows, columns]) = (self.block_size, &*tensor.shape) else {
            return Err(ModelError::UnreadableTensor {
                name: name.to_owned(),
                reason: "F8_E4M3 is supported for matrices with quantization_config.weight_block_size in config.json"
                    .to_owned(),
            });
        };
        let scale_name = block_scale_name(name);
        let (_, scales) = self.stored(&scale_name)?;
        let expected = block_size.scales_shape(&tensor.shape).unwrap_or_default();
        if scales.shape != expected {
            return Err(ModelError::TensorShape {
                name: scale_name,
                found: scales.shape.clone(),
                expected,
            });
        }
        if scales.dtype.candle == Some(DType::F8E4M3) {
            return Err(ModelError::UnsupportedTensorType {
                name: scale_name,
                dtype: scales.dtype.name,
            });
        }
        let scales = self.widen(&scale_name, 0..expected[0])?;
        let inner_rows: usize = tensor.shape[1..tensor.shape.len() - 1].iter().product();
        block_size.apply(values, first * inner_rows, (rows, columns), &scales);
        Ok(())
    }

    fn is_block_scale(&self, name: &str) -> bool {
        name.strip_suffix(BLOCK_SCALE_SUFFIX)
            .and_then(|weight| self.tensors.get(weight))
            .is_some_and(|(_, weight)| weight.dtype.candle == Some(DType::F8E4M3))
    }

    fn block_scale_bytes(&self, name: &str, tensor: &StoredTensor) -> u64 {
        match tensor.dtype.candle {
            Some(DType::F8E4M3) => self
                .tensors
                .get(&block_scale_name(name))
                .map_or(0, |(_, scales)| scales.bytes),
            _ => 0,
        }
    }

    fn add_shard(&mut self, file: DataFile) -> Result<(), ModelError> {
        for (name, tensor) in header::read(&file)? {
            if let Some((shard, _)) = self.tensors.get(&name) {
                let other = self.shards[*shard].path().display();
                return Err(file.refuse(format!("tensor {name} is in {other} too")));
            }
            self.tensors.insert(name, (self.shards.len(), tensor));
        }
        self.shards.push(file);
        Ok(())
    }

    /// Adds all shards that the index names, and checks that they hold what it says.
    fn add_indexed(&mut self) -> Result<(), ModelError> {
        let Some(file) = DataFile::open_if_there(&self.path.join("model.safetensors.index.json"))?
        else {
            return Err(self.without_safetensors());
        };
        let index: Index = serde_json::from_str(&file.read_text(HEADER_LIMIT)?)
            .map_err(|error| file.refuse(error.to_string()))?;
        let shards: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
        for shard in shards {
            let mut components = Path::new(shard).components();
            let only = (components.next(), components.next());
            if !matches!(only, (Some(Component::Normal(name)), None) if name == shard)
                || check_name(shard).is_err()
            {
                return Err(
                    file.refuse(format!("{shard:?} is not the name of a file in the folder"))
                );
            }
            self.add_shard(DataFile::open(&self.path.join(shard))?)?;
        }
        for (name, shard) in &index.weight_map {
            let held = self
                .tensors
                .get(name)
                .map(|(held, _)| self.shards[*held].path());
            if held != Some(&self.path.join(shard)) {
                return Err(file.refuse(format!("tensor {name} is not in {shard}")));
            }
        }
        Ok(())
    }

    fn without_safetensors(&self) -> ModelError {
        let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"]
            .iter()
            .any(|name| self.path.join(name).exists());
        let reason = match pickled {
            true => "holds pytorch_model.bin but no safetensors",
            false => "holds neither model.safetensors nor model.safetensors.index.json",
        };
        ModelError::File {
            path: self.path.clone(),
            reason: reason.to_owned(),
        }
    }
}

const BLOCK_SCALE_SUFFIX: &str = "_scale_inv";

fn block_scale_name(weight: &str) -> String {
    format!("{weight}{BLOCK_SCALE_SUFFIX}")
}

fn json_object(file: &DataFile) -> Result<Map<String, Value>, ModelError> {
    let text = file.read_text(CONFIG_LIMIT)?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(file.refuse("is not a JSON object")),
        Err(error) => Err(file.refuse(error.to_string())),
    }
}
