//! The decoder's weights: what [`weir_model::ModelDescription`] asks for, packed for the kernels.
//!
//! Matrices that a file holds as one (queries, keys and values; gate and up) are taken apart, so that a layer has one
//! shape whatever its family. Nothing is computed here.

use weir_model::{
    Activation, Attention, FeedForward, GatedNetwork, GroupedAttention, LayerDescription,
    ModelDescription, ModelError,
    names::{self, Place},
};

use crate::{loading::Loader, matrix::PackedMatrix, rope::Rope};

/// A matrix, and what is added to its products; an empty bias adds nothing.
pub(crate) struct Linear {
    /// Its columns are whole blocks; what is behind those of the file is 0.
    pub(crate) matrix: PackedMatrix,
    /// Whether it multiplies f32.
    pub(crate) floats: bool,
    pub(crate) bias: Vec<f32>,
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
    pub(crate) network: NetworkWeights,
    /// Of the network's result; empty for none.
    pub(crate) post_network_norm: Vec<f32>,
}

/// A layer's first half.
pub(crate) struct AttentionWeights {
    pub(crate) description: GroupedAttention,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    /// Of each head of queries, and of keys; empty for none.
    pub(crate) query_norm: Vec<f32>,
    pub(crate) key_norm: Vec<f32>,
    pub(crate) output: Linear,
}

/// A layer's second half.
pub(crate) struct NetworkWeights {
    pub(crate) inner: usize,
    pub(crate) activation: Activation,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

/// What a step reads and multiplies: all layers for every token, the head for rows whose logits are wanted. An embedding
/// that is not the head too is looked up and does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightSize {
    /// Packed bytes of all layers' matrices.
    pub layer_bytes: usize,
    /// Numbers of all layers' matrices: multiplications of a token.
    pub layer_numbers: usize,
    /// Packed bytes of the head.
    pub head_bytes: usize,
    /// Numbers of the head: multiplications of a row of logits.
    pub head_numbers: usize,
}

/// Why this runner does not compute a model, if it does not.
pub(crate) fn supports(description: &ModelDescription) -> Result<(), String> {
    for (index, layer) in description.layers.iter().enumerate() {
        let lacks = |what| {
            Err(format!(
                "layer {index} has {what}, which the CPU runner lacks"
            ))
        };
        if let Attention::Latent(_) = layer.attention {
            return lacks("latent attention");
        }
        if let FeedForward::Experts(_) = layer.feed_forward {
            return lacks("experts");
        }
    }
    Ok(())
}

impl Decoder {
    pub(crate) fn weight_size(&self) -> WeightSize {
        let bytes = |linear: &Linear| linear.matrix.bytes();
        let numbers = |linear: &Linear| linear.matrix.rows() * linear.matrix.columns();
        let layers = || self.layers.iter().flat_map(Layer::linears);
        WeightSize {
            layer_bytes: layers().map(bytes).sum(),
            layer_numbers: layers().map(numbers).sum(),
            head_bytes: bytes(self.head()),
            head_numbers: numbers(self.head()),
        }
    }

    pub(crate) fn head(&self) -> &Linear {
        self.output.as_ref().unwrap_or(&self.embedding)
    }
}

impl AttentionWeights {
    /// Columns of queries, keys and values side by side.
    pub(crate) fn projected(&self) -> usize {
        self.query.matrix.rows() + self.key.matrix.rows() + self.value.matrix.rows()
    }
}

impl Layer {
    /// Its matrices.
    fn linears(&self) -> [&Linear; 7] {
        let (attention, network) = (&self.attention, &self.network);
        let AttentionWeights {
            query,
            key,
            value,
            output,
            ..
        } = attention;
        let NetworkWeights { gate, up, down, .. } = network;
        [query, key, value, output, gate, up, down]
    }

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
        let (Attention::Grouped(attention), FeedForward::Dense(network)) =
            (attention, feed_forward)
        else {
            let reason = supports(model).err().unwrap_or_default();
            return Err(ModelError::InvalidOptions(reason));
        };
        Ok(Self {
            attention_norm: norm(names::ATTENTION_NORM)?,
            attention: AttentionWeights::load(loader, model, place, attention)?,
            post_attention_norm,
            network_norm,
            network: NetworkWeights::load(loader, model.hidden, place, network)?,
            post_network_norm,
        })
    }
}

impl AttentionWeights {
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
            [linear(names::DENSE.gate)?, linear(names::DENSE.up)?]
        };
        Ok(Self {
            inner,
            activation,
            gate,
            up,
            down: loader.linear(place, names::DENSE.down, hidden, inner, bias)?,
        })
    }
}
