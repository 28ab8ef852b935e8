//! `weir engine`: a model's engine without a server. One order a line comes as JSON on standard input, one answer a line goes
//! to standard output, so that a script can hold the engine to a reference and measure it below HTTP.
//!
//! | order | what it does |
//! |---|---|
//! | `info` | says the runner's sizes |
//! | `logits` | computes given tokens in ragged batches and says what the model thinks of each ([`LogitsOrder`]) |
//! | `generate` | runs requests through a fresh engine, greedily, and takes the time ([`GenerateOrder`]) |
//!
//! Invariants: every line that is not blank has one answer, in order; an order that cannot be done is answered with `error`
//! and the next one is read; orders share the runner and its KV blocks but no cache and no queue. It knows no text and
//! starts no thread: what is computed is computed between reading a line and answering it.

use std::{
    io::{self, BufRead, Write},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use weir_engine::{Batch, EngineError, Logits, ModelRunner, RunnerInfo, SequenceId};

mod generate;
mod logits;

pub use generate::{GenerateOrder, Request};
pub use logits::LogitsOrder;

/// What a line may ask for.
#[derive(Debug, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
enum Order {
    Info,
    Logits(LogitsOrder),
    Generate(GenerateOrder),
}

/// Why an order was not done.
#[derive(Debug, Error)]
pub enum OrderError {
    /// No JSON, an unknown order or key, a value of the wrong type.
    #[error("no order: {0}")]
    Json(#[from] serde_json::Error),
    /// What it asks for does not go with the runner's sizes.
    #[error("{0}")]
    Impossible(String),
    /// The engine or its runner.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The file for the logits.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why it cannot be written.
        reason: io::Error,
    },
}

/// Does the orders of `input` one after the other until it ends.
///
/// # Errors
/// When `input` cannot be read or `output` not written.
pub fn run(
    runner: Box<dyn ModelRunner>,
    input: impl BufRead,
    mut output: impl Write,
) -> io::Result<()> {
    let mut runner = SharedRunner::new(runner);
    for line in input.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = obey(&mut runner, &line);
        let answer = answer.unwrap_or_else(|error| json!({"error": error.to_string()}));
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn obey(runner: &mut SharedRunner, line: &str) -> Result<Value, OrderError> {
    match serde_json::from_str(line)? {
        Order::Info => Ok(describe(&runner.info)),
        Order::Logits(order) => logits::compute(runner, &order),
        Order::Generate(order) => generate::run(runner, order),
    }
}

fn describe(info: &RunnerInfo) -> Value {
    json!({
        "vocab_size": info.vocab_size,
        "max_model_len": info.max_model_len,
        "block_size": info.block_size,
        "num_blocks": info.num_blocks,
        "eos_token_ids": info.eos_token_ids,
    })
}

/// One runner for the engines of all orders, each of which wants one of its own. Only one is at work at a time.
#[derive(Clone)]
struct SharedRunner {
    runner: Arc<Mutex<Box<dyn ModelRunner>>>,
    info: RunnerInfo,
}

impl SharedRunner {
    fn new(runner: Box<dyn ModelRunner>) -> Self {
        let info = runner.info().clone();
        let runner = Arc::new(Mutex::new(runner));
        Self { runner, info }
    }

    fn with<T>(&self, act: impl FnOnce(&mut dyn ModelRunner) -> T) -> T {
        let mut runner = self.runner.lock().unwrap_or_else(PoisonError::into_inner);
        act(runner.as_mut())
    }
}

impl ModelRunner for SharedRunner {
    fn info(&self) -> &RunnerInfo {
        &self.info
    }

    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError> {
        self.with(|runner| runner.execute_into(batch, logits))
    }

    fn execute_choosing(
        &mut self,
        batch: &Batch,
        enough: &[Option<usize>],
        logits: &mut Logits,
    ) -> Result<(), EngineError> {
        self.with(|runner| runner.execute_choosing(batch, enough, logits))
    }

    fn release(&mut self, sequence: SequenceId) {
        self.with(|runner| runner.release(sequence));
    }
}

#[cfg(test)]
mod tests;
