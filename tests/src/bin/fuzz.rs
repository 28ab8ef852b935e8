//! `cargo xtask fuzz`: runs the fuzzing plan of the command line, prints findings as corpus cases, and writes
//! `tests/reports/fuzz.md` when all parsers were run to the end.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::Parser;
use weir_tests::{
    Plugins,
    fuzz::{Outcome, Plan, names, run},
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
}

fn main() -> ExitCode {
    match fuzz(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error:#}");
            ExitCode::FAILURE
        }
    }
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
    if all && !arguments.native {
        report(&command(arguments), &outcomes, seconds)?;
    }
    Ok(outcomes.iter().all(|outcome| outcome.finding.is_none()))
}

/// The command line that makes the same run, as far as time allows.
fn command(arguments: &Arguments) -> String {
    let mut command = "cargo xtask fuzz".to_owned();
    if let Some(executions) = arguments.executions {
        command.push_str(&format!(" --executions {executions}"));
    }
    if let Some(minutes) = arguments.minutes {
        command.push_str(&format!(" --minutes {minutes}"));
    }
    command + &format!(" --seed {}", arguments.seed)
}

/// Writes the table.
fn report(command: &str, outcomes: &[Outcome], seconds: u64) -> anyhow::Result<()> {
    let mut text = format!(
        "# Fuzzing\n\n{}, commit {}, {seconds} s:\n\n    {command}\n\n\
         One execution is one generated input under one chunking, natively and as wasm, and whole in both modes. What\n\
         must hold is listed in `tests/src/fuzz/execution.rs`; a parser with a finding gets no more executions.\n\n\
         | parser | executions | findings |\n|---|---:|---:|\n",
        date()?,
        commit()?,
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
    text.push_str(&format!("| all | {total} | |\n"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("fuzz.md"), text)?;
    Ok(())
}

fn commit() -> anyhow::Result<String> {
    let git = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("git")?;
    Ok(String::from_utf8(git.stdout)?.trim().to_owned())
}

/// Today in UTC, as 2026-11-21.
fn date() -> anyhow::Result<String> {
    let days = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400;
    // Days since 1 March of year 0, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    let year = era * 400 + year + u64::from(month <= 2);
    Ok(format!("{year}-{month:02}-{day:02}"))
}
