//! The HTTP side over the fake runner: what clients send, what they get, and what becomes of the engine meanwhile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod anthropic;
mod behind;
mod bodies;
mod chat;
mod completions;
mod documented;
#[path = "../documented/mod.rs"]
mod documented_schemas;
mod embeddings;
mod engine;
mod errors;
mod keys;
mod library;
mod logprobs;
mod metrics;
mod models;
mod native;
mod openapi;
mod options;
mod page;
mod parsers;
mod planning;
mod remote;
mod remote_chat;
mod remote_several;
mod responses;
mod responses_fold;
mod responses_store;
mod server;
mod streams;
mod upstream;
