//! `cargo xtask fuzz`: builds the fuzzer of the tests crate for speed and hands the command line on to it.
//!
//! It is a program of its own, so that this one does not depend on the parsers and the plugin host.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

/// What `cargo xtask fuzz` takes; `--help` is the fuzzer's.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs it to its end.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
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
        ])
        .args(&arguments.arguments)
        .current_dir(root)
        .status()?;
    if !status.success() {
        bail!("the fuzzer ended with {status}");
    }
    Ok(())
}
