//! `cargo xtask forced-calls`: the default model, forced to call by the grammar of its parser's plugin, at temperature 1.
//!
//! The check itself is an example of the server's crate, because it needs the model, the engine and the plugins; here it is
//! run and its table kept.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::report;

/// Runs it and writes tests/reports/forced_calls.md, whatever came out; fails if a call was not valid.
pub fn run(root: &Path) -> Result<()> {
    let output = Command::new("cargo")
        .args([
            "run",
            "--quiet",
            "--release",
            "-p",
            "weir-server",
            "--example",
            "forced_calls",
        ])
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let table = String::from_utf8(output.stdout)?;
    print!("{table}");
    ensure!(
        table.contains("answers are valid"),
        "it did not come to an end"
    );
    report::write(
        root,
        "forced_calls",
        "Forced calls of the default model",
        "cargo xtask forced-calls",
        &table,
    )?;
    ensure!(output.status.success(), "not every answer is a valid call");
    Ok(())
}
