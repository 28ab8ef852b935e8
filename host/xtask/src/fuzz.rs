//! `cargo xtask fuzz`: builds the fuzzer of the tests crate for speed and hands the command line on to it.
//!
//! It is a program of its own, so that this one does not depend on the parsers and the plugin host.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::report;

/// What `cargo xtask fuzz` takes; `--help` is the fuzzer's.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs it to its end, and writes tests/reports/fuzz.md if it ran all parsers with their components.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let table = root.join("target/fuzz_table.md");
    if table.exists() {
        fs::remove_file(&table)?;
    }
    let status = Command::new("cargo")
        .args([
            "run",
            "--quiet",
            "--release",
            "-p",
            "weir-tests",
            "--bin",
            "fuzz",
            "--",
            "--table",
        ])
        .arg(&table)
        .args(&arguments.arguments)
        .current_dir(root)
        .status()?;
    if table.exists() {
        let command = ["cargo xtask fuzz"]
            .into_iter()
            .chain(arguments.arguments.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ");
        report::write(
            root,
            "fuzz",
            "Fuzzing",
            &command,
            &fs::read_to_string(&table)?,
        )?;
    }
    if !status.success() {
        bail!("the fuzzer ended with {status}");
    }
    Ok(())
}
