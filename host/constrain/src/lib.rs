//! Constrained decoding: from what a model must write (a tree of [`Segment`]s, in which clients' schemas, patterns and grammars
//! stand) to a logits processor that lets it write nothing else.
//!
//! Invariants: a marker is one token, or text around tokens, where the vocabulary has them and its bytes where not; JSON is
//! written with one fixed white space, because unbounded white space lets a small model write nothing else; what cannot be
//! enforced is an error with its place and reason before anything is generated, never loosened in silence. Whatever a
//! stranger sends, [`Constrainer::compile`] answers within a second or two, on a bounded number of threads ([`limits`]), and
//! no mask is computed on the engine's thread.
//! It does not know HTTP, nor which request wants what.

mod compilation;
mod ending;
mod environment;
mod error;
mod follower;
mod gbnf;
mod grammar;
mod lark;
pub mod limits;
mod mask_threads;
mod measurements;
mod pattern;
mod processor;
mod schema;
mod turn;

use std::sync::Arc;

use llguidance::ParserFactory;
use weir_engine::Constraint;
use weir_output::Segment;
use weir_prompt::{Tokenizer, Vocabulary};

pub use error::ConstrainError;
pub use grammar::llguidance_grammar;
pub use measurements::MaskMeasurements;
pub use schema::arguments_schema;

use crate::{
    compilation::Compiler,
    environment::Environment,
    mask_threads::MaskThreads,
    processor::{GrammarConstraint, Source},
};

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
    compiler: Arc<Compiler>,
    threads: Arc<MaskThreads>,
    measurements: Arc<MaskMeasurements>,
    vocabulary: Arc<Vocabulary>,
    end_token: u32,
}

impl Constrainer {
    /// `end_token` is the token that ends an answer; further ones are allowed wherever it is. Where a grammar leaves one text
    /// only, its tokens are those of this tokenizer, and the model is not asked for them.
    ///
    /// # Errors
    /// [`ConstrainError::Vocabulary`] when the vocabulary is unusable, [`ConstrainError::Internal`] when threads cannot be
    /// started.
    pub fn new(tokenizer: &Arc<Tokenizer>, end_token: u32) -> Result<Self, ConstrainError> {
        let forcing = (!tokenizer.is_replay()).then(|| Arc::clone(tokenizer));
        Self::over(tokenizer.vocabulary(), forcing, end_token)
    }

    /// [`Constrainer::new`] for a vocabulary without a tokenizer: the model chooses how every text is cut into tokens.
    ///
    /// # Errors
    /// As there.
    pub fn of_vocabulary(
        vocabulary: &Arc<Vocabulary>,
        end_token: u32,
    ) -> Result<Self, ConstrainError> {
        Self::over(vocabulary, None, end_token)
    }

    fn over(
        vocabulary: &Arc<Vocabulary>,
        tokenizer: Option<Arc<Tokenizer>>,
        end_token: u32,
    ) -> Result<Self, ConstrainError> {
        let environment = Environment::new(vocabulary, tokenizer, end_token)?;
        let environment: toktrie::TokEnv = Arc::new(environment);
        let mut factory = ParserFactory::new_simple(&environment)
            .map_err(|error| ConstrainError::Vocabulary(error.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = limits::parser_limits();
        Ok(Self {
            compiler: Arc::new(Compiler::new(factory)),
            threads: Arc::new(MaskThreads::start()?),
            measurements: Arc::default(),
            vocabulary: Arc::clone(vocabulary),
            end_token,
        })
    }

    /// Compiles what must be written. `answer` stands where the tree says so. It blocks, for two seconds at most: one in
    /// which others compile, and one of its own. What was compiled before comes at once.
    ///
    /// # Errors
    /// When it cannot be enforced, or not within the [`limits`]; nothing is loosened in silence.
    pub fn compile(
        &self,
        segment: &Segment,
        answer: &Answer,
    ) -> Result<Arc<dyn Constraint>, ConstrainError> {
        let grammar = llguidance_grammar(segment, answer, &self.vocabulary)?;
        let compiled = self.compiler.compile(grammar)?;
        Ok(Arc::new(GrammarConstraint {
            compiled,
            threads: Arc::clone(&self.threads),
            measured: Arc::clone(&self.measurements),
            end_token: self.end_token,
            source: Arc::new(Source {
                segment: segment.clone(),
                answer: answer.clone(),
                vocabulary: Arc::clone(&self.vocabulary),
            }),
        }))
    }

    /// What its masks cost.
    pub fn measurements(&self) -> &Arc<MaskMeasurements> {
        &self.measurements
    }
}

#[cfg(test)]
mod tests {
    use weir_prompt::TokenKind;

    use super::*;

    const INNER: u32 = 128;
    const END: u32 = 129;

    /// A token a character of ASCII, and one that is in the middle of markers.
    fn constrainer() -> Constrainer {
        let ascii = (0..128_u8).map(|byte| ([byte].into(), TokenKind::Normal));
        let inner = (b"|D|".as_slice().into(), TokenKind::Added);
        let end = (b"<end>".as_slice().into(), TokenKind::Special);
        let vocabulary = Vocabulary::new(ascii.chain([inner, end]).collect());
        Constrainer::of_vocabulary(&Arc::new(vocabulary), END).expect("a vocabulary")
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
    fn a_pattern_in_front_of_a_marker_may_begin_like_it() {
        let marked = |text: Segment| {
            let end = Segment::Marker("\n</p>".to_owned());
            Segment::Sequence(vec![text, end, Segment::Literal(")".to_owned())])
        };
        let short = marked(Segment::Pattern("(?s:.{2,6})".to_owned()));
        for text in ["ab\n</p>)", "a\n\n</p>)", "\n</p\n\n</p>)", "abcdef\n</p>)"] {
            assert!(all_allowed(&short, text), "{text}");
        }
        assert!(!allows(&short, "a\n</p>")[5]);
        assert!(!allows(&short, "abcdefg")[6]);
        let anchored = marked(Segment::Pattern("^[a-z]+$".to_owned()));
        assert!(all_allowed(&anchored, "ab\n</p>)"));
        let without = marked(Segment::TextWithout(vec!["</f>".to_owned()]));
        assert!(all_allowed(&without, "</f\n</p>)"));
        assert!(!allows(&without, "</f>")[3]);
    }

    #[test]
    fn a_sequence_behind_another_has_the_same_masks() {
        let schema = r#"{"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}, "required": ["a"]}"#;
        let constraint = constrainer().compile(&Segment::Json(schema.to_owned()), &Answer::Free);
        let constraint = constraint.expect("a grammar");
        let masks = |text: &str| {
            let mut processor = constraint.processor(&[END]);
            let tokens = text.bytes().map(u32::from).chain([END]);
            let mask = |token| {
                let mut logits = [0.0; 130];
                processor.apply(&mut logits);
                processor.accept(token);
                logits
            };
            tokens.map(mask).collect::<Vec<_>>()
        };
        let first = masks(r#"{"a": "bcd"}"#);
        assert!(masks(r#"{"a": "other"}"#).len() > first.len());
        assert!(masks(r#"{"a": "bcd"}"#) == first);
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
