//! Runs plugins: WebAssembly components behind the traits of `weir-output`, chosen by name.
//!
//! Invariants: a plugin imports no function, so it can cause nothing but what it returns; every call is bounded in time,
//! memory and output; a failure ends that one session and nothing else; a pinned file runs only with its bytes unchanged.
//! A session is a fresh instance, never pooled and never reset. What stands on the contract's version lives in one folder
//! per version and is chosen once, at load. This crate does not know HTTP, the engine, or what the events mean.

mod cache;
mod component;
mod contract;
mod counters;
mod engine;
mod entry;
mod error;
mod interface;
mod limits;
mod manifest;
mod registry;
mod request_v0_1;
mod session;
mod v0_1;

pub use counters::CounterSnapshot;
pub use engine::{PluginHost, PluginHostConfig};
pub use entry::{ComponentFacts, EmbeddedLookup, PluginState};
pub use error::PluginHostError;
pub use limits::Limits;
pub use manifest::PluginKind;
pub use registry::{AdHocPlugin, ChosenBy, PluginStatus, Registry, RegistryBuilder, Role};
