//! From token vectors to one vector a text: pooling, then length 1 where the model asks for it.

use candle_core::{Result, Tensor};

use crate::encoder::description::Pooling;

/// Pools each text's rows of `hidden`, `(tokens, elements)`, whose texts are `lens` tokens long one after the other.
pub(super) fn pool(hidden: &Tensor, lens: &[usize], pooling: Pooling) -> Result<Vec<Vec<f32>>> {
    let mut start = 0;
    let mut vectors = Vec::with_capacity(lens.len());
    for len in lens {
        let text = hidden.narrow(0, start, *len)?;
        start += len;
        let vector = match pooling {
            Pooling::Mean => text.mean(0)?,
            Pooling::Cls => text.get(0)?,
            Pooling::Max => text.max(0)?,
            Pooling::Last => text.get(len - 1)?,
        };
        vectors.push(vector.to_vec1()?);
    }
    Ok(vectors)
}

/// Scales a vector to length 1; one of zeros stays as it is.
pub(super) fn normalize(vector: &mut [f32]) {
    let length = vector
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt();
    if length > 0.0 {
        for value in vector {
            *value = (f64::from(*value) / length) as f32;
        }
    }
}
