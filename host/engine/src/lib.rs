//! The engine: continuous batching over paged KV blocks, as pure logic.
//!
//! Invariants: no tokio, candle, wasmtime or wire types here; nothing waits for a client; a sequence's
//! tokens depend on its own request alone, never on what else runs in the batch.
//! It does not load models, does not know text, and starts no threads: `weir-server` drives it.

pub mod batch;
pub mod generator;
pub mod request;
pub mod runner;

mod error;

pub use batch::{Batch, BatchRow, Logits};
pub use error::EngineError;
pub use generator::{Generated, GeneratedStream, Generator};
pub use request::{FinishReason, SamplingParams, SequenceId, SequenceRequest, StopConditions};
pub use runner::{ModelRunner, RunnerInfo};
