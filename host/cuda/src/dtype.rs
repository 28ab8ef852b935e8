//! [`Dtype`]: the numbers that weights, activations and KV are made of.

use candle_core::DType;

/// A type of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 8 bits of exponent, 7 of fraction: f32's range.
    Bf16,
    /// 5 bits of exponent, 10 of fraction.
    F16,
    /// 8 bits of exponent, 23 of fraction; on the CPU only, where the tests compute.
    F32,
}

impl Dtype {
    pub(crate) fn candle(self) -> DType {
        match self {
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
            Self::F32 => DType::F32,
        }
    }

    /// How far a result in these numbers may be off, of the largest of what it is held to. `depth` is 1 for one kernel
    /// and more for the layers of a model, whose roundings add up.
    pub(crate) fn tolerance(self, depth: f32) -> f32 {
        let one = match self {
            Self::Bf16 => 1.0 / 128.0,
            Self::F16 => 1.0 / 1024.0,
            Self::F32 => 1e-5,
        };
        one * depth
    }
}
