//! Reference attention of one row: softmax(scale * Q K^T) V, causal, with grouped query heads.
//!
//! Queries are taken in tiles, so that the scores of a long prompt never stand in memory at once; every tile sees
//! only the keys it may see. It knows nothing of blocks: K and V come gathered.

use candle_core::{D, Device, Result, Tensor};

/// Queries a tile; bounds the scores to `heads * QUERY_TILE * context` floats.
const QUERY_TILE: usize = 128;

/// What a layer asks of its attention beside queries, keys and values.
#[derive(Debug, Clone, Copy)]
pub struct Scores {
    /// Factor on them.
    pub scale: f32,
    /// They become `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// A query sees itself and the `window - 1` tokens before it.
    pub window: Option<usize>,
}

/// Attention of a row's new tokens over its context and themselves.
///
/// `query` is `(len, heads, key_dim)`; `keys` are `(kv_heads, context_len + len, key_dim)` and `values`
/// `(kv_heads, context_len + len, value_dim)`, where query head h reads K and V head `h / (heads / kv_heads)`.
/// Returns `(len, heads, value_dim)`.
///
/// # Errors
/// Tensors of other shapes, or of a type that is not f32.
pub fn attend(query: &Tensor, keys: &Tensor, values: &Tensor, scores: Scores) -> Result<Tensor> {
    let len = query.dim(0)?;
    let context_len = keys.dim(1)? - len;
    let query = (query * f64::from(scores.scale))?;
    let mut tiles = Vec::with_capacity(len.div_ceil(QUERY_TILE));
    for start in (0..len).step_by(QUERY_TILE) {
        let tile = QUERY_TILE.min(len - start);
        let first_query = context_len + start;
        let first_key = match scores.window {
            Some(window) => (first_query + 1).saturating_sub(window),
            None => 0,
        };
        let visible = first_query + tile - first_key;
        tiles.push(attend_tile(
            &query.narrow(0, start, tile)?,
            &keys.narrow(1, first_key, visible)?,
            &values.narrow(1, first_key, visible)?,
            scores,
        )?);
    }
    Tensor::cat(&tiles, 0)
}

/// Attention of a tile whose last query is the last key's token.
fn attend_tile(query: &Tensor, keys: &Tensor, values: &Tensor, asked: Scores) -> Result<Tensor> {
    let (len, heads, key_dim) = query.dims3()?;
    let (kv_heads, visible, value_dim) = values.dims3()?;
    let group = heads / kv_heads;
    // The heads that share a K head become rows of one matrix: K and V are never repeated.
    let query = query
        .reshape((len, kv_heads, group, key_dim))?
        .permute((1, 2, 0, 3))?;
    let query = query.reshape((kv_heads, group * len, key_dim))?;
    let mut scores = query.matmul(&keys.transpose(D::Minus2, D::Minus1)?)?;
    if let Some(cap) = asked.softcap {
        let cap = f64::from(cap);
        scores = ((scores / cap)?.tanh()? * cap)?;
    }
    if len > 1 {
        let mask = causal_mask(len, visible, asked.window, scores.device())?;
        let grouped = scores.reshape((kv_heads * group, len, visible))?;
        scores = grouped
            .broadcast_add(&mask)?
            .reshape((kv_heads, group * len, visible))?;
    }
    let weights = candle_nn::ops::softmax_last_dim(&scores)?;
    let mixed = weights
        .matmul(values)?
        .reshape((kv_heads, group, len, value_dim))?;
    mixed
        .permute((2, 0, 1, 3))?
        .reshape((len, heads, value_dim))
}

/// `(len, visible)`: zero where query i, the token of key `visible - len + i`, may see key j, minus infinity elsewhere.
fn causal_mask(
    len: usize,
    visible: usize,
    window: Option<usize>,
    device: &Device,
) -> Result<Tensor> {
    let window = window.unwrap_or(usize::MAX);
    let sees = |i: usize, j: usize| {
        let own = visible - len + i;
        j <= own && own - j < window
    };
    let mask: Vec<f32> = (0..len)
        .flat_map(|i| (0..visible).map(move |j| (i, j)))
        .map(|(i, j)| if sees(i, j) { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    Tensor::from_vec(mask, (len, visible), device)
}
