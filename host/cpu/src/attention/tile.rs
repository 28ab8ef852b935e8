//! One tile over its blocks: scores, a softmax that learns its largest score as it goes (arXiv 1805.02867), values.
//!
//! Slots that a query may not see weigh exactly nothing, so it does not matter which queries share a tile.
#![allow(
    unsafe_code,
    reason = "workers read and write disjoint parts of shared buffers"
)]

use std::ops::Range;

use weir_engine::BatchRow;

use super::{Split, Tile, Unit, span_blocks};
use crate::{
    kv_cache::{KvLayer, VECTOR},
    math,
    norm::{scale, soft_cap},
    product::{Product, add_product},
    shared::Shared,
    simd::Simd,
};

/// What a layer's units have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queries<'a> {
    pub(crate) simd: Simd,
    pub(crate) rows: &'a [BatchRow],
    pub(crate) layer: &'a KvLayer,
    /// A row a token; its queries stand first in it, head by head, turned and scaled.
    pub(crate) projected: &'a Shared<f32>,
    /// From one token's row to the next.
    pub(crate) stride: usize,
    /// Query heads that share a head of keys.
    pub(crate) group: usize,
    /// Scores become `cap * tanh(score / cap)`.
    pub(crate) softcap: Option<f32>,
    /// A query sees itself and the `window - 1` positions before it.
    pub(crate) window: Option<usize>,
    /// Results: a row of `group * kv_heads * value_dim` a token.
    pub(crate) mixed: &'a Shared<f32>,
    /// Results of parts of contexts, each of [`partial_len`] numbers.
    pub(crate) partials: &'a Shared<f32>,
}

/// Numbers that the result of a part of a context takes: the values, then each query head's largest score and sum.
pub(crate) fn partial_len(group: usize, value_stride: usize) -> usize {
    group * (value_stride + 2)
}

/// A worker's own memory.
#[derive(Debug, Default)]
pub(crate) struct AttentionScratch {
    queries: Vec<f32>,
    scores: Vec<f32>,
    span: Softmax,
    total: Softmax,
}

/// Weighted sums of values, not yet divided by the sums of the weights. A weight is `exp(score - largest)`.
#[derive(Debug, Default)]
struct Softmax {
    values: Vec<f32>,
    largest: Vec<f32>,
    sum: Vec<f32>,
}

impl Softmax {
    fn clear(&mut self, rows: usize, stride: usize) {
        self.values.clear();
        self.values.resize(rows * stride, 0.0);
        self.largest.clear();
        self.largest.resize(rows, f32::NEG_INFINITY);
        self.sum.clear();
        self.sum.resize(rows, 0.0);
    }

    /// Adds one row of a later part of the context.
    fn merge(&mut self, simd: Simd, row: usize, values: &[f32], (largest, sum): (f32, f32)) {
        if largest == f32::NEG_INFINITY {
            return;
        }
        let before = self.largest[row];
        let after = before.max(largest);
        let (own, other) = (math::exp(before - after), math::exp(largest - after));
        self.largest[row] = after;
        self.sum[row] = self.sum[row] * own + sum * other;
        let mine = &mut self.values[row * values.len()..][..values.len()];
        simd.run(|| {
            for (mine, value) in mine.iter_mut().zip(values) {
                *mine = *mine * own + value * other;
            }
        });
    }
}

/// Computes a unit: into `mixed`, or as a partial result.
///
/// # Safety
/// Nobody writes queries, or into the row's blocks, meanwhile, and nobody else touches its place in
/// `mixed` or `partials`.
pub(crate) unsafe fn attend(asked: &Queries<'_>, unit: &Unit, scratch: &mut AttentionScratch) {
    let shape = asked.layer.shape;
    let (rows, stride) = (unit.tile.queries * asked.group, shape.value_stride);
    // SAFETY: the caller's word.
    unsafe { gather(asked, unit, &mut scratch.queries) };
    scratch.total.clear(rows, stride);
    for span in unit.spans.clone() {
        scratch.span.clear(rows, stride);
        // SAFETY: the caller's word.
        unsafe { attend_span(asked, unit, span, scratch) };
        let AttentionScratch { span, total, .. } = scratch;
        for (row, values) in span.values.chunks_exact(stride).enumerate() {
            total.merge(asked.simd, row, values, (span.largest[row], span.sum[row]));
        }
    }
    match unit.partial {
        // SAFETY: the caller's word.
        None => unsafe { write(asked, unit.tile, unit.head, &mut scratch.total) },
        Some(place) => {
            let len = partial_len(asked.group, stride);
            // SAFETY: the caller's word: the place is this unit's.
            let out = unsafe { asked.partials.slice_mut(place * len..(place + 1) * len) };
            let Softmax {
                values,
                largest,
                sum,
            } = &scratch.total;
            let (to_values, rest) = out.split_at_mut(values.len());
            to_values.copy_from_slice(values);
            rest[..rows].copy_from_slice(largest);
            rest[rows..].copy_from_slice(sum);
        }
    }
}

/// Merges the parts of a token's context, for all its heads.
///
/// # Safety
/// All its parts are computed, and nobody else touches its row of `mixed`.
pub(crate) unsafe fn finish_split(
    asked: &Queries<'_>,
    row: usize,
    split: &Split,
    scratch: &mut AttentionScratch,
) {
    let (group, stride) = (asked.group, asked.layer.shape.value_stride);
    let len = partial_len(group, stride);
    for head in 0..asked.layer.shape.heads {
        scratch.total.clear(group, stride);
        for part in 0..split.partials.len() {
            let place = split.partials.start + head * split.partials.len() + part;
            // SAFETY: the caller's word.
            let partial = unsafe { asked.partials.slice(place * len..(place + 1) * len) };
            let (values, rest) = partial.split_at(group * stride);
            for (query, values) in values.chunks_exact(stride).enumerate() {
                let weights = (rest[query], rest[group + query]);
                scratch.total.merge(asked.simd, query, values, weights);
            }
        }
        let tile = Tile {
            row,
            token: split.token,
            queries: 1,
            position: 0,
        };
        // SAFETY: the caller's word.
        unsafe { write(asked, tile, head, &mut scratch.total) };
    }
}

/// The tile's queries as one matrix: the heads of a token after each other, then the next token.
unsafe fn gather(asked: &Queries<'_>, unit: &Unit, queries: &mut Vec<f32>) {
    let width = asked.group * asked.layer.shape.dim;
    queries.clear();
    for token in unit.tile.token..unit.tile.token + unit.tile.queries {
        let start = token * asked.stride + unit.head * width;
        // SAFETY: the caller's word.
        queries.extend_from_slice(unsafe { asked.projected.slice(start..start + width) });
    }
}

/// Divides by the sums of the weights and hands the result out.
unsafe fn write(asked: &Queries<'_>, tile: Tile, head: usize, total: &mut Softmax) {
    let shape = asked.layer.shape;
    let (group, dim) = (asked.group, shape.value_dim);
    let rows = total.values.chunks_exact_mut(shape.value_stride);
    for (row, (values, sum)) in rows.zip(&total.sum).enumerate() {
        scale(asked.simd, values, 1.0 / sum);
        let token = tile.token + row / group;
        let start = ((token * shape.heads + head) * group + row % group) * dim;
        // SAFETY: the caller's word: the tile's rows of `mixed` are this worker's for this head.
        let out = unsafe { asked.mixed.slice_mut(start..start + dim) };
        out.copy_from_slice(&values[..dim]);
    }
}

/// The blocks of a span, as far as the tile sees them.
unsafe fn attend_span(
    asked: &Queries<'_>,
    unit: &Unit,
    span: usize,
    scratch: &mut AttentionScratch,
) {
    let shape = asked.layer.shape;
    let AttentionScratch {
        queries,
        scores,
        span: softmax,
        ..
    } = scratch;
    let tile = unit.tile;
    let rows = tile.queries * asked.group;
    let end = tile.position + tile.queries;
    let lowest = visible(tile.position, asked.window).start;
    let blocks = span_blocks(shape.block_size);
    let first = (lowest / shape.block_size).max(span * blocks);
    let last = end.div_ceil(shape.block_size).min((span + 1) * blocks);
    for block in first..last {
        let base = block * shape.block_size;
        let slots = shape.block_size.min(end - base);
        let physical = asked.rows[tile.row].block_table[block] as usize;
        // SAFETY: the caller's word.
        let kv = unsafe { asked.layer.block(physical, unit.head) };
        scores.clear();
        scores.resize(rows * shape.key_stride, 0.0);
        let products = Product {
            a: queries,
            a_stride: shape.dim,
            rows,
            b: kv.keys,
            b_stride: shape.key_stride,
            depth: shape.dim,
            width: slots.next_multiple_of(VECTOR),
        };
        add_product(asked.simd, &products, scores, shape.key_stride);
        for row in 0..rows {
            let sees = visible(tile.position + row / asked.group, asked.window);
            let sees = sees.start.max(base) - base..sees.end.min(base + slots).max(base) - base;
            let scores = &mut scores[row * shape.key_stride..][..slots];
            weigh(asked, scores, sees, softmax, row);
        }
        let values = Product {
            a: scores,
            a_stride: shape.key_stride,
            rows,
            b: kv.values,
            b_stride: shape.value_stride,
            depth: slots,
            width: shape.value_stride,
        };
        add_product(asked.simd, &values, &mut softmax.values, shape.value_stride);
    }
}

/// The positions that a query at `position` sees.
fn visible(position: usize, window: Option<usize>) -> Range<usize> {
    let lowest = window.map_or(0, |window| (position + 1).saturating_sub(window));
    lowest..position + 1
}

/// Makes weights of one row's scores, and lowers what was summed before when a score is the largest yet.
fn weigh(
    asked: &Queries<'_>,
    scores: &mut [f32],
    sees: Range<usize>,
    softmax: &mut Softmax,
    row: usize,
) {
    if sees.is_empty() {
        scores.fill(0.0);
        return;
    }
    if let Some(cap) = asked.softcap {
        soft_cap(asked.simd, &mut scores[sees.clone()], cap);
    }
    scores[..sees.start].fill(f32::NEG_INFINITY);
    scores[sees.end..].fill(f32::NEG_INFINITY);
    let before = softmax.largest[row];
    let (after, sum) = asked.simd.run(|| {
        let after = math::largest(scores).max(before);
        for score in scores.iter_mut() {
            *score = math::exp(*score - after);
        }
        (after, math::sum(scores, |weight| weight))
    });
    if after > before {
        let factor = math::exp(before - after);
        softmax.largest[row] = after;
        softmax.sum[row] *= factor;
        let stride = asked.layer.shape.value_stride;
        scale(
            asked.simd,
            &mut softmax.values[row * stride..][..stride],
            factor,
        );
    }
    softmax.sum[row] += sum;
}
