//! Fuzzing of what reads request bodies: every route's reader, on bodies made of good ones, held to what is true of every body.
//!
//! One execution is one body. It depends on the seed, the kind of request, its number and the corpora (`bodies`), on nothing
//! else. `cargo xtask fuzz-requests` runs a million, `tests/tests/request_junk.rs` some thousands. Whether a body is rightly
//! refused is not known here: that is what the tests of `host/protocol` are for.

mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Context;
use serde_json::Value;
use weir_corpus::fuzz::Random;
use weir_protocol::{
    Invalid, InvalidKind, ResponsesRequest, parse_json,
    responses::{Item, conversation},
    schema::{REQUESTS, RequestType},
};

pub use bodies::{Material, corpus};

/// A complaint says one thing to a human; the longest name and value it may show are cut by then.
const LONGEST_COMPLAINT: usize = 1000;
/// Findings of one kind of request that are kept.
const MOST_FINDINGS: usize = 5;

/// What came of the bodies of one kind of request.
#[derive(Default)]
pub struct Outcome {
    /// The kind's name in the OpenAPI document.
    pub name: &'static str,
    /// How many bodies.
    pub executions: u64,
    /// Those that were no JSON.
    pub no_json: u64,
    /// Those that were taken.
    pub taken: u64,
    /// Those with something wrong.
    pub refused: u64,
    /// Those that ask for what is not built.
    pub not_built: u64,
    /// What must never happen, with the body that it happened to.
    pub findings: Vec<String>,
}

/// Runs so many executions, spread over all kinds of requests.
///
/// # Errors
/// When a corpus cannot be read.
pub fn run(executions: u64, seed: u64) -> anyhow::Result<Vec<Outcome>> {
    let kinds = u64::try_from(REQUESTS.len()).context("few kinds")?;
    REQUESTS
        .iter()
        .map(|kind| {
            let material = Material::read(kind)?;
            Ok(run_kind(kind, &material, executions.div_ceil(kinds), seed))
        })
        .collect()
}

fn run_kind(kind: &RequestType, material: &Material, executions: u64, seed: u64) -> Outcome {
    let mut outcome = Outcome {
        name: kind.name,
        executions,
        ..Outcome::default()
    };
    for number in 0..executions {
        let mut random = Random::new(seed, kind.name, number);
        let body = material.body(&mut random);
        let judged = catch_unwind(AssertUnwindSafe(|| judge(kind, &body)));
        match judged.unwrap_or_else(|_| Err("it panicked".to_owned())) {
            Ok(verdict) => *outcome.count_of(verdict) += 1,
            Err(why) if outcome.findings.len() < MOST_FINDINGS => {
                let body = String::from_utf8_lossy(&body);
                outcome
                    .findings
                    .push(format!("seed {seed}, execution {number}: {why}\n{body}"));
            }
            Err(_) => {}
        }
    }
    outcome
}

/// What a reader says of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is no JSON.
    NoJson,
    /// It can be served.
    Taken,
    /// Something is wrong.
    Refused,
    /// It asks for what is not built.
    NotBuilt,
}

impl Outcome {
    fn count_of(&mut self, verdict: Verdict) -> &mut u64 {
        match verdict {
            Verdict::NoJson => &mut self.no_json,
            Verdict::Taken => &mut self.taken,
            Verdict::Refused => &mut self.refused,
            Verdict::NotBuilt => &mut self.not_built,
        }
    }
}

/// Reads a body as its route does.
///
/// # Errors
/// The rule that was broken.
pub fn judge(kind: &RequestType, body: &[u8]) -> Result<Verdict, String> {
    let value = match parse_json(body) {
        Ok(value) => value,
        Err(invalid) => {
            check_complaint(&invalid)?;
            return Ok(Verdict::NoJson);
        }
    };
    let read = kind.check(value.clone());
    if let Value::Object(fields) = &value {
        let mut fields = fields.clone();
        fields.retain(|_, field| !field.is_null());
        fields.insert("a field that nobody knows".to_owned(), 1.into());
        let other = kind.check(Value::Object(fields));
        if read != other {
            let why = "null for absent and a field that nobody knows change it";
            return Err(format!("{why}: {read:?} and {other:?}"));
        }
    }
    if kind.name == "ResponsesRequest"
        && let Ok(request) = ResponsesRequest::from_json(value)
    {
        check_conversation(request)?;
    }
    match read {
        Ok(()) => Ok(Verdict::Taken),
        Err(invalid) => {
            check_complaint(&invalid)?;
            Ok(match invalid.kind {
                InvalidKind::BadValue => Verdict::Refused,
                InvalidKind::NotImplemented => Verdict::NotBuilt,
            })
        }
    }
}

/// A complaint is a short sentence that names its field.
fn check_complaint(invalid: &Invalid) -> Result<(), String> {
    let Invalid { message, param, .. } = invalid;
    if message.is_empty() || message.chars().count() > LONGEST_COMPLAINT {
        return Err(format!("a complaint of {} bytes: {message}", message.len()));
    }
    match param {
        Some(param) if !message.contains(param.as_str()) => {
            Err(format!("the complaint does not name `{param}`: {message}"))
        }
        _ => Ok(()),
    }
}

/// The items of a request become messages, in which the assistant never speaks twice in a row.
fn check_conversation(mut request: ResponsesRequest) -> Result<(), String> {
    for item in &mut request.input {
        item.give_id(|prefix| format!("{prefix}_1"));
        if item.id().is_none() || item.bytes() < size_of::<Item>() {
            return Err(format!("an item without id or size: {:?}", item.json()));
        }
    }
    let messages = conversation(request.settings.instructions.as_deref(), &request.input);
    let speaks = |message: &Value| message["role"] == "assistant";
    match messages.windows(2).find(|two| two.iter().all(speaks)) {
        Some(two) => Err(format!("two turns of the assistant: {two:?}")),
        None => Ok(()),
    }
}
