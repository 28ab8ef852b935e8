//! Multi-head latent attention in its absorbed form (arXiv 2405.04434, section 2.1.2).
//!
//! A key is `W_k * latent`, so a query meets it as `(query * W_k) . latent`: all heads read the one latent, which is all
//! that is kept of a token, and values come out of the mixed latents. One form for prefill and decode alike: expanding
//! keys would save arithmetic on long prompts, at the price of a second path.

use candle_core::{D, IndexOp, Result, Tensor};

use super::Step;
use crate::{
    attention::{Scores, attend},
    description::LatentAttention,
    error::ModelError,
    names::{self, Place},
    weights::{Linear, Norm, Weights},
};

/// The one plane of a block: the latent, then the part of the key that turns.
const LATENT: usize = 0;

/// A layer's weights.
#[derive(Debug)]
pub(super) struct LatentWeights {
    description: LatentAttention,
    query: QueryProjection,
    into_latent: Linear,
    latent_norm: Norm,
    /// `(heads, nope_dim, kv_rank)`.
    key: Tensor,
    /// `(heads, kv_rank, value_dim)`.
    value: Tensor,
    output: Linear,
}

#[derive(Debug)]
enum QueryProjection {
    Straight(Linear),
    ThroughLatent {
        into: Linear,
        norm: Norm,
        out: Linear,
    },
}

impl LatentWeights {
    pub(super) fn load(
        layer: usize,
        attention: &LatentAttention,
        hidden: usize,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, ModelError> {
        let LatentAttention {
            heads,
            kv_rank,
            rope_dim,
            value_dim,
            norm_eps,
            latent_bias,
            ..
        } = *attention;
        let place = Place::Layer(layer);
        let queries = heads * (attention.nope_dim + rope_dim);
        let query = match attention.query_rank {
            None => QueryProjection::Straight(weights.linear(
                place,
                names::QUERY,
                (queries, hidden),
                false,
            )?),
            Some(rank) => QueryProjection::ThroughLatent {
                into: weights.linear(place, names::LATENT_QUERY, (rank, hidden), latent_bias)?,
                norm: weights.norm(place, names::LATENT_QUERY_NORM, rank, norm_eps, 0.0)?,
                out: weights.linear(place, names::QUERY_OF_LATENT, (queries, rank), false)?,
            },
        };
        let (key, value) = out_of_latent(place, attention, weights)?;
        Ok(Self {
            description: attention.clone(),
            query,
            into_latent: weights.linear(
                place,
                names::LATENT_KV,
                (kv_rank + rope_dim, hidden),
                latent_bias,
            )?,
            latent_norm: weights.norm(place, names::LATENT_KV_NORM, kv_rank, norm_eps, 0.0)?,
            key,
            value,
            output: weights.linear(
                place,
                names::ATTENTION_OUTPUT,
                (hidden, heads * value_dim),
                attention.output_bias,
            )?,
        })
    }

    /// `(tokens, hidden)` to `(tokens, hidden)`.
    pub(super) fn forward(&self, layer: usize, normed: &Tensor, step: &Step<'_>) -> Result<Tensor> {
        let LatentAttention {
            heads,
            kv_rank,
            nope_dim,
            rope_dim,
            scale,
            rope,
            ..
        } = self.description;
        let (rope, angles) = (&step.ropes[rope], &step.angles[rope]);
        let query = match &self.query {
            QueryProjection::Straight(query) => query.forward(normed)?,
            QueryProjection::ThroughLatent { into, norm, out } => {
                out.forward(&norm.forward(&into.forward(normed)?)?)?
            }
        };
        let query = query.reshape(((), heads, nope_dim + rope_dim))?;
        let turned = rope.turn(&query.narrow(D::Minus1, nope_dim, rope_dim)?, angles)?;
        let query = query.narrow(D::Minus1, 0, nope_dim)?;

        let kept = self.into_latent.forward(normed)?.unsqueeze(1)?;
        let latent = self
            .latent_norm
            .forward(&kept.narrow(D::Minus1, 0, kv_rank)?)?;
        let key = rope.turn(&kept.narrow(D::Minus1, kv_rank, rope_dim)?, angles)?;
        let kept = Tensor::cat(&[latent, key], D::Minus1)?;

        let scores = Scores {
            scale,
            softcap: None,
            window: None,
        };
        let mut mixed = Vec::with_capacity(step.batch.rows.len());
        let mut start = 0;
        for (row, pages) in step.batch.rows.iter().zip(&step.pages) {
            let range = start..start + row.len;
            step.slabs
                .write(layer, LATENT, row, &kept.i(range.clone())?)?;
            let keys = step.slabs.gather(layer, LATENT, pages)?;
            let values = keys.narrow(D::Minus1, 0, kv_rank)?.contiguous()?;
            // Row by row, so that no row's rounding depends on its neighbours.
            let absorbed = by_head(&query.i(range.clone())?, &self.key)?;
            let query = Tensor::cat(&[absorbed, turned.i(range)?], D::Minus1)?;
            let latents = attend(&query, &keys, &values, scores)?;
            mixed.push(by_head(&latents, &self.value)?);
            start += row.len;
        }
        self.output
            .forward(&Tensor::cat(&mixed, 0)?.flatten_from(1)?)
    }
}

/// `(len, heads, n)` times `(heads, n, m)`, head by head: `(len, heads, m)`.
fn by_head(vectors: &Tensor, matrices: &Tensor) -> Result<Tensor> {
    let vectors = vectors.transpose(0, 1)?.contiguous()?;
    vectors.matmul(matrices)?.transpose(0, 1)?.contiguous()
}

/// What makes keys and values of a latent: `(heads, nope_dim, kv_rank)` and `(heads, kv_rank, value_dim)`.
fn out_of_latent(
    place: Place,
    attention: &LatentAttention,
    weights: &mut Weights<'_>,
) -> std::result::Result<(Tensor, Tensor), ModelError> {
    let LatentAttention {
        heads,
        kv_rank,
        nope_dim,
        value_dim,
        ..
    } = *attention;
    if weights.has(place, names::KEY_OF_LATENT) {
        let key = weights.dense(place, names::KEY_OF_LATENT, &[heads, kv_rank, nope_dim])?;
        let value = weights.dense(place, names::VALUE_OF_LATENT, &[heads, value_dim, kv_rank])?;
        return Ok((
            key.transpose(1, 2)?.contiguous()?,
            value.transpose(1, 2)?.contiguous()?,
        ));
    }
    let both = weights.dense(
        place,
        names::KV_OF_LATENT,
        &[heads * (nope_dim + value_dim), kv_rank],
    )?;
    let both = both.reshape((heads, nope_dim + value_dim, kv_rank))?;
    let key = both.narrow(1, 0, nope_dim)?.contiguous()?;
    let value = both.narrow(1, nope_dim, value_dim)?;
    Ok((key, value.transpose(1, 2)?.contiguous()?))
}
