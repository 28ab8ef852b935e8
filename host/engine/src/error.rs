//! Everything that can go wrong in the engine, told apart by what the caller can do about it.

use thiserror::Error;

/// An engine error. The server maps each kind to one HTTP status.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineError {
    /// The prompt alone, or prompt plus requested tokens, can never fit.
    #[error("{what} needs {needed} tokens, the limit is {limit}")]
    TooLong {
        /// What was too long, in the user's words ("the prompt").
        what: &'static str,
        /// Tokens asked for.
        needed: usize,
        /// Tokens that fit.
        limit: usize,
    },
    /// The waiting queue is full; the caller may try again.
    #[error("{queued} requests are waiting already, the limit is {limit}")]
    QueueFull {
        /// Requests waiting now.
        queued: usize,
        /// The queue's bound.
        limit: usize,
    },
    /// A request that no engine could run (empty prompt, token id out of the vocabulary).
    #[error("{0}")]
    InvalidRequest(String),
    /// The runner failed; every sequence of that step ends with this.
    #[error("the model runner failed: {0}")]
    Runner(String),
    /// A constraint could not say what may come next; its sequence ends with this.
    #[error("constrained decoding failed: {0}")]
    Constraint(String),
    /// Nothing can be computed any more, or not until what the runner lacks is there again; trying is allowed.
    #[error("the engine cannot compute: {0}")]
    Lost(String),
    /// A remote engine did not do what was asked of it. What stands here is for clients; the log has the rest.
    #[error("{message}")]
    Upstream {
        /// What of it went wrong.
        failure: UpstreamFailure,
        /// In a sentence that names no address.
        message: String,
    },
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    Stopped,
}

/// What went wrong with a remote engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// It failed, broke off, or answered what makes no sense.
    Failed,
    /// It has too much to do.
    Busy,
    /// There is none that takes requests.
    Unavailable,
    /// It said nothing for too long.
    TimedOut,
}
