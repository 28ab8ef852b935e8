//! Which vector instructions this machine has, and how code is compiled for them.
//!
//! Plain loops are written once: [`Simd::run`] inlines them into a function that may use AVX2, so that the compiler's
//! own vectoriser does the rest. No fused multiply-add comes of it, so such a loop computes the same bits either way.
//! Kernels in intrinsics ask [`Simd::has_avx2`] themselves.
#![allow(
    unsafe_code,
    reason = "calling a function that is compiled for more instructions than the crate"
)]

/// The instructions kernels may use. Only [`Simd::detect`] makes one that allows more than the crate's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Simd {
    avx2: bool,
}

impl Simd {
    /// What this machine has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        #[cfg(not(target_arch = "x86_64"))]
        let avx2 = false;
        Self { avx2 }
    }

    /// Nothing beyond the crate's target: what every kernel is tested against.
    #[cfg(test)]
    pub(crate) fn portable() -> Self {
        Self { avx2: false }
    }

    /// Whether AVX2, FMA and F16C are there.
    pub(crate) fn has_avx2(self) -> bool {
        self.avx2
    }

    /// Runs `body`, compiled for these instructions as far as it is inlined.
    #[inline]
    pub(crate) fn run<R>(self, body: impl FnOnce() -> R) -> R {
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: `avx2` is true only where `detect` has found these instructions.
            return unsafe { with_avx2(body) };
        }
        body()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn with_avx2<R>(body: impl FnOnce() -> R) -> R {
    body()
}
