//! Constrained decoding: from what a model must write (a tree of [`Segment`]s) to a logits processor that lets it write
//! nothing else.
//!
//! Invariants: a marker is one token, or text around tokens, where the vocabulary has them and its bytes where not; JSON is
//! written with one fixed white space, because unbounded white space lets a small model write nothing else; what llguidance
//! refuses is an error with its reason before anything is generated. It does not yet vet schemas that come from strangers
//! (see issue 9), so no request reaches it: the forced-call check is its only user.

mod grammar;
mod processor;

use std::sync::Arc;

use llguidance::{Matcher, ParserFactory};
use thiserror::Error;
use toktrie::{TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use weir_engine::Constraint;
use weir_output::Segment;
use weir_prompt::{TokenKind, Vocabulary};

pub use grammar::llguidance_grammar;

use crate::processor::CompiledGrammar;

/// Why nothing can be forced.
#[derive(Debug, Error)]
pub enum ConstrainError {
    /// A vocabulary without an end token, or one that llguidance cannot hold.
    #[error("this vocabulary cannot be constrained: {0}")]
    Vocabulary(String),
    /// A JSON Schema that is no JSON.
    #[error("a JSON Schema is not JSON: {0}")]
    Schema(#[from] serde_json::Error),
    /// What llguidance says of a grammar.
    #[error("the grammar cannot be enforced: {0}")]
    Grammar(String),
}

/// What stands where a tree leaves its place to the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Whatever the model writes.
    Free,
    /// A part of the same tree: a schema, a pattern, a choice, the calls of another parser.
    Segment(Segment),
    /// A whole grammar in llguidance's Lark syntax, with rules of its own from `start` on.
    Lark(String),
}

/// One model's vocabulary, ready to be constrained; made once, since it takes a third of a second for 49,000 tokens.
pub struct Constrainer {
    factory: ParserFactory,
    vocabulary: Arc<Vocabulary>,
}

impl Constrainer {
    /// `end_token` is the token that ends an answer; further ones are allowed wherever it is.
    ///
    /// # Errors
    /// When the vocabulary is unusable.
    pub fn new(vocabulary: &Arc<Vocabulary>, end_token: u32) -> Result<Self, ConstrainError> {
        let unusable =
            |error: &dyn std::fmt::Display| ConstrainError::Vocabulary(error.to_string());
        let size = u32::try_from(vocabulary.len()).map_err(|error| unusable(&error))?;
        if end_token >= size {
            return Err(unusable(&"the end token is not in it"));
        }
        let words: Vec<Vec<u8>> = (0..size).map(|id| word(vocabulary, id)).collect();
        let environment = VocabularyEnv {
            trie: TokTrie::from(&TokRxInfo::new(size, end_token), &words),
        };
        let environment: toktrie::TokEnv = Arc::new(environment);
        let mut factory =
            ParserFactory::new_simple(&environment).map_err(|error| unusable(&error))?;
        factory.quiet();
        Ok(Self {
            factory,
            vocabulary: Arc::clone(vocabulary),
        })
    }

    /// Compiles what must be written. `answer` stands where the tree says so.
    ///
    /// # Errors
    /// When a schema or the whole cannot be enforced; nothing is loosened in silence.
    pub fn compile(
        &self,
        segment: &Segment,
        answer: &Answer,
    ) -> Result<Arc<dyn Constraint>, ConstrainError> {
        let grammar = llguidance_grammar(segment, answer, &self.vocabulary)?;
        let mut matcher = Matcher::new(self.factory.create_parser(grammar));
        if let Some(error) = matcher.get_error() {
            return Err(ConstrainError::Grammar(error));
        }
        if let Some(warning) = matcher.grammar_warnings().into_iter().next() {
            return Err(ConstrainError::Grammar(warning));
        }
        Ok(Arc::new(CompiledGrammar::new(matcher)))
    }
}

/// A token as llguidance's trie wants it: control tokens are marked, so that no text spells them.
fn word(vocabulary: &Vocabulary, id: u32) -> Vec<u8> {
    let bytes = vocabulary.bytes(id).unwrap_or_default();
    match vocabulary.kind(id) {
        TokenKind::Normal => bytes.to_vec(),
        TokenKind::Added | TokenKind::Special => {
            let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
            word.extend_from_slice(bytes);
            word
        }
    }
}

/// The vocabulary as llguidance asks for it. It tokenizes greedily, which is not how the model's tokenizer does it, and
/// says so: nothing is forced ahead of the model then.
struct VocabularyEnv {
    trie: TokTrie,
}

impl TokenizerEnv for VocabularyEnv {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        self.trie.greedy_tokenize(text)
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: u32 = 128;
    const END: u32 = 129;

    /// A token a character of ASCII, and one that is in the middle of markers.
    fn constrainer() -> Constrainer {
        let ascii = (0..128_u8).map(|byte| ([byte].into(), TokenKind::Normal));
        let inner = (b"|D|".as_slice().into(), TokenKind::Added);
        let end = (b"<end>".as_slice().into(), TokenKind::Special);
        let vocabulary = Vocabulary::new(ascii.chain([inner, end]).collect());
        Constrainer::new(&Arc::new(vocabulary), END).expect("a vocabulary")
    }

    /// Whether each token is allowed where it stands: a character each, `|` for the inner token.
    fn allows(segment: &Segment, text: &str) -> Vec<bool> {
        let constraint = constrainer().compile(segment, &Answer::Free);
        let mut processor = constraint.expect("a grammar").processor(&[END]);
        let tokens = text.bytes().map(|byte| match byte {
            b'|' => INNER,
            other => u32::from(other),
        });
        tokens
            .chain([END])
            .map(|token| {
                let mut logits = [0.0; 130];
                processor.apply(&mut logits);
                processor.accept(token);
                logits[token as usize] == 0.0
            })
            .collect()
    }

    #[test]
    fn text_ends_with_a_marker_around_a_token() {
        let marked = Segment::Sequence(vec![
            Segment::Marker("<|D|p>".to_owned()),
            Segment::Until("</|D|p>".to_owned()),
        ]);
        for text in ["<|p></|p>", "<|p>a</b> </ <</|p>"] {
            let allowed = allows(&marked, text);
            assert!(
                allowed.iter().all(|allowed| *allowed),
                "{text}: {allowed:?}"
            );
        }
        for (text, refused) in [
            ("|", 0),
            ("<|q", 2),
            ("<|p>a<|", 6),
            ("<|p>a</|q", 8),
            ("<|p>a", 5),
        ] {
            assert!(!allows(&marked, text)[refused], "{text}");
        }
    }

    fn all_allowed(segment: &Segment, text: &str) -> bool {
        allows(segment, text).iter().all(|allowed| *allowed)
    }

    #[test]
    fn slashes_in_patterns_may_be_escaped() {
        for pattern in [r"[0-9]{2}\/[0-9]{2}", "[0-9]{2}/[0-9]{2}"] {
            let date = Segment::Pattern(pattern.to_owned());
            assert!(all_allowed(&date, "24/12"), "{pattern}");
            assert!(!allows(&date, "24-12")[2], "{pattern}");
        }
        let backslash = Segment::Pattern(r"a\\/b".to_owned());
        assert!(all_allowed(&backslash, r"a\/b"));
    }

    #[test]
    fn a_parameter_may_be_text_or_json() {
        let literal = |text: &str| Segment::Literal(text.to_owned());
        let parameter = |start, value: Vec<Segment>| {
            Segment::Sequence([literal(start)].into_iter().chain(value).collect())
        };
        let end = || Segment::Marker("\n</p>".to_owned());
        let schema = r#"{"type": ["string", "null"]}"#;
        let either = Segment::Sequence(vec![
            Segment::Alternative(vec![
                parameter("<p text>", vec![Segment::Until("\n</p>".to_owned())]),
                parameter("<p json>", vec![Segment::Json(schema.to_owned()), end()]),
            ]),
            literal("\n"),
        ]);
        for text in [
            "<p text>null</p>\n\n</p>\n",
            "<p text>\n</p>\n",
            "<p json>null\n</p>\n",
        ] {
            assert!(all_allowed(&either, text), "{text}");
        }
        assert!(!allows(&either, "<p json>nil")[9]);
        let listed = Segment::Sequence(vec![
            Segment::Alternative(["", "a", "ab"].map(literal).into()),
            end(),
        ]);
        for text in ["\n</p>", "a\n</p>", "ab\n</p>"] {
            assert!(all_allowed(&listed, text), "{text}");
        }
    }
}
