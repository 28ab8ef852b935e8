//! Long checks that are examples of another crate, because they need its parts: `soak`, `engine-soak`, `busy-cpu`, `reload`,
//! and the measurements of `push-cost`. Here they are run and their tables kept. Programs of the release
//! profile that other checks start are built by `release`.

use std::{path::Path, process::Output};

use anyhow::{Result, ensure};

use crate::{release, report};

/// A long check.
pub struct Check {
    /// The example.
    pub example: &'static str,
    /// The report's title.
    pub title: &'static str,
    /// The command that the report names.
    pub command: &'static str,
}

/// Many sessions, some of them hostile.
pub const SOAK: Check = Check {
    example: "soak",
    title: "Two thousand sessions at once, one in fifty hostile",
    command: "cargo xtask soak",
};
/// Reloads while streams run.
pub const RELOAD: Check = Check {
    example: "reload_streams",
    title: "Reloads of a plugin while streams run",
    command: "cargo xtask reload",
};

/// Runs an example in the release profile; what it says beside its table goes to the terminal.
pub fn output(root: &Path, package: &str, example: &str) -> Result<Output> {
    Ok(release::cargo(root, "run", package, &["--example", example]).output()?)
}

/// Runs a check and writes tests/reports/EXAMPLE.md, whatever came out; fails if the check did.
pub fn run(root: &Path, check: &Check) -> Result<()> {
    run_with(root, check, &[])
}

/// The same, with options of the check's own.
pub fn run_with(root: &Path, check: &Check, options: &[String]) -> Result<()> {
    const PACKAGE: &str = "weir-server";
    let example = ["--example", check.example];
    release::build(root, PACKAGE, &[&example[..], &["--bin", "weir"]].concat())?;
    let mut command = release::cargo(root, "run", PACKAGE, &example);
    let output = command.arg("--").args(options).output()?;
    let table = String::from_utf8(output.stdout)?;
    print!("{table}");
    ensure!(table.lines().count() > 2, "it did not come to an end");
    let command = [&[check.command.to_owned()], options].concat().join(" ");
    report::write(root, check.example, check.title, &command, &table)?;
    ensure!(output.status.success(), "the check failed");
    Ok(())
}
