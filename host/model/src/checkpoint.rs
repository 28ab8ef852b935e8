//! A model's files, of either kind: one GGUF file, or a folder with config.json and safetensors.
//!
//! Here the two kinds meet: whoever loads a model asks for tensors by part and place and does not know which kind it is.

use std::{ops::Range, path::Path};

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor},
};

use crate::{
    description::ModelDescription,
    error::ModelError,
    gguf::GgufFile,
    names::{self, Part, Place},
    safetensors::SafetensorsFolder,
};

/// Opened model files; their headers are read, their tensors are not.
#[derive(Debug)]
pub enum Checkpoint {
    /// A GGUF file.
    Gguf(GgufFile),
    /// A folder as the `transformers` library writes it.
    Folder(SafetensorsFolder),
}

/// What the names of a folder's decoder tensors begin with: text models, then models that see too, in two spellings,
/// then a decoder that was saved without its head.
const PREFIXES: [&str; 4] = [
    "model.",
    "language_model.model.",
    "model.language_model.",
    "",
];
const HEADS: [&str; 2] = ["lm_head.weight", "language_model.lm_head.weight"];

impl Checkpoint {
    /// Opens a GGUF file or a folder.
    ///
    /// # Errors
    /// What cannot be opened or whose headers cannot be read, in one line.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if path.is_dir() {
            SafetensorsFolder::open(path).map(Self::Folder)
        } else {
            GgufFile::open(path).map(Self::Gguf)
        }
    }

    /// The model as data.
    ///
    /// # Errors
    /// Names the architecture, key or tensor that is missing or not supported.
    pub fn describe(&self) -> Result<ModelDescription, ModelError> {
        match self {
            Self::Gguf(file) => ModelDescription::from_gguf(file),
            Self::Folder(folder) => ModelDescription::from_folder(folder),
        }
    }

    /// A tensor's name in these files; `suffix` is `weight` or `bias`.
    pub fn name(&self, place: Place, part: Part, suffix: &str) -> String {
        match self {
            Self::Gguf(_) => names::in_gguf(place, part, suffix),
            Self::Folder(folder) if part.gguf == names::OUTPUT.gguf => HEADS
                .into_iter()
                .find(|name| folder.tensor_shape(name).is_some())
                .unwrap_or(HEADS[0])
                .to_owned(),
            Self::Folder(folder) => names::in_folder(prefix(folder), place, part, suffix),
        }
    }

    /// The name of a router's correction bias.
    pub(crate) fn router_correction_name(&self, layer: usize) -> String {
        match self {
            Self::Gguf(_) => format!("blk.{layer}.{}", names::ROUTER_CORRECTION_GGUF),
            Self::Folder(folder) => {
                let correction = names::ROUTER_CORRECTION_FOLDER;
                format!("{}layers.{layer}.{correction}", prefix(folder))
            }
        }
    }

    /// A tensor's shape, outermost dimension first; None when there is no such tensor.
    pub(crate) fn tensor_shape(&self, name: &str) -> Option<&[usize]> {
        match self {
            Self::Gguf(file) => file.tensor_shape(name),
            Self::Folder(folder) => folder.tensor_shape(name),
        }
    }

    /// Names and bytes of all tensors.
    pub(crate) fn tensors(&self) -> Vec<(&str, u64)> {
        match self {
            Self::Gguf(file) => file
                .tensors()
                .map(|entry| (entry.name, entry.bytes))
                .collect(),
            Self::Folder(folder) => folder
                .tensors()
                .map(|entry| (entry.name, entry.bytes))
                .collect(),
        }
    }

    /// A tensor: in the type it is stored in from a GGUF file, as f32 from a folder.
    ///
    /// # Errors
    /// Names the tensor that is missing, of a type that is not supported, or unreadable.
    pub fn read(&self, name: &str, device: &Device) -> Result<QTensor, ModelError> {
        match self {
            Self::Gguf(file) => file.read_tensor(name, device),
            Self::Folder(folder) => {
                let shape = folder.tensor_shape(name).unwrap_or_default().to_vec();
                let tensor = Tensor::from_vec(folder.read_f32(name)?, shape, device)?;
                Ok(QTensor::quantize(&tensor, GgmlDType::F32)?)
            }
        }
    }

    /// A tensor of floats on the CPU: in the type a folder stores it in, where that is one of floats, else in f32.
    ///
    /// # Errors
    /// See [`Checkpoint::read`].
    pub fn read_floats(&self, name: &str) -> Result<Tensor, ModelError> {
        if let Self::Folder(folder) = self
            && let Some(floats) = folder.read_floats(name)?
        {
            return Ok(floats);
        }
        Ok(self.read(name, &Device::Cpu)?.dequantize(&Device::Cpu)?)
    }

    /// Some columns of some of a matrix' rows, as [`Checkpoint::read_floats`] reads all of them: who computes a part of a
    /// model reads that part.
    ///
    /// # Errors
    /// See [`Checkpoint::read`]; rows and columns that the tensor does not have are one.
    pub fn read_section(
        &self,
        name: &str,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<Tensor, ModelError> {
        match self {
            Self::Gguf(file) => file.read_section(name, rows, columns),
            Self::Folder(folder) => {
                if let Some(floats) = folder.read_section(name, rows.clone(), columns.clone())? {
                    return Ok(floats);
                }
                let wide = folder.read_rows_f32(name, rows.clone())?;
                let wide = Tensor::from_vec(wide, (rows.len(), ()), &Device::Cpu)?;
                Ok(wide.narrow(1, columns.start, columns.len())?.contiguous()?)
            }
        }
    }

    /// Whether a tensor that no part of the decoder took may be left: it computes nothing, or nothing that text needs.
    pub(crate) fn may_leave(&self, name: &str, description: &ModelDescription) -> bool {
        let Self::Folder(folder) = self else {
            // The description has read these.
            return [
                "rope_freqs.weight",
                "rope_factors_long.weight",
                "rope_factors_short.weight",
            ]
            .contains(&name);
        };
        let sees = folder.config().contains_key("vision_config");
        let of_the_eye = [
            "vision_tower.",
            "multi_modal_projector.",
            "model.vision_tower.",
            "model.multi_modal_projector.",
        ];
        // Layers that guess tokens ahead stand behind the decoder's own, and join the guess to its embedding.
        let of_a_guessing_layer = || {
            let rest = name.strip_prefix(prefix(folder))?.strip_prefix("layers.")?;
            let layer: usize = rest.split('.').next()?.parse().ok()?;
            let joined = format!("{}layers.{layer}.eh_proj.weight", prefix(folder));
            Some(layer >= description.layers.len() && folder.tensor_shape(&joined).is_some())
        };
        name.ends_with("rotary_emb.inv_freq")
            || (sees && of_the_eye.iter().any(|prefix| name.starts_with(prefix)))
            || of_a_guessing_layer().unwrap_or(false)
    }

    /// The head of a folder that says it is the embedding and holds it nevertheless.
    pub fn second_head(&self) -> Option<&'static str> {
        let Self::Folder(folder) = self else {
            return None;
        };
        let mut heads = HEADS.into_iter();
        heads.find(|name| folder.tensor_shape(name).is_some())
    }
}

fn prefix(folder: &SafetensorsFolder) -> &'static str {
    PREFIXES
        .into_iter()
        .find(|prefix| {
            folder
                .tensor_shape(&format!("{prefix}embed_tokens.weight"))
                .is_some()
        })
        .unwrap_or(PREFIXES[0])
}

/// The name of one expert's matrix in a folder, where each expert has tensors of its own.
pub(crate) fn expert_name(
    folder: &SafetensorsFolder,
    layer: usize,
    expert: usize,
    part: Part,
) -> String {
    let (prefix, matrix) = (prefix(folder), part.folder);
    format!("{prefix}layers.{layer}.mlp.experts.{expert}.{matrix}.weight")
}
