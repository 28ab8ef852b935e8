//! `cargo xtask schema-answers`: the default model must answer within a hundred schemas, at temperature 1, and every answer
//! that comes to its end is valid.
//!
//! The schemas and what is asked stand in tests/schemas, a file a kind. A validator that had no part in making the answers
//! judges them, formats included. A small model sometimes does not find an end: a few answers may be cut by `max_tokens`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    ask::{self, Client, Reply},
    release, report,
    servers::{self, Server},
};

const MAX_TOKENS: u64 = 1_024;
/// One answer in so many may be cut.
const CUT_ONE_IN: usize = 20;

#[derive(clap::Args)]
pub struct Arguments {
    /// Answers to each schema, each with a seed of its own
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Requests at once
    #[arg(long, default_value_t = 12)]
    at_once: usize,
    /// Only schemas whose kind or name is this; no report is written then
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Ask this binary instead of building weir in the release profile
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// A line of tests/schemas.
#[derive(Deserialize)]
struct Case {
    name: String,
    prompt: String,
    schema: Value,
    /// The file it stands in.
    #[serde(skip)]
    kind: String,
}

/// What came of one request.
enum Outcome {
    Valid,
    /// Cut by `max_tokens`.
    Cut,
    /// It ended and is wrong.
    Invalid(String),
    /// No answer: the error.
    Refused(String),
}

/// Asks all there is and writes tests/reports/schema_answers.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let mut cases = cases(root)?;
    let chosen = |case: &Case| {
        arguments.names.is_empty()
            || arguments
                .names
                .iter()
                .any(|name| *name == case.name || *name == case.kind)
    };
    cases.retain(chosen);
    ensure!(
        !cases.is_empty(),
        "no schema is called {:?}",
        arguments.names
    );
    let binary = release::weir_or(arguments.binary.as_deref(), root)?;
    let model = release::default_model(&binary)?;
    let log = root.join("target/schema_answers/weir.log");
    let server = servers::weir(&binary, &model, &[], &log)?;
    let outcomes = answers(&server, &cases, arguments)?;
    let (table, met) = table(&cases, &outcomes, arguments.seeds);
    print!("{table}");
    if arguments.names.is_empty() {
        let command = match arguments.seeds {
            10 => "cargo xtask schema-answers".to_owned(),
            seeds => format!("cargo xtask schema-answers --seeds {seeds}"),
        };
        let title = "Answers of the default model within a hundred schemas";
        report::write(root, "schema_answers", title, &command, &table)?;
    }
    ensure!(
        met,
        "not every answer is as it must be; the table says which"
    );
    Ok(())
}

fn cases(root: &Path) -> Result<Vec<Case>> {
    let folder = root.join("tests/schemas");
    let mut files = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let kind = file.file_stem().unwrap_or_default().to_string_lossy();
        for line in fs::read_to_string(&file)?.lines() {
            let case: Case = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let kind = kind.clone().into_owned();
            cases.push(Case { kind, ..case });
        }
    }
    Ok(cases)
}

/// Each schema's outcomes in turn, and the tokens of each answer.
fn answers(server: &Server, cases: &[Case], arguments: &Arguments) -> Result<Vec<(Outcome, u64)>> {
    let client = Client::new(server);
    let validators = cases
        .iter()
        .map(|case| {
            let options = jsonschema::options().should_validate_formats(true);
            options
                .build(&case.schema)
                .map_err(|error| anyhow::anyhow!("{}: {error}", case.name))
        })
        .collect::<Result<Vec<_>>>()?;
    let seeds = usize::try_from(arguments.seeds)?;
    let outcomes = ask::at_once(cases.len() * seeds, arguments.at_once, |number| {
        // All schemas once, then all again: what is wrong with one shows soon.
        let (seed, case) = (number / cases.len(), number % cases.len());
        if case == 0 {
            eprintln!("round {} of {seeds}", seed + 1);
        }
        let reply = client.chat(&request(&cases[case], seed));
        let outcome = match reply {
            Ok(reply) => judge(&reply, &validators[case]),
            Err(error) => (Outcome::Refused(format!("{error:#}")), 0),
        };
        if let Outcome::Invalid(why) | Outcome::Refused(why) = &outcome.0 {
            eprintln!("{}, seed {seed}: {why}", cases[case].name);
        }
        (case, seed, outcome)
    });
    let mut outcomes = outcomes;
    outcomes.sort_by_key(|(case, seed, _)| (*case, *seed));
    Ok(outcomes
        .into_iter()
        .map(|(_, _, outcome)| outcome)
        .collect())
}

fn request(case: &Case, seed: usize) -> Value {
    json!({
        "messages": [{"role": "user", "content": format!("{} Answer in JSON.", case.prompt)}],
        "temperature": 1.0,
        "seed": seed,
        "max_tokens": MAX_TOKENS,
        "response_format": {"type": "json_schema", "json_schema": {"name": case.name, "schema": case.schema}},
    })
}

/// The outcome, and how many tokens the answer has.
fn judge(reply: &Reply, validator: &jsonschema::Validator) -> (Outcome, u64) {
    let body = &reply.body;
    if reply.status != 200 {
        let message = body["error"]["message"].as_str().unwrap_or_default();
        let why = format!("{}: {message}", reply.status);
        return (Outcome::Refused(why), 0);
    }
    let tokens = body["usage"]["completion_tokens"].as_u64().unwrap_or(0);
    let choice = &body["choices"][0];
    let outcome = match choice["finish_reason"].as_str() {
        Some("length") => Outcome::Cut,
        Some("stop") => {
            let text = choice["message"]["content"].as_str().unwrap_or_default();
            validate(text, validator)
        }
        other => Outcome::Invalid(format!("finish_reason {other:?}")),
    };
    (outcome, tokens)
}

fn validate(text: &str, validator: &jsonschema::Validator) -> Outcome {
    match serde_json::from_str::<Value>(text) {
        Err(error) => Outcome::Invalid(format!("{error}: {text}")),
        Ok(answer) => match validator.validate(&answer) {
            Ok(()) => Outcome::Valid,
            Err(error) => Outcome::Invalid(format!("{error}: {text}")),
        },
    }
}

/// A line of the table.
#[derive(Default)]
struct Count {
    schemas: usize,
    valid: usize,
    cut: usize,
    invalid: usize,
    refused: usize,
    tokens: u64,
}

impl Count {
    fn answers(&self) -> usize {
        self.valid + self.cut + self.invalid
    }

    fn line(&self, kind: &str) -> String {
        let mean = self.tokens / (self.answers() as u64).max(1);
        format!(
            "| {kind} | {} | {} | {} | {} | {} | {mean} |\n",
            self.schemas, self.valid, self.cut, self.invalid, self.refused
        )
    }
}

/// The report's body, and whether all is as it must be.
fn table(cases: &[Case], outcomes: &[(Outcome, u64)], seeds: u64) -> (String, bool) {
    let (mut kinds, mut all) = (BTreeMap::<&str, Count>::new(), Count::default());
    let mut remarks = String::new();
    let rounds = outcomes.chunks((seeds as usize).max(1));
    for (case, round) in cases.iter().zip(rounds) {
        let kind = kinds.entry(&case.kind).or_default();
        let cut = round.iter().filter(|(it, _)| matches!(it, Outcome::Cut));
        if let cut @ 1.. = cut.count() {
            remarks.push_str(&format!("- {}: {cut} cut by length\n", case.name));
        }
        let wrong = round.iter().find_map(|(outcome, _)| match outcome {
            Outcome::Invalid(why) | Outcome::Refused(why) => Some(why),
            Outcome::Valid | Outcome::Cut => None,
        });
        if let Some(why) = wrong {
            remarks.push_str(&format!("- {}: {why}\n", case.name));
        }
        for count in [kind, &mut all] {
            count.schemas += 1;
            for (outcome, tokens) in round {
                count.tokens += tokens;
                *match outcome {
                    Outcome::Valid => &mut count.valid,
                    Outcome::Cut => &mut count.cut,
                    Outcome::Invalid(_) => &mut count.invalid,
                    Outcome::Refused(_) => &mut count.refused,
                } += 1;
            }
        }
    }
    let head = "| kind | schemas | valid | cut by length | invalid | refused | tokens, mean |\n|---|---|---|---|---|---|---|\n";
    let lines: String = kinds.iter().map(|(kind, count)| count.line(kind)).collect();
    let met =
        all.invalid + all.refused == 0 && all.cut * CUT_ONE_IN <= outcomes.len() && all.valid > 0;
    let verdict = if met { "met" } else { "**not met**" };
    let body = format!(
        "Temperature 1, max_tokens {MAX_TOKENS}, {seeds} seeds a schema. Wanted: no answer that ended is invalid, none is refused, \
         one in {CUT_ONE_IN} at most is cut: {verdict}.\n\n{head}{lines}{}\n{remarks}",
        all.line("all")
    );
    (body, met)
}
