//! The boundary to whatever computes logits: candle on CPU or CUDA, the quantized CPU kernels, the fake runner.

use crate::{
    batch::{Batch, Logits},
    error::EngineError,
    request::SequenceId,
};

/// What the scheduler must know of a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerInfo {
    /// Logits per row.
    pub vocab_size: usize,
    /// Longest context in tokens, prompt and output together.
    pub max_model_len: usize,
    /// Tokens per KV block.
    pub block_size: usize,
    /// KV blocks there are.
    pub num_blocks: usize,
    /// Tokens that end a sequence.
    pub eos_token_ids: Vec<u32>,
}

impl RunnerInfo {
    /// Tokens there is KV for.
    pub fn kv_tokens(&self) -> usize {
        self.num_blocks * self.block_size
    }

    /// Tokens of the longest sequence that can be computed, were it alone.
    pub fn longest_sequence(&self) -> usize {
        self.max_model_len.min(self.kv_tokens())
    }
}

/// Computes one step. Owns weights and KV storage; the block manager alone decides which block belongs to whom. A sequence's
/// first row may stand behind blocks that others computed, and rows of a batch may share blocks that none of them writes to.
/// A sequence may have several rows in a batch, one behind the other: the later read what the earlier write.
pub trait ModelRunner: Send {
    /// Sizes and end tokens; constant for the runner's life.
    fn info(&self) -> &RunnerInfo;

    /// Writes K and V of the batch's new tokens into their blocks and the wanted logits into `logits`, whose memory is used
    /// again in every step.
    ///
    /// # Errors
    /// [`EngineError::Runner`] when the step could not be computed, [`EngineError::Lost`] when no step can; what stands at
    /// its new tokens' positions is then undefined.
    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError>;

    /// [`ModelRunner::execute_into`] for a caller that looks at the likeliest tokens of some rows only: `enough` says of each
    /// row that wants logits, in row order, how many of its largest do; None is all of them. A runner whose logits are far
    /// away may hand over blocks of a row that hold as many ([`Logits::push`]); for the others all is as good as enough.
    ///
    /// # Errors
    /// As there.
    fn execute_choosing(
        &mut self,
        batch: &Batch,
        _enough: &[Option<usize>],
        logits: &mut Logits,
    ) -> Result<(), EngineError> {
        self.execute_into(batch, logits)
    }

    /// [`ModelRunner::execute_into`] with logits of their own, for callers that do not step on and on.
    ///
    /// # Errors
    /// As there.
    fn execute(&mut self, batch: &Batch) -> Result<Logits, EngineError> {
        let mut logits = Logits::default();
        self.execute_into(batch, &mut logits)?;
        Ok(logits)
    }

    /// Elements of the embeddings that it takes in place of tokens; None for a runner that takes none.
    fn prompt_embedding_size(&self) -> Option<usize> {
        None
    }

    /// Elements of a token's hidden state; None for a runner that tells no hidden states.
    fn hidden_size(&self) -> Option<usize> {
        None
    }

    /// As [`ModelRunner::execute_into`], but what comes back is the hidden states behind the last norm, of all tokens of the
    /// rows that want something: row-major `(tokens, hidden_size)`, in place of what `hidden` holds.
    ///
    /// # Errors
    /// As there; [`EngineError::Runner`] from a runner that tells none.
    fn hidden_into(&mut self, _batch: &Batch, _hidden: &mut Vec<f32>) -> Result<(), EngineError> {
        Err(EngineError::Runner(
            "it tells no hidden states, which vectors are made of".to_owned(),
        ))
    }

    /// Called once when a sequence is gone, for runners that keep state per sequence.
    fn release(&mut self, _sequence: SequenceId) {}
}
