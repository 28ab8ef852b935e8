//! The one decoder: embedding, layers of attention and gated feed-forward with RMSNorm before each, and the head.
//!
//! What differs between models is in [`ModelDescription`]. All rows' new tokens go through the matrices together;
//! only attention looks at rows one by one. The decoder keeps no state between steps: KV lives in the slabs.

use std::sync::Arc;

use candle_core::{
    Device, IndexOp, Module, Tensor,
    quantized::{QMatMul, QTensor},
};
use weir_engine::Batch;

use crate::{
    attention::attend,
    description::ModelDescription,
    error::ModelError,
    kv_slabs::{KvPages, KvSlabs},
    rope::{Rope, RopeAngles},
    weights::Weights,
};

/// A decoder with its weights.
#[derive(Debug)]
pub(crate) struct Decoder {
    description: ModelDescription,
    rope: Rope,
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    output_norm: Tensor,
    output: QMatMul,
    device: Device,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Tensor,
    query: QMatMul,
    key: QMatMul,
    value: QMatMul,
    attention_output: QMatMul,
    ffn_norm: Tensor,
    gate: QMatMul,
    up: QMatMul,
    down: QMatMul,
}

/// What all layers of one step share.
struct Step<'a> {
    batch: &'a Batch,
    angles: RopeAngles,
    pages: Vec<KvPages>,
    slabs: &'a KvSlabs,
}

impl Decoder {
    /// Loads every tensor the description asks for.
    pub(crate) fn load(
        description: ModelDescription,
        mut weights: Weights<'_>,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let (vocab, hidden) = (description.vocab, description.hidden);
        let embedding = Arc::new(weights.matrix("token_embd.weight", vocab, hidden)?);
        let factors = weights.optional_vector("rope_freqs.weight", description.rope.dims / 2)?;
        let layers = (0..description.layers)
            .map(|index| Layer::load(index, &description, &mut weights))
            .collect::<Result<Vec<_>, _>>()?;
        let output_norm = weights.vector("output_norm.weight", hidden)?;
        let output = if description.tied_embeddings {
            weights.multiplier(&embedding)?
        } else {
            weights.linear("output.weight", vocab, hidden)?
        };
        weights.finish(&description.architecture)?;
        let rope = Rope::new(&description.rope, factors.as_deref());
        Ok(Self {
            description,
            rope,
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
    pub(crate) fn forward(
        &self,
        batch: &Batch,
        slabs: &KvSlabs,
    ) -> candle_core::Result<Option<Tensor>> {
        let positions: Vec<usize> = batch
            .rows
            .iter()
            .flat_map(|row| row.context_len..row.context_len + row.len)
            .collect();
        let step = Step {
            batch,
            angles: self.rope.angles(&positions, &self.device)?,
            pages: batch
                .rows
                .iter()
                .map(|row| slabs.pages(row, &self.device))
                .collect::<candle_core::Result<_>>()?,
            slabs,
        };
        let tokens = Tensor::new(batch.tokens.as_slice(), &self.device)?;
        let mut hidden = self.embedding.embedding(&tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            hidden = (&hidden + self.attention(layer, index, &hidden, &step)?)?;
            hidden = (&hidden + self.feed_forward(layer, &hidden)?)?;
        }
        let wanted = last_tokens_of_wanting_rows(batch);
        if wanted.is_empty() {
            return Ok(None);
        }
        // The head is the largest matrix of a small model: it sees only the tokens somebody samples from.
        let hidden = hidden.index_select(&Tensor::new(wanted.as_slice(), &self.device)?, 0)?;
        self.output
            .forward(&self.norm(&hidden, &self.output_norm)?)
            .map(Some)
    }

    /// The attention half of a layer, before it is added to the residual stream.
    fn attention(
        &self,
        layer: &Layer,
        index: usize,
        hidden: &Tensor,
        step: &Step<'_>,
    ) -> candle_core::Result<Tensor> {
        let ModelDescription {
            heads,
            kv_heads,
            head_dim,
            ..
        } = self.description;
        let tokens = step.batch.tokens.len();
        let normed = self.norm(hidden, &layer.attention_norm)?;
        let query = layer
            .query
            .forward(&normed)?
            .reshape((tokens, heads, head_dim))?;
        let key = layer
            .key
            .forward(&normed)?
            .reshape((tokens, kv_heads, head_dim))?;
        let value = layer
            .value
            .forward(&normed)?
            .reshape((tokens, kv_heads, head_dim))?;
        let query = self.rope.turn(&query, &step.angles)?;
        let key = self.rope.turn(&key, &step.angles)?;

        let mut mixed = Vec::with_capacity(step.batch.rows.len());
        let mut start = 0;
        for (row, pages) in step.batch.rows.iter().zip(&step.pages) {
            let range = start..start + row.len;
            step.slabs
                .write(index, row, &key.i(range.clone())?, &value.i(range.clone())?)?;
            let (keys, values) = step.slabs.gather(index, pages)?;
            mixed.push(attend(&query.i(range)?, &keys, &values)?);
            start += row.len;
        }
        layer.attention_output.forward(&Tensor::cat(&mixed, 0)?)
    }

    /// The feed-forward half: down(silu(gate(x)) * up(x)), before it is added to the residual stream.
    fn feed_forward(&self, layer: &Layer, hidden: &Tensor) -> candle_core::Result<Tensor> {
        let normed = self.norm(hidden, &layer.ffn_norm)?;
        let gated = (layer.gate.forward(&normed)?.silu()? * layer.up.forward(&normed)?)?;
        layer.down.forward(&gated)
    }

    fn norm(&self, hidden: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
        candle_nn::ops::rms_norm(hidden, weight, self.description.norm_eps)
    }
}

impl Layer {
    fn load(
        index: usize,
        description: &ModelDescription,
        weights: &mut Weights<'_>,
    ) -> Result<Self, ModelError> {
        let ModelDescription {
            hidden,
            ffn,
            heads,
            kv_heads,
            head_dim,
            ..
        } = *description;
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        Ok(Self {
            attention_norm: weights.vector(&name("attn_norm"), hidden)?,
            query: weights.linear(&name("attn_q"), heads * head_dim, hidden)?,
            key: weights.linear(&name("attn_k"), kv_heads * head_dim, hidden)?,
            value: weights.linear(&name("attn_v"), kv_heads * head_dim, hidden)?,
            attention_output: weights.linear(&name("attn_output"), hidden, heads * head_dim)?,
            ffn_norm: weights.vector(&name("ffn_norm"), hidden)?,
            gate: weights.linear(&name("ffn_gate"), ffn, hidden)?,
            up: weights.linear(&name("ffn_up"), ffn, hidden)?,
            down: weights.linear(&name("ffn_down"), hidden, ffn)?,
        })
    }
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
