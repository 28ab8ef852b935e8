//! `cargo xtask push-cost`: runs the bench of the plugin host and keeps its medians as a table.
//!
//! A time is no test: it compares nothing. The bars are those of the contract, beside what was measured.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::report;

/// What is measured: its folder under target/criterion, its name, its unit in nanoseconds, and its bar in that unit.
const ROWS: &[(&str, &str, f64, &str)] = &[
    (
        "push/wasm_content",
        "push of plain text, wasm (ns)",
        1.0,
        "600",
    ),
    (
        "push/wasm_call_2000",
        "push in 2,000 argument characters, wasm (ns)",
        1.0,
        "1,000",
    ),
    (
        "push/wasm_call_32000",
        "push in 32,000 argument characters, wasm (ns)",
        1.0,
        "1.1 times the row above",
    ),
    (
        "session/wasm_start_and_drop",
        "session from start to drop, wasm (us)",
        1e3,
        "50",
    ),
    (
        "push/native_content",
        "push of plain text, native (ns)",
        1.0,
        "50",
    ),
    (
        "push/native_call_2000",
        "push in 2,000 argument characters, native (ns)",
        1.0,
        "50",
    ),
    (
        "push/native_call_32000",
        "push in 32,000 argument characters, native (ns)",
        1.0,
        "50",
    ),
];

/// What the bench says of memory, on its standard output.
const MEMORY: &str = "memory of a live session: ";

/// Runs the bench and writes tests/reports/push_cost.md.
pub fn run(root: &Path) -> Result<()> {
    let output = Command::new("cargo")
        .args([
            "bench",
            "--quiet",
            "-p",
            "weir-plugin-host",
            "--bench",
            "push",
        ])
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the bench failed");
    let printed = String::from_utf8(output.stdout)?;
    let mut table = String::from("| what | median | bar |\n|---|---|---|\n");
    for (folder, label, unit, bar) in ROWS {
        let path = root
            .join("target/criterion")
            .join(folder)
            .join("new/estimates.json");
        let estimates: Value = serde_json::from_str(
            &fs::read_to_string(&path).with_context(|| path.display().to_string())?,
        )?;
        let median = estimates["median"]["point_estimate"]
            .as_f64()
            .with_context(|| format!("{}: no median", path.display()))?;
        writeln!(table, "| {label} | {:.0} | {bar} |", median / unit)?;
    }
    let memory = printed.lines().find_map(|line| line.strip_prefix(MEMORY));
    let memory = memory.context("the bench says nothing of memory")?;
    writeln!(table, "| live session, wasm | {memory} | 64 KiB |")?;
    table.push_str(
        "\nThe stream is qwen25's (hermes) in deltas of 4 characters, the host's path and epoch interruption included.\n",
    );
    print!("{table}");
    report::write(
        root,
        "push_cost",
        "What a push costs",
        "cargo xtask push-cost",
        &table,
    )
}
