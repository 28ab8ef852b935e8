//! The server: HTTP and command line around prompt, engine and output; the only crate with a runtime and the only binary.
//!
//! `router(state)` is the HTTP side as a library, so that routes of one's own can stand beside it.

pub mod active_plugins;
pub mod behind_answers;
pub mod bench;
pub mod cli;
pub mod config;
mod connections;
mod constraints;
pub mod document_store;
pub mod embedding_thread;
pub mod engine_orders;
pub mod engine_thread;
pub mod error;
mod file_watch;
pub mod generation;
pub mod keys;
mod loading;
pub mod metrics;
pub mod model_list;
pub mod model_set;
pub mod parse;
mod plugin_bench;
pub mod plugin_commands;
pub mod pooled_embeddings;
pub mod preload;
pub mod pull;
pub mod reload;
pub mod replay;
pub mod request_record;
pub mod response_store;
pub mod routes;
pub mod serve;
pub mod sse;
pub mod state;
mod table;
mod tls;
pub mod wiring;

pub use embedding_thread::EmbeddingHandle;
pub use engine_thread::{EngineHandle, EngineThread};
pub use error::ApiError;
pub use keys::{ApiKey, Caller, KeyLimits, KeyRing};
pub use metrics::Metrics;
pub use model_set::{ModelNames, ModelSet};
pub use pooled_embeddings::PooledEmbedder;
pub use routes::router;
pub use state::{
    AppState, Embedder, Lifecycle, RequestGuard, SamplingDefaults, ServedModel, ServerSettings,
};
