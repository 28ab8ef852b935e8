//! The int8 kernels for AVX-512 with VNNI.
//!
//! They read the same tiles as AVX2's: a step of a block is one vector, and `vpdpbusd` adds its 64 products to int32 sums
//! at once, so that nothing can overflow and signed numbers cost no more than unsigned ones. Few rows read the packed
//! weights straight; many rows first widen a stretch of the tile, as for AVX2. Float formats have no kernel of their own.
//!
//! Invariant: only called where [`Simd::Avx512`](crate::simd::Simd) was detected. Does not choose tiles or threads.

mod decode;
mod kernel;
mod panel;

pub use decode::Decode;
pub use kernel::{Panel, multiply};
