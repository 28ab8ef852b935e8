//! Elementary functions of vectors, written without branches so that loops over them become vector code.
//!
//! All are inlined into what [`crate::simd::vectorized`] compiles. Errors are those of f32 arithmetic, a few units in
//! the last place, of the result for `exp` and of 1 for the others.

/// Lanes that a sum is kept in; whole vectors of any machine, and enough of them to hide an addition's latency.
pub(crate) const LANES: usize = 16;

/// e^x: below -87 it is 0, above 88 it is e^88. Cephes' polynomial (S. Moshier) after Cody and Waite's reduction.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding and taking it away again rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let bounded = x.clamp(-87.0, 88.0);
    let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    let rest = (bounded - power * LN_2_HIGH) - power * LN_2_LOW;
    // By halves (Estrin's scheme): a chain of seven multiplications would have the processor wait for each.
    let square = rest * rest;
    let low = (0.5 * rest + 1.0) * rest + 1.0;
    let middle = 4.166_579_6e-2 * rest + 0.166_666_65;
    let high = (1.987_569_1e-4 * rest + 1.398_199_9e-3) * rest + 8.333_452e-3;
    let sum = low + (middle + high * square) * (square * rest);
    // The low bits of `shifted` are the power, offset by those of ROUND, which an exponent field does not hold.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { sum * scale }
}

/// `a * b + c`, rounded once where the machine does so in one instruction, which the compiler would not do unasked.
#[inline(always)]
pub(crate) fn mul_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// 2^x for x of at most 0: below -126 it is 0. A minimax polynomial of degree 5 of the part behind the point, whose exponent
/// is then raised; off by at most 3e-7 of the result.
#[inline(always)]
pub(crate) fn exp2<const FUSED: bool>(x: f32) -> f32 {
    /// Adding and taking it away again rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let bounded = x.max(-126.0);
    let shifted = bounded + ROUND;
    let rest = bounded - (shifted - ROUND);
    let square = rest * rest;
    let low = mul_add::<FUSED>(rest, 0.693_146_94, 1.0);
    let middle = mul_add::<FUSED>(rest, 5.550_713e-2, 0.240_221_2);
    let high = mul_add::<FUSED>(rest, 1.327_647_3e-3, 9.675_541e-3);
    let sum = mul_add::<FUSED>(mul_add::<FUSED>(high, square, middle), square, low);
    // The low bits of `shifted` are the power; ROUND's own leave an exponent field alone.
    let result = f32::from_bits(sum.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x < -126.0 { 0.0 } else { result }
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// The error function, by formula 7.1.26 of Abramowitz and Stegun (off by at most 1.5e-7).
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let mut sum = 1.061_405_4_f32;
    for coefficient in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        sum = sum * t + coefficient;
    }
    (1.0 - sum * t * exp(-x * x)).copysign(x)
}

/// One number of all lanes: the second half meets the first until one is left, which vectors do in four steps.
#[inline(always)]
pub(crate) fn fold(mut lanes: [f32; LANES], of: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = of(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The sum of a function of each element: each lane front to back, then the lanes. So the order does not depend on the
/// machine, and zeros behind the last element change nothing.
#[inline(always)]
pub(crate) fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += of(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += of(value);
    }
    fold(lanes, |a, b| a + b)
}

/// The largest element; minus infinity of none.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, value);
    }
    fold(lanes, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (0..=20_000).map(move |step| from + (to - from) * step as f32 / 20_000.0)
    }

    #[test]
    fn exp_is_right_to_three_units_in_the_last_place() {
        for x in steps(-87.0, 88.0) {
            let right = f64::from(x).exp();
            let off = (f64::from(exp(x)) - right).abs() / right;
            assert!(
                off < 3.0 * f64::from(f32::EPSILON),
                "exp({x}) is off by {off:e}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert!(exp(1e30).is_finite());
    }

    fn assert_exp2<const FUSED: bool>() {
        for x in steps(-126.0, 0.0) {
            let right = f64::from(x).exp2();
            let off = (f64::from(exp2::<FUSED>(x)) - right).abs() / right;
            assert!(off < 3e-7, "2^{x} is off by {off:e}");
        }
        assert_eq!(exp2::<FUSED>(0.0), 1.0);
        assert_eq!(exp2::<FUSED>(-1.0), 0.5);
        assert_eq!(exp2::<FUSED>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp2::<FUSED>(-1e30), 0.0);
    }

    #[test]
    fn exp2_is_right_to_3e_7() {
        assert_exp2::<true>();
        assert_exp2::<false>();
    }

    #[test]
    fn tanh_is_right_to_units_of_one() {
        for x in steps(-12.0, 12.0) {
            let off = (f64::from(tanh(x)) - f64::from(x).tanh()).abs();
            assert!(off < 4e-7, "tanh({x}) is off by {off:e}");
        }
        assert_eq!((tanh(1e30), tanh(-1e30)), (1.0, -1.0));
    }

    /// By its series, which converges for all of these.
    #[test]
    fn erf_is_right_to_units_of_one() {
        for x in steps(-4.0, 4.0) {
            let (mut term, mut right) = (f64::from(x), f64::from(x));
            for n in 1..120 {
                term *= -f64::from(x) * f64::from(x) / f64::from(n);
                right += term / f64::from(2 * n + 1);
            }
            right *= std::f64::consts::FRAC_2_SQRT_PI;
            let off = (f64::from(erf(x)) - right).abs();
            assert!(off < 5e-7, "erf({x}) is off by {off:e}");
        }
    }

    #[test]
    fn sums_and_largest_elements_take_every_element() {
        for len in 0..70 {
            let values: Vec<f32> = (0..len).map(|at| at as f32 - 100.0).collect();
            assert_eq!(sum(&values, |x| x), values.iter().sum::<f32>());
            let right = values.last().copied().unwrap_or(f32::NEG_INFINITY);
            assert_eq!(largest(&values), right);
        }
    }
}
