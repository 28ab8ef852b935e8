//! Tests of the crate from outside: against golden logits, against the reference runner, against itself.

#![allow(
    clippy::unwrap_used,
    reason = "a test may fail by panicking, its fixtures too"
)]

mod agreement;
mod batches;
mod checkpoints;
mod golden;
mod made_up;
mod prompt_embeddings;
mod rows;
#[allow(
    dead_code,
    reason = "the fixture of the reference runner's tests, which use more of it"
)]
#[path = "../../../model/tests/model/tiny_llama.rs"]
mod tiny_llama;
