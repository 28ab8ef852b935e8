//! The encoder's tensors by one set of names, out of either format, with an account of which were taken.
//!
//! Names are GGUF's; a folder's are found from them. Everything is widened to f32: these models are small.
//! Invariant: after [`EncoderWeights::finish`] every tensor of the file is part of the encoder or known to have no
//! part in its vectors.

use std::collections::HashSet;

use candle_core::{Device, Tensor};

use crate::{error::ModelError, gguf::GgufFile, safetensors::SafetensorsFolder};

/// GGUF's and transformers' names of what is there once.
const SINGLE: &[(&str, &str)] = &[
    ("token_embd", "embeddings.word_embeddings"),
    ("position_embd", "embeddings.position_embeddings"),
    ("token_types", "embeddings.token_type_embeddings"),
    ("token_embd_norm", "embeddings.LayerNorm"),
];

/// The same for the parts of a layer, behind `blk.N.` and `encoder.layer.N.`.
const LAYER: &[(&str, &str)] = &[
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
    ("layer_output_norm", "output.LayerNorm"),
];

/// A folder's tensors that no vector depends on: the head that BERT trained on sentence pairs, and row numbers.
const HARMLESS: &[&str] = &[
    "pooler.dense.weight",
    "pooler.dense.bias",
    "embeddings.position_ids",
];

/// Where tensors come from.
enum TensorFile<'a> {
    Gguf(&'a GgufFile),
    Folder {
        folder: &'a SafetensorsFolder,
        /// What stands before every name: a model that was saved with a head has `bert.` there.
        prefix: String,
    },
}

/// Reads tensors one by one.
pub(super) struct EncoderWeights<'a> {
    file: TensorFile<'a>,
    taken: HashSet<String>,
}

impl<'a> EncoderWeights<'a> {
    /// The tensors of a GGUF file.
    pub(super) fn of_gguf(gguf: &'a GgufFile) -> Self {
        Self {
            file: TensorFile::Gguf(gguf),
            taken: HashSet::new(),
        }
    }

    /// The tensors of a folder.
    pub(super) fn of_folder(folder: &'a SafetensorsFolder) -> Self {
        let first = "embeddings.word_embeddings.weight";
        let prefix = folder
            .tensors()
            .find_map(|tensor| tensor.name.strip_suffix(first).map(str::to_owned))
            .unwrap_or_default();
        Self {
            file: TensorFile::Folder { folder, prefix },
            taken: HashSet::new(),
        }
    }

    /// A tensor as f32, by GGUF's name.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let name = self.file.own_name(name);
        if let Some(found) = self.file.shape(&name)
            && found != shape
        {
            return Err(ModelError::TensorShape {
                name,
                found: found.to_vec(),
                expected: shape.to_vec(),
            });
        }
        let tensor = match &self.file {
            TensorFile::Gguf(gguf) => gguf
                .read_tensor(&name, &Device::Cpu)?
                .dequantize(&Device::Cpu)?,
            TensorFile::Folder { folder, .. } => {
                Tensor::from_vec(folder.read_f32(&name)?, shape, &Device::Cpu)?
            }
        };
        self.taken.insert(name);
        Ok(tensor)
    }

    /// Checks that no tensor is left over.
    pub(super) fn finish(self, architecture: &str) -> Result<(), ModelError> {
        let left = self.file.names().into_iter();
        match left.filter(|name| !self.taken.contains(*name)).min() {
            None => Ok(()),
            Some(name) => Err(ModelError::UnexpectedTensor {
                name: name.to_owned(),
                architecture: architecture.to_owned(),
            }),
        }
    }
}

impl TensorFile<'_> {
    /// The name in this file of the tensor that GGUF calls `name`.
    fn own_name(&self, name: &str) -> String {
        match self {
            Self::Gguf(_) => name.to_owned(),
            Self::Folder { prefix, .. } => format!("{prefix}{}", folder_name(name)),
        }
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        match self {
            Self::Gguf(gguf) => gguf.tensor_shape(name),
            Self::Folder { folder, .. } => folder.tensor_shape(name),
        }
    }

    /// All tensors that vectors may depend on.
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Gguf(gguf) => gguf.tensors().map(|tensor| tensor.name).collect(),
            Self::Folder { folder, prefix } => {
                let harmless = |name: &str| {
                    name.strip_prefix(prefix.as_str())
                        .is_some_and(|name| HARMLESS.contains(&name))
                };
                let names = folder.tensors().map(|tensor| tensor.name);
                names.filter(|name| !harmless(name)).collect()
            }
        }
    }
}

/// transformers' name of the tensor that GGUF calls `name`; names of neither table stay.
fn folder_name(name: &str) -> String {
    let (part, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    let find = |table: &[(&str, &str)], part: &str| {
        let entry = table.iter().find(|(gguf, _)| *gguf == part);
        entry.map(|(_, folder)| (*folder).to_owned())
    };
    let found = match part
        .strip_prefix("blk.")
        .and_then(|rest| rest.split_once('.'))
    {
        Some((index, part)) => {
            find(LAYER, part).map(|part| format!("encoder.layer.{index}.{part}"))
        }
        None => find(SINGLE, part),
    };
    found.map_or_else(|| name.to_owned(), |part| format!("{part}.{kind}"))
}
