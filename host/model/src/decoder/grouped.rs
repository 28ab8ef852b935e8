//! Attention with grouped query heads: projections, norms of heads, rotation, the KV slabs.

use candle_core::{D, IndexOp, Result, Tensor};

use super::Step;
use crate::{
    attention::{Scores, attend},
    description::{GroupedAttention, ModelDescription},
    error::ModelError,
    names::{self, Place},
    weights::{Linear, Norm, Weights},
};

/// The planes of a block.
const KEYS: usize = 0;
const VALUES: usize = 1;

/// A layer's weights.
#[derive(Debug)]
pub(super) struct GroupedWeights {
    description: GroupedAttention,
    projection: Projection,
    query_and_key_norm: Option<(Norm, Norm)>,
    output: Linear,
}

#[derive(Debug)]
enum Projection {
    Separate {
        query: Linear,
        key: Linear,
        value: Linear,
    },
    Fused(Linear),
}

impl GroupedWeights {
    pub(super) fn load(
        layer: usize,
        attention: &GroupedAttention,
        model: &ModelDescription,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, ModelError> {
        let GroupedAttention {
            heads,
            kv_heads,
            head_dim,
            qkv_bias,
            ..
        } = *attention;
        let place = Place::Layer(layer);
        let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
        let mut linear = |part, rows| weights.linear(place, part, (rows, model.hidden), qkv_bias);
        let projection = if attention.fused_qkv {
            Projection::Fused(linear(names::FUSED_QKV, queries + 2 * keys)?)
        } else {
            Projection::Separate {
                query: linear(names::QUERY, queries)?,
                key: linear(names::KEY, keys)?,
                value: linear(names::VALUE, keys)?,
            }
        };
        let mut norm =
            |part| weights.norm(place, part, head_dim, model.norm_eps, model.norm_offset);
        let query_and_key_norm = if attention.qk_norm {
            Some((norm(names::QUERY_NORM)?, norm(names::KEY_NORM)?))
        } else {
            None
        };
        let output = weights.linear(
            place,
            names::ATTENTION_OUTPUT,
            (model.hidden, queries),
            attention.output_bias,
        )?;
        Ok(Self {
            description: attention.clone(),
            projection,
            query_and_key_norm,
            output,
        })
    }

    /// `(tokens, hidden)` to `(tokens, hidden)`.
    pub(super) fn forward(&self, layer: usize, normed: &Tensor, step: &Step<'_>) -> Result<Tensor> {
        let (query, key, value) = self.project(normed)?;
        let (query, key) = match &self.query_and_key_norm {
            Some((query_norm, key_norm)) => (query_norm.forward(&query)?, key_norm.forward(&key)?),
            None => (query, key),
        };
        let (query, key) = match self.description.rope {
            Some(rope) => {
                let (rope, angles) = (&step.ropes[rope], &step.angles[rope]);
                (rope.turn(&query, angles)?, rope.turn(&key, angles)?)
            }
            None => (query, key),
        };
        let scores = Scores {
            scale: self.description.scale,
            softcap: self.description.softcap,
            window: self.description.window,
        };
        let mut mixed = Vec::with_capacity(step.batch.rows.len());
        let mut start = 0;
        for (row, pages) in step.batch.rows.iter().zip(&step.pages) {
            let range = start..start + row.len;
            let slabs = step.slabs;
            slabs.write(layer, KEYS, row, &key.i(range.clone())?)?;
            slabs.write(layer, VALUES, row, &value.i(range.clone())?)?;
            let keys = slabs.gather(layer, KEYS, pages)?;
            let values = slabs.gather(layer, VALUES, pages)?;
            mixed.push(attend(&query.i(range)?, &keys, &values, scores)?);
            start += row.len;
        }
        self.output
            .forward(&Tensor::cat(&mixed, 0)?.flatten_from(1)?)
    }

    /// Queries `(tokens, heads, head_dim)`, keys and values `(tokens, kv_heads, head_dim)`.
    fn project(&self, normed: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let GroupedAttention {
            heads,
            kv_heads,
            head_dim,
            ..
        } = self.description;
        let in_heads = |flat: Tensor, heads: usize| flat.reshape(((), heads, head_dim));
        match &self.projection {
            Projection::Separate { query, key, value } => Ok((
                in_heads(query.forward(normed)?, heads)?,
                in_heads(key.forward(normed)?, kv_heads)?,
                in_heads(value.forward(normed)?, kv_heads)?,
            )),
            Projection::Fused(all) => {
                let all = in_heads(all.forward(normed)?, heads + 2 * kv_heads)?;
                let part = |first, count| all.narrow(D::Minus2, first, count)?.contiguous();
                Ok((
                    part(0, heads)?,
                    part(heads, kv_heads)?,
                    part(heads + kv_heads, kv_heads)?,
                ))
            }
        }
    }
}
