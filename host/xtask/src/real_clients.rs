//! `cargo xtask real-clients`: libraries and programs that people use, unmodified, against weir, and a table of what each did.
//!
//! tests/clients/real/run.py installs and runs them; what is right is judged there. Only a run of all clients writes the table.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{release, report};

/// What the table's words mean.
const LEGEND: &str = "\
Each client is installed in a pinned version into weir's cache, apart from the others, and runs unmodified and headless in an empty home,
without a network but this machine's own addresses. A turn counts when the client ends with the right text, and when what went over the
wire agrees: a streamed turn was a stream, a tool's result, which only running the tool makes, was sent back. `replay` says known texts,
tool calls among them, and has a context of 200,000 tokens; the default model (8,192) says what it says, anything but nothing. Programs
whose own prompt is too long for it, going by the requests they make, meet the replay alone. An answer within a schema is always the
default model's: each way that a library has to ask for an object is tried, and gives one that the library takes at the first try.
`yes, as a stream` is a turn shown as a whole by a client that streams whatever it is asked. The table is written by the command above;
`cargo xtask real-clients NAME` runs one client.";

#[derive(clap::Args)]
pub struct Arguments {
    /// Only these, as the table names them
    #[arg(value_name = "CLIENT")]
    clients: Vec<String>,
    /// Ask this binary instead of building weir in the dev profile
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Runs clients, and writes tests/clients/README.md when they were all of them.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => release::weir_with_assertions(root)?,
    };
    let folder = root.join("target/real_clients");
    fs::create_dir_all(&folder)?;
    let output = folder.join("table.md");
    // What an earlier run left must not pass for this one's.
    drop(fs::remove_file(&output));
    let mut command = Command::new("python3");
    command
        .arg(root.join("tests/clients/real/run.py"))
        .arg(&binary)
        .args(&arguments.clients)
        .arg("--output")
        .arg(&output);
    release::clean_environment(&mut command);
    let status = command.status().context("python3")?;
    let table = fs::read_to_string(&output).context("the clients came to no end")?;
    print!("{table}");
    if arguments.clients.is_empty() {
        let command = match arguments.binary {
            Some(_) => "cargo xtask real-clients --binary FILE",
            None => "cargo xtask real-clients",
        };
        let path = root.join("tests/clients/README.md");
        let body = format!("{LEGEND}\n\n{table}");
        report::write_to(root, &path, "Real clients against weir", command, &body)?;
    }
    ensure!(status.success(), "a client failed; the table says which");
    Ok(())
}
