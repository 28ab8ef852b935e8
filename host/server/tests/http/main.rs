//! The HTTP side over the fake runner: what clients send, what they get, and what becomes of the engine meanwhile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod chat;
mod completions;
mod embeddings;
mod engine;
mod errors;
mod metrics;
mod models;
mod openapi;
mod parsers;
mod server;
mod streams;
