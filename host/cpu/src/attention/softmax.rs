//! Weights out of scores, a span at a time, and what spans come to together: they are merged as arXiv 1805.02867 does, with
//! powers of 2.
//!
//! Invariant: what a query does not see weighs exactly nothing, and its sums are taken in the order of their columns.

use crate::{
    int16,
    math::{self, LANES},
    simd::vectorized,
};

/// Added to weights before they are rounded, by column: many equal weights, as a soft cap makes them, would all be off by the
/// same otherwise. Between -1/2 and 1/2, so that nothing stays nothing, and any run of columns is spread evenly. They are the
/// same for every 16; as many as a span usually has are one plain loop.
const OFFSETS: [f32; 16 * LANES] = {
    let mut offsets = [0.0; 16 * LANES];
    let mut column = 0;
    while column < offsets.len() {
        let reversed = ((column % LANES) as u8).reverse_bits() >> 4;
        offsets[column] = (reversed as f32 + 0.5) / 16.0 - 0.5;
        column += 1;
    }
    offsets
};

/// What is said of one query's weights in a span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighed {
    /// The largest score.
    pub(super) largest: f32,
    /// Of the weights.
    pub(super) sum: f32,
    /// What mixed values are multiples of.
    pub(super) unit: f32,
}

/// Weighted sums of values, not yet divided by the sums of the weights. A weight is `2^(score - largest)`.
#[derive(Debug, Default)]
pub(super) struct Softmax {
    pub(super) values: Vec<f32>,
    pub(super) largest: Vec<f32>,
    pub(super) sum: Vec<f32>,
}

impl Softmax {
    pub(super) fn clear(&mut self, rows: usize, stride: usize) {
        self.values.clear();
        self.values.resize(rows * stride, 0.0);
        self.largest.clear();
        self.largest.resize(rows, f32::NEG_INFINITY);
        self.sum.clear();
        self.sum.resize(rows, 0.0);
    }

    /// Adds one row of a later part of the context, whose values `add` adds: what is there times the first number, plus
    /// its own times the second.
    pub(super) fn merge(
        &mut self,
        (row, stride): (usize, usize),
        (largest, sum): (f32, f32),
        add: impl FnOnce(&mut [f32], f32, f32),
    ) {
        if largest == f32::NEG_INFINITY {
            return;
        }
        let before = self.largest[row];
        let after = before.max(largest);
        let (own, other) = (
            math::exp2::<false>(before - after),
            math::exp2::<false>(largest - after),
        );
        self.largest[row] = after;
        self.sum[row] = self.sum[row] * own + sum * other;
        add(&mut self.values[row * stride..][..stride], own, other);
    }
}

vectorized! {
    /// Scores of products.
    pub(super) fn descale(products: &[i32], keys: &[f32], query: f32, scores: &mut [f32]) {
        for ((score, &product), key) in scores.iter_mut().zip(products).zip(keys) {
            *score = product as f32 * (key * query);
        }
    }
}

vectorized! {
    /// Weights of a query's scores. They are given times their values' scales, as multiples of a unit for the `slots` of a
    /// span. All slices are of whole lanes.
    pub(super) fn weigh(scores: &mut [f32], scales: &[f32], slots: usize, weights: &mut [i16]) -> Weighed {
        let largest = math::largest(scores);
        if largest == f32::NEG_INFINITY {
            weights.fill(0);
            return Weighed { largest, sum: 0.0, unit: 0.0 };
        }
        let (scores, scales) = (scores.as_chunks_mut::<LANES>().0, scales.as_chunks::<LANES>().0);
        let (mut sums, mut scaled, mut tops) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for (scores, scales) in scores.iter_mut().zip(scales) {
            for lane in 0..LANES {
                let weight = math::exp2::<FUSED>(scores[lane] - largest);
                sums[lane] += weight;
                let weight = weight * scales[lane];
                scaled[lane] += weight;
                tops[lane] = if weight > tops[lane] { weight } else { tops[lane] };
                scores[lane] = weight;
            }
        }
        let unit = int16::weights_unit(math::largest(&tops), math::fold(scaled, |a, b| a + b), slots);
        let factor = if unit > 0.0 { 1.0 / unit } else { 0.0 };
        let weights = weights.chunks_mut(OFFSETS.len());
        for (weights, scores) in weights.zip(scores.as_flattened().chunks(OFFSETS.len())) {
            for ((weight, score), offset) in weights.iter_mut().zip(scores).zip(&OFFSETS) {
                *weight = int16::round(math::mul_add::<FUSED>(*score, factor, *offset));
            }
        }
        Weighed { largest, sum: math::fold(sums, |a, b| a + b), unit }
    }
}

vectorized! {
    /// `x = x * own + y * other`.
    pub(super) fn blend(x: &mut [f32], own: f32, y: &[f32], other: f32) {
        for (x, y) in x.iter_mut().zip(y) {
            *x = *x * own + y * other;
        }
    }
}

vectorized! {
    /// `x = x * own + y * unit * other`: to the bit what [`blend`] makes of the products `y * unit`.
    pub(super) fn blend_numbers(x: &mut [f32], own: f32, y: &[i32], unit: f32, other: f32) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x = *x * own + y as f32 * unit * other;
        }
    }
}
