//! Why something cannot be forced, told apart by what the caller can do about it.

use std::time::Duration;

use thiserror::Error;

use crate::limits;

/// Why nothing can be forced. All but the last three say what the client has to change.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConstrainError {
    /// A JSON Schema that is no JSON, or that names a key of an object twice.
    #[error("the JSON Schema is not usable JSON: {0}")]
    Json(String),
    /// A keyword, or a value of one, that cannot be enforced, or not within the limits.
    #[error("the JSON Schema cannot be enforced at {pointer}: {problem}")]
    Schema {
        /// Where in the schema, as a JSON pointer in a fragment: `#/properties/a`.
        pointer: String,
        /// What about it, and what is possible.
        problem: String,
    },
    /// A regular expression that cannot be enforced, or not within the limits.
    #[error("the regular expression {pattern:?} cannot be enforced: {problem}")]
    Pattern {
        /// It, perhaps cut.
        pattern: String,
        /// What about it.
        problem: String,
    },
    /// A grammar that is none, or that cannot be enforced within the limits.
    #[error("the grammar cannot be enforced: {0}")]
    Grammar(String),
    /// What takes longer to compile than a request may wait.
    #[error("compiling the grammar takes longer than {} s: make it smaller", .0.as_secs_f32())]
    TooSlow(Duration),
    /// Others' grammars are being compiled; trying again is worth it.
    #[error(
        "{} grammars are being compiled already; try again",
        limits::MAX_COMPILING
    )]
    Busy,
    /// A vocabulary without an end token, or one that llguidance cannot hold.
    #[error("this vocabulary cannot be constrained: {0}")]
    Vocabulary(String),
    /// A thread could not be started, or has panicked.
    #[error("the grammar could not be compiled: {0}")]
    Internal(String),
}

impl ConstrainError {
    /// Whether the fault is the server's, not the request's.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Vocabulary(_) | Self::Internal(_))
    }

    pub(crate) fn pattern(pattern: &str, problem: impl Into<String>) -> Self {
        Self::Pattern {
            pattern: pattern.chars().take(80).collect(),
            problem: problem.into(),
        }
    }
}
