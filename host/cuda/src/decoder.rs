//! The decoder: embedding, layers, head. It keeps nothing between steps: KV lives in the slabs.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use weir_model::{
    KvSlabs, ModelDescription,
    names::{self, Place},
};

use crate::{
    collective::Collective,
    kernels::Kernels,
    layer::Layer,
    loader::{Linear, Loaded, Loader, Norm},
    rope::RopeTable,
    step::{Step, Wanted},
    weight_source::WeightSource,
};

/// A decoder with its weights.
#[derive(Debug)]
pub(crate) struct Decoder {
    description: ModelDescription,
    /// `(vocab, hidden)`.
    embedding: Tensor,
    layers: Vec<Layer>,
    output_norm: Norm,
    output: Linear,
    kernels: Box<dyn Kernels>,
    collective: Arc<dyn Collective>,
}

impl Decoder {
    /// Loads what the description asks for, in a type on a device, for sequences of up to `max_model_len` tokens. The
    /// description is of a device's share where `collective` joins several.
    pub(crate) fn load(
        description: &ModelDescription,
        max_model_len: usize,
        source: &mut dyn WeightSource,
        dtype: DType,
        device: &Device,
        kernels: Box<dyn Kernels>,
        collective: Arc<dyn Collective>,
    ) -> Loaded<Self> {
        let table = |rope| RopeTable::new(rope, max_model_len, device);
        let ropes = description.ropes.iter().map(table);
        let ropes = ropes.collect::<Result<Vec<_>>>()?;
        let mut loader = Loader {
            source,
            description,
            ropes: &ropes,
            dtype,
            device,
        };
        let (vocab, hidden) = (description.vocab, description.hidden);
        let shape = [vocab, hidden];
        let wide = loader
            .source
            .take(Place::Model, names::EMBEDDING, "weight", &shape)?;
        if description.tied_embeddings {
            loader.source.check_second_head(&wide)?;
        }
        let embedding = loader.put(&wide)?;
        drop(wide);
        let layers = (0..description.layers.len()).map(|index| Layer::load(index, &mut loader));
        let layers = layers.collect::<Loaded<_>>()?;
        let output_norm = loader.norm(Place::Model, names::OUTPUT_NORM)?;
        let output = if description.tied_embeddings {
            Linear::of(embedding.clone())
        } else {
            loader.linear(Place::Model, names::OUTPUT, (vocab, hidden), false)?
        };
        Ok(Self {
            description: description.clone(),
            embedding,
            layers,
            output_norm,
            output,
            kernels,
            collective,
        })
    }

    pub(crate) fn description(&self) -> &ModelDescription {
        &self.description
    }

    pub(crate) fn kernels(&self) -> &dyn Kernels {
        self.kernels.as_ref()
    }

    pub(crate) fn collective(&self) -> &Arc<dyn Collective> {
        &self.collective
    }

    /// Writes K and V of the step's tokens into the slabs and returns the logits of the wanted tokens, `(wanted, vocab)` in
    /// f32; None when nothing is wanted.
    pub(crate) fn forward(&self, step: &Step<'_>, slabs: &KvSlabs) -> Result<Option<Tensor>> {
        let ModelDescription {
            logit_scale,
            logit_softcap,
            ..
        } = self.description;
        let Some(normed) = self.hidden_states(step, slabs)? else {
            return Ok(None);
        };
        let logits = self.output.forward(&normed)?.to_dtype(DType::F32)?;
        let logits = scaled(logits, logit_scale)?;
        match logit_softcap.map(f64::from) {
            Some(cap) => ((logits / cap)?.tanh()? * cap).map(Some),
            None => Ok(Some(logits)),
        }
    }

    /// The same, but what the last norm makes of the wanted tokens, `(wanted, hidden)` in f32.
    pub(crate) fn forward_hidden(
        &self,
        step: &Step<'_>,
        slabs: &KvSlabs,
    ) -> Result<Option<Tensor>> {
        let normed = self.hidden_states(step, slabs)?;
        normed.map(|normed| normed.to_dtype(DType::F32)).transpose()
    }

    /// What comes before the head: the last norm's result for the wanted tokens, `(wanted, hidden)`.
    pub(crate) fn hidden_states(&self, step: &Step<'_>, slabs: &KvSlabs) -> Result<Option<Tensor>> {
        let ModelDescription {
            embedding_scale,
            residual_scale,
            ..
        } = self.description;
        let (kernels, collective) = (self.kernels.as_ref(), self.collective.as_ref());
        let embedded = self.embedding.index_select(&step.tokens, 0)?;
        let mut hidden = scaled(embedded, embedding_scale)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let projected = layer.project(index, &hidden, step, slabs, kernels)?;
            let is_last = index + 1 == self.layers.len();
            if is_last && matches!(step.wanted, Wanted::Nothing) {
                return Ok(None);
            }
            let mut mixed = layer.attend(index, &projected, step, slabs, kernels)?;
            if is_last {
                // Nobody reads what the other tokens would become.
                mixed = step.wanted.of(mixed)?;
                hidden = step.wanted.of(hidden)?;
            }
            let attended = layer.bring_back(&mixed, collective)?;
            hidden = (hidden + scaled(attended, residual_scale)?)?;
            let fed = layer.feed_forward(&hidden, kernels, collective)?;
            hidden = (hidden + scaled(fed, residual_scale)?)?;
        }
        self.output_norm.forward(&hidden).map(Some)
    }
}

/// `tensor * factor`, without a pass over it where the factor is 1.
fn scaled(tensor: Tensor, factor: f32) -> Result<Tensor> {
    if factor == 1.0 {
        Ok(tensor)
    } else {
        tensor * f64::from(factor)
    }
}
