//! A layer's second half: one gated network, or experts behind a router.

use candle_core::{D, Result, Tensor};

use crate::{
    description::{Activation, Experts, FeedForward, GatedNetwork, Router},
    error::ModelError,
    names::{self, GatedParts, Place},
    router::RouterMemory,
    weights::{Linear, Weights},
};

/// A layer's weights.
#[derive(Debug)]
pub(super) enum FeedForwardWeights {
    Dense(Gated),
    Experts(Mixture),
}

/// `down(activation(gate(x)) * up(x))`.
#[derive(Debug)]
pub(super) struct Gated {
    input: GateAndUp,
    down: Linear,
    activation: Activation,
}

#[derive(Debug)]
enum GateAndUp {
    Separate { gate: Linear, up: Linear },
    Fused { both: Linear, inner: usize },
}

/// Experts, and who sends tokens to them.
#[derive(Debug)]
pub(super) struct Mixture {
    router: Router,
    used: usize,
    logits: Linear,
    /// Empty without one.
    correction: Vec<f32>,
    experts: Vec<Gated>,
    shared: Option<Gated>,
}

impl FeedForwardWeights {
    pub(super) fn load(
        layer: usize,
        description: &FeedForward,
        hidden: usize,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, ModelError> {
        match description {
            FeedForward::Dense(network) => {
                Gated::load(layer, names::DENSE, network, hidden, weights).map(Self::Dense)
            }
            FeedForward::Experts(experts) => {
                Mixture::load(layer, experts, hidden, weights).map(Self::Experts)
            }
        }
    }

    /// `(tokens, hidden)` to `(tokens, hidden)`.
    pub(super) fn forward(&self, normed: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(network) => network.forward(normed),
            Self::Experts(mixture) => mixture.forward(normed),
        }
    }
}

impl Gated {
    fn load(
        layer: usize,
        parts: GatedParts,
        network: &GatedNetwork,
        hidden: usize,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, ModelError> {
        let GatedNetwork { inner, bias, .. } = *network;
        let mut linear = |part, shape| weights.linear(Place::Layer(layer), part, shape, bias);
        let input = if network.fused_gate_up {
            let both = linear(names::FUSED_GATE_UP, (2 * inner, hidden))?;
            GateAndUp::Fused { both, inner }
        } else {
            GateAndUp::Separate {
                gate: linear(parts.gate, (inner, hidden))?,
                up: linear(parts.up, (inner, hidden))?,
            }
        };
        Ok(Self {
            input,
            down: linear(parts.down, (hidden, inner))?,
            activation: network.activation,
        })
    }

    fn forward(&self, normed: &Tensor) -> Result<Tensor> {
        let (gate, up) = match &self.input {
            GateAndUp::Separate { gate, up } => (gate.forward(normed)?, up.forward(normed)?),
            GateAndUp::Fused { both, inner } => {
                let both = both.forward(normed)?;
                let part = |first| both.narrow(D::Minus1, first, *inner)?.contiguous();
                (part(0)?, part(*inner)?)
            }
        };
        let gate = match self.activation {
            Activation::Silu => gate.silu()?,
            Activation::Gelu => gate.gelu_erf()?,
            Activation::GeluTanh => gate.gelu()?,
        };
        self.down.forward(&(gate * up)?)
    }
}

impl Mixture {
    fn load(
        layer: usize,
        description: &Experts,
        hidden: usize,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, ModelError> {
        let Experts {
            count,
            inner,
            activation,
            ..
        } = *description;
        let logits = weights.linear(Place::Layer(layer), names::ROUTER, (count, hidden), false)?;
        let correction = if description.router.correction_bias {
            weights.router_correction(layer, count)?
        } else {
            Vec::new()
        };
        let mut matrices = |part, shape| weights.experts(layer, part, count, shape);
        let gates = matrices(names::EXPERTS.gate, (inner, hidden))?;
        let ups = matrices(names::EXPERTS.up, (inner, hidden))?;
        let downs = matrices(names::EXPERTS.down, (hidden, inner))?;
        let experts = gates
            .into_iter()
            .zip(ups)
            .zip(downs)
            .map(|((gate, up), down)| Gated {
                input: GateAndUp::Separate { gate, up },
                down,
                activation,
            })
            .collect();
        let shared = description.shared_inner.map(|inner| {
            let network = GatedNetwork {
                inner,
                activation,
                bias: false,
                fused_gate_up: false,
            };
            Gated::load(layer, names::SHARED_EXPERT, &network, hidden, weights)
        });
        Ok(Self {
            router: description.router.clone(),
            used: description.used,
            logits,
            correction,
            experts,
            shared: shared.transpose()?,
        })
    }

    fn forward(&self, normed: &Tensor) -> Result<Tensor> {
        let mut visits: Vec<Vec<(u32, f32)>> = vec![Vec::new(); self.experts.len()];
        let mut memory = RouterMemory::default();
        let (correction, used) = (&self.correction, self.used);
        for (token, logits) in self.logits.forward(normed)?.to_vec2()?.iter().enumerate() {
            let chosen = self.router.choose(logits, correction, used, &mut memory);
            for (expert, weight) in chosen {
                visits[expert].push((token as u32, weight));
            }
        }
        let mut sum = match &self.shared {
            Some(shared) => shared.forward(normed)?,
            None => normed.zeros_like()?,
        };
        // Experts in their order: a token's sum does not depend on the tokens beside it.
        for (expert, visits) in self.experts.iter().zip(&visits) {
            if visits.is_empty() {
                continue;
            }
            let (tokens, weights): (Vec<u32>, Vec<f32>) = visits.iter().copied().unzip();
            let tokens = Tensor::new(tokens, normed.device())?;
            let weights = Tensor::new(weights, normed.device())?.unsqueeze(1)?;
            let output = expert.forward(&normed.index_select(&tokens, 0)?)?;
            sum = sum.index_add(&tokens, &output.broadcast_mul(&weights)?, 0)?;
        }
        Ok(sum)
    }
}
