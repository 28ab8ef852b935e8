//! RMSNorm (arXiv 1910.07467) of one row, and the residual stream that runs through it.

use crate::{
    math,
    simd::{Simd, vectorized},
};

vectorized! {
    /// `out = x / rms(x) * weight`, with `eps` under the root.
    pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let factor = inverse_rms(x, eps);
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * factor * weight;
        }
    }
}

vectorized! {
    /// [`rms_norm`] of a row that takes its own place.
    pub(crate) fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32) {
        let factor = inverse_rms(x, eps);
        for (x, weight) in x.iter_mut().zip(weight) {
            *x = *x * factor * weight;
        }
    }
}

vectorized! {
    /// `x += factor * delta`.
    pub(crate) fn add_scaled(x: &mut [f32], delta: &[f32], factor: f32) {
        for (x, delta) in x.iter_mut().zip(delta) {
            *x += factor * delta;
        }
    }
}

/// `x *= factor`, which is nothing for 1.
pub(crate) fn scale(simd: Simd, x: &mut [f32], factor: f32) {
    if factor != 1.0 {
        multiply(simd, x, factor);
    }
}

vectorized! {
    fn multiply(x: &mut [f32], factor: f32) {
        x.iter_mut().for_each(|x| *x *= factor);
    }
}

vectorized! {
    /// Each element becomes `cap * tanh(x / cap)`.
    pub(crate) fn soft_cap(x: &mut [f32], cap: f32) {
        for x in x.iter_mut() {
            *x = cap * math::tanh(*x / cap);
        }
    }
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (math::sum(x, |x| x * x) / x.len() as f32 + eps).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_divided_by_its_root_mean_square() {
        let x: Vec<f32> = (0..75).map(|at| (at as f32 * 0.7).sin() * 3.0).collect();
        let weight: Vec<f32> = (0..75).map(|at| 1.0 + at as f32 / 75.0).collect();
        let mean = x.iter().map(|x| f64::from(x * x)).sum::<f64>() / 75.0;
        let right = |at: usize| f64::from(x[at]) / (mean + 1e-3).sqrt() * f64::from(weight[at]);
        for simd in [Simd::Portable, Simd::detect()] {
            let mut out = vec![0.0; 75];
            rms_norm(simd, &x, &weight, 1e-3, &mut out);
            assert!((0..75).all(|at| (f64::from(out[at]) - right(at)).abs() < 1e-6));
            let mut own = x.clone();
            rms_norm_in_place(simd, &mut own, &weight, 1e-3);
            assert_eq!(own, out);
        }
    }
}
