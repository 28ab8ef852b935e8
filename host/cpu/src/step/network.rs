//! A layer's second half: gate and up with the activation between, quantized where they were computed, and down.

use std::ops::Range;

use super::{Layer, QUANTIZED, Worker, quantize};
use crate::{
    activation::gated,
    barrier::Abandoned,
    decoder::Linear,
    matrix::{PackedMatrix, QuantizedRows},
};

/// Floats of gate, and of up, that a worker computes before it goes on with them: they should stay in its cache.
const CHUNK: usize = 16_384;

impl Worker<'_> {
    /// The gated network of all tokens, into `delta`.
    pub(super) fn network(&mut self, layer: &Layer) -> Result<(), Abandoned> {
        let step = self.step;
        let weights = &layer.network;
        let x = step.buffers.outer.rows(step.hidden());
        let inner = step.buffers.inner.rows(weights.inner);
        let tokens = step.tokens.len();
        let at_once = (CHUNK / (tokens * QUANTIZED)).max(1);
        self.phase(weights.inner.div_ceil(QUANTIZED), |worker, blocks| {
            let mut start = blocks.start;
            while start < blocks.end {
                let end = (start + at_once).min(blocks.end);
                let columns = start * QUANTIZED..(end * QUANTIZED).min(weights.inner);
                let stride = (end - start) * QUANTIZED;
                let (gate, up) = (&mut worker.scratch.gate, &mut worker.scratch.up);
                multiply(&weights.gate, x, columns.clone(), gate, stride);
                multiply(&weights.up, x, columns.clone(), up, stride);
                for token in 0..tokens {
                    let range = token * stride..token * stride + columns.len();
                    let (gate, up) = (&mut gate[range.clone()], &up[range]);
                    gated(step.simd, weights.activation, gate, up);
                    // SAFETY: in this phase these columns belong to whoever took their blocks.
                    unsafe { quantize(inner, token, start, gate) };
                }
                start = end;
            }
        })?;
        self.multiply(&[&weights.down], inner, &step.buffers.delta)
    }
}

/// Some columns, of whole tiles, of the products of all rows with a matrix: `(rows, stride)`.
fn multiply(
    Linear { matrix, bias, .. }: &Linear,
    x: &QuantizedRows,
    columns: Range<usize>,
    out: &mut Vec<f32>,
    stride: usize,
) {
    let len = x.rows() * stride;
    if out.len() < len {
        out.resize(len, 0.0);
    }
    let tile = PackedMatrix::TILE;
    let tiles = columns.start / tile..columns.end.div_ceil(tile);
    // The product's columns count from the matrix' first row, these from the first that is wanted.
    let first = out.as_mut_ptr().wrapping_sub(columns.start);
    // SAFETY: of each row the matrix writes `columns`, which are no more than the stride; `out` has all rows.
    unsafe { matrix.multiply(x, tiles, first, stride) };
    if !bias.is_empty() {
        for row in out[..len].chunks_exact_mut(stride) {
            let (row, bias) = (&mut row[..columns.len()], &bias[columns.clone()]);
            row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
    }
}
