//! A layer's second half: gate and up with the activation between, quantized where they were computed, and down.

use std::ops::Range;

use weir_model::Activation;

use super::{FeedForwardWeights, NetworkWeights, QUANTIZED, Worker, quantize};
use crate::{
    activation::gated,
    barrier::Abandoned,
    matrix::{PackedMatrix, QuantizedRows},
};

/// Floats of gate, and of up, that a worker computes before it goes on with them: they should stay in its cache.
const CHUNK: usize = 16_384;

/// A matrix and what is added to its products; an empty bias adds nothing.
type Biased<'a> = (&'a PackedMatrix, &'a [f32]);

/// Rows on their way through a network's gate, or an expert's.
pub(super) struct Passing<'a> {
    pub(super) gate: Biased<'a>,
    pub(super) up: Biased<'a>,
    pub(super) activation: Activation,
    /// Columns behind the gate.
    pub(super) width: usize,
    pub(super) x: &'a QuantizedRows,
    /// Rows of `x`, and of `to`.
    pub(super) rows: Range<usize>,
    pub(super) to: &'a QuantizedRows,
}

impl Worker<'_> {
    /// The second half of all tokens, into `delta`.
    pub(super) fn feed_forward(
        &mut self,
        index: usize,
        weights: &FeedForwardWeights,
    ) -> Result<(), Abandoned> {
        match weights {
            FeedForwardWeights::Dense(network) => self.network(network),
            FeedForwardWeights::Experts(experts) => self.visit_experts(index, experts),
        }
    }

    /// The gated network of all tokens, into `delta`.
    pub(super) fn network(&mut self, weights: &NetworkWeights) -> Result<(), Abandoned> {
        let step = self.step;
        let inner = step.buffers.inner.rows(weights.inner);
        let passing = Passing {
            gate: (&weights.gate.matrix, &weights.gate.bias),
            up: (&weights.up.matrix, &weights.up.bias),
            activation: weights.activation,
            width: weights.inner,
            x: step.buffers.outer.rows(step.hidden()),
            rows: 0..self.rows(),
            to: inner,
        };
        self.phase(weights.inner.div_ceil(QUANTIZED), |worker, blocks| {
            worker.pass_gate(&passing, blocks);
        })?;
        self.multiply(&[&weights.down], inner, &step.buffers.delta)
    }

    /// Some blocks of columns of rows behind a gate; in their phase nobody else takes them.
    pub(super) fn pass_gate(&mut self, passing: &Passing<'_>, blocks: Range<usize>) {
        let rows = passing.rows.len();
        let at_once = (CHUNK / (rows * QUANTIZED)).max(1);
        let (gate, up) = (&mut self.scratch.gate, &mut self.scratch.up);
        let mut start = blocks.start;
        while start < blocks.end {
            let end = (start + at_once).min(blocks.end);
            let columns = start * QUANTIZED..(end * QUANTIZED).min(passing.width);
            let stride = (end - start) * QUANTIZED;
            multiply(passing.gate, passing, columns.clone(), gate, stride);
            multiply(passing.up, passing, columns.clone(), up, stride);
            for row in 0..rows {
                let range = row * stride..row * stride + columns.len();
                let (gate, up) = (&mut gate[range.clone()], &up[range]);
                gated(self.step.simd, passing.activation, gate, up);
                // SAFETY: in this phase these columns belong to whoever took their blocks.
                unsafe { quantize(passing.to, passing.rows.start + row, start, gate) };
            }
            start = end;
        }
    }
}

/// Some columns, of whole tiles, of the products of the passing rows with a matrix: `(rows, stride)`.
fn multiply(
    (matrix, bias): Biased<'_>,
    passing: &Passing<'_>,
    columns: Range<usize>,
    out: &mut Vec<f32>,
    stride: usize,
) {
    let len = passing.rows.len() * stride;
    if out.len() < len {
        out.resize(len, 0.0);
    }
    let tile = PackedMatrix::TILE;
    let tiles = columns.start / tile..columns.end.div_ceil(tile);
    // The product's columns count from the matrix' first row, these from the first that is wanted.
    let first = out.as_mut_ptr().wrapping_sub(columns.start);
    let rows = passing.rows.clone();
    // SAFETY: of each row the matrix writes `columns`, which are no more than the stride; `out` has all rows.
    unsafe { matrix.multiply_rows(passing.x, rows, tiles, first, stride) };
    if !bias.is_empty() {
        for row in out[..len].chunks_exact_mut(stride) {
            let (row, bias) = (&mut row[..columns.len()], &bias[columns.clone()]);
            row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
    }
}
