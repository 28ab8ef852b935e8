//! Long checks that are examples of the server's crate, because they need its parts: `soak`, `reload`, `forced-calls`. Here
//! they are run and their tables kept.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};

use crate::report;

/// A long check.
pub struct Check {
    /// The example.
    pub example: &'static str,
    /// The report's title.
    pub title: &'static str,
    /// The command that the report names.
    pub command: &'static str,
}

/// The default model, forced to call by the grammar of its parser's plugin, at temperature 1.
pub const FORCED_CALLS: Check = Check {
    example: "forced_calls",
    title: "Forced calls of the default model",
    command: "cargo xtask forced-calls",
};
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

/// Runs a check and writes tests/reports/EXAMPLE.md, whatever came out; fails if the check did.
pub fn run(root: &Path, check: &Check) -> Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(arguments).args(["--quiet", "--release"]);
        command.args(["-p", "weir-server", "--example", check.example]);
        command.current_dir(root).stderr(Stdio::inherit());
        command
    };
    let built = cargo(&["build", "--bin", "weir"]).status()?;
    ensure!(built.success(), "it does not build");
    let output = cargo(&["run"]).output()?;
    let table = String::from_utf8(output.stdout)?;
    print!("{table}");
    ensure!(table.lines().count() > 2, "it did not come to an end");
    report::write(root, check.example, check.title, check.command, &table)?;
    ensure!(output.status.success(), "the check failed");
    Ok(())
}
