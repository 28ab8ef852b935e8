//! Rotary position embedding: cosines and sines of every position, computed once, in f64.
//!
//! Only one style is computed: element i turns with i + pairs. Weights of models that turn neighbours are put into that
//! order when they are loaded ([`halves`]), queries and keys alike, so their products stay what they were.

use candle_core::{Device, Result, Tensor};
use weir_model::{RopeDescription, RopeStyle};

/// The angles of one position embedding.
#[derive(Debug, Clone)]
pub(crate) struct RopeTable {
    /// `(positions, 2 * pairs)` in f32: a position's cosines, then its sines.
    pub(crate) angles: Tensor,
    /// How many pairs of elements turn; elements behind the last do not.
    pub(crate) pairs: usize,
}

impl RopeTable {
    /// For sequences of up to `max_model_len` tokens.
    pub(crate) fn new(
        description: &RopeDescription,
        max_model_len: usize,
        device: &Device,
    ) -> Result<Self> {
        let frequencies = description.frequencies_for(max_model_len);
        let magnitude = f64::from(description.magnitude);
        let mut angles = Vec::with_capacity(max_model_len * 2 * frequencies.len());
        for position in 0..max_model_len {
            for turn in [f64::cos, f64::sin] {
                let turned = frequencies
                    .iter()
                    .map(|frequency| (turn(position as f64 * frequency) * magnitude) as f32);
                angles.extend(turned);
            }
        }
        let pairs = frequencies.len();
        Ok(Self {
            angles: Tensor::from_vec(angles, (max_model_len, 2 * pairs), device)?,
            pairs,
        })
    }
}

/// Where each element of a head of `dim` elements comes from, if the first `2 * pairs` are to turn by halves; None when
/// they do already.
pub(crate) fn halves(style: RopeStyle, pairs: usize, dim: usize) -> Option<Vec<u32>> {
    match style {
        RopeStyle::Halves => None,
        RopeStyle::Interleaved => {
            let turning = 2 * pairs as u32;
            let evens = (0..turning).step_by(2);
            let odds = (1..turning).step_by(2);
            Some(evens.chain(odds).chain(turning..dim as u32).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_halves_and_the_rest_stays() {
        assert_eq!(
            halves(RopeStyle::Interleaved, 3, 8),
            Some(vec![0, 2, 4, 1, 3, 5, 6, 7])
        );
        assert_eq!(halves(RopeStyle::Halves, 3, 8), None);
    }

    #[test]
    fn a_position_has_its_cosines_before_its_sines() {
        let description = RopeDescription {
            style: RopeStyle::Halves,
            frequencies: vec![1.0, 0.5],
            magnitude: 2.0,
            long: None,
        };
        let table = RopeTable::new(&description, 3, &Device::Cpu).unwrap();
        let rows = table.angles.to_vec2::<f32>().unwrap();
        assert_eq!(rows[0], [2.0, 2.0, 0.0, 0.0]);
        let right = [2f64.cos(), 1f64.cos(), 2f64.sin(), 1f64.sin()];
        assert_eq!(rows[2], right.map(|of| (2.0 * of) as f32));
    }
}
