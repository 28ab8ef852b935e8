//! The quantized CPU runner: weights repacked at load, int8 activations, one parallel region a step.
//!
//! [`CpuRunner`] implements [`weir_engine::ModelRunner`] for every decoder that [`weir_model::ModelDescription`] describes,
//! in GGUF files; [`CpuRunner::supports`] says of a model whether its tensors are of types that are packed. What it computes is what `weir_model`'s reference computes,
//! within the error of int8 activations and of KV in int16. It opens no files itself and knows no families: a model is
//! [`weir_model::ModelDescription`].

mod activation;
mod attention;
mod barrier;
mod buffers;
mod decoder;
mod int16;
mod kv_cache;
mod loading;
mod machine;
mod math;
pub mod matrix;
mod norm;
mod product;
mod rope;
mod runner;
mod shared;
mod simd;
mod step;
mod team;

pub use decoder::WeightSize;
pub use runner::CpuRunner;
