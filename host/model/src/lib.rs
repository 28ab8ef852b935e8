//! The model: GGUF files, folders of safetensors, and one decoder described by data, computed with candle.
//!
//! [`Checkpoint`] opens a model's files and [`ModelDescription`] says what is in them; [`CandleRunner`] implements
//! [`weir_engine::ModelRunner`]: paged KV blocks, one ragged batch a step, logits only for the rows that want them. It is
//! the reference that faster runners are measured against, so it prefers plain tensor operations to speed.
//! Invariant: whatever a file holds that the decoder does not compute is a one-line [`ModelError`] at load, never a
//! wrong answer. Tokenizing, sampling and scheduling are elsewhere; [`GgufFile`] and
//! [`SafetensorsFolder`] hand out the metadata they need.

mod attention;
mod checkpoint;
mod data_file;
mod decoder;
mod description;
mod encoder;
mod error;
mod gguf;
mod kv_slabs;
pub mod names;
mod rope;
mod router;
mod runner;
mod runner_options;
mod safetensors;
mod tensor_account;
mod tensor_entry;
mod text_pooling;
mod weights;

pub use attention::{Scores, attend};
pub use checkpoint::Checkpoint;
pub use description::{
    Activation, Attention, Experts, FeedForward, GatedNetwork, GroupScore, GroupedAttention,
    KvLayout, LatentAttention, LayerDescription, LongRope, ModelDescription, RopeDescription,
    RopeStyle, Router, RouterScore,
};
pub use encoder::Embedder;
pub use error::ModelError;
pub use gguf::GgufFile;
pub use kv_slabs::{KvPages, KvSlabs};
pub use router::RouterMemory;
pub use runner::CandleRunner;
pub use runner_options::{KvCapacity, RunnerOptions, check_batch};
pub use safetensors::SafetensorsFolder;
pub use tensor_account::{LoadProgress, TensorAccount};
pub use tensor_entry::TensorEntry;
pub use text_pooling::TextPooling;
