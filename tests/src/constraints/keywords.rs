//! Schemas with the instances that JSON Schema says are valid and invalid: each schema is refused by name, or whatever is
//! written within it is valid, and no invalid instance can be.
//!
//! A valid instance that cannot be written is no failure, as a constraint may be narrower than its schema (1.0 where an
//! integer is asked for); it is counted. The files are laid out as those of the JSON-Schema-Test-Suite, so our own and the suite are read alike.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use jsonschema::Validator;
use serde::Deserialize;
use serde_json::Value;

use super::{Bytes, Wanted, spelling::spellings};

/// After so many tokens a walk is given up; most end much sooner.
const LONG: usize = 400;

/// Schemas of one keyword.
pub struct Keyword {
    /// The file's name without its ending.
    pub name: String,
    groups: Vec<Group>,
}

/// A schema and its instances.
#[derive(Deserialize)]
struct Group {
    description: String,
    schema: Value,
    tests: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    description: String,
    data: Value,
    valid: bool,
}

/// What came of a keyword's schemas.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// All schemas.
    pub schemas: usize,
    /// Those that were refused.
    pub refused: usize,
    /// Walks that ended and were judged.
    pub walks: usize,
    /// Walks that did not come to an end.
    pub endless: usize,
    /// Valid instances of schemas that are enforced, and those of them that can be written.
    pub valid: (usize, usize),
    /// Invalid instances that were tried.
    pub invalid: usize,
    /// What is wrong.
    pub failures: Vec<String>,
}

impl Outcome {
    /// Adds another's numbers and failures.
    pub fn add(&mut self, other: &Self) {
        self.schemas += other.schemas;
        self.refused += other.refused;
        self.walks += other.walks;
        self.endless += other.endless;
        self.valid.0 += other.valid.0;
        self.valid.1 += other.valid.1;
        self.invalid += other.invalid;
        self.failures.extend(other.failures.iter().cloned());
    }
}

impl Keyword {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is laid out otherwise.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let groups = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            groups,
        })
    }

    /// Holds its schemas to their instances, and so many walks to each schema.
    pub fn check(&self, bytes: &Bytes, walks: u64) -> Outcome {
        let mut outcome = Outcome::default();
        for group in &self.groups {
            let before = outcome.failures.len();
            group.check(bytes, walks, &mut outcome);
            for failure in &mut outcome.failures[before..] {
                *failure = format!("{}, {}: {failure}", self.name, group.description);
            }
        }
        outcome
    }
}

impl Group {
    fn check(&self, bytes: &Bytes, walks: u64, outcome: &mut Outcome) {
        outcome.schemas += 1;
        let constraint = match bytes.compile(&Wanted::Schema(self.schema.to_string())) {
            Ok(constraint) => constraint,
            Err(error) => {
                outcome.refused += 1;
                let error = error.to_string();
                if !names(&error, &self.schema) {
                    outcome
                        .failures
                        .push(format!("refused without a name: {error}"));
                }
                return;
            }
        };
        match validator(&self.schema) {
            Ok(validator) => {
                for seed in 0..walks {
                    let walk = bytes.walk(&*constraint, seed, LONG, &mut Duration::default());
                    match walk.map(|walk| walk.ended.then_some(walk.text)) {
                        Ok(Some(text)) => {
                            outcome.walks += 1;
                            outcome.failures.extend(invalid(&validator, &text));
                        }
                        Ok(None) => outcome.endless += 1,
                        Err(why) => outcome.failures.push(why),
                    }
                }
            }
            Err(error) => outcome
                .failures
                .push(format!("enforced, but no schema: {error}")),
        }
        for instance in &self.tests {
            let Some(spellings) = spellings(&instance.data) else {
                continue;
            };
            let mut spellings = spellings.iter();
            let written = spellings.any(|text| bytes.allows(&*constraint, text));
            if instance.valid {
                outcome.valid.0 += 1;
                outcome.valid.1 += usize::from(written);
                continue;
            }
            outcome.invalid += 1;
            if written {
                let failure = format!("allows {}: {}", instance.data, instance.description);
                outcome.failures.push(failure);
            }
        }
    }
}

/// A judge of instances that asserts formats.
///
/// # Errors
/// When it is no schema of draft 2020-12.
pub fn validator(schema: &Value) -> Result<Validator, String> {
    let options = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true);
    options.build(schema).map_err(|error| error.to_string())
}

/// What is wrong with an answer.
pub fn invalid(validator: &Validator, text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    match serde_json::from_str(&text) {
        // The judge computes in f64.
        Ok(value) if rounded(&value) => None,
        Ok(value) => {
            let error = validator.validate(&value).err()?;
            Some(format!("writes {text}: {error}"))
        }
        // JSON, but larger than this reader's numbers.
        Err(error) if error.to_string().contains("out of range") => None,
        Err(error) => Some(format!("writes {text}: {error}")),
    }
}

/// Whether there is a number in it that f64 may not hold.
fn rounded(value: &Value) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => number.as_f64().is_none_or(|number| number.abs() >= EXACT),
        Value::Array(items) => items.iter().any(rounded),
        Value::Object(members) => members.values().any(rounded),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Whether a message names a keyword of the schema, or a text in it such as a format.
fn names(message: &str, schema: &Value) -> bool {
    let is_named = |word: &str| !word.is_empty() && message.contains(word);
    match schema {
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| is_named(key) || names(message, value)),
        Value::Array(items) => items.iter().any(|item| names(message, item)),
        Value::String(text) => is_named(text),
        Value::Bool(_) => message.contains("false"),
        Value::Null | Value::Number(_) => false,
    }
}
