//! What experts need beside: who visits whom, and a row a visit on its way through its expert.

use super::Activations;
use crate::{decoder::ExpertsWeights, shared::Shared};

/// One expert of a token.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Choice {
    pub(crate) expert: u32,
    /// Of its result.
    pub(crate) weight: f32,
}

/// Rows of visits stand expert by expert.
#[derive(Default)]
pub(crate) struct ExpertBuffers {
    /// The router's: a row a token.
    pub(crate) logits: Shared<f32>,
    /// Of each layer, what each token chose, by expert. Not one for all layers: a worker that is late reads what is over.
    pub(crate) choices: Vec<Shared<Choice>>,
    /// What the experts read: a row a visit.
    pub(crate) outer: Activations,
    /// What their last projections read: a row a visit.
    pub(crate) inner: Activations,
    /// What they say: a row a visit.
    pub(crate) results: Shared<f32>,
}

impl ExpertBuffers {
    /// Makes room for a layer's.
    pub(super) fn add(&mut self, layer: usize, weights: &ExpertsWeights, tokens: usize) {
        let visits = tokens * weights.used;
        self.logits.grow(tokens * weights.count());
        if self.choices.len() <= layer {
            self.choices.resize_with(layer + 1, Shared::default);
        }
        self.choices[layer].grow(visits);
        self.outer.add_stack(&weights.gate);
        self.outer.add_stack(&weights.up);
        self.inner.add_stack(&weights.down);
        self.outer.grow(visits);
        self.inner.grow(visits);
        self.results.grow(visits * weights.down.matrices[0].rows());
    }
}
