//! A layer's second half: one gated network, or experts behind a router.

use candle_core::{D, Result, Tensor};

use crate::{
    description::{
        Activation, Experts, FeedForward, GatedNetwork, GroupScore, Router, RouterScore,
    },
    error::ModelError,
    names::{self, GatedParts, Place},
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
        for (token, logits) in self.logits.forward(normed)?.to_vec2()?.iter().enumerate() {
            for (expert, weight) in self.router.choose(logits, &self.correction, self.used) {
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

impl Router {
    /// The experts of one token, each with its weight, from the router's logits.
    fn choose(&self, logits: &[f32], correction: &[f32], used: usize) -> Vec<(usize, f32)> {
        let scores = match self.score {
            RouterScore::Softmax => softmax(logits),
            RouterScore::Sigmoid => logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        };
        let mut judged = scores.clone();
        for (score, correction) in judged.iter_mut().zip(correction) {
            *score += correction;
        }
        if self.groups > 1 {
            self.leave_best_groups(&mut judged);
        }
        let chosen = best(&judged, used);
        let sum: f32 = chosen.iter().map(|&expert| scores[expert]).sum();
        let factor = if self.normalise {
            // The reference adds this, lest all scores be zero.
            self.scale / (sum + 1e-20)
        } else {
            self.scale
        };
        chosen
            .into_iter()
            .map(|expert| (expert, scores[expert] * factor))
            .collect()
    }

    /// Experts outside the best groups are out of the question.
    fn leave_best_groups(&self, judged: &mut [f32]) {
        let size = judged.len() / self.groups;
        let groups: Vec<f32> = judged
            .chunks(size)
            .map(|group| {
                let counted = match self.group_score {
                    GroupScore::Best => 1,
                    GroupScore::BestTwo => 2,
                };
                best(group, counted).into_iter().map(|i| group[i]).sum()
            })
            .collect();
        let kept = best(&groups, self.groups_used);
        for (group, scores) in judged.chunks_mut(size).enumerate() {
            if !kept.contains(&group) {
                scores.fill(f32::NEG_INFINITY);
            }
        }
    }
}

/// Indices of the `count` largest values, largest first, the first of equals before the others.
fn best(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(count);
    order
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let raised: Vec<f32> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f32 = raised.iter().sum();
    raised.into_iter().map(|x| x / sum).collect()
}
