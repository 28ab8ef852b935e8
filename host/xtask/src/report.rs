//! Tables of long checks: `tests/reports/NAME.md`, each with its date, commit and command.
//!
//! A report is committed with the change it speaks for, so a commit marked `+` had changes on top that were not.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// Writes a report to tests/reports.
pub fn write(root: &Path, name: &str, title: &str, command: &str, body: &str) -> Result<()> {
    let folder = root.join("tests/reports");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.md"));
    write_to(root, &path, title, command, body)
}

/// Writes a report to a file.
pub fn write_to(root: &Path, path: &Path, title: &str, command: &str, body: &str) -> Result<()> {
    let date = output(root, "date", &["-u", "+%F"])?;
    let commit = output(root, "git", &["rev-parse", "--short", "HEAD"])?;
    let changed = !output(
        root,
        "git",
        &["status", "--porcelain", "--untracked-files=no"],
    )?
    .is_empty();
    let mark = if changed { "+" } else { "" };
    let text = format!(
        "# {title}\n\n{date}, commit {commit}{mark}, `{command}`\n\n{}\n",
        body.trim()
    );
    fs::write(path, text).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    Ok(())
}

fn output(root: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .output()
        .with_context(|| program.to_owned())?;
    ensure!(output.status.success(), "{program} {arguments:?} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
