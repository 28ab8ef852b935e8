//! The boundary the server talks to: submit a sequence, read what comes. Implemented by the local engine thread
//! and by the client of remote engines. Dropping the stream aborts the sequence.

use std::pin::Pin;

use futures_core::Stream;

use crate::{
    error::EngineError,
    measurements::EngineFigures,
    request::{FinishReason, SequenceRequest},
    upstream::UpstreamFigures,
};

/// One thing an engine says about a sequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Generated {
    /// One sampled token.
    Token {
        /// Its id.
        id: u32,
        /// Its natural log-probability and the top ones, where asked for.
        logprobs: Option<TokenLogprobs>,
        /// Prompt tokens of its sequence that came from the prefix cache; here too, because a reader that has seen enough
        /// leaves before the end is said.
        cached_tokens: usize,
    },
    /// What the model thinks of the prompt, where that was asked for; before the first token.
    Prompt {
        /// Of each of the prompt's tokens but the first, which stands behind nothing, in order.
        logprobs: Vec<TokenLogprobs>,
    },
    /// The token that ended the sequence, which is no part of what it says; only where log-probabilities were asked for.
    EndToken {
        /// Its id.
        id: u32,
        /// Its log-probability and the top ones.
        logprobs: TokenLogprobs,
    },
    /// The prompt's pooled hidden state, where the request asked for that and for no answer. Its length is what it came to be.
    Vector(Vec<f32>),
    /// Text of a remote engine that gives no token ids, or none for this piece.
    Text(String),
    /// The last item of every stream that did not fail.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// Counts for the usage block.
        usage: SequenceUsage,
    },
}

/// Natural log-probabilities under the model's distribution, before temperature and truncation.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// Of the token that stands there.
    pub sampled: f32,
    /// Its place among all tokens, 1 for the likeliest; tokens that are as likely as it share one.
    pub rank: usize,
    /// The likeliest tokens, best first.
    pub top: Vec<(u32, f32)>,
}

/// Token counts of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SequenceUsage {
    /// Prompt tokens.
    pub prompt_tokens: usize,
    /// Prompt tokens whose K and V came from the prefix cache.
    pub cached_tokens: usize,
    /// Generated tokens, the end token included.
    pub completion_tokens: usize,
}

/// What [`Generator::submit`] returns.
pub type GeneratedStream = Pin<Box<dyn Stream<Item = Result<Generated, EngineError>> + Send>>;

/// Somewhere sequences can be generated.
pub trait Generator: Send + Sync {
    /// Queues a sequence. Returns at once; dropping the stream aborts the sequence and frees its blocks in the next step.
    ///
    /// # Errors
    /// [`EngineError::TooLong`], [`EngineError::QueueFull`], [`EngineError::InvalidRequest`], [`EngineError::Lost`] or
    /// [`EngineError::Stopped`].
    fn submit(&self, request: SequenceRequest) -> Result<GeneratedStream, EngineError>;

    /// What its engine is doing and has measured; None where that is not known here.
    fn figures(&self) -> Option<EngineFigures> {
        None
    }

    /// The remote engines behind it; none where it computes by itself.
    fn upstreams(&self) -> Vec<UpstreamFigures> {
        Vec::new()
    }

    /// Queues several sequences: all of them, or none on an error, which may come as the first item of each stream.
    ///
    /// # Errors
    /// As [`Generator::submit`].
    fn submit_all(
        &self,
        requests: Vec<SequenceRequest>,
    ) -> Result<Vec<GeneratedStream>, EngineError> {
        requests
            .into_iter()
            .map(|request| self.submit(request))
            .collect()
    }

    /// Whether it can compute, as far as it knows without a request.
    ///
    /// # Errors
    /// [`EngineError::Lost`].
    fn check(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
