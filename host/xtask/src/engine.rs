//! `cargo xtask engine-soak` and `cargo xtask busy-cpu`: the engine under load for long, and beside others on the machine.
//!
//! Both are examples of the server's crate; here are their options.

use std::path::Path;

use anyhow::Result;

use crate::example::{self, Check};

const SOAK: Check = Check {
    example: "engine_soak",
    title: "Mixed load on the engine, with little KV",
    command: "cargo xtask engine-soak",
};
const BUSY: Check = Check {
    example: "busy_cpu",
    title: "Throughput on a busy machine",
    command: "cargo xtask busy-cpu",
};

#[derive(clap::Args)]
pub struct SoakArguments {
    /// How long clients ask, in seconds
    #[arg(long, default_value_t = 1_800)]
    seconds: u64,
    /// The model, as `weir serve --model` takes it [default: the default model]
    #[arg(long)]
    model: Option<String>,
}

#[derive(clap::Args)]
pub struct BusyArguments {
    /// Measurements of each kind, quiet and busy in turns
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// The model, as `weir serve --model` takes it [default: the default model]
    #[arg(long)]
    model: Option<String>,
}

/// Runs the soak and writes tests/reports/engine_soak.md.
pub fn soak(root: &Path, arguments: &SoakArguments) -> Result<()> {
    let seconds = ["--seconds".to_owned(), arguments.seconds.to_string()];
    let options = [&seconds[..], &model(arguments.model.as_ref())].concat();
    example::run_with(root, &SOAK, &options)
}

/// Measures and writes tests/reports/busy_cpu.md.
pub fn busy(root: &Path, arguments: &BusyArguments) -> Result<()> {
    let rounds = ["--rounds".to_owned(), arguments.rounds.to_string()];
    let seconds = ["--seconds".to_owned(), arguments.seconds.to_string()];
    let options = [&rounds[..], &seconds, &model(arguments.model.as_ref())].concat();
    example::run_with(root, &BUSY, &options)
}

fn model(path: Option<&String>) -> Vec<String> {
    let option = |path: &String| vec!["--model".to_owned(), path.clone()];
    path.map(option).unwrap_or_default()
}
