//! `cargo xtask schemathesis`: thousands of requests made of the OpenAPI document, valid and not, and a table of what came back.
//!
//! The server replays given texts, so that an answer takes no model's time; its context is short, so that no request runs
//! long. tests/reference/schemathesis_cases.py makes the requests and judges the answers; its rules stand there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{release, report, servers};

/// What the server says, in turn: text, reasoning, a call, nothing.
const ANSWERS: &str = r#"{"text": "Hello, world. 你好，世界。"}
{"text": "<think>Let me see.</think>It is so."}
{"text": "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"}
{"text": ""}
"#;
/// Any name is right, all parsers run, and an answer that ignores its end is soon over.
const OPTIONS: &[&str] = &[
    "--accept-any-model",
    "--max-model-len=512",
    "--tool-call-parser=hermes",
    "--reasoning-parser=qwen3",
];

#[derive(clap::Args)]
pub struct Arguments {
    /// Requests to make, at least
    #[arg(long, default_value_t = 20_000)]
    cases: usize,
    /// Where the generator starts; each round takes the next
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Test this binary instead of building weir in the release profile; no report is written then
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Outcome {
    cases: usize,
    /// How often each status came, by operation.
    operations: BTreeMap<String, BTreeMap<String, usize>>,
}

/// Makes the requests and writes tests/reports/schemathesis.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let binary = release::weir_or(arguments.binary.as_deref(), root)?;
    let folder = root.join("target/schemathesis");
    fs::create_dir_all(&folder)?;
    let answers = folder.join("answers.jsonl");
    fs::write(&answers, ANSWERS)?;
    let model = format!("replay:{}", answers.display());
    let server = servers::weir(&binary, &model, OPTIONS, &folder.join("weir.log"))?;
    let output = folder.join("outcome.json");
    // What an earlier run left must not pass for this one's.
    drop(fs::remove_file(&output));
    let status = Command::new("python3")
        .arg(root.join("tests/reference/schemathesis_cases.py"))
        .arg(server.url.trim_end_matches("/v1"))
        .args(["--cases", &arguments.cases.to_string()])
        .args(["--seed", &arguments.seed.to_string()])
        .arg("--output")
        .arg(&output)
        // It leaves notes of its own where it runs.
        .current_dir(&folder)
        .status()
        .context("python3")?;
    let text = fs::read_to_string(&output).context("schemathesis came to no end")?;
    let outcome: Outcome = serde_json::from_str(&text)?;
    let table = table(&outcome);
    print!("{table}");
    if arguments.binary.is_none() {
        let command = format!(
            "cargo xtask schemathesis --cases {} --seed {}",
            arguments.cases, arguments.seed
        );
        let verdict = match status.success() {
            true => {
                "every answer had a documented status, media type and body, none was 500, 502 or 504"
            }
            false => "**not met**, the run stopped at the first round with a failure",
        };
        let body = format!("{} requests: {verdict}.\n\n{table}", outcome.cases);
        let title = "Requests that schemathesis made of the OpenAPI document";
        report::write(root, "schemathesis", title, &command, &body)?;
    }
    ensure!(
        status.success(),
        "schemathesis found failures; they stand above"
    );
    ensure!(
        outcome.cases >= arguments.cases,
        "only {} requests were made",
        outcome.cases
    );
    Ok(())
}

fn table(outcome: &Outcome) -> String {
    let mut table = String::from("| operation | requests | statuses |\n|---|---|---|\n");
    // Methods that a route does not take are one line together.
    let is_refused = |statuses: &BTreeMap<String, usize>| statuses.keys().all(|key| key == "405");
    let refused = outcome.operations.values().filter(|of| is_refused(of));
    let refused: usize = refused.flat_map(BTreeMap::values).sum();
    table.push_str(&format!("| other methods | {refused} | 405 |\n"));
    for (operation, statuses) in &outcome.operations {
        if is_refused(statuses) {
            continue;
        }
        let requests: usize = statuses.values().sum();
        let counts: Vec<String> = statuses
            .iter()
            .map(|(status, count)| format!("{status}: {count}"))
            .collect();
        let counts = counts.join(", ");
        table.push_str(&format!("| {operation} | {requests} | {counts} |\n"));
    }
    table
}
