//! `cargo xtask chat-templates`: templates of real families, rendered by transformers and by weir.
//!
//! tests/reference/chat_templates.py compares; here it gets its Python packages, in a folder of its own under target, and
//! its table is kept. Needs Python 3, npm and the network once.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::report;

/// Compares, and writes tests/reports/chat_templates.md whatever came out; fails where a text differs.
pub fn run(root: &Path) -> Result<()> {
    let packages = root.join("target/chat_templates_venv");
    let reference = root.join("tests/reference");
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&packages))?;
    let python = packages.join("bin/python");
    let install = ["-m", "pip", "install", "--quiet", "-r"];
    let requirements = reference.join("chat_templates.txt");
    succeed(Command::new(&python).args(install).arg(requirements))?;
    let output = Command::new(&python)
        .arg(reference.join("chat_templates.py"))
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()?;
    let table = String::from_utf8(output.stdout)?;
    print!("{table}");
    ensure!(table.lines().count() > 2, "it did not come to an end");
    report::write(
        root,
        "chat_templates",
        "Chat templates of real families, rendered by transformers and by weir",
        "cargo xtask chat-templates",
        &table,
    )?;
    ensure!(
        output.status.success(),
        "there are texts that transformers renders differently"
    );
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{:?} does not start", command.get_program()))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
