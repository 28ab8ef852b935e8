//! The one decoder: embedding, layers of attention and feed-forward with RMSNorm before each, and the head.
//!
//! What differs between models is in [`ModelDescription`]. All rows' new tokens go through the matrices together;
//! only attention looks at rows one by one. The decoder keeps no state between steps: KV lives in the slabs.

mod feed_forward;
mod grouped;
mod latent;

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, quantized::QTensor};
use weir_engine::Batch;

use crate::{
    description::{Attention, LayerDescription, ModelDescription},
    error::ModelError,
    kv_slabs::{KvPages, KvSlabs},
    names::{self, Place},
    rope::{Rope, RopeAngles},
    weights::{Linear, Norm, Weights},
};
use feed_forward::FeedForwardWeights;
use grouped::GroupedWeights;
use latent::LatentWeights;

/// A decoder with its weights.
#[derive(Debug)]
pub(crate) struct Decoder {
    description: ModelDescription,
    ropes: Vec<Rope>,
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    output_norm: Norm,
    output: Linear,
    device: Device,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Norm,
    attention: AttentionWeights,
    post_attention_norm: Option<Norm>,
    feed_forward_norm: Norm,
    feed_forward: FeedForwardWeights,
    post_feed_forward_norm: Option<Norm>,
}

#[derive(Debug)]
enum AttentionWeights {
    Grouped(GroupedWeights),
    Latent(LatentWeights),
}

/// What all layers of one step share.
struct Step<'a> {
    batch: &'a Batch,
    ropes: &'a [Rope],
    /// One for each of `ropes`.
    angles: Vec<RopeAngles>,
    pages: Vec<KvPages>,
    slabs: &'a KvSlabs,
}

impl Decoder {
    /// Loads every tensor the description asks for, for sequences of up to `max_model_len` tokens.
    pub(crate) fn load(
        description: ModelDescription,
        max_model_len: usize,
        mut weights: Weights<'_>,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let (vocab, hidden) = (description.vocab, description.hidden);
        let embedding = weights.embedding(vocab, hidden)?;
        let layers = (0..description.layers.len())
            .map(|index| Layer::load(index, &description, &mut weights))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let (eps, offset) = (description.norm_eps, description.norm_offset);
        let output_norm = weights.norm(Place::Model, names::OUTPUT_NORM, hidden, eps, offset)?;
        let output = if description.tied_embeddings {
            weights.check_second_head(&embedding)?;
            weights.multiplier(&embedding)?
        } else {
            weights.linear(Place::Model, names::OUTPUT, (vocab, hidden), false)?
        };
        weights.finish(&description)?;
        let ropes = description
            .ropes
            .iter()
            .map(|rope| Rope::new(rope, max_model_len))
            .collect();
        Ok(Self {
            description,
            ropes,
            embedding,
            layers,
            output_norm,
            output,
            device: device.clone(),
        })
    }

    pub(crate) fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// Writes K and V of the batch's tokens into the slabs and returns the logits of the rows that want them,
    /// `(rows, vocab)`; None when no row does.
    pub(crate) fn forward(&self, batch: &Batch, slabs: &KvSlabs) -> Result<Option<Tensor>> {
        // The head is the largest matrix of a small model: it sees only the tokens somebody samples from.
        let wanted = last_tokens_of_wanting_rows(batch);
        let Some(hidden) = self.hidden_states(batch, slabs, &wanted)? else {
            return Ok(None);
        };
        let logits = scaled(self.output.forward(&hidden)?, self.description.logit_scale)?;
        match self.description.logit_softcap.map(f64::from) {
            Some(cap) => ((logits / cap)?.tanh()? * cap).map(Some),
            None => Ok(Some(logits)),
        }
    }

    /// The same, but the hidden states of all tokens of those rows, `(tokens, hidden)`.
    pub(crate) fn forward_hidden(&self, batch: &Batch, slabs: &KvSlabs) -> Result<Option<Tensor>> {
        self.hidden_states(batch, slabs, &tokens_of_wanting_rows(batch))
    }

    /// Writes K and V of the batch's tokens into the slabs and returns what the last norm makes of the tokens at these
    /// indices, `(wanted, hidden)`; None for no index.
    fn hidden_states(
        &self,
        batch: &Batch,
        slabs: &KvSlabs,
        wanted: &[u32],
    ) -> Result<Option<Tensor>> {
        let positions: Vec<usize> = batch
            .rows
            .iter()
            .flat_map(|row| row.context_len..row.context_len + row.len)
            .collect();
        let step = Step {
            batch,
            ropes: &self.ropes,
            angles: self
                .ropes
                .iter()
                .map(|rope| rope.angles(&positions, &self.device))
                .collect::<Result<_>>()?,
            pages: batch.rows.iter().map(|row| slabs.pages(row)).collect(),
            slabs,
        };
        let tokens = Tensor::new(batch.tokens.as_slice(), &self.device)?;
        let embedded = with_given(self.embedding.embedding(&tokens)?, batch)?;
        let mut hidden = scaled(embedded, self.description.embedding_scale)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let residual_scale = self.description.residual_scale;
            let added = layer.attend(index, &hidden, &step)?;
            hidden = (&hidden + scaled(added, residual_scale)?)?;
            let added = layer.feed_forward(&hidden)?;
            hidden = (&hidden + scaled(added, residual_scale)?)?;
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let hidden = hidden.index_select(&Tensor::new(wanted, &self.device)?, 0)?;
        self.output_norm.forward(&hidden).map(Some)
    }
}

impl Layer {
    fn load(
        index: usize,
        description: &ModelDescription,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, ModelError> {
        let LayerDescription {
            attention,
            feed_forward,
            post_norms,
        } = &description.layers[index];
        let place = Place::Layer(index);
        let mut norm = |part| {
            let ModelDescription {
                hidden,
                norm_eps,
                norm_offset,
                ..
            } = *description;
            weights.norm(place, part, hidden, norm_eps, norm_offset)
        };
        let attention_norm = norm(names::ATTENTION_NORM)?;
        let (post_attention_norm, feed_forward_norm, post_feed_forward_norm) = if *post_norms {
            (
                Some(norm(names::POST_ATTENTION_NORM)?),
                norm(names::PRE_FEED_FORWARD_NORM)?,
                Some(norm(names::POST_FEED_FORWARD_NORM)?),
            )
        } else {
            (None, norm(names::FEED_FORWARD_NORM)?, None)
        };
        let attention = match attention {
            Attention::Grouped(grouped) => AttentionWeights::Grouped(GroupedWeights::load(
                index,
                grouped,
                description,
                weights,
            )?),
            Attention::Latent(latent) => AttentionWeights::Latent(LatentWeights::load(
                index,
                latent,
                description.hidden,
                weights,
            )?),
        };
        let feed_forward =
            FeedForwardWeights::load(index, feed_forward, description.hidden, weights)?;
        Ok(Self {
            attention_norm,
            attention,
            post_attention_norm,
            feed_forward_norm,
            feed_forward,
            post_feed_forward_norm,
        })
    }

    /// The attention half, before it is added to the residual stream.
    fn attend(&self, index: usize, hidden: &Tensor, step: &Step<'_>) -> Result<Tensor> {
        let normed = self.attention_norm.forward(hidden)?;
        let attended = match &self.attention {
            AttentionWeights::Grouped(weights) => weights.forward(index, &normed, step)?,
            AttentionWeights::Latent(weights) => weights.forward(index, &normed, step)?,
        };
        normed_by(self.post_attention_norm.as_ref(), attended)
    }

    /// The feed-forward half, before it is added to the residual stream.
    fn feed_forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let normed = self.feed_forward_norm.forward(hidden)?;
        let fed = self.feed_forward.forward(&normed)?;
        normed_by(self.post_feed_forward_norm.as_ref(), fed)
    }
}

fn normed_by(norm: Option<&Norm>, hidden: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&hidden),
        None => Ok(hidden),
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

/// The tokens' embeddings, with those that came with a request in place of the table's.
fn with_given(embedded: Tensor, batch: &Batch) -> Result<Tensor> {
    if batch.embedded.is_empty() {
        return Ok(embedded);
    }
    let (shape, device) = (embedded.dims2()?, embedded.device().clone());
    let mut numbers = embedded.flatten_all()?.to_vec1::<f32>()?;
    for (token, row) in numbers.chunks_exact_mut(shape.1).enumerate() {
        if let Some(given) = batch.embedding(token) {
            row.copy_from_slice(given);
        }
    }
    Tensor::from_vec(numbers, shape, &device)
}

/// Indices in the batch's tokens of all tokens of the rows that want something.
fn tokens_of_wanting_rows(batch: &Batch) -> Vec<u32> {
    let mut end = 0;
    let mut wanted = Vec::with_capacity(batch.wanted_tokens());
    for row in &batch.rows {
        let start = end;
        end += row.len as u32;
        if row.wants_logits {
            wanted.extend(start..end);
        }
    }
    wanted
}

/// Index in the batch's tokens of the last token of each row that wants logits.
fn last_tokens_of_wanting_rows(batch: &Batch) -> Vec<u32> {
    let mut end = 0;
    let mut wanted = Vec::with_capacity(batch.logit_rows());
    for row in &batch.rows {
        end += row.len as u32;
        if row.wants_logits {
            wanted.push(end - 1);
        }
    }
    wanted
}
