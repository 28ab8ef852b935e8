//! One sequence's state: its tokens, how many of them are in the KV cache, its blocks, and everything its sampling needs.
//!
//! Invariants: `tokens` only ever grows; `computed <= tokens.len()`, and they are equal only between a forward pass and
//! the acceptance of its token. Preemption resets `computed` and the blocks and nothing else, so the recomputed sequence
//! goes on with the same random numbers. It does not decide when it runs (the scheduler does).

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{
    error::EngineError,
    generator::SequenceUsage,
    logits_processor::{LogitsProcessor, processors_for},
    request::{FinishReason, SamplingParams, SequenceId, SequenceRequest},
    sampler::{SampledToken, Sampler},
};

/// A sequence that waits or runs.
pub struct Sequence {
    /// Its name.
    pub id: SequenceId,
    /// Tokens whose K and V are in its blocks.
    pub computed: usize,
    /// Physical KV block of each logical block; empty while it waits.
    pub block_table: Vec<u32>,
    /// Its reader is slow: not scheduled until resumed.
    pub paused: bool,
    /// Prompt, then output.
    tokens: Vec<u32>,
    prompt_len: usize,
    max_tokens: usize,
    end_tokens: Vec<u32>,
    sampling: SamplingParams,
    processors: Vec<Box<dyn LogitsProcessor>>,
    rng: ChaCha8Rng,
}

impl Sequence {
    /// A checked request becomes a sequence of at most `max_tokens` generated tokens. `fresh_seed` is used if it names none.
    pub fn new(
        id: SequenceId,
        request: SequenceRequest,
        max_tokens: usize,
        eos_token_ids: &[u32],
        fresh_seed: u64,
    ) -> Self {
        let mut end_tokens = request.stop.stop_token_ids.clone();
        if !request.stop.ignore_eos {
            end_tokens.extend_from_slice(eos_token_ids);
        }
        Self {
            id,
            computed: 0,
            block_table: Vec::new(),
            paused: false,
            processors: processors_for(&request, &end_tokens),
            rng: ChaCha8Rng::seed_from_u64(request.sampling.seed.unwrap_or(fresh_seed)),
            prompt_len: request.prompt.len(),
            tokens: request.prompt,
            sampling: request.sampling,
            max_tokens,
            end_tokens,
        }
    }

    /// Tokens there are, computed or not.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens still to be computed before the next one can be sampled.
    pub fn uncomputed(&self) -> &[u32] {
        &self.tokens[self.computed..]
    }

    /// Whether a single token is to be computed: a decode row, not a prefill chunk.
    pub fn is_decoding(&self) -> bool {
        self.uncomputed().len() == 1
    }

    /// Chooses the next token from the logits behind the last one.
    ///
    /// # Errors
    /// [`EngineError::Runner`] if the logits are unusable.
    pub fn sample(
        &mut self,
        sampler: &mut Sampler,
        logits: &mut [f32],
    ) -> Result<SampledToken, EngineError> {
        sampler.sample(logits, &self.sampling, &mut self.processors, &mut self.rng)
    }

    /// Appends a chosen token and says whether the sequence ends with it. An end token ends it as [`FinishReason::Stop`].
    pub fn accept(&mut self, token: u32) -> Option<FinishReason> {
        self.tokens.push(token);
        for processor in &mut self.processors {
            processor.accept(token);
        }
        if self.end_tokens.contains(&token) {
            Some(FinishReason::Stop)
        } else if self.tokens.len() - self.prompt_len >= self.max_tokens {
            Some(FinishReason::Length)
        } else {
            None
        }
    }

    /// Token counts so far.
    pub fn usage(&self) -> SequenceUsage {
        SequenceUsage {
            prompt_tokens: self.prompt_len,
            cached_tokens: 0,
            completion_tokens: self.tokens.len() - self.prompt_len,
        }
    }
}
