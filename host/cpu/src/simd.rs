//! Which vector instructions this machine has, and how code is compiled for them.
//!
//! Plain loops are written once: [`vectorized`] compiles them again with AVX2 and with AVX-512 allowed, so that the compiler's
//! own vectoriser does the rest. No fused multiply-add comes of it, so such a loop computes the same bits each time.
//! Kernels in intrinsics match on [`Simd`] themselves.
//!
//! Invariant: `Avx2` is only ever made where the processor has AVX2, FMA and F16C, `Avx512` only where it also has AVX-512 F,
//! BW, VL and VNNI. What has nothing for `Avx512` does as for `Avx2`.

/// The instructions kernels may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Simd {
    /// Plain Rust, on every processor: what every kernel is tested against.
    #[cfg_attr(
        target_arch = "x86_64",
        allow(dead_code, reason = "chosen where AVX2 is missing, and by tests")
    )]
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The same with AVX-512 F, BW, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// The best this machine has; the standard library asks the processor once.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn detect() -> Self {
        let all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let more = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        match (all, more) {
            (true, true) => Self::Avx512,
            (true, false) => Self::Avx2,
            (false, _) => Self::Portable,
        }
    }

    /// The best this machine has.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn detect() -> Self {
        Self::Portable
    }
}

#[cfg(test)]
impl Simd {
    /// Every instruction set this machine has.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        if Self::detect() == Self::Avx512 {
            all.push(Self::Avx2);
        }
        if Self::detect() != Self::Portable {
            all.push(Self::detect());
        }
        all
    }
}

/// Defines a function of plain loops, compiled for every instruction set; callers say which by a first argument. In its body
/// `FUSED` says whether that has [`mul_add`](crate::math::mul_add) in one instruction.
///
/// A closure handed to a function with more instructions would not do: once it is too large to be inlined there, it is
/// compiled for the crate's target.
macro_rules! vectorized {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[allow(unsafe_code, reason = "calls what is compiled for more instructions than the crate")]
        $vis fn $name(simd: $crate::simd::Simd, $($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn plain<const FUSED: bool>($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($argument: $type),*) $(-> $result)? {
                plain::<true>($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
            fn avx512($($argument: $type),*) $(-> $result)? {
                plain::<true>($($argument),*)
            }

            match simd {
                $crate::simd::Simd::Portable => plain::<false>($($argument),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: only made where these instructions are.
                $crate::simd::Simd::Avx2 => unsafe { avx2($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the same.
                $crate::simd::Simd::Avx512 => unsafe { avx512($($argument),*) },
            }
        }
    };
}

pub(crate) use vectorized;
