//! Which experts a token visits and what each of them weighs, from the router's logits.
//!
//! Every runner asks here, so that all choose alike. The order of arithmetic is fixed, and the first of equal scores
//! comes before the others: one token's logits always give one choice.

use crate::description::{GroupScore, Router, RouterScore};

/// The memory of a choice, to be used for one token after the other.
#[derive(Debug, Default)]
pub struct RouterMemory {
    scores: Vec<f32>,
    /// The scores that the choice is made by.
    judged: Vec<f32>,
    groups: Vec<f32>,
    order: Vec<usize>,
}

impl Router {
    /// The `used` experts of one token in ascending order, each with its weight. `logits` has one for each expert,
    /// `correction` too, or is empty without one.
    pub fn choose<'a>(
        &self,
        logits: &[f32],
        correction: &[f32],
        used: usize,
        memory: &'a mut RouterMemory,
    ) -> impl ExactSizeIterator<Item = (usize, f32)> + 'a {
        let RouterMemory {
            scores,
            judged,
            groups,
            order,
        } = memory;
        scores.clear();
        match self.score {
            RouterScore::Softmax => softmax(logits, scores),
            RouterScore::Sigmoid => scores.extend(logits.iter().map(|x| 1.0 / (1.0 + (-x).exp()))),
        }
        judged.clone_from(scores);
        for (score, correction) in judged.iter_mut().zip(correction) {
            *score += correction;
        }
        if self.groups > 1 {
            self.leave_best_groups(judged, groups, order);
        }
        best(judged, used, order);
        order.sort_unstable();
        let sum: f32 = order.iter().map(|&expert| scores[expert]).sum();
        let factor = if self.normalise {
            // The reference adds this, lest all scores be zero.
            self.scale / (sum + 1e-20)
        } else {
            self.scale
        };
        let scores = &*scores;
        order
            .iter()
            .map(move |&expert| (expert, scores[expert] * factor))
    }

    /// Experts outside the best groups are out of the question.
    fn leave_best_groups(&self, judged: &mut [f32], groups: &mut Vec<f32>, order: &mut Vec<usize>) {
        let size = judged.len() / self.groups;
        let counted = match self.group_score {
            GroupScore::Best => 1,
            GroupScore::BestTwo => 2,
        };
        groups.clear();
        for group in judged.chunks(size) {
            best(group, counted, order);
            groups.push(order.iter().map(|&expert| group[expert]).sum());
        }
        best(groups, self.groups_used, order);
        for (group, scores) in judged.chunks_mut(size).enumerate() {
            if !order.contains(&group) {
                scores.fill(f32::NEG_INFINITY);
            }
        }
    }
}

/// Indices of the `count` largest values, largest first, the first of equals before the others.
fn best(values: &[f32], count: usize, order: &mut Vec<usize>) {
    order.clear();
    order.extend(0..values.len());
    order.sort_unstable_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(count);
}

fn softmax(logits: &[f32], scores: &mut Vec<f32>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.extend(logits.iter().map(|x| (x - largest).exp()));
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(score: RouterScore, groups: usize, normalise: bool) -> Router {
        Router {
            score,
            correction_bias: false,
            groups,
            groups_used: 1,
            group_score: GroupScore::BestTwo,
            normalise,
            scale: 2.0,
        }
    }

    fn choose(router: &Router, logits: &[f32], correction: &[f32]) -> Vec<(usize, f32)> {
        let memory = &mut RouterMemory::default();
        router.choose(logits, correction, 2, memory).collect()
    }

    #[test]
    fn the_largest_scores_are_chosen_and_weighed() {
        let logits = [0.0, 3.0f32.ln(), 0.0, 5.0f32.ln()];
        let found = choose(&router(RouterScore::Softmax, 1, false), &logits, &[]);
        assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 3]);
        assert!((found[0].1 - 0.6).abs() < 1e-6 && (found[1].1 - 1.0).abs() < 1e-6);
        let found = choose(&router(RouterScore::Softmax, 1, true), &logits, &[]);
        assert!((found[0].1 - 0.75).abs() < 1e-6 && (found[1].1 - 1.25).abs() < 1e-6);
    }

    /// The second group has the best pair, though the first has the best expert.
    #[test]
    fn groups_are_judged_by_their_best_two() {
        let logits = [9.0, -9.0, -9.0, 1.0, 2.0, 3.0];
        let found = choose(&router(RouterScore::Sigmoid, 2, false), &logits, &[]);
        assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn a_correction_changes_the_choice_and_not_the_weight() {
        let router = router(RouterScore::Sigmoid, 1, false);
        let found = choose(&router, &[0.0, 0.0, 0.0, 0.0], &[0.0, 0.1, 0.0, 0.2]);
        assert_eq!(found, [(1, 1.0), (3, 1.0)]);
        // The first of equals.
        let found = choose(&router, &[0.0, 0.0, 0.0, 0.0], &[]);
        assert_eq!(found, [(0, 1.0), (1, 1.0)]);
    }
}
