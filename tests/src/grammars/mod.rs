//! Schemas, patterns and Lark grammars made of any bytes, and what must hold of each: it is refused with a reason, or random
//! walks through what it allows find an end, and what they wrote is what was asked for. Never a panic, nor a long wait.

mod made_up;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use weir_constrain::{Answer, Constrainer, limits};
use weir_output::Segment;
use weir_prompt::{TokenKind, Vocabulary};

pub use made_up::{Bytes, Case};

/// What compiling may take: a wait for others, its own, and a machine that is busy.
const PATIENCE: Duration = limits::COMPILE_TIME.saturating_mul(4);

/// What one token may take.
const MASK_PATIENCE: Duration = Duration::from_secs(1);

/// Tokens of a walk at most; a schema may allow endless ones.
const LONGEST: usize = 400;

/// After so many tokens a walk takes what closes.
const LONG: usize = 60;

/// What came of a case that broke nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing can be forced: the reason.
    Refused(String),
    /// A walk found the end: what it wrote.
    Written(String),
    /// A walk was too long.
    Endless,
}

/// A vocabulary to walk with.
pub struct Judge {
    constrainer: Constrainer,
    vocabulary: Arc<Vocabulary>,
    end: u32,
}

impl Judge {
    /// Bytes, a few longer tokens, and an end.
    ///
    /// # Panics
    /// If a vocabulary of 300 tokens is too much.
    pub fn new() -> Self {
        const WORDS: [&str; 14] = [
            "\": ", "\", \"", "{\"", "\"}", "}}", "],", ", ", "true", "false", "null", "aaaa",
            "000", "é", "日本",
        ];
        let bytes = (0..=255_u8).map(|byte| ([byte].into(), TokenKind::Normal));
        let words = WORDS.map(|word| (word.as_bytes().into(), TokenKind::Normal));
        let end = (b"<end>".as_slice().into(), TokenKind::Special);
        let vocabulary = Arc::new(Vocabulary::new(bytes.chain(words).chain([end]).collect()));
        let end = vocabulary.len() as u32 - 1;
        let constrainer = Constrainer::of_vocabulary(&vocabulary, end);
        Self {
            constrainer: constrainer.unwrap_or_else(|error| panic!("{error}")),
            vocabulary,
            end,
        }
    }

    /// Compiles a case and walks through it.
    ///
    /// # Errors
    /// What must not happen, in a sentence.
    pub fn check(&self, case: &Case, choices: &mut Bytes<'_>) -> Result<Outcome, String> {
        let checked = catch_unwind(AssertUnwindSafe(|| self.walk(case, choices)));
        let outcome = checked.map_err(|_| format!("a panic: {case:?}"))??;
        match (&outcome, case) {
            (Outcome::Written(text), Case::Schema(schema)) => {
                valid(text, schema)?;
            }
            (Outcome::Refused(reason), _) if reason.trim().is_empty() => {
                return Err(format!("refused without a reason: {case:?}"));
            }
            _ => {}
        }
        Ok(outcome)
    }

    fn walk(&self, case: &Case, choices: &mut Bytes<'_>) -> Result<Outcome, String> {
        let (segment, answer) = match case {
            Case::Schema(schema) => (Segment::Json(schema.clone()), Answer::Free),
            Case::Pattern(pattern) => (Segment::Pattern(pattern.clone()), Answer::Free),
            Case::Lark(lark) => (Segment::Answer, Answer::Lark(lark.clone())),
        };
        let began = Instant::now();
        let constraint = self.constrainer.compile(&segment, &answer);
        let took = began.elapsed();
        if took > PATIENCE {
            return Err(format!("compiling took {took:?}: {case:?}"));
        }
        let constraint = match constraint {
            Ok(constraint) => constraint,
            Err(error) if error.is_internal() => return Err(format!("{error}: {case:?}")),
            Err(error) => return Ok(Outcome::Refused(error.to_string())),
        };
        let mut processor = constraint.processor(&[self.end]);
        let mut written = Vec::new();
        for length in 0..LONGEST {
            let began = Instant::now();
            let mut logits = vec![0.0_f32; self.vocabulary.len()];
            processor.apply(&mut logits);
            let took = began.elapsed();
            if took > MASK_PATIENCE {
                return Err(format!("a mask took {took:?}: {case:?}"));
            }
            let allowed: Vec<u32> = (0..=self.end)
                .filter(|id| logits[*id as usize] == 0.0)
                .collect();
            let Some(token) = self.choose(&allowed, length > LONG, choices) else {
                // llguidance gives up on what is too complex, which the engine says; nothing else may leave no way on.
                return match processor.failure() {
                    Some(reason) => Ok(Outcome::Refused(reason)),
                    None => Err(format!("no token may follow {written:?}: {case:?}")),
                };
            };
            if token == self.end {
                let text = String::from_utf8(written);
                return match text {
                    Ok(text) => Ok(Outcome::Written(text)),
                    Err(error) => Err(format!("not UTF-8: {error}: {case:?}")),
                };
            }
            processor.accept(token);
            written.extend_from_slice(self.vocabulary.bytes(token).unwrap_or_default());
        }
        Ok(Outcome::Endless)
    }

    fn choose(&self, allowed: &[u32], closes: bool, choices: &mut Bytes<'_>) -> Option<u32> {
        let closers: Vec<u32> = allowed
            .iter()
            .copied()
            .filter(|id| {
                let bytes = self.vocabulary.bytes(*id).unwrap_or_default();
                *id == self.end || matches!(bytes, b"\"" | b"}" | b"]" | b"}}" | b"\"}")
            })
            .collect();
        let from = match closes && !closers.is_empty() {
            true => &closers,
            false => allowed,
        };
        (!from.is_empty()).then(|| from[choices.below(from.len())])
    }
}

impl Default for Judge {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a whole answer matches its schema, as another library sees it. Formats are not judged: that library has its own
/// idea of some.
fn valid(text: &str, schema: &str) -> Result<(), String> {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        // JSON has no largest number; this reader has.
        Err(error) if error.to_string().contains("out of range") => return Ok(()),
        Err(error) => return Err(format!("not JSON: {error}: {text:?} for {schema}")),
    };
    let schema_value: Value = serde_json::from_str(schema)
        .map_err(|error| format!("a schema that is not JSON was taken: {error}: {schema}"))?;
    let options = jsonschema::options().should_validate_formats(false);
    // It divides as f64, which has no more than 15 digits.
    let digits = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    if schema.contains("multipleOf") && digits.map(str::len).max() > Some(15) {
        return Ok(());
    }
    // What that library cannot read it cannot judge: lists under `items` without a draft, for one.
    let Ok(validator) = options.build(&schema_value) else {
        return Ok(());
    };
    match validator.is_valid(&value) {
        true => Ok(()),
        false => Err(format!("{text} does not match {schema}")),
    }
}
