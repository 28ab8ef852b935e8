//! Attention against a plain reference in f64, over ragged batches, scattered blocks, windows and caps.
#![allow(
    unsafe_code,
    reason = "what is tested is unsafe, and one thread runs it"
)]

use proptest::prelude::*;
use weir_engine::SequenceId;

use super::*;
use crate::{
    int16,
    kv_cache::{KvLayer, KvShape},
    shared::Shared,
    simd::Simd,
};

const NUM_BLOCKS: usize = 160;

/// What rounding the weights of a span may cost: 256 of them that are all alike are each off by 0.41 units of 2^-16 of their
/// sum, times values of 1.15 (both root mean squares); six times what that adds up to.
const OFF: f64 = 6.0 * 16.0 * 0.41 * 1.15 / 65_280.0;

/// Some rows over one layer.
#[derive(Debug, Clone)]
struct Case {
    group: usize,
    kv_heads: usize,
    dim: usize,
    block_size: usize,
    window: Option<usize>,
    softcap: Option<f32>,
    /// Context and new tokens of each row.
    rows: Vec<(usize, usize)>,
}

fn number(seed: usize) -> f32 {
    let state = (seed as u64 + 1).wrapping_mul(6_364_136_223_846_793_005);
    ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * 2.0
}

/// A query, key or value.
fn head(kind: usize, row: usize, position: usize, head: usize, dim: usize) -> Vec<f32> {
    let seed = ((kind * 31 + row) * 4096 + position) * 64 + head;
    (0..dim).map(|at| number(seed * 512 + at)).collect()
}

/// As the kernels see it, for the reference: what is lost in int16 is [`int16`]'s to bound.
fn stored(elements: &[f32], by: fn(Simd, &[f32]) -> f32) -> Vec<f64> {
    let scale = by(Simd::Portable, elements);
    let mut numbers = vec![0; elements.len()];
    int16::fill(Simd::Portable, elements, scale, &mut numbers);
    let element = |&number: &i16| f64::from(number) * f64::from(scale);
    numbers.iter().map(element).collect()
}

impl Case {
    fn batch_rows(&self) -> Vec<BatchRow> {
        let mut next = 0;
        let row = |(sequence, &(context_len, len)): (usize, &(usize, usize))| {
            let blocks = (context_len + len).div_ceil(self.block_size);
            let block_table = (next..next + blocks)
                .map(|block| (block * 37 % NUM_BLOCKS) as u32)
                .collect();
            next += blocks;
            BatchRow {
                sequence: SequenceId(sequence as u64),
                context_len,
                len,
                block_table,
                wants_logits: true,
            }
        };
        let rows: Vec<_> = self.rows.iter().enumerate().map(row).collect();
        assert!(next <= NUM_BLOCKS);
        rows
    }

    /// What the kernels make of it: `(tokens, heads * dim)`.
    fn run(&self, simd: Simd) -> Vec<f32> {
        let rows = self.batch_rows();
        let layout = weir_model::KvLayout {
            planes: 2,
            heads: self.kv_heads,
            dim: self.dim,
        };
        let layer = KvLayer::new(KvShape::new(layout, self.block_size), NUM_BLOCKS).unwrap();
        let width = self.group * self.kv_heads * self.dim;
        let mut queries = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            for position in 0..row.context_len + row.len {
                let block = row.block_table[position / self.block_size] as usize;
                for kv_head in 0..self.kv_heads {
                    let key = head(1, index, position, kv_head, self.dim);
                    let value = head(2, index, position, kv_head, self.dim);
                    let slot = (block, position % self.block_size);
                    // SAFETY: there is one thread.
                    unsafe { layer.write(simd, slot, kv_head, (&key, &value)) };
                }
                if position >= row.context_len {
                    for query in 0..self.group * self.kv_heads {
                        queries.extend(head(0, index, position, query, self.dim));
                    }
                }
            }
        }
        let mut plan = Plan::new(self.kv_heads, self.window);
        plan.fill(&rows, self.block_size);
        let len = partial_len(self.group, layer.shape.value_stride);
        let tokens: usize = rows.iter().map(|row| row.len).sum();
        let asked = Queries {
            simd,
            rows: &rows,
            layer: &layer,
            projected: &Shared::from_vec(queries),
            stride: width,
            group: self.group,
            softcap: self.softcap,
            window: self.window,
            mixed: &Shared::zeros(tokens * width),
            partials: &Shared::zeros(plan.partials * len),
        };
        let mut scratch = AttentionScratch::default();
        for unit in &plan.units {
            // SAFETY: there is one thread.
            unsafe { attend(&asked, unit, &mut scratch) };
        }
        for split in &plan.splits {
            // SAFETY: there is one thread.
            unsafe { finish_split(&asked, 0, split, &mut scratch) };
        }
        // SAFETY: there is one thread.
        unsafe { asked.mixed.slice(0..tokens * width) }.to_vec()
    }

    fn reference(&self) -> Vec<f64> {
        let mut out = Vec::new();
        for (row, &(context_len, len)) in self.rows.iter().enumerate() {
            for position in context_len..context_len + len {
                for query in 0..self.group * self.kv_heads {
                    out.extend(self.reference_head(row, position, query));
                }
            }
        }
        out
    }

    fn reference_head(&self, row: usize, position: usize, query: usize) -> Vec<f64> {
        let kv_head = query / self.group;
        let query = stored(&head(0, row, position, query, self.dim), int16::by_norm);
        let first = self
            .window
            .map_or(0, |window| (position + 1).saturating_sub(window));
        let score = |key: Vec<f32>| {
            let key = stored(&key, int16::by_norm);
            let score: f64 = query.iter().zip(&key).map(|(q, k)| q * k).sum();
            match self.softcap.map(f64::from) {
                Some(cap) => cap * (score / cap).tanh(),
                None => score,
            }
        };
        let scores: Vec<f64> = (first..=position)
            .map(|at| score(head(1, row, at, kv_head, self.dim)))
            .collect();
        let largest = scores.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        let mut out = vec![0.0; self.dim];
        for (at, score) in (first..=position).zip(&scores) {
            let weight = (score - largest).exp() / sum;
            let value = head(2, row, at, kv_head, self.dim);
            for (out, value) in out.iter_mut().zip(stored(&value, int16::by_largest)) {
                *out += weight * value;
            }
        }
        out
    }

    fn check(&self) {
        let right = self.reference();
        let by_machine = self.run(Simd::detect());
        for found in Simd::all().into_iter().map(|simd| self.run(simd)) {
            assert_eq!(found.len(), right.len());
            for (at, (found, right)) in found.iter().zip(&right).enumerate() {
                let off = (f64::from(*found) - right).abs();
                assert!(off < OFF, "element {at} is off by {off:e}: {self:?}");
            }
        }
        // Row by row, token by token: to the bit.
        let width = self.group * self.kv_heads * self.dim;
        let mut start = 0;
        for (row, &(context_len, len)) in self.rows.iter().enumerate() {
            let whole = &by_machine[start * width..(start + len) * width];
            if row == 0 {
                let alone = |context_len, len| {
                    let rows = vec![(context_len, len)];
                    Self {
                        rows,
                        ..self.clone()
                    }
                    .run(Simd::detect())
                };
                assert_eq!(alone(context_len, len), whole);
                let last = alone(context_len + len - 1, 1);
                assert_eq!(last, whole[(len - 1) * width..]);
            }
            start += len;
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let row = prop_oneof![
        (0usize..90, Just(1usize)),
        (0usize..40, 1usize..50),
        (200usize..560, 1usize..3),
    ];
    (
        (
            1usize..8,
            1usize..3,
            prop_oneof![Just(8usize), Just(12), Just(16), Just(64)],
        ),
        prop_oneof![Just(4usize), Just(7), Just(16), Just(32)],
        proptest::option::of(1usize..300),
        proptest::option::of(0.5f32..20.0),
        proptest::collection::vec(row, 1..4),
    )
        .prop_map(
            |((group, kv_heads, dim), block_size, window, softcap, mut rows)| {
                if block_size < 16 {
                    // As many as the blocks hold.
                    rows.iter_mut()
                        .for_each(|(context_len, _)| *context_len %= 130);
                }
                Case {
                    group,
                    kv_heads,
                    dim,
                    block_size,
                    window,
                    softcap,
                    rows,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn attention_is_softmax_of_scores_times_values(case in cases()) {
        case.check();
    }
}

/// Longer than a span, so decode is split among workers and prefill is not.
#[test]
fn contexts_of_several_spans_are_merged() {
    for window in [None, Some(300)] {
        Case {
            group: 3,
            kv_heads: 2,
            dim: 16,
            block_size: 32,
            window,
            softcap: None,
            rows: vec![(0, 700), (699, 1), (1200, 40), (255, 2)],
        }
        .check();
    }
}

/// A soft cap makes many scores alike; if their weights were rounded alike, they would all be off the same way.
#[test]
fn equal_weights_are_not_off_together() {
    for context in [320, 321, 323, 340] {
        Case {
            group: 1,
            kv_heads: 1,
            dim: 12,
            block_size: 16,
            window: None,
            softcap: Some(3.827_803_4),
            rows: vec![(0, 1), (0, 1), (context, 1)],
        }
        .check();
    }
}

/// A stale infinity in a slot nobody sees would make a result that is no number.
#[test]
fn scales_are_finite_whatever_is_stored() {
    let layout = weir_model::KvLayout {
        planes: 2,
        heads: 1,
        dim: 8,
    };
    let layer = KvLayer::new(KvShape::new(layout, 8), 1).unwrap();
    let write = |slot, key: f32, value: f32| {
        // SAFETY: there is one thread.
        unsafe { layer.write(Simd::detect(), (0, slot), 0, (&[key; 8], &[value; 8])) };
    };
    write(1, f32::NAN, f32::NAN);
    write(3, f32::INFINITY, -f32::MAX);
    // SAFETY: there is one thread.
    let block = unsafe { layer.block(0, 0) };
    let mut scales = block.key_scales.iter().chain(block.value_scales);
    assert!(scales.all(|scale| scale.is_finite()));
    assert!(block.keys[2 * 3] > 0 && block.values[2 * 8 + 1] < 0);
    assert_eq!((block.key_scales[1], block.keys[2]), (0.0, 0));
}
