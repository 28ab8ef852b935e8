//! Tests of the crate from outside, on a tiny model they write themselves.

#![allow(
    clippy::unwrap_used,
    reason = "a test may fail by panicking, its fixtures too"
)]

mod edited_checkpoints;
mod encoder;
mod execution;
mod gguf;
mod gguf_fixture;
mod gguf_hostile;
mod golden;
mod loading;
mod meaning;
mod refused;
mod safetensors;
mod safetensors_fixture;
mod safetensors_hostile;
mod tampered;
mod text_pooling;
mod tiny_llama;
