//! Tables of long checks: `tests/reports/NAME.md`, each with its date, commit and command.
//!
//! A report is committed with the change it speaks for, so a commit marked `+` had changes on top that were not.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// The sections of a report as it stands, heading and text; none where there is no report.
pub fn sections(root: &Path, name: &str) -> Vec<(String, String)> {
    let path = root.join(format!("tests/reports/{name}.md"));
    let text = fs::read_to_string(path).unwrap_or_default();
    let sections = text.split("\n## ").skip(1);
    let section = |text: &str| {
        let (heading, text) = text.split_once('\n')?;
        Some((heading.to_owned(), text.trim().to_owned()))
    };
    sections.filter_map(section).collect()
}

/// Writes a report to tests/reports.
pub fn write(root: &Path, name: &str, title: &str, command: &str, body: &str) -> Result<()> {
    let folder = root.join("tests/reports");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.md"));
    write_to(root, &path, title, command, body)
}

/// Writes a report to a file.
pub fn write_to(root: &Path, path: &Path, title: &str, command: &str, body: &str) -> Result<()> {
    let text = format!(
        "# {title}\n\n{}, `{command}`\n\n{}\n",
        stamp(root)?,
        body.trim()
    );
    fs::write(path, text).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    Ok(())
}

/// The date, and the commit that is checked out.
pub fn stamp(root: &Path) -> Result<String> {
    let date = output(root, "date", &["-u", "+%F"])?;
    let commit = output(root, "git", &["rev-parse", "--short", "HEAD"])?;
    let changed = !output(
        root,
        "git",
        &["status", "--porcelain", "--untracked-files=no"],
    )?
    .is_empty();
    let mark = if changed { "+" } else { "" };
    Ok(format!("{date}, commit {commit}{mark}"))
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
