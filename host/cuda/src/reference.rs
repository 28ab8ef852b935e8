//! [`Reference`]: the kernels in plain candle operations, on any device. Slow, and what all others are held to.
//!
//! Everything is computed in f32 and rounded to the runner's type once, where a kernel hands its result on.

use candle_core::{D, DType, IndexOp, Result, Tensor};
use weir_engine::LOGITS_BLOCK;
use weir_model::{Activation, KvSlabs, attend};

use crate::{heads::Heads, kernels::Kernels, rope::RopeTable, step::Step};

/// The planes of a block.
const KEYS: usize = 0;
const VALUES: usize = 1;

/// Plain operations.
#[derive(Debug)]
pub(crate) struct Reference;

impl Kernels for Reference {
    fn turn(&self, projected: Tensor, heads: &Heads, step: &Step<'_>) -> Result<Tensor> {
        let (queries, keys) = (heads.attention.heads, heads.attention.kv_heads);
        let mut wide = projected.to_dtype(DType::F32)?;
        if let Some(bias) = &heads.bias {
            wide = wide.broadcast_add(bias)?;
        }
        let wide = wide.reshape(((), heads.all(), heads.attention.head_dim))?;
        let turned = |first, count, norm: Option<&Tensor>| {
            let mut part = wide.narrow(1, first, count)?.contiguous()?;
            if let Some(norm) = norm {
                part = candle_nn::ops::rms_norm(&part, norm, heads.norm_eps)?;
            }
            match &heads.rope {
                Some(table) => turn(&part, table, &step.positions),
                None => Ok(part),
            }
        };
        let norms = heads.norms.as_ref();
        let parts = [
            turned(0, queries, norms.map(|(query, _)| query))?,
            turned(queries, keys, norms.map(|(_, key)| key))?,
            wide.narrow(1, queries + keys, keys)?,
        ];
        let all = Tensor::cat(&parts, 1)?.reshape(((), heads.columns()))?;
        all.to_dtype(projected.dtype())
    }

    fn store(
        &self,
        projected: &Tensor,
        heads: &Heads,
        slabs: &KvSlabs,
        layer: usize,
        step: &Step<'_>,
    ) -> Result<()> {
        let all = projected.reshape(((), heads.all(), heads.attention.head_dim))?;
        let count = heads.attention.kv_heads;
        for (plane, first) in [
            (KEYS, heads.attention.heads),
            (VALUES, heads.attention.heads + count),
        ] {
            let new = all.narrow(1, first, count)?.contiguous()?;
            let mut start = 0;
            for row in &step.batch.rows {
                slabs.write(layer, plane, row, &new.narrow(0, start, row.len)?)?;
                start += row.len;
            }
        }
        Ok(())
    }

    fn attend(
        &self,
        projected: &Tensor,
        heads: &Heads,
        slabs: &KvSlabs,
        layer: usize,
        step: &Step<'_>,
    ) -> Result<Tensor> {
        let queries = projected
            .reshape(((), heads.all(), heads.attention.head_dim))?
            .narrow(1, 0, heads.attention.heads)?
            .to_dtype(DType::F32)?;
        let mut mixed = Vec::with_capacity(step.batch.rows.len());
        let mut start = 0;
        for row in &step.batch.rows {
            let pages = slabs.pages(row);
            let gather = |plane| slabs.gather(layer, plane, &pages)?.to_dtype(DType::F32);
            let queries = queries.i(start..start + row.len)?;
            mixed.push(attend(
                &queries,
                &gather(KEYS)?,
                &gather(VALUES)?,
                heads.scores(),
            )?);
            start += row.len;
        }
        Tensor::cat(&mixed, 0)?
            .flatten_from(1)?
            .to_dtype(projected.dtype())
    }

    fn gate(&self, both: &Tensor, activation: Activation) -> Result<Tensor> {
        let wide = both.to_dtype(DType::F32)?;
        let halves = wide.chunk(2, D::Minus1)?;
        let (gate, up) = (halves[0].contiguous()?, halves[1].contiguous()?);
        let gate = match activation {
            Activation::Silu => gate.silu()?,
            Activation::Gelu => gate.gelu_erf()?,
            Activation::GeluTanh => gate.gelu()?,
        };
        (gate * up)?.to_dtype(both.dtype())
    }
}

/// Turns heads `(tokens, heads, dim)`; elements behind the last pair stay as they are.
fn turn(heads: &Tensor, table: &RopeTable, positions: &Tensor) -> Result<Tensor> {
    let (turning, dim) = (2 * table.pairs, heads.dim(D::Minus1)?);
    let angles = table.angles.index_select(positions, 0)?;
    let cos = angles.narrow(1, 0, table.pairs)?.contiguous()?;
    let sin = angles.narrow(1, table.pairs, table.pairs)?.contiguous()?;
    let first = heads.narrow(D::Minus1, 0, turning)?.contiguous()?;
    let turned = candle_nn::rotary_emb::rope_thd(&first.unsqueeze(0)?, &cos, &sin)?.squeeze(0)?;
    if turning == dim {
        return Ok(turned);
    }
    let rest = heads.narrow(D::Minus1, turning, dim - turning)?;
    Tensor::cat(&[turned, rest], D::Minus1)
}

/// [`Kernels::block_maxima`].
pub(crate) fn block_maxima(logits: &Tensor) -> Result<Tensor> {
    let blocks = in_blocks(logits)?;
    // What is no number is not even itself.
    let is_number = blocks.eq(&blocks)?;
    let nothing = blocks.ones_like()?.affine(f64::NEG_INFINITY, 0.0)?;
    let maxima = is_number.where_cond(&blocks, &nothing)?.max(D::Minus1)?;
    maxima.reshape((logits.dim(0)?, ()))
}

/// [`Kernels::take_blocks`].
pub(crate) fn take_blocks(logits: &Tensor, which: &Tensor) -> Result<Tensor> {
    in_blocks(logits)?.index_select(which, 0)
}

/// A row a block, through all rows of logits.
fn in_blocks(logits: &Tensor) -> Result<Tensor> {
    let (rows, vocab) = logits.dims2()?;
    let missing = vocab.next_multiple_of(LOGITS_BLOCK) - vocab;
    if missing == 0 {
        return logits.reshape(((), LOGITS_BLOCK));
    }
    let behind = Tensor::full(f32::NEG_INFINITY, (rows, missing), logits.device())?;
    Tensor::cat(&[logits, &behind], 1)?.reshape(((), LOGITS_BLOCK))
}
