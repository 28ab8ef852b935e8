//! Vectors as int16 with one scale each, for the products of attention: a number times its scale is the element.
//!
//! The products are summed in int32 and never overflow, because the two sides are scaled for it. A score multiplies two
//! vectors that are scaled by their Euclidean norms: by the inequality of Cauchy and Schwarz it, and every part of its sum,
//! is at most [`ONE`] squared. A mix multiplies weights that sum to about twice [`ONE`] with values scaled by their largest
//! element.
//!
//! Error: half a unit a number, which is 2^-16 of the vector's norm or of its largest element, and a unit a weight, which is
//! 2^-15 of the largest weight, though at least 2^-16 of their sum. Between 64 normally distributed elements that is a third of what f16 would be off.

use crate::{
    math,
    simd::{Simd, vectorized},
};

/// What a norm, a largest element or a sum of weights becomes.
pub(crate) const ONE: f32 = 32_767.0;

/// Elements beyond it count as this large, so that every norm is finite.
const LARGEST: f32 = 1e15;

/// Smaller norms are none: their inverse would not be finite.
const SMALLEST: f32 = 1e-30;

/// The scale of a vector by its Euclidean norm.
pub(crate) fn by_norm(simd: Simd, elements: &[f32]) -> f32 {
    norm(simd, elements) / ONE
}

/// The scale of a vector by its largest element.
pub(crate) fn by_largest(simd: Simd, elements: &[f32]) -> f32 {
    largest(simd, elements) / ONE
}

/// Numbers of elements, or of some of them, by their vector's scale.
pub(crate) fn fill(simd: Simd, elements: &[f32], scale: f32, numbers: &mut [i16]) {
    if scale > SMALLEST / ONE {
        multiply(simd, elements, 1.0 / scale, numbers);
    } else {
        numbers.fill(0);
    }
}

/// What weights of so many slots are multiples of, by the largest of them and their sum: no weight becomes more than
/// [`ONE`], and not all of them together, each rounded up, times [`ONE`] more than an int32.
#[inline(always)]
pub(crate) fn weights_unit(largest: f32, sum: f32, slots: usize) -> f32 {
    let together = (65_536.0 - slots as f32).max(1.0);
    (largest / ONE).max(sum / together)
}

/// The nearest whole number, of at most some millions: its low bits are those of the sum, whose unit is 1.
#[inline(always)]
pub(crate) fn round(x: f32) -> i16 {
    (x + 12_582_912.0).to_bits() as i16
}

vectorized! {
    fn norm(elements: &[f32]) -> f32 {
        math::sum(elements, |x| {
            let x = x.clamp(-LARGEST, LARGEST);
            x * x
        })
        .sqrt()
    }
}

vectorized! {
    fn largest(elements: &[f32]) -> f32 {
        let larger = |a: f32, b: f32| if b.abs() > a { b.abs() } else { a };
        elements.iter().fold(0.0, |a, &b| larger(a, b)).min(LARGEST)
    }
}

vectorized! {
    fn multiply(elements: &[f32], factor: f32, numbers: &mut [i16]) {
        for (number, element) in numbers.iter_mut().zip(elements) {
            *number = round(element.clamp(-LARGEST, LARGEST) * factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(simd: Simd, elements: &[f32], by: fn(Simd, &[f32]) -> f32) -> (f32, Vec<i16>) {
        let mut numbers = vec![1; elements.len()];
        let scale = by(simd, elements);
        fill(simd, elements, scale, &mut numbers);
        (scale, numbers)
    }

    proptest! {
        #[test]
        fn numbers_are_off_by_half_a_unit(
            elements in proptest::collection::vec(-4.0f32..4.0, 0..200), power in -20i32..20,
        ) {
            let elements: Vec<f32> = elements.iter().map(|x| x * 2f32.powi(power)).collect();
            for by in [by_norm, by_largest] {
                let (scale, found) = numbers(Simd::detect(), &elements, by);
                prop_assert_eq!(numbers(Simd::Portable, &elements, by), (scale, found.clone()));
                for (&number, &element) in found.iter().zip(&elements) {
                    let off = (f64::from(number) * f64::from(scale) - f64::from(element)).abs();
                    prop_assert!(off <= 0.51 * f64::from(scale), "{element} as {number} times {scale}");
                }
            }
        }
    }

    #[test]
    fn a_vector_of_the_largest_elements_stays_below_a_sum_of_int32() {
        for len in [1usize, 2, 3, 64, 192, 576] {
            let (_, numbers) = numbers(Simd::detect(), &vec![-3.0; len], by_norm);
            let square: i64 = numbers.iter().map(|&n| i64::from(n) * i64::from(n)).sum();
            assert!(square <= i64::from(i32::MAX), "{len}: {square}");
        }
    }

    #[test]
    fn what_is_no_number_or_too_large_leaves_finite_scales() {
        for elements in [
            [0.0; 4],
            [f32::NAN; 4],
            [1e-40; 4],
            [f32::INFINITY, 1.0, f32::MAX, -1.0],
        ] {
            for by in [by_norm, by_largest] {
                let (scale, found) = numbers(Simd::detect(), &elements, by);
                assert!(scale.is_finite() || elements[0].is_nan());
                assert_eq!(found[0] > 0, elements[0].is_infinite());
            }
        }
    }
}
