//! Engines somewhere else: a `Generator` whose tokens come from the streams of vLLM, SGLang, llama.cpp's server and whatever
//! else has OpenAI's completions; from one or from many.
//!
//! Invariants: no wire types of our own API, no axum; it knows tokens and their bytes, but not what they mean. A request that
//! has got no token yet is sent to another upstream when one fails; one that has ends with an error. Dropping a stream closes
//! its connection, which is how these engines are told to stop.

pub mod connections;
pub mod event_stream;

mod answer;
mod balance;
mod breaker;
mod chunk;
mod dialect;
mod engine;
mod generation;
mod probe;
mod reading;
mod upstream;

pub use dialect::Dialect;
pub use engine::{RemoteConfig, RemoteEngine, RemoteError, Timeouts, UpstreamConfig};
