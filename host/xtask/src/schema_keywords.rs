//! `cargo xtask schema-keywords`: the JSON-Schema-Test-Suite against what weir enforces, as a table by keyword that is kept.
//!
//! tests/reference/json_schema_suite.py fetches the suite; the program of the tests crate that judges is built with the
//! assertions that a release has not.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{release, report};

#[derive(clap::Args)]
pub struct Arguments {
    /// Random answers within each schema
    #[arg(long, default_value_t = 20)]
    walks: u64,
    /// Only this keyword, as the suite names its file; no report is written then
    #[arg(value_name = "KEYWORD")]
    keyword: Option<String>,
}

/// Holds every schema to its instances and writes tests/reports/schema_keywords.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let mut fetch = Command::new("python3");
    fetch.arg(root.join("tests/reference/json_schema_suite.py"));
    release::clean_environment(&mut fetch);
    let fetched = fetch.output().context("python3")?;
    ensure!(
        fetched.status.success(),
        "the suite cannot be fetched: {}",
        String::from_utf8_lossy(&fetched.stderr)
    );
    let folders = String::from_utf8(fetched.stdout)?;
    let table = root.join("target/schema_keywords_table.md");
    // What an earlier run left must not pass for this one's.
    drop(fs::remove_file(&table));
    let mut judge = Command::new("cargo");
    judge
        .args([
            "run",
            "--quiet",
            "-p",
            "weir-tests",
            "--bin",
            "schema_keywords",
            "--",
        ])
        .args(folders.lines())
        .args(["--walks", &arguments.walks.to_string(), "--table"])
        .arg(&table)
        .current_dir(root);
    if let Some(keyword) = &arguments.keyword {
        judge.args(["--keyword", keyword]);
    }
    let status = judge.status()?;
    let text = fs::read_to_string(&table).context("the check came to no end")?;
    if arguments.keyword.is_none() {
        let command = match arguments.walks {
            20 => "cargo xtask schema-keywords".to_owned(),
            walks => format!("cargo xtask schema-keywords --walks {walks}"),
        };
        let title = "JSON Schema's keywords, enforced or refused";
        report::write(root, "schema_keywords", title, &command, &text)?;
    }
    ensure!(status.success(), "there are failures; the table says which");
    Ok(())
}
