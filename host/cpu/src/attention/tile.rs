//! One tile over its blocks, a span at a time: scores, their softmax, values; spans are merged as arXiv 1805.02867 does.
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
    kv_cache::{KvLayer, KvShape, VECTOR},
    math::{self, LANES},
    norm::{scale, soft_cap},
    product::{Part, Product, add_product, set_product},
    shared::Shared,
    simd::{Simd, vectorized},
};

/// Blocks whose values are summed in registers; a span of the usual blocks has fewer.
const PARTS: usize = 16;

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
    /// For so many rows, of whatever was there before.
    fn make_room(&mut self, rows: usize, stride: usize) {
        self.values.resize(rows * stride, 0.0);
        self.largest.resize(rows, 0.0);
        self.sum.resize(rows, 0.0);
    }

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
        blend(simd, mine, own, values, other);
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
        scratch.span.make_room(rows, stride);
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

/// A span, as far as the tile sees it: the scores of all its blocks, one softmax a query, the values.
///
/// A row of scores has a place for every slot of the span, so that a query's sums are taken in the same order wherever its tile begins.
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
    let seen = Seen::new(asked, tile, span);
    let table = &asked.rows[tile.row].block_table;
    let width = span_blocks(shape.block_size) * shape.key_stride;
    if scores.len() < rows * width {
        scores.resize(rows * width, 0.0);
    }
    for block in seen.blocks.clone() {
        // SAFETY: the caller's word.
        let kv = unsafe { asked.layer.block(table[block] as usize, unit.head) };
        let keys = Part {
            column: 0,
            rows: kv.keys,
            depth: shape.dim,
        };
        let products = Product {
            a: queries,
            a_stride: shape.dim,
            rows,
            parts: &[keys],
            b_stride: shape.key_stride,
            width: seen.slots(block).next_multiple_of(VECTOR),
        };
        set_product(
            asked.simd,
            &products,
            &mut scores[seen.column(block)..],
            width,
        );
    }
    for (row, scores) in scores.chunks_exact_mut(width).take(rows).enumerate() {
        let sees = visible(tile.position + row / asked.group, asked.window);
        let scores = &mut scores[..seen.column(seen.blocks.end)];
        (softmax.largest[row], softmax.sum[row]) = seen.weigh(asked, &sees, scores);
    }
    let mut multiply: fn(Simd, &Product<'_>, &mut [f32], usize) = set_product;
    for first in seen.blocks.clone().step_by(PARTS) {
        let blocks = first..seen.blocks.end.min(first + PARTS);
        let mut parts = [Part::default(); PARTS];
        for (part, block) in parts.iter_mut().zip(blocks.clone()) {
            // SAFETY: the caller's word.
            let kv = unsafe { asked.layer.block(table[block] as usize, unit.head) };
            *part = Part {
                column: seen.column(block),
                rows: kv.values,
                depth: seen.slots(block),
            };
        }
        let values = Product {
            a: scores,
            a_stride: width,
            rows,
            parts: &parts[..blocks.len()],
            b_stride: shape.value_stride,
            width: shape.value_stride,
        };
        multiply(asked.simd, &values, &mut softmax.values, shape.value_stride);
        multiply = add_product;
    }
}

/// The positions that a query at `position` sees.
fn visible(position: usize, window: Option<usize>) -> Range<usize> {
    let lowest = window.map_or(0, |window| (position + 1).saturating_sub(window));
    lowest..position + 1
}

/// The blocks of a span that a tile sees, and where their scores stand in a row of scores.
struct Seen {
    shape: KvShape,
    blocks: Range<usize>,
    /// The span's first block, seen or not.
    base: usize,
    /// Behind the tile's last position.
    end: usize,
}

impl Seen {
    fn new(asked: &Queries<'_>, tile: Tile, span: usize) -> Self {
        let shape = asked.layer.shape;
        let in_span = span_blocks(shape.block_size);
        let base = span * in_span;
        let end = tile.position + tile.queries;
        let lowest = visible(tile.position, asked.window).start;
        let first = (lowest / shape.block_size).max(base);
        let last = end.div_ceil(shape.block_size).min(base + in_span);
        Self {
            shape,
            blocks: first..last,
            base,
            end,
        }
    }

    /// Column of a block's first slot.
    fn column(&self, block: usize) -> usize {
        (block - self.base) * self.shape.key_stride
    }

    /// Slots of a block up to the tile's last position.
    fn slots(&self, block: usize) -> usize {
        let size = self.shape.block_size;
        size.min(self.end - block * size)
    }

    /// Where sums over a row of scores begin: lanes are counted from the span's start, whichever block comes first.
    fn start(&self) -> usize {
        self.column(self.blocks.start) / LANES * LANES
    }

    /// Makes weights of one query's scores; returns the largest score and the sum of the weights.
    fn weigh(&self, asked: &Queries<'_>, sees: &Range<usize>, scores: &mut [f32]) -> (f32, f32) {
        let first = self.column(self.blocks.start);
        if let Some(cap) = asked.softcap {
            soft_cap(asked.simd, &mut scores[first..], cap);
        }
        scores[self.start()..first].fill(f32::NEG_INFINITY);
        for block in self.blocks.clone() {
            let base = block * self.shape.block_size;
            let slots = self.slots(block);
            let start = sees.start.saturating_sub(base).min(slots);
            let end = sees.end.saturating_sub(base).min(slots).max(start);
            let scores = &mut scores[self.column(block)..][..self.shape.key_stride];
            scores[..start].fill(f32::NEG_INFINITY);
            scores[end..].fill(f32::NEG_INFINITY);
        }
        let scores = &mut scores[self.start()..];
        weights(asked.simd, scores)
    }
}

vectorized! {
    /// Makes weights of scores; returns the largest score and the sum of the weights.
    fn weights(scores: &mut [f32]) -> (f32, f32) {
        let largest = math::largest(scores);
        if largest == f32::NEG_INFINITY {
            scores.fill(0.0);
            return (largest, 0.0);
        }
        for score in scores.iter_mut() {
            *score = math::exp(*score - largest);
        }
        (largest, math::sum(scores, |weight| weight))
    }
}

vectorized! {
    /// `x = x * own + y * other`.
    fn blend(x: &mut [f32], own: f32, y: &[f32], other: f32) {
        for (x, y) in x.iter_mut().zip(y) {
            *x = *x * own + y * other;
        }
    }
}
