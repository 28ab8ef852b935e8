//! The weights of a mixture of experts: a router, the experts' matrices one by one, and the network all tokens pass.

use weir_model::{
    Activation, Experts, GatedNetwork, ModelError, Router,
    names::{self, Place},
};

use super::{Linear, NetworkWeights, Stack};
use crate::loading::Loader;

/// A layer's second half.
pub(crate) struct ExpertsWeights {
    /// Experts a token visits.
    pub(crate) used: usize,
    /// Each expert's width between up and down.
    pub(crate) inner: usize,
    pub(crate) activation: Activation,
    pub(crate) router: Router,
    /// To the router's logits. Files keep it in f32, so its activations are not rounded.
    pub(crate) logits: Linear,
    /// Of each expert's score for the choice; empty for none.
    pub(crate) correction: Vec<f32>,
    pub(crate) gate: Stack,
    pub(crate) up: Stack,
    pub(crate) down: Stack,
    pub(crate) shared: Option<NetworkWeights>,
}

impl ExpertsWeights {
    /// How many experts there are.
    pub(crate) fn count(&self) -> usize {
        self.gate.matrices.len()
    }

    pub(super) fn load(
        loader: &Loader<'_>,
        hidden: usize,
        layer: usize,
        experts: &Experts,
    ) -> Result<Self, ModelError> {
        let place = Place::Layer(layer);
        let Experts {
            count,
            used,
            inner,
            activation,
            ..
        } = *experts;
        let stack = |part, shape| loader.stack(place, part, count, shape);
        let shared = experts.shared_inner.map(|inner| {
            let network = GatedNetwork {
                inner,
                activation,
                bias: false,
                fused_gate_up: false,
            };
            NetworkWeights::load(loader, hidden, place, names::SHARED_EXPERT, &network)
        });
        Ok(Self {
            used,
            inner,
            activation,
            router: experts.router.clone(),
            logits: loader.linear(place, names::ROUTER, count, hidden, false)?,
            correction: match experts.router.correction_bias {
                true => loader.router_correction(layer, count)?,
                false => Vec::new(),
            },
            gate: stack(names::EXPERTS.gate, (inner, hidden))?,
            up: stack(names::EXPERTS.up, (inner, hidden))?,
            down: stack(names::EXPERTS.down, (hidden, inner))?,
            shared: shared.transpose()?,
        })
    }
}
