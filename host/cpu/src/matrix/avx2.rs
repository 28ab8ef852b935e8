//! The kernels for AVX2, FMA and F16C.
//!
//! Few rows read the packed weights straight, so that memory is the only limit. Many rows first widen a stretch of the
//! tile to a panel of bytes and f32 scales in the first-level cache, once for all rows of the pass. Both run the same
//! inner loop in the same order, so a row's products are the same bits either way.
//!
//! Invariant: only called where [`Simd::Avx2`](crate::simd::Simd) was detected. Does not choose tiles or threads.

mod decode;
mod float_kernel;
mod kernel;
mod panel;
mod quantize;

pub use decode::Decode;
pub use float_kernel::{DecodeFloat, multiply_floats};
pub use kernel::{Panel, multiply};
pub use quantize::quantize;
