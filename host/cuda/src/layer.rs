//! One layer: attention and a gated network, each behind a norm.

use candle_core::{Result, Tensor};
use weir_model::{
    Activation, Attention, FeedForward, KvSlabs, LayerDescription, ModelError,
    names::{self, Place},
};

use crate::{
    collective::Collective,
    heads::Heads,
    kernels::Kernels,
    loader::{Linear, Loaded, Loader, Norm},
    step::Step,
};

/// A layer's weights.
#[derive(Debug)]
pub(crate) struct Layer {
    attention_norm: Norm,
    projection: Linear,
    heads: Heads,
    output: Linear,
    post_attention_norm: Option<Norm>,
    network_norm: Norm,
    gate_and_up: Linear,
    activation: Activation,
    down: Linear,
    post_network_norm: Option<Norm>,
}

/// What of a layer is not computed here; None for a layer that is.
pub(crate) fn lacking(layer: &LayerDescription) -> Option<&'static str> {
    match (&layer.attention, &layer.feed_forward) {
        (Attention::Latent(_), _) => Some("latent attention"),
        (_, FeedForward::Experts(_)) => Some("experts"),
        (Attention::Grouped(_), FeedForward::Dense(_)) => None,
    }
}

impl Layer {
    /// Of a layer that lacks nothing.
    pub(crate) fn load(index: usize, loader: &mut Loader<'_>) -> Loaded<Self> {
        let layer = &loader.description.layers[index];
        let (Attention::Grouped(attention), FeedForward::Dense(network)) =
            (&layer.attention, &layer.feed_forward)
        else {
            let reason = format!("layer {index} is of a kind that the GPU runner lacks");
            return Err(ModelError::InvalidOptions(reason));
        };
        let place = Place::Layer(index);
        let attention_norm = loader.norm(place, names::ATTENTION_NORM)?;
        let (projection, heads) = loader.projection(place, attention)?;
        let queries = attention.heads * attention.head_dim;
        let output = loader.linear(
            place,
            names::ATTENTION_OUTPUT,
            (loader.description.hidden, queries),
            attention.output_bias,
        )?;
        let (post_attention_norm, network_norm, post_network_norm) = if layer.post_norms {
            (
                Some(loader.norm(place, names::POST_ATTENTION_NORM)?),
                loader.norm(place, names::PRE_FEED_FORWARD_NORM)?,
                Some(loader.norm(place, names::POST_FEED_FORWARD_NORM)?),
            )
        } else {
            (None, loader.norm(place, names::FEED_FORWARD_NORM)?, None)
        };
        let (gate_and_up, down) = loader.gated(place, network)?;
        Ok(Self {
            attention_norm,
            projection,
            heads,
            output,
            post_attention_norm,
            network_norm,
            gate_and_up,
            activation: network.activation,
            down,
            post_network_norm,
        })
    }

    /// Queries, keys and values of the step's tokens, the latter two stored.
    pub(crate) fn project(
        &self,
        index: usize,
        hidden: &Tensor,
        step: &Step<'_>,
        slabs: &KvSlabs,
        kernels: &dyn Kernels,
    ) -> Result<Tensor> {
        let normed = self.attention_norm.forward(hidden)?;
        let projected = self.projection.forward(&normed)?;
        let projected = kernels.turn(projected, &self.heads, step)?;
        kernels.store(&projected, &self.heads, slabs, index, step)?;
        Ok(projected)
    }

    /// What the step's queries find: `(tokens, heads * dim)`.
    pub(crate) fn attend(
        &self,
        index: usize,
        projected: &Tensor,
        step: &Step<'_>,
        slabs: &KvSlabs,
        kernels: &dyn Kernels,
    ) -> Result<Tensor> {
        kernels.attend(projected, &self.heads, slabs, index, step)
    }

    /// What was found, on its way to the residual stream.
    pub(crate) fn bring_back(&self, mixed: &Tensor, collective: &dyn Collective) -> Result<Tensor> {
        let attended = collective.sum(self.output.forward(mixed)?)?;
        normed_by(self.post_attention_norm.as_ref(), attended)
    }

    /// The network, before it is added to the residual stream.
    pub(crate) fn feed_forward(
        &self,
        hidden: &Tensor,
        kernels: &dyn Kernels,
        collective: &dyn Collective,
    ) -> Result<Tensor> {
        let normed = self.network_norm.forward(hidden)?;
        let both = self.gate_and_up.forward(&normed)?;
        let gated = kernels.gate(&both, self.activation)?;
        let fed = collective.sum(self.down.forward(&gated)?)?;
        normed_by(self.post_network_norm.as_ref(), fed)
    }
}

fn normed_by(norm: Option<&Norm>, hidden: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&hidden),
        None => Ok(hidden),
    }
}
