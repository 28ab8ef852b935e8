//! The tokens that may still be chosen, and what keeps some of them.
//!
//! Invariants: a list stands in the order of its tokens' ids, before and after; what is kept is what sorting everything
//! would keep, ties going to the lower id. Nothing is sorted but the last few around the cut.

use super::exponential::exp;

/// As many are sorted rather than divided further.
const FEW: usize = 32;

/// A token that may still be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    /// Its scaled logit; not NaN.
    pub(super) scaled: f32,
    /// Its probability relative to the likeliest token's.
    pub(super) weight: f32,
}

impl Candidate {
    /// The likeliest token's scaled logit.
    pub(super) const LIKELIEST: f32 = 0.0;

    pub(super) fn new(id: u32, scaled: f32) -> Self {
        Self {
            id,
            scaled,
            weight: exp(scaled),
        }
    }

    pub(super) fn total_weight(candidates: &[Self]) -> f64 {
        candidates.iter().map(|c| f64::from(c.weight)).sum()
    }

    /// The mean of the scaled logits, each as heavy as its weight; `total` is the weight of all.
    pub(super) fn mean(candidates: &[Self], total: f64) -> f32 {
        let weighted = candidates.iter().map(|c| f64::from(c.weight * c.scaled));
        (weighted.sum::<f64>() / total) as f32
    }

    /// Its place by rising distance from `centre`, then by rising id; the likeliest are nearest to [`Candidate::LIKELIEST`].
    #[inline]
    pub(super) fn rank(&self, centre: f32) -> u64 {
        // The bits of numbers that are not negative rise with them.
        let distance = (self.scaled - centre).abs().to_bits();
        u64::from(distance) << 32 | u64::from(self.id)
    }
}

/// Keeps the `count` likeliest.
pub(super) fn keep_likeliest(
    candidates: &mut Vec<Candidate>,
    count: usize,
    scratch: &mut Vec<Candidate>,
) {
    if count >= candidates.len() {
        return;
    }
    scratch.clear();
    scratch.extend_from_slice(candidates);
    let rank = |candidate: &Candidate| candidate.rank(Candidate::LIKELIEST);
    let (_, first_out, _) = scratch.select_nth_unstable_by_key(count, rank);
    let first_out = rank(first_out);
    candidates.retain(|candidate| rank(candidate) < first_out);
}

/// Keeps the fewest candidates nearest to `centre` that have `wanted` of the weight; all if they have less.
pub(super) fn keep_nearest(
    candidates: &mut Vec<Candidate>,
    centre: f32,
    wanted: f64,
    scratch: &mut Vec<Candidate>,
) {
    scratch.clear();
    scratch.extend_from_slice(candidates);
    let last = last_within(scratch, centre, wanted);
    candidates.retain(|candidate| candidate.rank(centre) <= last);
}

/// The rank of the candidate with which, from the nearest on, `wanted` of the weight is there; of the farthest if that never is.
fn last_within(candidates: &mut [Candidate], centre: f32, mut wanted: f64) -> u64 {
    let rank = |candidate: &Candidate| candidate.rank(centre);
    let mut rest = candidates;
    while rest.len() > FEW {
        let middle = rest.len() / 2;
        rest.select_nth_unstable_by_key(middle, rank);
        let (near, far) = rest.split_at_mut(middle);
        let weight = Candidate::total_weight(near);
        if weight >= wanted {
            rest = near;
        } else {
            wanted -= weight;
            rest = far;
        }
    }
    rest.sort_unstable_by_key(rank);
    let mut last = 0;
    for candidate in rest.iter() {
        last = rank(candidate);
        wanted -= f64::from(candidate.weight);
        if wanted <= 0.0 {
            break;
        }
    }
    last
}
