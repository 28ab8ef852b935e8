//! Reference attention of one row: softmax(Q K^T / sqrt(d)) V, causal, with grouped query heads.
//!
//! Queries are taken in tiles, so that the scores of a long prompt never stand in memory at once; every tile sees
//! only the keys it may see. It knows nothing of blocks: K and V come gathered.

use candle_core::{D, Result, Tensor};

/// Queries a tile; bounds the scores to `heads * QUERY_TILE * context` floats.
const QUERY_TILE: usize = 128;

/// Attention of a row's new tokens over its context and themselves.
///
/// `query` is `(len, heads, head_dim)`; `keys` and `values` are `(kv_heads, context_len + len, head_dim)`, where
/// query head h reads K and V head `h / (heads / kv_heads)`. Returns `(len, heads * head_dim)`.
pub(crate) fn attend(query: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (len, _, head_dim) = query.dims3()?;
    let context_len = keys.dim(1)? - len;
    let query = (query * (1.0 / (head_dim as f64).sqrt()))?;
    let mut tiles = Vec::with_capacity(len.div_ceil(QUERY_TILE));
    for start in (0..len).step_by(QUERY_TILE) {
        let tile = QUERY_TILE.min(len - start);
        let visible = context_len + start + tile;
        tiles.push(attend_tile(
            &query.narrow(0, start, tile)?,
            &keys.narrow(1, 0, visible)?,
            &values.narrow(1, 0, visible)?,
        )?);
    }
    Tensor::cat(&tiles, 0)
}

/// Attention of a tile whose last query sees all the keys.
fn attend_tile(query: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (len, heads, head_dim) = query.dims3()?;
    let (kv_heads, visible, _) = keys.dims3()?;
    let group = heads / kv_heads;
    // The heads that share a K head become rows of one matrix: K and V are never repeated.
    let query = query
        .reshape((len, kv_heads, group, head_dim))?
        .permute((1, 2, 0, 3))?;
    let query = query.reshape((kv_heads, group * len, head_dim))?;
    let mut scores = query.matmul(&keys.transpose(D::Minus2, D::Minus1)?)?;
    if len > 1 {
        let mask = causal_mask(len, visible, scores.device())?;
        let grouped = scores.reshape((kv_heads * group, len, visible))?;
        scores = grouped
            .broadcast_add(&mask)?
            .reshape((kv_heads, group * len, visible))?;
    }
    let weights = candle_nn::ops::softmax_last_dim(&scores)?;
    let mixed = weights
        .matmul(values)?
        .reshape((kv_heads, group, len, head_dim))?;
    mixed
        .permute((2, 0, 1, 3))?
        .reshape((len, heads * head_dim))
}

/// `(len, visible)`: zero where query i, the (visible - len + i)th token, may see key j, minus infinity beyond.
fn causal_mask(len: usize, visible: usize, device: &candle_core::Device) -> Result<Tensor> {
    let mask = (0..len)
        .flat_map(|i| {
            (0..visible).map(move |j| {
                if j > visible - len + i {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
        })
        .collect::<Vec<_>>();
    Tensor::from_vec(mask, (len, visible), device)
}
