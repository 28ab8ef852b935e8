//! The exponential function of numbers up to 0, for weights relative to the likeliest token's.
//!
//! Only additions, multiplications and shifts, in one order and each rounded for itself: so every machine gives the same
//! bits, and a loop over it becomes vector instructions. Off by at most 1.5e-7 of the result.

/// Whatever is lower has no weight: its exponential is next to the smallest normal number.
pub(super) const LOWEST: f32 = -87.0;

/// Adding it leaves a whole number in the lowest bits, rounded to the nearest.
const ROUNDER: f32 = 12_582_912.0;
/// ln 2 in two parts; the first times any exponent is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Of exp(r) = 1 + r + r^2 (C0 + r (C1 + ...)) for |r| <= ln(2) / 2: least relative error, 3e-9 before rounding.
const COEFFICIENTS: [f32; 5] = [
    0.499_999_94,
    0.166_665_21,
    0.041_668_39,
    0.008_368_745,
    0.001_381_454,
];

/// exp(x) for x <= 0; 0 below [`LOWEST`] and for NaN.
#[inline]
pub(super) fn exp(x: f32) -> f32 {
    // All ones or all zeros: a branch would keep loops from becoming vector instructions.
    let weighs = u32::from(x >= LOWEST).wrapping_neg();
    let x = if x > LOWEST { x } else { LOWEST };
    let rounded = x * std::f32::consts::LOG2_E + ROUNDER;
    let exponent = rounded - ROUNDER;
    let r = x - exponent * LN_2_HIGH - exponent * LN_2_LOW;
    let [c0, c1, c2, c3, c4] = COEFFICIENTS;
    let tail = c0 + r * (c1 + r * (c2 + r * (c3 + r * c4)));
    let mantissa = r * r * tail + r + 1.0;
    // What is left of `rounded` when its other bits are shifted out is the exponent.
    let bits = mantissa.to_bits().wrapping_add(rounded.to_bits() << 23);
    f32::from_bits(bits & weighs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_near_the_function() {
        let last = LOWEST.to_bits();
        let bits = (0x8000_0000..=last).step_by(997).chain([last]);
        for x in bits.map(f32::from_bits) {
            let exact = f64::from(x).exp();
            let off = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(off <= 1.5e-7, "exp({x}) is off by {off:e}");
        }
    }

    #[test]
    fn what_has_no_weight_is_0() {
        for x in [f32::NAN, f32::NEG_INFINITY, f32::MIN, LOWEST.next_down()] {
            assert_eq!(exp(x), 0.0, "{x}");
        }
        assert_eq!((exp(0.0), exp(-0.0)), (1.0, 1.0));
    }

    /// Any change of these bits changes what seeds give.
    #[test]
    fn its_bits_are_fixed() {
        let bits = [-0.1, -1.0, -10.0, -80.0].map(|x| exp(x).to_bits());
        assert_eq!(bits, [0x3f67_a36d, 0x3ebc_5ab2, 0x383e_6bce, 0x05bf_ecba]);
    }
}
