//! The activation of a gated network, times its other half.

use weir_model::Activation;

use crate::{
    math,
    simd::{Simd, vectorized},
};

/// `gate = activation(gate) * up`, element by element.
pub(crate) fn gated(simd: Simd, activation: Activation, gate: &mut [f32], up: &[f32]) {
    match activation {
        Activation::Silu => silu(simd, gate, up),
        Activation::Gelu => gelu(simd, gate, up),
        Activation::GeluTanh => gelu_tanh(simd, gate, up),
    }
}

vectorized! {
    fn silu(gate: &mut [f32], up: &[f32]) {
        apply(gate, up, |x| x / (1.0 + math::exp(-x)));
    }
}

vectorized! {
    fn gelu(gate: &mut [f32], up: &[f32]) {
        apply(gate, up, |x| {
            0.5 * x * (1.0 + math::erf(x * std::f32::consts::FRAC_1_SQRT_2))
        });
    }
}

vectorized! {
    fn gelu_tanh(gate: &mut [f32], up: &[f32]) {
        apply(gate, up, |x| {
            let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + math::tanh(inner))
        });
    }
}

#[inline(always)]
fn apply(gate: &mut [f32], up: &[f32], activation: impl Fn(f32) -> f32) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = activation(*gate) * up;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_those_of_their_definitions() {
        let x: Vec<f32> = (-300..=300).map(|at| at as f32 / 20.0).collect();
        let up = vec![2.0; x.len()];
        let silu = |x: f64| x / (1.0 + (-x).exp());
        let tanh =
            |x: f64| 0.5 * x * (1.0 + (0.797_884_560_8 * (x + 0.044_715 * x.powi(3))).tanh());
        for simd in [Simd::Portable, Simd::detect()] {
            let check = |activation, right: &dyn Fn(f64) -> f64, bound: f64| {
                let mut gate = x.clone();
                gated(simd, activation, &mut gate, &up);
                for (&x, &found) in x.iter().zip(&gate) {
                    let off = (f64::from(found) - 2.0 * right(f64::from(x))).abs();
                    assert!(off < bound, "{activation:?}({x}) is off by {off:e}");
                }
            };
            check(Activation::Silu, &silu, 1e-5);
            check(Activation::GeluTanh, &tanh, 1e-5);
            // The two kinds of GELU are never further apart than this.
            check(Activation::Gelu, &tanh, 2e-3);
        }
    }
}
