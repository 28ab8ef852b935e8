//! Constraints without a model: a vocabulary of bytes, random walks through what a constraint allows, and whether it allows
//! a text.
//!
//! [`keywords`] holds schemas to what JSON Schema says of them, [`spelling`] writes a value as a constraint lets it be
//! written, [`hostile`] is what clients that mean harm ask for, [`junk`] makes up schemas and grammars, [`order`] has them run where an abort is seen.

pub mod hostile;
pub mod junk;
pub mod keywords;
pub mod order;
pub mod spelling;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use weir_constrain::{Answer, ConstrainError, Constrainer};
use weir_engine::Constraint;
use weir_output::Segment;
use weir_prompt::{TokenKind, Vocabulary};

/// Pieces of several bytes, as real vocabularies have them.
const PIECES: [&str; 14] = [
    "\": ", "\", \"", ", ", "\"}", "}}", "\"]", "true", "false", "null", "000", "\\u00", "日",
    "😀", "the ",
];
/// Tokens that no text may be made of.
const CONTROLS: [&str; 3] = ["<|im_start|>", "<tool_call>", "</think>"];
/// What ends a value or a container.
const CLOSERS: [&str; 6] = ["\"", "}", "]", "\"}", "}}", "\"]"];

/// What must be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// JSON that a schema takes.
    Schema(String),
    /// Text that a regular expression matches.
    Regex(String),
    /// Text of a grammar in Lark's syntax.
    Lark(String),
}

/// A constrainer of bytes.
pub struct Bytes {
    constrainer: Constrainer,
    /// All tokens but the end, by id.
    tokens: Vec<Vec<u8>>,
    /// Ids below this are text.
    texts: u32,
    end: u32,
    closers: Vec<u32>,
}

/// What a walk wrote.
pub struct Walk {
    /// Bytes, which may be no UTF-8 where the walk was given up.
    pub text: Vec<u8>,
    /// Whether the end was reached.
    pub ended: bool,
}

impl Default for Bytes {
    fn default() -> Self {
        let bytes = (0..=255_u8).map(|byte| vec![byte]);
        let pieces = PIECES.map(|piece| piece.as_bytes().to_vec());
        let mut tokens: Vec<Vec<u8>> = bytes.chain(pieces).collect();
        let texts = tokens.len() as u32;
        tokens.extend(CONTROLS.map(|control| control.as_bytes().to_vec()));
        let end = tokens.len() as u32;
        let words = (0..).zip(&tokens).map(|(id, word)| {
            let kind = if id < texts {
                TokenKind::Normal
            } else {
                TokenKind::Added
            };
            (word.clone().into_boxed_slice(), kind)
        });
        let last = (b"<end>".to_vec().into_boxed_slice(), TokenKind::Special);
        let vocabulary = Arc::new(Vocabulary::new(words.chain([last]).collect()));
        let closes = |word: &[u8]| CLOSERS.iter().any(|closer| closer.as_bytes() == word);
        let closers = (0..).zip(&tokens).filter(|(_, word)| closes(word));
        Self {
            closers: closers.map(|(id, _)| id).collect(),
            constrainer: Constrainer::of_vocabulary(&vocabulary, end).expect("a vocabulary"),
            tokens,
            texts,
            end,
        }
    }
}

impl Bytes {
    /// A constraint, or why there is none.
    ///
    /// # Errors
    /// What a client would be told.
    pub fn compile(&self, wanted: &Wanted) -> Result<Arc<dyn Constraint>, ConstrainError> {
        match wanted {
            Wanted::Schema(schema) => self
                .constrainer
                .compile(&Segment::Json(schema.clone()), &Answer::Free),
            Wanted::Regex(regex) => self
                .constrainer
                .compile(&Segment::Pattern(regex.clone()), &Answer::Free),
            Wanted::Lark(lark) => self
                .constrainer
                .compile(&Segment::Answer, &Answer::Lark(lark.clone())),
        }
    }

    /// Goes anywhere that the constraint allows; behind half of `most` tokens it prefers what closes. `longest` becomes the
    /// time of the slowest step.
    ///
    /// # Errors
    /// When a token is allowed that is no text, or when nothing is allowed.
    pub fn walk(
        &self,
        constraint: &dyn Constraint,
        seed: u64,
        most: usize,
        longest: &mut Duration,
    ) -> Result<Walk, String> {
        let mut processor = constraint.processor(&[self.end]);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut text = Vec::new();
        for step in 0..most {
            let mut logits = vec![0.0_f32; self.end as usize + 1];
            let begun = Instant::now();
            processor.apply(&mut logits);
            *longest = begun.elapsed().max(*longest);
            let allowed = |id: &u32| logits[*id as usize] == 0.0;
            if let Some(control) = (self.texts..self.end).find(allowed) {
                let control = String::from_utf8_lossy(&self.tokens[control as usize]);
                return Err(format!("{control} is allowed behind {}", shown(&text)));
            }
            let long = step > most / 2;
            let words: Vec<u32> = (0..self.texts).filter(allowed).collect();
            let may_end = allowed(&self.end);
            if may_end && (words.is_empty() || long || random.random_bool(0.3)) {
                return Ok(Walk { text, ended: true });
            }
            let closers: Vec<u32> = self.closers.iter().copied().filter(allowed).collect();
            let closes = !closers.is_empty() && random.random_bool(if long { 0.95 } else { 0.2 });
            let choice = if closes { closers } else { words };
            if choice.is_empty() {
                return Err(format!("nothing is allowed behind {}", shown(&text)));
            }
            let id = choice[random.random_range(0..choice.len())];
            processor.accept(id);
            text.extend_from_slice(&self.tokens[id as usize]);
        }
        Ok(Walk { text, ended: false })
    }

    /// Whether a text, written byte by byte, may be a whole answer.
    pub fn allows(&self, constraint: &dyn Constraint, text: &str) -> bool {
        let mut processor = constraint.processor(&[self.end]);
        for id in text.bytes().map(u32::from).chain([self.end]) {
            let mut logits = vec![0.0_f32; self.end as usize + 1];
            processor.apply(&mut logits);
            if logits[id as usize] != 0.0 {
                return false;
            }
            processor.accept(id);
        }
        true
    }
}

/// The beginning of a text, as a message shows it.
fn shown(text: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(text).chars().take(200).collect();
    format!("{text:?}")
}
