//! The 16-bit floats of GGUF files, widened.
//!
//! Invariant: the same f32 as the processor's own conversion, subnormals and infinities included. Does not narrow.

/// IEEE 754 binary16, by its bits.
pub fn f16_to_f32(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}

/// bfloat16, by its bits: the upper half of an f32.
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The little-endian u16 at `at`.
pub fn u16_at(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([raw[at], raw[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widens_what_ieee_754_says() {
        let cases = [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(
                f16_to_f32(bits).to_bits(),
                f32::to_bits(value),
                "{bits:#06x}"
            );
        }
        assert!(f16_to_f32(0x7c01).is_nan());
        assert_eq!(bf16_to_f32(0x3fc0), 1.5);
    }
}
