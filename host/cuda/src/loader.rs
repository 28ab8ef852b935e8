//! From a source's tensors to a layer's: put together where one product is cheaper than three, in the order the rotation
//! wants, in the runner's type and on its device.

use candle_core::{D, DType, Device, Result, Tensor};
use weir_model::{
    GatedNetwork, GroupedAttention, ModelDescription, ModelError,
    names::{self, Part, Place},
};

use crate::{
    heads::Heads,
    rope::{RopeTable, halves},
    weight_source::WeightSource,
};

/// What comes of reading files.
pub(crate) type Loaded<T> = std::result::Result<T, ModelError>;

/// A matrix to multiply with, and what is added after.
#[derive(Debug)]
pub(crate) struct Linear {
    /// `(outputs, inputs)`.
    matrix: Tensor,
    /// `(outputs)`, in the runner's type.
    bias: Option<Tensor>,
}

impl Linear {
    /// Of a matrix `(outputs, inputs)` and no bias.
    pub(crate) fn of(matrix: Tensor) -> Self {
        Self { matrix, bias: None }
    }

    /// `(tokens, inputs)` to `(tokens, outputs)`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let output = input.matmul(&self.matrix.t()?)?;
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
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        candle_nn::ops::rms_norm(input, &self.weight, self.eps)
    }
}

/// Takes tensors from a source for a runner of one type on one device.
pub(crate) struct Loader<'a> {
    pub(crate) source: &'a mut dyn WeightSource,
    pub(crate) description: &'a ModelDescription,
    /// One for each of the description's.
    pub(crate) ropes: &'a [RopeTable],
    pub(crate) dtype: DType,
    pub(crate) device: &'a Device,
}

impl Loader<'_> {
    /// Widths are converted where the tensor is going: a GPU is faster at it than the bus is.
    pub(crate) fn put(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor.to_device(self.device)?.to_dtype(self.dtype)
    }

    /// A matrix of `rows` outputs by `columns` inputs, with a bias or without.
    pub(crate) fn linear(
        &mut self,
        place: Place,
        part: Part,
        (rows, columns): (usize, usize),
        bias: bool,
    ) -> Loaded<Linear> {
        self.joined(place, &[(part, rows)], columns, bias)
    }

    /// The same of several matrices, one's outputs behind the other's.
    fn joined(
        &mut self,
        place: Place,
        parts: &[(Part, usize)],
        columns: usize,
        bias: bool,
    ) -> Loaded<Linear> {
        let matrix = self.stacked(place, parts, "weight", &[columns], self.dtype)?;
        let bias = match bias {
            true => Some(self.stacked(place, parts, "bias", &[], self.dtype)?),
            false => None,
        };
        Ok(Linear { matrix, bias })
    }

    /// Tensors of so many rows each, one behind the other, in a type on the device.
    fn stacked(
        &mut self,
        place: Place,
        parts: &[(Part, usize)],
        suffix: &str,
        columns: &[usize],
        dtype: DType,
    ) -> Loaded<Tensor> {
        let mut taken = Vec::with_capacity(parts.len());
        for (part, rows) in parts {
            let shape = [&[*rows][..], columns].concat();
            let tensor = self.source.take(place, *part, suffix, &shape)?;
            taken.push(tensor.to_device(self.device)?.to_dtype(dtype)?);
        }
        match &*taken {
            [one] => Ok(one.clone()),
            _ => Ok(Tensor::cat(&taken, 0)?),
        }
    }

    /// An RMSNorm over the residual stream.
    pub(crate) fn norm(&mut self, place: Place, part: Part) -> Loaded<Norm> {
        let weight = self.norm_weight(place, part, self.description.hidden)?;
        Ok(Norm {
            weight: weight.to_dtype(self.dtype)?,
            eps: self.description.norm_eps,
        })
    }

    fn norm_weight(&mut self, place: Place, part: Part, len: usize) -> Loaded<Tensor> {
        let weight = self.source.take(place, part, "weight", &[len])?;
        let weight = weight.to_device(self.device)?.to_dtype(DType::F32)?;
        Ok((weight + f64::from(self.description.norm_offset))?)
    }

    /// The projection to queries, keys and values, and what is done to them until attention.
    pub(crate) fn projection(
        &mut self,
        place: Place,
        attention: &GroupedAttention,
    ) -> Loaded<(Linear, Heads)> {
        let hidden = self.description.hidden;
        let dim = attention.head_dim;
        let (queries, keys) = (attention.heads * dim, attention.kv_heads * dim);
        let fused = [(names::FUSED_QKV, queries + 2 * keys)];
        let separate = [
            (names::QUERY, queries),
            (names::KEY, keys),
            (names::VALUE, keys),
        ];
        let parts = match attention.fused_qkv {
            true => &fused[..],
            false => &separate[..],
        };
        let order = self.order(attention)?;
        let turning = attention.heads + attention.kv_heads;
        let ordered = |rows: Tensor| match &order {
            Some(order) => reordered(&rows, order, turning),
            None => Ok(rows),
        };
        let matrix = ordered(self.stacked(place, parts, "weight", &[hidden], self.dtype)?)?;
        let bias = match attention.qkv_bias {
            true => Some(ordered(self.stacked(
                place,
                parts,
                "bias",
                &[],
                DType::F32,
            )?)?),
            false => None,
        };
        let mut norm = |part| {
            let weight = self.norm_weight(place, part, dim)?;
            Loaded::Ok(match &order {
                Some(order) => weight.index_select(order, 0)?,
                None => weight,
            })
        };
        let norms = match attention.qk_norm {
            true => Some((norm(names::QUERY_NORM)?, norm(names::KEY_NORM)?)),
            false => None,
        };
        let heads = Heads {
            attention: attention.clone(),
            bias,
            norms,
            norm_eps: self.description.norm_eps,
            rope: attention.rope.map(|rope| self.ropes[rope].clone()),
        };
        Ok((Linear::of(matrix), heads))
    }

    /// The order in which a head's elements are to stand, if it is another than the source's.
    fn order(&self, attention: &GroupedAttention) -> Result<Option<Tensor>> {
        let order = attention.rope.and_then(|rope| {
            let rope = &self.description.ropes[rope];
            halves(rope.style, rope.frequencies.len(), attention.head_dim)
        });
        order
            .map(|order| Tensor::new(order, self.device))
            .transpose()
    }

    /// Gate and up in one matrix, and the way back.
    pub(crate) fn gated(
        &mut self,
        place: Place,
        network: &GatedNetwork,
    ) -> Loaded<(Linear, Linear)> {
        let GatedNetwork { inner, bias, .. } = *network;
        let hidden = self.description.hidden;
        let fused = [(names::FUSED_GATE_UP, 2 * inner)];
        let separate = [(names::DENSE.gate, inner), (names::DENSE.up, inner)];
        let parts = match network.fused_gate_up {
            true => &fused[..],
            false => &separate[..],
        };
        let both = self.joined(place, parts, hidden, bias)?;
        let down = self.linear(place, names::DENSE.down, (hidden, inner), bias)?;
        Ok((both, down))
    }
}

/// The first `turning` heads' rows of a matrix or a bias, each head's in another order; the rest as it is.
fn reordered(tensor: &Tensor, order: &Tensor, turning: usize) -> Result<Tensor> {
    let dim = order.dim(D::Minus1)?;
    let rows = tensor.dim(0)?;
    let first = tensor.narrow(0, 0, turning * dim)?;
    let columns = tensor.elem_count() / rows;
    let first = first
        .reshape((turning, dim, columns))?
        .index_select(order, 1)?
        .reshape((turning * dim, columns))?;
    let rest = tensor
        .narrow(0, turning * dim, rows - turning * dim)?
        .reshape(((), columns))?;
    Tensor::cat(&[first, rest], 0)?.reshape(tensor.shape())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_heads_that_turn_are_reordered() {
        let order = Tensor::new(&[0u32, 2, 1, 3], &Device::Cpu).unwrap();
        let bias = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap();
        let found: Vec<f32> = reordered(&bias, &order, 2).unwrap().to_vec1().unwrap();
        let right = [0, 2, 1, 3, 4, 6, 5, 7, 8, 9, 10, 11];
        assert_eq!(found, right.map(|number| number as f32));
        let matrix = Tensor::arange(0f32, 24.0, &Device::Cpu).unwrap();
        let matrix = matrix.reshape((12, 2)).unwrap();
        let found = reordered(&matrix, &order, 2).unwrap();
        let found: Vec<Vec<f32>> = found.to_vec2().unwrap();
        assert_eq!(found[1], [4.0, 5.0]);
        assert_eq!(found[8], [16.0, 17.0]);
    }
}
