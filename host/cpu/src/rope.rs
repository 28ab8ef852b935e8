//! Rotary position embedding (arXiv 2104.09864) of one head of one token.
//!
//! Angles are computed anew each step, in f64, for exactly the positions of the step: every layer uses them, and a table
//! over the longest context would be larger than some models.

use weir_model::{RopeDescription, RopeStyle};

use crate::simd::{Simd, vectorized};

/// One position embedding of a model.
#[derive(Debug)]
pub(crate) struct Rope {
    style: RopeStyle,
    frequencies: Vec<f64>,
    magnitude: f64,
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

    /// Numbers that the angles of a position take: its cosines, then its sines.
    pub(crate) fn angles_len(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Writes the angles of a position.
    pub(crate) fn angles(&self, position: usize, angles: &mut [f32]) {
        let (cos, sin) = angles.split_at_mut(self.frequencies.len());
        for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(&self.frequencies) {
            let angle = position as f64 * frequency;
            *cos = (angle.cos() * self.magnitude) as f32;
            *sin = (angle.sin() * self.magnitude) as f32;
        }
    }

    /// Turns a head; elements behind the last pair stay as they are.
    pub(crate) fn turn(&self, simd: Simd, head: &mut [f32], angles: &[f32]) {
        let pairs = self.frequencies.len();
        let (cos, sin) = angles.split_at(pairs);
        match self.style {
            RopeStyle::Halves => {
                let (first, second) = head[..2 * pairs].split_at_mut(pairs);
                turn_halves(simd, first, second, cos, sin);
            }
            RopeStyle::Interleaved => turn_pairs(simd, &mut head[..2 * pairs], cos, sin),
        }
    }
}

vectorized! {
    fn turn_halves(first: &mut [f32], second: &mut [f32], cos: &[f32], sin: &[f32]) {
        for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
        }
    }
}

vectorized! {
    fn turn_pairs(head: &mut [f32], cos: &[f32], sin: &[f32]) {
        for ((pair, cos), sin) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
            let [a, b] = *pair;
            *pair = [a * cos - b * sin, a * sin + b * cos];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_turn_by_their_angle_and_the_rest_stays() {
        for style in [RopeStyle::Interleaved, RopeStyle::Halves] {
            let rope = Rope {
                style,
                frequencies: vec![1.0, 0.1, 0.01],
                magnitude: 2.0,
            };
            let head: Vec<f32> = (1..=8).map(|at| at as f32).collect();
            let mut angles = vec![0.0; rope.angles_len()];
            rope.angles(5, &mut angles);
            for simd in [Simd::Portable, Simd::detect()] {
                let mut turned = head.clone();
                rope.turn(simd, &mut turned, &angles);
                assert_eq!(turned[6..], head[6..]);
                for (pair, angle) in [5.0f32, 0.5, 0.05].into_iter().enumerate() {
                    let (a, b) = match style {
                        RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
                        RopeStyle::Halves => (pair, pair + 3),
                    };
                    let right = 2.0 * (head[a] * angle.cos() - head[b] * angle.sin());
                    assert!((turned[a] - right).abs() < 1e-5);
                    let right = 2.0 * (head[a] * angle.sin() + head[b] * angle.cos());
                    assert!((turned[b] - right).abs() < 1e-5);
                }
            }
        }
    }
}
