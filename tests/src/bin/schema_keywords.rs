//! `cargo xtask schema-keywords`: holds the schemas of a folder, laid out as the JSON-Schema-Test-Suite, to their instances, and
//! writes the table by keyword of which xtask makes `tests/reports/schema_keywords.md`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use clap::Parser;
use weir_tests::{
    constraints::{
        Bytes,
        keywords::{Keyword, Outcome},
    },
    verdict,
};

/// Refuse each schema by name, or write nothing within it that is invalid
#[derive(Parser)]
#[command(name = "cargo xtask schema-keywords")]
struct Arguments {
    /// Folders of files, one a keyword
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Random answers within each schema
    #[arg(long, value_name = "N", default_value_t = 20)]
    walks: u64,
    /// Only this keyword
    #[arg(long)]
    keyword: Option<String>,
    /// Where the table goes; `cargo xtask schema-keywords` makes a report of it
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

fn main() -> ExitCode {
    verdict("schema_keywords", check(&Arguments::parse()))
}

/// Whether nothing is wrong.
fn check(arguments: &Arguments) -> anyhow::Result<bool> {
    let bytes = Bytes::default();
    let mut text = format!(
        "{} random answers within each schema that is enforced; formats are asserted. A valid instance may be impossible to write, as a\n\
         constraint may be narrower than its schema; an invalid one must be.\n\n\
         | keyword | schemas | refused by name | enforced | answers, all valid but failures | valid instances that can be written | \
         invalid instances that cannot | failures |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
        arguments.walks
    );
    let (mut failures, mut all) = (Vec::new(), Outcome::default());
    for folder in &arguments.folders {
        let mut files = fs::read_dir(folder)
            .with_context(|| folder.display().to_string())?
            .map(|entry| Ok(entry?.path()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
        files.sort();
        for file in files {
            let keyword = Keyword::read(&file)?;
            if arguments
                .keyword
                .as_ref()
                .is_some_and(|name| *name != keyword.name)
            {
                continue;
            }
            let outcome = keyword.check(&bytes, arguments.walks);
            text.push_str(&line(&keyword.name, &outcome));
            failures.extend(outcome.failures.iter().cloned());
            all.add(&outcome);
        }
    }
    ensure!(all.schemas > 0, "there is no schema in these folders");
    text.push_str(&line("all", &all));
    text.push_str(&format!("\n{} failures.\n", failures.len()));
    for failure in &failures {
        let failure: String = failure.chars().take(300).collect();
        text.push_str(&format!("- {}\n", failure.replace('\n', " ")));
    }
    print!("{text}");
    if let Some(path) = &arguments.table {
        fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(failures.is_empty())
}

fn line(name: &str, outcome: &Outcome) -> String {
    let (valid, written) = outcome.valid;
    let endless = match outcome.endless {
        0 => String::new(),
        endless => format!(" (and {endless} without an end)"),
    };
    format!(
        "| {name} | {} | {} | {} | {}{endless} | {written} of {valid} | {} | {} |\n",
        outcome.schemas,
        outcome.refused,
        outcome.schemas - outcome.refused,
        outcome.walks,
        outcome.invalid,
        outcome.failures.len(),
    )
}
