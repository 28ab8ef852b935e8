//! `cargo xtask fuzz-requests`: runs the fuzzing of request bodies, prints findings, and writes the table of which xtask makes
//! `tests/reports/fuzz_requests.md`.

use std::{fs, panic, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context;
use clap::Parser;
use weir_tests::{
    requests::{Outcome, run},
    verdict,
};

/// Read seeded random bodies of every kind of request, and look for what must never happen
#[derive(Parser)]
#[command(name = "cargo xtask fuzz-requests")]
struct Arguments {
    /// How many bodies, spread over the kinds of requests
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    executions: u64,
    /// What the bodies are made from
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Where the table goes; `cargo xtask fuzz-requests` makes a report of it
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

fn main() -> ExitCode {
    verdict("fuzz_requests", fuzz(&Arguments::parse()))
}

/// Whether nothing was found.
fn fuzz(arguments: &Arguments) -> anyhow::Result<bool> {
    // A finding is told with its body; the panic's own words would stand among the progress of others.
    panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let start = Instant::now();
    let outcomes = run(arguments.executions, arguments.seed)?;
    let seconds = start.elapsed().as_secs();
    for outcome in &outcomes {
        for finding in &outcome.findings {
            println!("{}, {finding}\n", outcome.name);
        }
    }
    let table = table(arguments.seed, &outcomes, seconds);
    print!("{table}");
    if let Some(path) = &arguments.table {
        fs::write(path, table).with_context(|| path.display().to_string())?;
    }
    Ok(outcomes.iter().all(|outcome| outcome.findings.is_empty()))
}

/// The table of a run.
fn table(seed: u64, outcomes: &[Outcome], seconds: u64) -> String {
    let mut text = format!(
        "Seed {seed}, {seconds} s, with checks of overflow and debug assertions on. One execution is one body, read as its route\n\
         reads it. What must hold is listed in `tests/src/requests/mod.rs`.\n\n\
         | request | executions | no JSON | taken | refused | not built | findings |\n|---|---:|---:|---:|---:|---:|---:|\n"
    );
    let mut all = 0;
    for outcome in outcomes {
        let Outcome {
            name,
            executions,
            no_json,
            taken,
            refused,
            not_built,
            findings,
        } = outcome;
        all += executions;
        let found = findings.len();
        text.push_str(&format!(
            "| {name} | {executions} | {no_json} | {taken} | {refused} | {not_built} | {found} |\n"
        ));
    }
    text + &format!("| all | {all} | | | | | |\n")
}
