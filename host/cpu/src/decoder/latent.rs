//! The weights of latent attention in its absorbed form: what makes keys and values of a latent, head by head.

use weir_model::{
    LatentAttention, ModelError,
    names::{self, Place},
};

use super::{Linear, Stack};
use crate::loading::Loader;

/// A layer's first half.
pub(crate) struct LatentWeights {
    pub(crate) description: LatentAttention,
    /// To queries, or to their latent.
    pub(crate) query: Linear,
    /// From there to queries, where there is such a latent.
    pub(crate) query_latent: Option<QueryLatent>,
    /// To the latent of keys and values, and behind it to the keys' part that turns.
    pub(crate) kept: Linear,
    pub(crate) latent_norm: Vec<f32>,
    /// A head's query to what meets a latent as that query meets a key: `kv_rank` rows of `nope_dim` columns.
    pub(crate) key: Stack,
    /// A mixed latent to a head's values: `value_dim` rows of `kv_rank` columns.
    pub(crate) value: Stack,
    pub(crate) output: Linear,
}

/// Queries through a latent of their own.
pub(crate) struct QueryLatent {
    pub(crate) rank: usize,
    pub(crate) norm: Vec<f32>,
    pub(crate) out: Linear,
}

impl LatentWeights {
    /// Columns of queries, or their latent, and of what is kept, side by side.
    pub(crate) fn projected(&self) -> usize {
        self.query.matrix.rows() + self.kept.matrix.rows()
    }

    pub(super) fn load(
        loader: &Loader<'_>,
        hidden: usize,
        place: Place,
        attention: &LatentAttention,
    ) -> Result<Self, ModelError> {
        let LatentAttention {
            heads,
            kv_rank,
            rope_dim,
            latent_bias,
            ..
        } = *attention;
        let queries = heads * (attention.nope_dim + rope_dim);
        let into = |part, rows, bias| loader.linear(place, part, rows, hidden, bias);
        let (query, query_latent) = match attention.query_rank {
            None => (into(names::QUERY, queries, false)?, None),
            Some(rank) => (
                into(names::LATENT_QUERY, rank, latent_bias)?,
                Some(QueryLatent {
                    rank,
                    norm: loader.norm(place, names::LATENT_QUERY_NORM, rank, 0.0)?,
                    out: loader.linear(place, names::QUERY_OF_LATENT, queries, rank, false)?,
                }),
            ),
        };
        let (key, value) = out_of_latent(loader, place, attention)?;
        let values = heads * attention.value_dim;
        let (part, bias) = (names::ATTENTION_OUTPUT, attention.output_bias);
        Ok(Self {
            description: attention.clone(),
            query,
            query_latent,
            kept: into(names::LATENT_KV, kv_rank + rope_dim, latent_bias)?,
            latent_norm: loader.norm(place, names::LATENT_KV_NORM, kv_rank, 0.0)?,
            key,
            value,
            output: loader.linear(place, part, hidden, values, bias)?,
        })
    }
}

/// Files for the absorbed form hold both stacks as they are multiplied. Others hold the rows of each head's keys, then of
/// its values, in one matrix: the keys' are turned, and stay floats, for blocks cannot be turned.
fn out_of_latent(
    loader: &Loader<'_>,
    place: Place,
    attention: &LatentAttention,
) -> Result<(Stack, Stack), ModelError> {
    let LatentAttention {
        heads,
        kv_rank,
        nope_dim,
        value_dim,
        ..
    } = *attention;
    if loader.has(place, names::KEY_OF_LATENT) {
        let stack = |part, shape| loader.stack(place, part, heads, shape);
        return Ok((
            stack(names::KEY_OF_LATENT, (kv_rank, nope_dim))?,
            stack(names::VALUE_OF_LATENT, (value_dim, kv_rank))?,
        ));
    }
    let rows = heads * (nope_dim + value_dim);
    let both = loader.stored_linear(place, names::KV_OF_LATENT, (rows, kv_rank), false)?;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for head in 0..heads {
        let start = head * (nope_dim + value_dim);
        let (middle, end) = (start + nope_dim, start + nope_dim + value_dim);
        keys.push(both.turned(start..middle)?);
        values.push(both.rows(middle..end)?);
    }
    Ok((Stack::of(keys), Stack::of(values)))
}
