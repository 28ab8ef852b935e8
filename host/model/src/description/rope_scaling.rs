//! The frequencies of rotary embedding under the scalings that models are trained with, one function a formula.
//!
//! Pure arithmetic on numbers that the readers have checked: factors are positive and finite, sizes not zero.

use std::f64::consts::PI;

/// `theta^(-2i / dims)`, one a pair.
pub(super) fn plain(theta: f64, dims: usize) -> Vec<f64> {
    (0..dims / 2)
        .map(|pair| theta.powf(-2.0 * pair as f64 / dims as f64))
        .collect()
}

/// Position interpolation (arXiv 2306.15595): every position counts `1 / factor`.
pub(super) fn linear(frequencies: &mut [f64], factor: f64) {
    for frequency in frequencies {
        *frequency /= factor;
    }
}

/// Each pair by its own factor (LongRoPE, and llama 3's in GGUF files).
pub(super) fn by_factors(frequencies: &[f64], factors: &[f32]) -> Vec<f64> {
    frequencies
        .iter()
        .zip(factors)
        .map(|(frequency, factor)| frequency / f64::from(*factor))
        .collect()
}

/// Llama 3.1's scaling: long waves are stretched, short ones kept, those between are blended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Llama3 {
    pub(super) factor: f64,
    pub(super) low_freq_factor: f64,
    pub(super) high_freq_factor: f64,
    pub(super) original_context: f64,
}

impl Llama3 {
    pub(super) fn apply(self, frequencies: &mut [f64]) {
        for frequency in frequencies {
            // How often the wave fits into the original context.
            let turns = self.original_context * *frequency / (2.0 * PI);
            let kept = ((turns - self.low_freq_factor)
                / (self.high_freq_factor - self.low_freq_factor))
                .clamp(0.0, 1.0);
            *frequency *= kept + (1.0 - kept) / self.factor;
        }
    }
}

/// YaRN (arXiv 2309.00071): a ramp over the pairs between no interpolation and interpolation by `factor`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yarn {
    pub(super) factor: f64,
    pub(super) original_context: f64,
    pub(super) beta_fast: f64,
    pub(super) beta_slow: f64,
    /// The ramp's ends are whole pairs, as in the reference implementation.
    pub(super) truncate: bool,
}

impl Yarn {
    pub(super) fn apply(self, frequencies: &mut [f64], theta: f64) {
        let dims = 2.0 * frequencies.len() as f64;
        // The pair whose wave turns so often within the original context.
        let pair_of = |turns: f64| {
            dims * (self.original_context / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (pair_of(self.beta_fast), pair_of(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(dims - 1.0));
        if low == high {
            high += 0.001;
        }
        for (pair, frequency) in frequencies.iter_mut().enumerate() {
            let interpolated = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            *frequency *= interpolated / self.factor + 1.0 - interpolated;
        }
    }
}

/// YaRN's factor on queries and keys (eq. 22 of the paper), `weight` of it.
pub(super) fn yarn_magnitude(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * weight * factor.ln() + 1.0
    }
}

/// LongRoPE's factor on queries and keys, from how many times the context was extended.
pub(super) fn longrope_magnitude(factor: f64, original_context: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        (1.0 + factor.ln() / original_context.ln()).sqrt()
    }
}
