//! The GPU runner: the decoder described by data over paged KV blocks, in bf16 or f16.
//!
//! [`CudaRunner`] implements [`weir_engine::ModelRunner`]. All rows' tokens go through every matrix together, and a layer's
//! attention is one call for decode rows and prefill chunks alike. What depends on the device stands behind one trait,
//! `Kernels`: written for the GPU, and in plain candle operations that run anywhere, are slow and are what the others are
//! held to, by the tests and by the self-test at each start.
//! Several devices share a model ([`Gpus`]): each computes its heads and its part of every network's width, on a thread of its
//! own, and after each half layer they add up (`Collective`: NCCL, or memory that threads share).
//! Invariants: a model that is not computed here is refused by name before anything is loaded; a device whose answers are
//! off is refused before anything is served. Weights of any type become the runner's own when they are loaded.
//!
//! Features: `cuda` compiles candle for NVIDIA GPUs, `flash-attn` the attention that a GPU is served with. Without them the
//! crate computes on the CPU alone, which is what its tests do.

mod built;
mod choose;
mod collective;
mod decoder;
mod device;
mod dtype;
#[cfg(feature = "flash-attn")]
mod flash;
mod heads;
mod kernels;
#[cfg(feature = "flash-attn")]
mod launch;
mod layer;
mod loader;
#[cfg(feature = "cuda")]
mod memory;
mod prepare;
mod reference;
mod rope;
mod runner;
mod self_test;
mod shard;
mod split;
mod step;
mod uploads;
mod weight_source;

pub use device::Gpus;
pub use dtype::Dtype;
pub use runner::{CudaOptions, CudaRunner, LargestStep};
