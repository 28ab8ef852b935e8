//! `cargo xtask fuzz`, `fuzz-requests` and `fuzz-constraints`: build a fuzzer of the tests crate and hand the command line on to it.
//!
//! Each is a program of its own, so that this one does not depend on the parsers and the plugin host.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::report;

/// A fuzzer of the tests crate.
pub struct Fuzzer {
    /// The program, and the report's name.
    name: &'static str,
    /// The report's title.
    title: &'static str,
    /// Its command, as the report names it.
    command: &'static str,
    /// How it is built beside cargo's defaults.
    profile: &'static [&'static str],
}

/// Parsers, natively and as wasm, built for speed.
pub const PARSERS: Fuzzer = Fuzzer {
    name: "fuzz",
    title: "Fuzzing",
    command: "cargo xtask fuzz",
    profile: &["--release"],
};

/// Readers of request bodies: fast, but with overflow checks, which a release build has not.
pub const REQUESTS: Fuzzer = Fuzzer {
    name: "fuzz_requests",
    title: "Fuzzing of request bodies",
    command: "cargo xtask fuzz-requests",
    profile: &[
        "--config",
        "profile.dev.package.weir-protocol.opt-level=2",
        "--config",
        "profile.dev.package.weir-corpus.opt-level=2",
        "--config",
        "profile.dev.package.weir-tests.opt-level=2",
    ],
};

/// Schemas and grammars, in processes that may die: with overflow checks.
pub const CONSTRAINTS: Fuzzer = Fuzzer {
    name: "fuzz_constraints",
    title: "Fuzzing of schemas and grammars",
    command: "cargo xtask fuzz-constraints",
    profile: &["--config", "profile.dev.package.weir-tests.opt-level=2"],
};

/// What a fuzzer takes; `--help` is its own.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs it to its end, and writes its report if it says that it ran all there is.
pub fn run(root: &Path, fuzzer: &Fuzzer, arguments: &Arguments) -> Result<()> {
    let table = root
        .join("target")
        .join(format!("{}_table.md", fuzzer.name));
    if table.exists() {
        fs::remove_file(&table)?;
    }
    let status = Command::new("cargo")
        .args(["run", "--quiet", "-p", "weir-tests", "--bin", fuzzer.name])
        .args(fuzzer.profile)
        .args(["--", "--table"])
        .arg(&table)
        .args(&arguments.arguments)
        .current_dir(root)
        .status()?;
    if table.exists() {
        let command = [fuzzer.command]
            .into_iter()
            .chain(arguments.arguments.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ");
        report::write(
            root,
            fuzzer.name,
            fuzzer.title,
            &command,
            &fs::read_to_string(&table)?,
        )?;
    }
    if !status.success() {
        bail!("the fuzzer ended with {status}");
    }
    Ok(())
}
