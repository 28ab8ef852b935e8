//! The engine thread and the routes over a real decoder: a tiny llama with random weights, loaded as any model is.
//!
//! Tokens are compared exactly: company must not change what a sequence says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod batching;
mod constraints;
mod embeddings;
mod folder;
mod generative_embeddings;
mod http;
mod logprobs;
mod prompt_embeds;
mod tiny_model;
mod token_fields;
mod token_ids;
