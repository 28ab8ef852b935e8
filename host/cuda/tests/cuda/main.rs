//! Tests of the crate from outside, on the CPU in a GPU's place: against golden logits and against itself.

#![allow(
    clippy::unwrap_used,
    reason = "a test may fail by panicking, its fixtures too"
)]

mod batches;
#[allow(
    dead_code,
    reason = "the fixture of the CPU runner's tests, which use more of it"
)]
#[path = "../../../cpu/tests/cpu/checkpoints.rs"]
mod checkpoints;
mod golden;
mod models;
