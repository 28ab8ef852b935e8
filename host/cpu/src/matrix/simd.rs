//! Which instructions the kernels may use, asked once.
//!
//! Invariant: `Avx2` is only ever made where the processor has AVX2, FMA and F16C. Does not hold kernels.

use std::sync::LazyLock;

/// The instruction set of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    /// Plain Rust, on every processor.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Simd {
    /// The best this processor has.
    pub fn best() -> Self {
        static BEST: LazyLock<Simd> = LazyLock::new(detect);
        *BEST
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Simd {
    let all = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    if all { Simd::Avx2 } else { Simd::Portable }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Simd {
    Simd::Portable
}
