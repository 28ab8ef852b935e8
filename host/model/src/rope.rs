//! Rotary position embedding of a ragged batch: every token turns by its own position.
//!
//! Angles are computed anew each step, in f64, for exactly the positions of the step: a few thousand sines are
//! cheaper to compute than a table over the longest context is to keep.

use candle_core::{Device, Result, Tensor};

use crate::description::{RopeDescription, RopeStyle};

/// The angle each pair of a head turns by per position.
#[derive(Debug)]
pub(crate) struct Rope {
    style: RopeStyle,
    frequencies: Vec<f64>,
}

/// Cosines and sines of one step, both `(tokens, 1, dims / 2)`.
#[derive(Debug)]
pub(crate) struct RopeAngles {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// `factors` divides the frequency of each pair (llama 3's long-context scaling); it holds `dims / 2` of them.
    pub(crate) fn new(description: &RopeDescription, factors: Option<&[f32]>) -> Self {
        let pairs = description.dims / 2;
        let frequencies = (0..pairs)
            .map(|pair| {
                let exponent = -2.0 * pair as f64 / description.dims as f64;
                let factor = factors.map_or(1.0, |factors| f64::from(factors[pair]));
                f64::from(description.theta).powf(exponent)
                    / f64::from(description.linear_factor)
                    / factor
            })
            .collect();
        Self {
            style: description.style,
            frequencies,
        }
    }

    /// The angles of tokens at these positions.
    pub(crate) fn angles(&self, positions: &[usize], device: &Device) -> Result<RopeAngles> {
        let shape = (positions.len(), 1, self.frequencies.len());
        let angles = || {
            let frequencies = &self.frequencies;
            positions
                .iter()
                .flat_map(move |&position| frequencies.iter().map(move |f| position as f64 * f))
        };
        let cos = angles().map(|angle| angle.cos() as f32).collect::<Vec<_>>();
        let sin = angles().map(|angle| angle.sin() as f32).collect::<Vec<_>>();
        Ok(RopeAngles {
            cos: Tensor::from_vec(cos, shape, device)?,
            sin: Tensor::from_vec(sin, shape, device)?,
        })
    }

    /// Turns queries or keys `(tokens, heads, head_dim)`.
    pub(crate) fn turn(&self, heads: &Tensor, angles: &RopeAngles) -> Result<Tensor> {
        // Tokens stand in the place of candle's batch, so that each has its own angles.
        let heads = heads.unsqueeze(2)?;
        let turned = match self.style {
            RopeStyle::Interleaved => {
                candle_nn::rotary_emb::rope_i(&heads, &angles.cos, &angles.sin)?
            }
            RopeStyle::Halves => candle_nn::rotary_emb::rope(&heads, &angles.cos, &angles.sin)?,
        };
        turned.squeeze(2)
    }
}
