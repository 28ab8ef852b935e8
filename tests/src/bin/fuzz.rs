//! `cargo xtask fuzz`: runs the fuzzing plan of the command line, prints findings as corpus cases, and writes
//! the table of which xtask makes `tests/reports/fuzz.md`.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use weir_tests::{
    Plugins,
    fuzz::{Outcome, Plan, names, run},
    verdict,
    wasm::WasmPlugins,
};

const DEFAULT_EXECUTIONS: u64 = 100_000;

/// Run seeded random inputs through the parsers, natively and as wasm, and look for what must never happen
#[derive(Parser)]
#[command(name = "cargo xtask fuzz")]
struct Arguments {
    /// Only this parser; may be given again
    #[arg(long = "parser", value_name = "NAME")]
    parsers: Vec<String>,
    /// How many executions, spread over the parsers [default: 100000, or as many as fit into the minutes]
    #[arg(long, value_name = "N")]
    executions: Option<u64>,
    /// What the inputs are made from
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Stop after so many minutes
    #[arg(long, value_name = "M")]
    minutes: Option<u64>,
    /// Leave the components out, for parsers that have none yet
    #[arg(long)]
    native: bool,
    /// Where the table goes, if all parsers were run with their components; `cargo xtask fuzz` makes a report of it
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

fn main() -> ExitCode {
    verdict("fuzz", fuzz(&Arguments::parse()))
}

/// Whether nothing was found.
fn fuzz(arguments: &Arguments) -> anyhow::Result<bool> {
    let all = arguments.parsers.is_empty();
    let plan = Plan {
        parsers: if all {
            names()?
        } else {
            arguments.parsers.clone()
        },
        executions: match (arguments.executions, arguments.minutes) {
            (Some(executions), _) => executions,
            (None, Some(_)) => u64::MAX,
            (None, None) => DEFAULT_EXECUTIONS,
        },
        seed: arguments.seed,
        time: arguments
            .minutes
            .map(|minutes| Duration::from_secs(60 * minutes)),
        progress: true,
    };
    let wasm = if arguments.native {
        None
    } else {
        Some(WasmPlugins::new()?)
    };
    let start = Instant::now();
    let outcomes = run(&plan, wasm.as_ref().map(|wasm| wasm as &dyn Plugins))?;
    let seconds = start.elapsed().as_secs();
    for outcome in &outcomes {
        println!("{:>10} executions  {}", outcome.executions, outcome.parser);
    }
    for outcome in &outcomes {
        if let Some(finding) = &outcome.finding {
            println!("\n{}: {finding}", outcome.parser);
        }
    }
    if let Some(path) = arguments
        .table
        .as_ref()
        .filter(|_| all && !arguments.native)
    {
        fs::write(path, table(arguments.seed, &outcomes, seconds))
            .with_context(|| path.display().to_string())?;
    }
    Ok(outcomes.iter().all(|outcome| outcome.finding.is_none()))
}

/// The table of a run.
fn table(seed: u64, outcomes: &[Outcome], seconds: u64) -> String {
    let mut text = format!(
        "Seed {seed}, {seconds} s. One execution is one generated input under one chunking, natively and as wasm, and whole in\n\
         both modes. What must hold is listed in `tests/src/fuzz/execution.rs`; a parser with a finding gets no more\n\
         executions.\n\n| parser | executions | findings |\n|---|---:|---:|\n"
    );
    let mut total = 0;
    for Outcome {
        parser,
        executions,
        finding,
    } in outcomes
    {
        total += executions;
        text.push_str(&format!(
            "| {parser} | {executions} | {} |\n",
            u8::from(finding.is_some())
        ));
    }
    text + &format!("| all | {total} | |\n")
}
