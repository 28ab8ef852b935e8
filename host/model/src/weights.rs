//! Tensors by part and place, as candle multiplies them.
//!
//! Each is taken through a [`TensorAccount`], so that none is of the wrong shape and none is left over.

use std::sync::Arc;

use candle_core::{
    Device, Module, Tensor,
    quantized::{GgmlDType, QMatMul, QTensor},
};

use crate::{
    checkpoint::{Checkpoint, expert_name},
    description::ModelDescription,
    error::ModelError,
    names::{self, Part, Place},
    tensor_account::{LoadProgress, TensorAccount},
};

/// Reads tensors one by one and reports progress after each.
pub(crate) struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    device: &'a Device,
    account: TensorAccount<'a>,
    loaded: LoadProgress,
    progress: &'a mut dyn FnMut(LoadProgress),
}

/// A matrix to multiply with, and what is added after.
#[derive(Debug)]
pub(crate) struct Linear {
    matrix: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    /// `(tokens, inputs)` to `(tokens, outputs)`.
    pub(crate) fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        let output = self.matrix.forward(input)?;
        match &self.bias {
            Some(bias) => output.broadcast_add(bias),
            None => Ok(output),
        }
    }
}

/// RMSNorm (arXiv 1910.07467) with its weights.
#[derive(Debug)]
pub(crate) struct Norm {
    weight: Tensor,
    eps: f32,
}

impl Norm {
    /// Normalises the last dimension.
    pub(crate) fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        candle_nn::ops::rms_norm(&input.contiguous()?, &self.weight, self.eps)
    }
}

impl<'a> Weights<'a> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        device: &'a Device,
        progress: &'a mut dyn FnMut(LoadProgress),
    ) -> Self {
        let account = TensorAccount::new(checkpoint);
        let loaded = account.nothing_loaded();
        progress(loaded);
        Self {
            checkpoint,
            device,
            account,
            loaded,
            progress,
        }
    }

    /// The embedding: `(vocab, hidden)`, in the type it is stored in.
    pub(crate) fn embedding(
        &mut self,
        vocab: usize,
        hidden: usize,
    ) -> Result<Arc<QTensor>, ModelError> {
        let name = self
            .checkpoint
            .name(Place::Model, names::EMBEDDING, "weight");
        self.take(&name, &[vocab, hidden]).map(Arc::new)
    }

    /// Some checkpoints say that the head is the embedding, and hold a head beside it. If it is another one, either may
    /// be meant.
    pub(crate) fn check_second_head(&mut self, embedding: &QTensor) -> Result<(), ModelError> {
        let Some(name) = self.checkpoint.second_head() else {
            return Ok(());
        };
        let (rows, columns) = embedding.shape().dims2()?;
        let head = self.take(name, &[rows, columns])?;
        if head.data()? == embedding.data()? {
            Ok(())
        } else {
            Err(ModelError::unsupported_config(
                "tie_word_embeddings",
                &format!("is true, but tensor {name} is not the embedding"),
            ))
        }
    }

    /// A matrix of `rows` outputs by `columns` inputs, with a bias or without.
    pub(crate) fn linear(
        &mut self,
        place: Place,
        part: Part,
        (rows, columns): (usize, usize),
        bias: bool,
    ) -> Result<Linear, ModelError> {
        let name = self.checkpoint.name(place, part, "weight");
        let matrix = Arc::new(self.take(&name, &[rows, columns])?);
        let bias = if bias {
            let name = self.checkpoint.name(place, part, "bias");
            Some(self.take(&name, &[rows])?.dequantize(self.device)?)
        } else {
            None
        };
        Ok(Linear {
            bias,
            ..self.multiplier(&matrix)?
        })
    }

    /// The matrices of all experts, each of `rows` outputs by `columns` inputs.
    pub(crate) fn experts(
        &mut self,
        layer: usize,
        part: Part,
        count: usize,
        (rows, columns): (usize, usize),
    ) -> Result<Vec<Linear>, ModelError> {
        match self.checkpoint {
            Checkpoint::Gguf(file) => {
                let name = names::in_gguf(Place::Layer(layer), part, "weight");
                let bytes = self.account.take(&name, &[count, rows, columns])?;
                let experts = (0..count)
                    .map(|expert| {
                        let matrix = file.read_part(&name, expert, self.device)?;
                        self.multiplier(&Arc::new(matrix))
                    })
                    .collect::<Result<_, _>>()?;
                self.count(bytes);
                Ok(experts)
            }
            Checkpoint::Folder(folder) => (0..count)
                .map(|expert| {
                    let name = expert_name(folder, layer, expert, part);
                    let matrix = self.take(&name, &[rows, columns])?;
                    self.multiplier(&Arc::new(matrix))
                })
                .collect(),
        }
    }

    /// Quantized types stay quantized where candle multiplies them with vector instructions; the others are widened to
    /// f32, up to eight times the memory for some ten times the speed, and the half-width floats too, because their
    /// product would round the activations. Always through candle's quantized product, f32 too: there a row's result
    /// does not depend on which rows are computed beside it, as it does in a general product.
    pub(crate) fn multiplier(&self, matrix: &Arc<QTensor>) -> Result<Linear, ModelError> {
        let widened = matches!(
            matrix.dtype(),
            GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1 | GgmlDType::F16 | GgmlDType::BF16
        );
        let matrix = if widened {
            let wide = matrix.dequantize(self.device)?;
            Arc::new(QTensor::quantize(&wide, GgmlDType::F32)?)
        } else {
            Arc::clone(matrix)
        };
        Ok(Linear {
            matrix: QMatMul::QTensor(matrix),
            bias: None,
        })
    }

    /// An RMSNorm over `len` elements.
    pub(crate) fn norm(
        &mut self,
        place: Place,
        part: Part,
        len: usize,
        eps: f32,
        offset: f32,
    ) -> Result<Norm, ModelError> {
        let weight = self.dense(place, part, &[len])?;
        Ok(Norm {
            weight: (weight + f64::from(offset))?,
            eps,
        })
    }

    /// A tensor of any shape as f32.
    pub(crate) fn dense(
        &mut self,
        place: Place,
        part: Part,
        shape: &[usize],
    ) -> Result<Tensor, ModelError> {
        let name = self.checkpoint.name(place, part, "weight");
        Ok(self.take(&name, shape)?.dequantize(self.device)?)
    }

    /// A router's correction bias, on the host.
    pub(crate) fn router_correction(
        &mut self,
        layer: usize,
        experts: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let name = self.checkpoint.router_correction_name(layer);
        let bias = self.take(&name, &[experts])?.dequantize(self.device)?;
        Ok(bias.to_vec1()?)
    }

    /// Whether the files hold a part's weights.
    pub(crate) fn has(&self, place: Place, part: Part) -> bool {
        let name = self.checkpoint.name(place, part, "weight");
        self.checkpoint.tensor_shape(&name).is_some()
    }

    /// Checks that no tensor is left over.
    pub(crate) fn finish(self, description: &ModelDescription) -> Result<(), ModelError> {
        self.account.finish(description)
    }

    fn take(&mut self, name: &str, expected: &[usize]) -> Result<QTensor, ModelError> {
        let bytes = self.account.take(name, expected)?;
        let tensor = self.checkpoint.read(name, self.device)?;
        self.count(bytes);
        Ok(tensor)
    }

    fn count(&mut self, bytes: u64) {
        self.loaded.loaded_bytes += bytes;
        (self.progress)(self.loaded);
    }
}
