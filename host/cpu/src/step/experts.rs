//! A layer's second half where experts are: each token's choice, visits ordered by expert, and their sum.
//!
//! A token's result is that of the network all tokens pass, or 0, and then its experts' in ascending order, each times
//! its weight. So company changes nothing: not who visits the same expert, nor where a visit's row stands.

use super::{Step, Worker, grouping::by_item, network::Passing};
use crate::{
    barrier::Abandoned, buffers::Choice, decoder::ExpertsWeights, norm::add_scaled, step::QUANTIZED,
};

impl Worker<'_> {
    /// Experts of all tokens, into `delta`.
    pub(super) fn visit_experts(
        &mut self,
        index: usize,
        weights: &ExpertsWeights,
    ) -> Result<(), Abandoned> {
        let step = self.step;
        let buffers = &step.buffers.experts;
        let x = step.buffers.outer.rows(step.hidden());
        self.multiply(&[&weights.logits], x, &buffers.logits)?;
        self.choose_experts(index, weights)?;
        if let Some(shared) = &weights.shared {
            self.network(shared)?;
        }
        let choices = 0..self.rows() * weights.used;
        // SAFETY: the choices of this layer are made, and from here on only read.
        let choices = unsafe { buffers.choices[index].slice(choices) };
        // Everyone for himself: that takes less time than waiting for one who does it for all.
        self.scratch.grouping.fill(weights.count(), choices);
        let grouped = buffers.outer.rows(step.hidden());
        self.phase(choices.len(), |worker, visits| {
            for visit in visits {
                let place = worker.scratch.grouping.places()[visit];
                // SAFETY: every visit has a row of its own, and `x` is only read.
                unsafe { grouped.copy_row(place, x, visit / weights.used) };
            }
        })?;
        self.gate_visits(weights)?;
        self.finish_visits(weights)?;
        self.sum_visits(weights, choices)
    }

    fn choose_experts(&mut self, index: usize, weights: &ExpertsWeights) -> Result<(), Abandoned> {
        let step = self.step;
        let buffers = &step.buffers.experts;
        let ExpertsWeights {
            used,
            router,
            correction,
            ..
        } = weights;
        self.phase(self.rows(), |worker, tokens| {
            for token in tokens {
                // SAFETY: the logits are computed, and a token's choices belong to whoever took the token.
                let (logits, choices) = unsafe {
                    (
                        buffers.logits.slice(Step::row(token, weights.count())),
                        buffers.choices[index].slice_mut(Step::row(token, *used)),
                    )
                };
                let memory = &mut worker.scratch.router;
                let chosen = router.choose(logits, correction, *used, memory);
                for (choice, (expert, weight)) in choices.iter_mut().zip(chosen) {
                    *choice = Choice {
                        expert: expert as u32,
                        weight,
                    };
                }
            }
        })
    }

    /// Gate and up of every visit.
    fn gate_visits(&mut self, weights: &ExpertsWeights) -> Result<(), Abandoned> {
        let step = self.step;
        let buffers = &step.buffers.experts;
        let blocks = weights.inner.div_ceil(QUANTIZED);
        let visited = self.scratch.grouping.visited().len();
        self.phase(visited * blocks, |worker, pieces| {
            for (item, blocks) in by_item(pieces, blocks) {
                let grouping = &worker.scratch.grouping;
                let expert = grouping.visited()[item];
                let passing = Passing {
                    gate: (&weights.gate.matrices[expert], &[]),
                    up: (&weights.up.matrices[expert], &[]),
                    activation: weights.activation,
                    width: weights.inner,
                    x: buffers.outer.rows(step.hidden()),
                    rows: grouping.rows(expert),
                    to: buffers.inner.rows(weights.inner),
                };
                worker.pass_gate(&passing, blocks);
            }
        })
    }

    /// The last projection of every visit.
    fn finish_visits(&mut self, weights: &ExpertsWeights) -> Result<(), Abandoned> {
        let step = self.step;
        let buffers = &step.buffers.experts;
        let hidden = step.hidden();
        let (x, tiles) = (buffers.inner.rows(weights.inner), weights.down.tiles());
        let visited = self.scratch.grouping.visited().len();
        self.phase(visited * tiles, |worker, pieces| {
            let grouping = &worker.scratch.grouping;
            for (item, tiles) in by_item(pieces, tiles) {
                let expert = grouping.visited()[item];
                let rows = grouping.rows(expert);
                let out = buffers
                    .results
                    .pointer(rows.start * hidden..rows.end * hidden);
                let matrix = &weights.down.matrices[expert];
                // SAFETY: `out` has the expert's rows of `hidden` columns, and the tiles of a phase are taken once.
                unsafe { matrix.multiply_rows(x, rows, tiles, out, hidden) };
            }
        })
    }

    /// What the visits of each token say, into `delta`.
    fn sum_visits(
        &mut self,
        weights: &ExpertsWeights,
        choices: &[Choice],
    ) -> Result<(), Abandoned> {
        let step = self.step;
        let buffers = &step.buffers.experts;
        let hidden = step.hidden();
        self.phase(self.rows(), |worker, tokens| {
            let places = worker.scratch.grouping.places();
            for token in tokens {
                // SAFETY: in this phase a token's row of `delta` belongs to whoever took the token.
                let sum = unsafe { step.buffers.delta.slice_mut(Step::row(token, hidden)) };
                let choices = &choices[Step::row(token, weights.used)];
                if weights.shared.is_none() {
                    sum.fill(0.0);
                }
                for (choice, &place) in choices.iter().zip(&places[token * weights.used..]) {
                    // SAFETY: all results are there, and only read.
                    let result = unsafe { buffers.results.slice(Step::row(place, hidden)) };
                    add_scaled(step.simd, sum, result, choice.weight);
                }
            }
        })
    }
}
