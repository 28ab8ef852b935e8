//! One tile over its blocks, a span at a time: scores, their softmax, values; spans are merged as arXiv 1805.02867 does.
//!
//! Slots that a query may not see weigh exactly nothing, so it does not matter which queries share a tile.
#![allow(
    unsafe_code,
    reason = "workers read and write disjoint parts of shared buffers"
)]

use std::{f32::consts::LOG2_E, ops::Range};

use weir_engine::BatchRow;

use super::{
    Split, Tile, Unit,
    softmax::{Softmax, Weighed, blend, blend_numbers, descale, weigh},
    span_blocks,
};
use crate::{
    int16,
    kv_cache::{KvLayer, KvShape, VECTOR},
    math::LANES,
    norm::{scale as scale_by, soft_cap},
    product::{Part, Product, add_product, set_product},
    shared::Shared,
    simd::Simd,
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
    queries: Vec<i16>,
    /// By row of queries.
    query_scales: Vec<f32>,
    /// By column of scores.
    key_scales: Vec<f32>,
    value_scales: Vec<f32>,
    /// Queries times keys: for each row a place for every slot of a span.
    products: Vec<i32>,
    /// One row's, in powers of 2.
    scores: Vec<f32>,
    weights: Vec<i16>,
    span: Mixed,
    total: Softmax,
}

/// What a span comes to.
#[derive(Debug, Default)]
struct Mixed {
    /// Weights times values, by row.
    values: Vec<i32>,
    softmax: Vec<Weighed>,
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
    unsafe { gather(asked, unit, scratch) };
    scratch.total.clear(rows, stride);
    for span in unit.spans.clone() {
        // SAFETY: the caller's word.
        unsafe { attend_span(asked, unit, span, scratch) };
        let AttentionScratch { span, total, .. } = scratch;
        let rows = span.values.chunks_exact(stride).zip(&span.softmax);
        for (row, (values, weighed)) in rows.enumerate() {
            let softmax = (weighed.largest, weighed.sum);
            total.merge((row, stride), softmax, |mine, own, other| {
                blend_numbers(asked.simd, mine, own, values, weighed.unit, other);
            });
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
                let softmax = (rest[query], rest[group + query]);
                let total = &mut scratch.total;
                total.merge((query, stride), softmax, |mine, own, other| {
                    blend(asked.simd, mine, own, values, other);
                });
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
unsafe fn gather(asked: &Queries<'_>, unit: &Unit, scratch: &mut AttentionScratch) {
    let dim = asked.layer.shape.dim;
    let (width, padded) = (asked.group * dim, dim.next_multiple_of(2));
    let rows = unit.tile.queries * asked.group;
    scratch.queries.clear();
    scratch.queries.resize(rows * padded, 0);
    scratch.query_scales.clear();
    let mut to = scratch.queries.chunks_exact_mut(padded);
    for token in unit.tile.token..unit.tile.token + unit.tile.queries {
        let start = token * asked.stride + unit.head * width;
        // SAFETY: the caller's word.
        let queries = unsafe { asked.projected.slice(start..start + width) };
        for (query, numbers) in queries.chunks_exact(dim).zip(&mut to) {
            let scale = int16::by_norm(asked.simd, query);
            int16::fill(asked.simd, query, scale, &mut numbers[..dim]);
            scratch.query_scales.push(scale);
        }
    }
}

/// Divides by the sums of the weights and hands the result out.
unsafe fn write(asked: &Queries<'_>, tile: Tile, head: usize, total: &mut Softmax) {
    let shape = asked.layer.shape;
    let (group, dim) = (asked.group, shape.value_dim);
    let rows = total.values.chunks_exact_mut(shape.value_stride);
    for (row, (values, sum)) in rows.zip(&total.sum).enumerate() {
        scale_by(asked.simd, values, 1.0 / sum);
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
    let (shape, tile) = (asked.layer.shape, unit.tile);
    let rows = tile.queries * asked.group;
    let seen = Seen::new(asked, tile, span);
    let width = (span_blocks(shape.block_size) * shape.key_stride).next_multiple_of(LANES);
    let stride = width + LANES;
    scratch.make_room(rows, stride, shape.value_stride);
    // SAFETY: the caller's word.
    unsafe { multiply_keys(asked, unit, &seen, stride, scratch) };
    let columns = seen.columns();
    let value_scales = &scratch.value_scales[columns.clone()];
    for row in 0..rows {
        let sees = visible(tile.position + row / asked.group, asked.window);
        let of_row = row * stride + columns.start..row * stride + columns.end;
        let scores = &mut scratch.scores[columns.clone()];
        let products = &scratch.products[of_row.clone()];
        let scale = scratch.query_scales[row];
        let key_scales = &scratch.key_scales[columns.clone()];
        if let Some(cap) = asked.softcap {
            descale(asked.simd, products, key_scales, scale, scores);
            soft_cap(asked.simd, scores, cap);
            scale_by(asked.simd, scores, LOG2_E);
        } else {
            descale(asked.simd, products, key_scales, scale * LOG2_E, scores);
        }
        seen.hide(&sees, scores);
        let weights = &mut scratch.weights[of_row];
        scratch.span.softmax[row] = weigh(asked.simd, scores, value_scales, width, weights);
    }
    // SAFETY: the caller's word.
    unsafe { multiply_values(asked, unit, &seen, stride, scratch) };
}

impl AttentionScratch {
    /// For a span of so many columns from row to row; whatever was there before stays.
    fn make_room(&mut self, rows: usize, stride: usize, value_stride: usize) {
        let nothing = Weighed {
            largest: f32::NEG_INFINITY,
            sum: 0.0,
            unit: 0.0,
        };
        self.span.values.resize(rows * value_stride, 0);
        self.span.softmax.resize(rows, nothing);
        self.scores.resize(stride, 0.0);
        self.key_scales.resize(stride, 0.0);
        self.value_scales.resize(stride, 0.0);
        if self.products.len() < rows * stride {
            self.products.resize(rows * stride, 0);
            self.weights.resize(rows * stride, 0);
        }
    }
}

/// Queries times the keys of a span's blocks, and the scales of its columns.
unsafe fn multiply_keys(
    asked: &Queries<'_>,
    unit: &Unit,
    seen: &Seen,
    stride: usize,
    scratch: &mut AttentionScratch,
) {
    let shape = asked.layer.shape;
    let table = &asked.rows[unit.tile.row].block_table;
    for block in seen.blocks.clone() {
        // SAFETY: the caller's word.
        let kv = unsafe { asked.layer.block(table[block] as usize, unit.head) };
        let column = seen.column(block);
        scratch.key_scales[column..][..shape.key_stride].copy_from_slice(kv.key_scales);
        scratch.value_scales[column..][..shape.key_stride].copy_from_slice(kv.value_scales);
        let keys = Part {
            column: 0,
            rows: kv.keys,
            pairs: shape.dim.div_ceil(2),
        };
        let products = Product {
            a: &scratch.queries,
            a_stride: shape.dim.next_multiple_of(2),
            rows: unit.tile.queries * asked.group,
            parts: &[keys],
            b_stride: shape.key_stride,
            width: seen.slots(block).next_multiple_of(VECTOR),
        };
        set_product(
            asked.simd,
            &products,
            &mut scratch.products[column..],
            stride,
        );
    }
}

/// Weights times the values of a span's blocks.
unsafe fn multiply_values(
    asked: &Queries<'_>,
    unit: &Unit,
    seen: &Seen,
    stride: usize,
    scratch: &mut AttentionScratch,
) {
    let shape = asked.layer.shape;
    let table = &asked.rows[unit.tile.row].block_table;
    let mut multiply: fn(Simd, &Product<'_>, &mut [i32], usize) = set_product;
    for first in seen.blocks.clone().step_by(PARTS) {
        let blocks = first..seen.blocks.end.min(first + PARTS);
        let mut parts = [Part::default(); PARTS];
        for (part, block) in parts.iter_mut().zip(blocks.clone()) {
            // SAFETY: the caller's word.
            let kv = unsafe { asked.layer.block(table[block] as usize, unit.head) };
            *part = Part {
                column: seen.column(block),
                rows: kv.values,
                pairs: seen.slots(block).div_ceil(2),
            };
        }
        let values = Product {
            a: &scratch.weights,
            a_stride: stride,
            rows: unit.tile.queries * asked.group,
            parts: &parts[..blocks.len()],
            b_stride: shape.value_stride,
            width: shape.value_stride,
        };
        multiply(
            asked.simd,
            &values,
            &mut scratch.span.values,
            shape.value_stride,
        );
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

    /// The columns of a row of scores that sums are taken over: lanes are counted from the span's start, whichever block
    /// comes first.
    fn columns(&self) -> Range<usize> {
        let first = self.column(self.blocks.start) / LANES * LANES;
        first..self.column(self.blocks.end).next_multiple_of(LANES)
    }

    /// Scores of what a query does not see become minus infinity; they are those of [`Seen::columns`].
    fn hide(&self, sees: &Range<usize>, scores: &mut [f32]) {
        let (start, stride) = (self.columns().start, self.shape.key_stride);
        scores[..self.column(self.blocks.start) - start].fill(f32::NEG_INFINITY);
        scores[self.column(self.blocks.end) - start..].fill(f32::NEG_INFINITY);
        for block in self.blocks.clone() {
            let base = block * self.shape.block_size;
            let slots = self.slots(block);
            // Most blocks are seen whole; nothing is cheaper than a fill of nothing.
            if sees.start <= base && base + stride <= sees.end && slots == stride {
                continue;
            }
            let first = sees.start.saturating_sub(base).min(slots);
            let end = sees.end.saturating_sub(base).min(slots).max(first);
            let scores = &mut scores[self.column(block) - start..][..stride];
            scores[..first].fill(f32::NEG_INFINITY);
            scores[end..].fill(f32::NEG_INFINITY);
        }
    }
}
