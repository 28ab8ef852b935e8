//! The tokens that may still be chosen, and what keeps some of them.
//!
//! Invariants: a list stands in the order of its tokens' ids, before and after; what is kept is what sorting everything
//! would keep, ties going to the likelier and then to the lower id. Nothing is sorted but the last few around the cut.

use std::cmp::Ordering;

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

    /// Falling likelihood, then rising id: a total order, so that every sort has one outcome.
    pub(super) fn likeliest_first(&self, other: &Self) -> Ordering {
        let likelihood = other.scaled.partial_cmp(&self.scaled);
        likelihood
            .unwrap_or(Ordering::Equal)
            .then(self.id.cmp(&other.id))
    }

    /// Rising distance from `centre`, then [`Candidate::likeliest_first`].
    fn nearest_first(&self, other: &Self, centre: f32) -> Ordering {
        let distance = |candidate: &Self| (candidate.scaled - centre).abs();
        distance(self)
            .total_cmp(&distance(other))
            .then_with(|| self.likeliest_first(other))
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
    let (_, first_out, _) = scratch.select_nth_unstable_by(count, Candidate::likeliest_first);
    candidates.retain(|candidate| candidate.likeliest_first(first_out) == Ordering::Less);
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
    let order = |a: &Candidate, b: &Candidate| a.nearest_first(b, centre);
    if let Some(last) = last_within(scratch, wanted, order) {
        candidates.retain(|candidate| order(candidate, &last) != Ordering::Greater);
    }
}

/// The candidate with which, in this order, `wanted` of the weight is there; the last if that never is.
fn last_within(
    candidates: &mut [Candidate],
    mut wanted: f64,
    order: impl Fn(&Candidate, &Candidate) -> Ordering,
) -> Option<Candidate> {
    let mut rest = candidates;
    while rest.len() > FEW {
        let middle = rest.len() / 2;
        rest.select_nth_unstable_by(middle, &order);
        let (near, far) = rest.split_at_mut(middle);
        let weight = Candidate::total_weight(near);
        if weight >= wanted {
            rest = near;
        } else {
            wanted -= weight;
            rest = far;
        }
    }
    rest.sort_unstable_by(order);
    let enough = rest.iter().position(|candidate| {
        wanted -= f64::from(candidate.weight);
        wanted <= 0.0
    });
    enough.map_or(rest.last(), |index| rest.get(index)).copied()
}
