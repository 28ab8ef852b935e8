//! The engine: continuous batching over paged KV blocks, as pure logic.
//!
//! Invariants: no tokio, candle, wasmtime or wire types here; nothing waits for a client; a sequence's
//! tokens depend on its own request alone, never on what else runs in the batch.
//! It does not load models, does not know text, and starts no threads: `weir-server` drives it.

pub mod batch;
pub mod embedding_runner;
pub mod engine;
pub mod fake_runner;
pub mod generator;
pub mod histogram;
pub mod logits_processor;
pub mod measurements;
pub mod request;
pub mod runner;
pub mod sampler;
pub mod upstream;

mod admission;
mod block_manager;
mod error;
mod prefix_index;
mod scheduler;
mod sequence;
#[cfg(test)]
mod tests;

pub use batch::{
    Batch, BatchRow, EmbeddedTokens, LOGITS_BLOCK, Logits, LogitsRow, likeliest_blocks,
};
pub use embedding_runner::{EmbeddingInfo, EmbeddingRunner};
pub use engine::{Engine, EngineConfig, EngineCounters, MAX_FORCED_PER_STEP, StepOutput};
pub use error::{EngineError, UpstreamFailure};
pub use fake_runner::{FakeRunner, FakeScript};
pub use generator::{Generated, GeneratedStream, Generator, SequenceUsage, TokenLogprobs};
pub use histogram::{Histogram, HistogramSnapshot};
pub use logits_processor::{LogitsProcessor, ReasoningBudget, TokenTexts};
pub use measurements::{EngineFigures, Measurements};
pub use request::{
    Constraint, FinishReason, Form, Gbnf, Pooling, PromptEmbeddings, SamplingParams, SequenceId,
    SequenceRequest, StopConditions,
};
pub use runner::{ModelRunner, RunnerInfo};
pub use upstream::{UpstreamFigures, UpstreamState};
