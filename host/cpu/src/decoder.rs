//! The decoder's weights: what [`weir_model::ModelDescription`] asks for, packed for the kernels.
//!
//! Matrices that a file holds as one (queries, keys and values; gate and up) are taken apart, so that a layer has one
//! shape whatever its family. Nothing is computed here.

use weir_model::{
    Activation, Attention, FeedForward, GatedNetwork, GroupedAttention, LayerDescription,
    ModelDescription, ModelError,
    names::{self, GatedParts, Place},
};

use crate::{loading::Loader, matrix::PackedMatrix, rope::Rope};

mod experts;
mod latent;
mod size;

pub(crate) use experts::ExpertsWeights;
pub(crate) use latent::LatentWeights;
pub use size::WeightSize;

/// A matrix, and what is added to its products; an empty bias adds nothing.
pub(crate) struct Linear {
    /// Its columns are whole blocks; what is behind those of the file is 0.
    pub(crate) matrix: PackedMatrix,
    /// Whether it multiplies f32.
    pub(crate) floats: bool,
    pub(crate) bias: Vec<f32>,
}

/// Matrices of one shape and format: one an expert, or one a head. Never empty.
pub(crate) struct Stack {
    pub(crate) matrices: Vec<PackedMatrix>,
    /// Whether they multiply f32.
    pub(crate) floats: bool,
}

/// All layers and what is around them.
pub(crate) struct Decoder {
    pub(crate) description: ModelDescription,
    pub(crate) ropes: Vec<Rope>,
    pub(crate) embedding: Linear,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Vec<f32>,
    /// None for a head that is the embedding.
    pub(crate) output: Option<Linear>,
}

/// One layer.
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) attention: AttentionWeights,
    /// Of attention's result; empty for none.
    pub(crate) post_attention_norm: Vec<f32>,
    pub(crate) network_norm: Vec<f32>,
    pub(crate) network: FeedForwardWeights,
    /// Of the network's result; empty for none.
    pub(crate) post_network_norm: Vec<f32>,
}

/// A layer's first half.
pub(crate) enum AttentionWeights {
    Grouped(GroupedWeights),
    Latent(LatentWeights),
}

/// A layer's second half.
pub(crate) enum FeedForwardWeights {
    Dense(Box<NetworkWeights>),
    Experts(Box<ExpertsWeights>),
}

/// Attention with grouped query heads.
pub(crate) struct GroupedWeights {
    pub(crate) description: GroupedAttention,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    /// Of each head of queries, and of keys; empty for none.
    pub(crate) query_norm: Vec<f32>,
    pub(crate) key_norm: Vec<f32>,
    pub(crate) output: Linear,
}

/// A gated network.
pub(crate) struct NetworkWeights {
    pub(crate) inner: usize,
    pub(crate) activation: Activation,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

impl Decoder {
    pub(crate) fn head(&self) -> &Linear {
        self.output.as_ref().unwrap_or(&self.embedding)
    }
}

impl Stack {
    /// Of matrices that have no biases.
    fn of(linears: Vec<Linear>) -> Self {
        Self {
            floats: linears.iter().any(|linear| linear.floats),
            matrices: linears.into_iter().map(|linear| linear.matrix).collect(),
        }
    }

    /// Columns of each, in whole blocks.
    pub(crate) fn columns(&self) -> usize {
        self.matrices[0].columns()
    }

    /// Tiles of each.
    pub(crate) fn tiles(&self) -> usize {
        self.matrices[0].tiles()
    }
}

impl AttentionWeights {
    /// Columns of what is projected of a token.
    pub(crate) fn projected(&self) -> usize {
        match self {
            Self::Grouped(weights) => weights.projected(),
            Self::Latent(weights) => weights.projected(),
        }
    }

    /// Of the result.
    pub(crate) fn output(&self) -> &Linear {
        match self {
            Self::Grouped(weights) => &weights.output,
            Self::Latent(weights) => &weights.output,
        }
    }
}

impl FeedForwardWeights {
    /// Added to the result; empty for none.
    pub(crate) fn bias(&self) -> &[f32] {
        match self {
            Self::Dense(weights) => &weights.down.bias,
            Self::Experts(_) => &[],
        }
    }
}

impl GroupedWeights {
    /// Columns of queries, keys and values side by side.
    pub(crate) fn projected(&self) -> usize {
        self.query.matrix.rows() + self.key.matrix.rows() + self.value.matrix.rows()
    }
}

impl Layer {
    pub(crate) fn load(
        loader: &Loader<'_>,
        model: &ModelDescription,
        index: usize,
    ) -> Result<Self, ModelError> {
        let LayerDescription {
            attention,
            feed_forward,
            post_norms,
        } = &model.layers[index];
        let place = Place::Layer(index);
        let norm = |part| loader.norm(place, part, model.hidden, model.norm_offset);
        let (post_attention_norm, network_norm, post_network_norm) = if *post_norms {
            (
                norm(names::POST_ATTENTION_NORM)?,
                norm(names::PRE_FEED_FORWARD_NORM)?,
                norm(names::POST_FEED_FORWARD_NORM)?,
            )
        } else {
            (Vec::new(), norm(names::FEED_FORWARD_NORM)?, Vec::new())
        };
        let hidden = model.hidden;
        Ok(Self {
            attention_norm: norm(names::ATTENTION_NORM)?,
            attention: match attention {
                Attention::Grouped(attention) => AttentionWeights::Grouped(GroupedWeights::load(
                    loader, model, place, attention,
                )?),
                Attention::Latent(attention) => {
                    AttentionWeights::Latent(LatentWeights::load(loader, hidden, place, attention)?)
                }
            },
            post_attention_norm,
            network_norm,
            network: match feed_forward {
                FeedForward::Dense(network) => FeedForwardWeights::Dense(Box::new(
                    NetworkWeights::load(loader, hidden, place, names::DENSE, network)?,
                )),
                FeedForward::Experts(experts) => FeedForwardWeights::Experts(Box::new(
                    ExpertsWeights::load(loader, hidden, index, experts)?,
                )),
            },
            post_network_norm,
        })
    }
}

impl GroupedWeights {
    fn load(
        loader: &Loader<'_>,
        model: &ModelDescription,
        place: Place,
        attention: &GroupedAttention,
    ) -> Result<Self, ModelError> {
        let GroupedAttention {
            heads,
            kv_heads,
            head_dim,
            qkv_bias,
            output_bias,
            ..
        } = *attention;
        let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
        let [query, key, value] = if attention.fused_qkv {
            let (part, rows) = (names::FUSED_QKV, queries + 2 * keys);
            let all = loader.stored_linear(place, part, (rows, model.hidden), qkv_bias)?;
            [
                all.rows(0..queries)?,
                all.rows(queries..queries + keys)?,
                all.rows(queries + keys..rows)?,
            ]
        } else {
            let linear = |part, rows| loader.linear(place, part, rows, model.hidden, qkv_bias);
            [
                linear(names::QUERY, queries)?,
                linear(names::KEY, keys)?,
                linear(names::VALUE, keys)?,
            ]
        };
        let norm = |part| match attention.qk_norm {
            true => loader.norm(place, part, head_dim, model.norm_offset),
            false => Ok(Vec::new()),
        };
        let part = names::ATTENTION_OUTPUT;
        Ok(Self {
            description: attention.clone(),
            query,
            key,
            value,
            query_norm: norm(names::QUERY_NORM)?,
            key_norm: norm(names::KEY_NORM)?,
            output: loader.linear(place, part, model.hidden, queries, output_bias)?,
        })
    }
}

impl NetworkWeights {
    fn load(
        loader: &Loader<'_>,
        hidden: usize,
        place: Place,
        parts: GatedParts,
        network: &GatedNetwork,
    ) -> Result<Self, ModelError> {
        let GatedNetwork {
            inner,
            activation,
            bias,
            ..
        } = *network;
        let [gate, up] = if network.fused_gate_up {
            let part = names::FUSED_GATE_UP;
            let both = loader.stored_linear(place, part, (2 * inner, hidden), bias)?;
            [both.rows(0..inner)?, both.rows(inner..2 * inner)?]
        } else {
            let linear = |part| loader.linear(place, part, inner, hidden, bias);
            [linear(parts.gate)?, linear(parts.up)?]
        };
        Ok(Self {
            inner,
            activation,
            gate,
            up,
            down: loader.linear(place, parts.down, hidden, inner, bias)?,
        })
    }
}
