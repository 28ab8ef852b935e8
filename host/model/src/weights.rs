//! Tensors by name, with their shapes checked, and an account of which were taken.
//!
//! Invariant: after [`Weights::finish`] every tensor of the file is part of the decoder; one that nobody asked for
//! (a bias, an expert) is an error, because a decoder without it would be another model.

use std::{collections::HashSet, sync::Arc};

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QMatMul, QTensor},
};

use crate::{error::ModelError, gguf::GgufFile};

/// How far loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes of tensors read so far.
    pub loaded_bytes: u64,
    /// Bytes of all tensors in the file.
    pub total_bytes: u64,
}

/// Reads tensors one by one and reports progress after each.
pub(crate) struct Weights<'a> {
    gguf: &'a GgufFile,
    device: &'a Device,
    taken: HashSet<String>,
    loaded: LoadProgress,
    progress: &'a mut dyn FnMut(LoadProgress),
}

impl<'a> Weights<'a> {
    pub(crate) fn new(
        gguf: &'a GgufFile,
        device: &'a Device,
        progress: &'a mut dyn FnMut(LoadProgress),
    ) -> Self {
        let total_bytes = gguf.tensors().map(|tensor| tensor.bytes).sum();
        let loaded = LoadProgress {
            loaded_bytes: 0,
            total_bytes,
        };
        progress(loaded);
        Self {
            gguf,
            device,
            taken: HashSet::new(),
            loaded,
            progress,
        }
    }

    /// A matrix of `rows` outputs by `columns` inputs, in the type it is stored in.
    pub(crate) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<QTensor, ModelError> {
        self.take(name, &[rows, columns])
    }

    /// A matrix to multiply with.
    pub(crate) fn linear(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<QMatMul, ModelError> {
        let matrix = Arc::new(self.matrix(name, rows, columns)?);
        self.multiplier(&matrix)
    }

    /// Quantized types stay quantized where candle multiplies them with vector instructions; the others are widened to
    /// f32, eight times the memory for some ten times the speed. Always through candle's quantized product, f32 too:
    /// there a row's result does not depend on which rows are computed beside it, as it does in a general product.
    pub(crate) fn multiplier(&self, matrix: &Arc<QTensor>) -> Result<QMatMul, ModelError> {
        let slow = matches!(
            matrix.dtype(),
            GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1
        );
        let matrix = if slow {
            let wide = matrix.dequantize(self.device)?;
            Arc::new(QTensor::quantize(&wide, GgmlDType::F32)?)
        } else {
            Arc::clone(matrix)
        };
        Ok(QMatMul::QTensor(matrix))
    }

    /// A vector as f32.
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Result<Tensor, ModelError> {
        Ok(self.take(name, &[len])?.dequantize(self.device)?)
    }

    /// A vector that not every model has, on the host.
    pub(crate) fn optional_vector(
        &mut self,
        name: &str,
        len: usize,
    ) -> Result<Option<Vec<f32>>, ModelError> {
        match self.gguf.tensor_shape(name) {
            None => Ok(None),
            Some(_) => Ok(Some(self.vector(name, len)?.to_vec1()?)),
        }
    }

    /// Checks that no tensor is left over.
    pub(crate) fn finish(self, architecture: &str) -> Result<(), ModelError> {
        let left = self
            .gguf
            .tensors()
            .map(|tensor| tensor.name)
            .filter(|name| !self.taken.contains(*name))
            .min();
        match left {
            None => Ok(()),
            Some(name) => Err(ModelError::UnexpectedTensor {
                name: name.to_owned(),
                architecture: architecture.to_owned(),
            }),
        }
    }

    fn take(&mut self, name: &str, expected: &[usize]) -> Result<QTensor, ModelError> {
        if let Some(found) = self.gguf.tensor_shape(name)
            && found != expected
        {
            return Err(ModelError::TensorShape {
                name: name.to_owned(),
                found: found.to_vec(),
                expected: expected.to_vec(),
            });
        }
        let tensor = self.gguf.read_tensor(name, self.device)?;
        self.taken.insert(name.to_owned());
        self.loaded.loaded_bytes += tensor.storage_size_in_bytes() as u64;
        (self.progress)(self.loaded);
        Ok(tensor)
    }
}
