//! Fuzzing: the inputs of `weir_corpus::fuzz`, run through the output pipeline natively and as wasm, and held to
//! what is true of every input.
//!
//! One execution is one input under one chunking. It depends on the seed, the parser, its number and the corpora, on
//! nothing else. `cargo xtask fuzz` runs millions, `tests/tests/junk.rs` some thousands. Whether a fold is the right one
//! for its input is not known here: that is what corpus cases are for.

mod driver;
mod execution;
mod order;
mod report;
mod subject;

pub use driver::{Outcome, Plan, run};
pub use subject::names;
