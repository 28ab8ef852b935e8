//! A row of logits as the sampler reads it: in blocks of which the largest logit is known, so that whoever looks for the
//! likely tokens passes over most of them.
//!
//! Logits are looked at *scaled*: (logit - largest) / temperature, so that 0 is the likeliest and exp is the weight relative
//! to it. Scaling keeps their order. NaN and negative infinity stay what they are and have no weight; positive infinity
//! counts as the largest finite number, so that differences stay numbers.

use super::{
    exponential::{LOWEST, exp},
    truncation::Candidate,
};

/// Logits of a block.
const BLOCK: usize = 64;
/// Sums and maxima that do not depend on each other become vector instructions.
const LANES: usize = 8;
/// How far from the centre the first look for likely tokens reaches, in scaled logits.
const FIRST_REACH: f32 = 4.0;

/// A row with at least one usable logit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    logits: &'a [f32],
    /// Of each block; negative infinity where nothing is usable.
    maxima: &'a [f32],
    max: f32,
    /// 1 / temperature.
    scale: f32,
}

impl<'a> Row<'a> {
    /// Finds the maxima; None if no logit is usable.
    pub(super) fn new(logits: &'a [f32], maxima: &'a mut Vec<f32>) -> Option<Self> {
        maxima.clear();
        let (blocks, rest) = logits.as_chunks::<BLOCK>();
        maxima.extend(blocks.iter().map(|block| largest(block)));
        if !rest.is_empty() {
            maxima.push(largest(rest));
        }
        let max = largest(maxima);
        (max > f32::NEG_INFINITY).then_some(Self {
            logits,
            maxima,
            max,
            scale: 1.0,
        })
    }

    /// The same row at another temperature above 0.
    pub(super) fn tempered(self, temperature: f32) -> Self {
        Self {
            scale: temperature.recip().min(f32::MAX),
            ..self
        }
    }

    /// The token of the largest logit, the lowest id among equals.
    pub(super) fn likeliest(&self) -> u32 {
        let is_max = |logit: &f32| *logit == self.max;
        let block = self.maxima.iter().position(is_max).unwrap_or(0);
        let place = self.block(block).iter().position(is_max).unwrap_or(0);
        (block * BLOCK + place) as u32
    }

    /// A token's logit, scaled.
    #[inline]
    pub(super) fn scaled(&self, logit: f32) -> f32 {
        (finite(logit) - finite(self.max)) * self.scale
    }

    /// How many logits are larger than this one.
    pub(super) fn larger(&self, logit: f32) -> usize {
        let blocks = self.maxima.iter().zip(self.logits.chunks(BLOCK));
        let blocks = blocks.filter(|(maximum, _)| **maximum > logit);
        blocks
            .map(|(_, block)| block.iter().filter(|other| **other > logit).count())
            .sum()
    }

    /// The weight of each block; returns that of the row, at least 1.
    pub(super) fn weigh(&self, weights: &mut Vec<f64>) -> f64 {
        weights.clear();
        let blocks = self.logits.chunks(BLOCK);
        weights.extend(blocks.map(|block| sum(block, |logit| exp(self.scaled(logit)))));
        weights.iter().sum()
    }

    /// The mean of the scaled logits, each as heavy as its weight; `total` is the weight of all.
    pub(super) fn mean(&self, total: f64) -> f32 {
        let weighted = |logit| {
            let scaled = self.scaled(logit);
            // What has no weight may be no number.
            let number = if scaled > LOWEST { scaled } else { LOWEST };
            exp(scaled) * number
        };
        let blocks = self.logits.chunks(BLOCK);
        let weighted: f64 = blocks.map(|block| sum(block, weighted)).sum();
        (weighted / total) as f32
    }

    /// The token at `left` of the row's weight, tokens laid side by side in the order of their ids; `weights` are the blocks'.
    pub(super) fn at_weight(&self, weights: &[f64], mut left: f64) -> u32 {
        let block = at_weight(weights.iter().copied(), &mut left);
        let weights = self.block(block).iter();
        let weights = weights.map(|&logit| f64::from(exp(self.scaled(logit))));
        (block * BLOCK + at_weight(weights, &mut left)) as u32
    }

    /// At most the scaled logit of the `count`th likeliest token, and seldom much less. `scratch` is for sorting.
    pub(super) fn lowest_of(&self, count: usize, scratch: &mut Vec<f32>) -> f32 {
        if !(1..=self.maxima.len()).contains(&count) {
            return f32::MIN;
        }
        // As many tokens as blocks are at least as likely as the least likely of their maxima.
        scratch.clear();
        scratch.extend_from_slice(self.maxima);
        let (_, lowest, _) = scratch.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        self.scaled(*lowest).max(f32::MIN)
    }

    /// Lists the tokens with scaled logits from `low`, which is finite, to `high`, in the order of their ids.
    pub(super) fn list(&self, low: f32, high: f32, candidates: &mut Vec<Candidate>) {
        candidates.clear();
        for (block, &maximum) in self.maxima.iter().enumerate() {
            if self.scaled(maximum) < low {
                continue;
            }
            let ids = (block * BLOCK) as u32..;
            for (id, &logit) in ids.zip(self.block(block)) {
                let scaled = self.scaled(logit);
                if scaled >= low && scaled <= high {
                    candidates.push(Candidate::new(id, scaled));
                }
            }
        }
    }

    /// Lists the tokens nearest to `centre` until `wanted` of the weight is there, and more of them; all that have a weight
    /// if that is not enough.
    pub(super) fn list_around(&self, centre: f32, wanted: f64, candidates: &mut Vec<Candidate>) {
        let mut reach = FIRST_REACH;
        loop {
            let (low, high) = ((centre - reach).max(LOWEST), centre + reach);
            self.list(low, high, candidates);
            let all = low == LOWEST && high >= 0.0;
            if all || Candidate::total_weight(candidates) >= wanted {
                return;
            }
            reach *= 2.0;
        }
    }

    fn block(&self, index: usize) -> &'a [f32] {
        let rest = &self.logits[index * BLOCK..];
        &rest[..rest.len().min(BLOCK)]
    }
}

/// Which of the weights, laid side by side, holds the point `left`; leaves how far in it is. Rounding can put the point
/// behind all of them: then the last that is not 0.
pub(super) fn at_weight(weights: impl Iterator<Item = f64>, left: &mut f64) -> usize {
    let mut last = 0;
    for (index, weight) in weights.enumerate() {
        if weight > 0.0 {
            last = index;
            if *left < weight {
                break;
            }
            *left -= weight;
        }
    }
    last
}

/// Positive infinity becomes the largest finite number.
#[inline]
fn finite(logit: f32) -> f32 {
    if logit > f32::MAX { f32::MAX } else { logit }
}

/// The largest number; negative infinity if there is none. NaN is never larger.
#[inline]
fn largest(logits: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, logit);
        }
    }
    lanes
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, larger)
}

/// The sum of a block's terms: of every eighth in f32, then of those in f64.
#[inline]
fn sum(block: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let mut terms = [0.0_f32; BLOCK];
    for (place, &logit) in terms.iter_mut().zip(block) {
        *place = term(logit);
    }
    let mut lanes = [0.0_f32; LANES];
    for chunk in terms.as_chunks::<LANES>().0 {
        for (lane, term) in lanes.iter_mut().zip(chunk) {
            *lane += term;
        }
    }
    lanes.into_iter().map(f64::from).sum()
}
