//! Rotary position embedding of a ragged batch: every token turns by its own position.
//!
//! Angles are computed anew each step, in f64, for exactly the positions of the step: a few thousand sines are
//! cheaper to compute than a table over the longest context is to keep.

use candle_core::{D, Device, Result, Tensor};

use crate::description::{RopeDescription, RopeStyle};

/// One position embedding of a model.
#[derive(Debug)]
pub(crate) struct Rope {
    style: RopeStyle,
    frequencies: Vec<f64>,
    magnitude: f64,
}

/// Cosines and sines of one step, both `(tokens, 1, pairs)`.
#[derive(Debug)]
pub(crate) struct RopeAngles {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// For sequences of up to `max_model_len` tokens.
    pub(crate) fn new(description: &RopeDescription, max_model_len: usize) -> Self {
        Self {
            style: description.style,
            frequencies: description.frequencies_for(max_model_len).to_vec(),
            magnitude: f64::from(description.magnitude),
        }
    }

    /// The angles of tokens at these positions.
    pub(crate) fn angles(&self, positions: &[usize], device: &Device) -> Result<RopeAngles> {
        let shape = (positions.len(), 1, self.frequencies.len());
        let table = |of: fn(f64) -> f64| {
            let frequencies = &self.frequencies;
            let angles = positions
                .iter()
                .flat_map(move |&position| frequencies.iter().map(move |f| position as f64 * f));
            let values: Vec<f32> = angles
                .map(|angle| (of(angle) * self.magnitude) as f32)
                .collect();
            Tensor::from_vec(values, shape, device)
        };
        Ok(RopeAngles {
            cos: table(f64::cos)?,
            sin: table(f64::sin)?,
        })
    }

    /// Turns queries or keys `(tokens, heads, head_dim)`; elements behind the last pair stay as they are.
    pub(crate) fn turn(&self, heads: &Tensor, angles: &RopeAngles) -> Result<Tensor> {
        let (dims, head_dim) = (2 * self.frequencies.len(), heads.dim(D::Minus1)?);
        if dims == head_dim {
            return self.turn_all(heads, angles);
        }
        let turned = self.turn_all(&heads.narrow(D::Minus1, 0, dims)?, angles)?;
        let rest = heads.narrow(D::Minus1, dims, head_dim - dims)?;
        Tensor::cat(&[turned, rest], D::Minus1)
    }

    fn turn_all(&self, heads: &Tensor, angles: &RopeAngles) -> Result<Tensor> {
        // Tokens stand in the place of candle's batch, so that each has its own angles.
        let heads = heads.contiguous()?.unsqueeze(2)?;
        let turned = match self.style {
            RopeStyle::Interleaved => {
                candle_nn::rotary_emb::rope_i(&heads, &angles.cos, &angles.sin)?
            }
            RopeStyle::Halves => candle_nn::rotary_emb::rope(&heads, &angles.cos, &angles.sin)?,
        };
        turned.squeeze(2)
    }
}
