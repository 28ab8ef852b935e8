//! `cargo xtask fuzz-constraints`: runs the fuzzing of schemas, regular expressions and grammars, prints findings, and writes
//! the table of which xtask makes `tests/reports/fuzz_constraints.md`.

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context;
use clap::Parser;
use weir_tests::{
    constraints::order::{self, Outcome},
    verdict,
};

/// Compile seeded random schemas, regular expressions and grammars, and walk through what they allow
#[derive(Parser)]
#[command(name = "cargo xtask fuzz-constraints")]
struct Arguments {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    executions: u64,
    /// The first seed; each makes one input
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Processes at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    at_once: u64,
    /// Where the table goes; `cargo xtask fuzz-constraints` makes a report of it
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// Run from this seed on in this process, which may not survive
    #[arg(long, value_name = "S", hide = true)]
    here: Option<u64>,
}

fn main() -> ExitCode {
    verdict("fuzz_constraints", fuzz(&Arguments::parse()))
}

/// Whether nothing was found.
fn fuzz(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(first) = arguments.here {
        order::run_here(first, arguments.executions)?;
        return Ok(true);
    }
    let start = Instant::now();
    let outcome = order::run(arguments.seed, arguments.executions, arguments.at_once)?;
    let table = table(arguments, &outcome, start.elapsed().as_secs());
    print!("{table}");
    if let Some(path) = &arguments.table {
        fs::write(path, table).with_context(|| path.display().to_string())?;
    }
    Ok(outcome.findings.is_empty())
}

fn table(arguments: &Arguments, outcome: &Outcome, seconds: u64) -> String {
    let mut text = format!(
        "Seeds {} to {}, {seconds} s, {} MiB at most in a process. Each input is compiled and, if it is not refused, walked through\n\
         at random. What must hold is listed in `tests/src/constraints/order.rs`.\n\n\
         | input | executions | refused | enforced | walks to an end | compiled in, ms at most | a mask, ms at most |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
        arguments.seed,
        arguments.seed + arguments.executions - 1,
        outcome.memory >> 10,
    );
    for (kind, counts) in &outcome.kinds {
        text.push_str(&format!(
            "| {kind} | {} | {} | {} | {} | {} | {} |\n",
            counts.executions,
            counts.executions - counts.taken,
            counts.taken,
            counts.ended,
            counts.compile.as_millis(),
            counts.step.as_millis(),
        ));
    }
    text.push_str(&format!("\n{} findings.\n", outcome.findings.len()));
    for finding in outcome.findings.iter().take(20) {
        let finding: String = finding.chars().take(600).collect();
        text.push_str(&format!("\n```\n{finding}\n```\n"));
    }
    text
}
