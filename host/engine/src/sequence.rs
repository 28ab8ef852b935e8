//! One sequence's state: its tokens, how many of them are in the KV cache, its blocks, and everything its sampling needs.
//!
//! Invariants: `tokens` only ever grows; `computed <= tokens.len()`, and they are equal only between a forward pass and
//! the acceptance of its token, behind which a constraint may force more: those are computed as one row. Preemption resets `computed` and the blocks and nothing else, so the recomputed sequence
//! goes on with the same random numbers, and scores no token of its prompt again; what it pools begins anew. A full block's hash is made once, however often its sequence starts.
//! It does not decide when it runs (the scheduler does).

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{
    batch::{EmbeddedTokens, LogitsRow},
    block_manager::BlockManager,
    error::EngineError,
    generator::{SequenceUsage, TokenLogprobs},
    logits_processor::{LogitsProcessor, processors_for},
    prefix_index::BlockHasher,
    request::{
        FinishReason, Pooling, PromptEmbeddings, SamplingParams, SequenceId, SequenceRequest,
    },
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
    /// Lower starts first.
    pub priority: i64,
    /// Its reader is slow: not scheduled until resumed.
    pub paused: bool,
    /// The running sequence that computes a prefix of this one, and how many tokens of it: worth waiting for.
    pub leader: Option<(SequenceId, usize)>,
    /// Prompt, then output.
    tokens: Vec<u32>,
    /// Chained hashes of its first full blocks; empty without a prefix cache.
    block_hashes: Vec<u64>,
    /// Blocks of its table, from the first, that others can find.
    published: usize,
    /// Set when it first starts: what it finds after a preemption is its own.
    cached_tokens: Option<usize>,
    prompt_len: usize,
    /// How many of the prompt's tokens are to be scored: all but the first, or none.
    to_score: usize,
    /// How many are.
    scored: usize,
    /// Until they are told.
    prompt_logprobs: Vec<TokenLogprobs>,
    /// What is computed in place of its prompt's tokens.
    embeddings: Option<PromptEmbeddings>,
    pooling: Option<Pooling>,
    /// The sum of the hidden states that were pooled since it started.
    pooled: Vec<f64>,
    max_tokens: usize,
    /// When its last token was sampled, unless it was paused since.
    last_token: Option<Instant>,
    end_tokens: Vec<u32>,
    sampling: SamplingParams,
    /// Where there is a constraint, its processor is the last.
    processors: Vec<Box<dyn LogitsProcessor>>,
    constrained: bool,
    /// Tokens that came behind the last logits: one, and those that a constraint forced behind it.
    appended: usize,
    /// See [`crate::StopConditions`].
    closing_reserve: usize,
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
            priority: request.priority,
            paused: false,
            leader: None,
            block_hashes: Vec::new(),
            published: 0,
            cached_tokens: None,
            processors: processors_for(&request, &end_tokens),
            constrained: request.constraint.is_some(),
            appended: 0,
            closing_reserve: request.stop.closing_reserve.min(max_tokens / 2),
            rng: ChaCha8Rng::seed_from_u64(request.sampling.seed.unwrap_or(fresh_seed)),
            prompt_len: request.prompt.len(),
            to_score: match request.sampling.prompt_logprobs {
                Some(_) => request.prompt.len() - 1,
                None => 0,
            },
            scored: 0,
            prompt_logprobs: Vec::new(),
            embeddings: request.embeddings,
            pooling: request.pooling,
            pooled: Vec::new(),
            tokens: request.prompt,
            sampling: request.sampling,
            max_tokens,
            last_token: None,
            end_tokens,
        }
    }

    /// Pauses or resumes it. The wait for a reader is no time between tokens.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.last_token = None;
    }

    /// Notes that a token is sampled now; answers how long that took since the one before.
    pub fn note_token(&mut self, now: Instant) -> Option<Duration> {
        let before = self.last_token.replace(now)?;
        Some(now.saturating_duration_since(before))
    }

    /// Tokens there are, computed or not.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Where it stands among those that wait.
    pub fn place(&self) -> (i64, SequenceId) {
        (self.priority, self.id)
    }

    /// Whether it must see its prompt go by: some of the prompt's tokens are to be scored yet, or it becomes a vector, which
    /// shall not depend on where others cut the prompt.
    pub fn sees_whole_prompt(&self) -> bool {
        self.scored < self.to_score || self.is_pooling()
    }

    /// Whether its tokens say what its blocks hold: only then can others find them, and it those of others.
    pub fn is_cacheable(&self) -> bool {
        self.embeddings.is_none()
    }

    /// Which tokens of a row from position `start` to `end` are places for embeddings; the row's stand in its batch from
    /// `at` on.
    pub fn embedded(&self, start: usize, end: usize, at: usize) -> Option<EmbeddedTokens> {
        let embeddings = self.embeddings.as_ref()?;
        let len = end.min(self.prompt_len).checked_sub(start)?;
        (len > 0).then(|| EmbeddedTokens {
            tokens: at..at + len,
            embeddings: embeddings.clone(),
            first: start,
        })
    }

    /// Whether it becomes a vector.
    pub fn is_pooling(&self) -> bool {
        self.pooling.is_some()
    }

    /// Where a row from position `start` on ends if it may be as long as it likes: behind the first token whose logits are
    /// wanted. The logits behind a token score the next. A last token whose hidden state alone is wanted has its own row.
    pub fn row_end(&self, start: usize) -> usize {
        let last = self.tokens.len() - 1;
        if self.pooling == Some(Pooling::Last) && start < last {
            return last;
        }
        let next = start.max(self.scored);
        if next < self.to_score {
            next + 1
        } else {
            self.tokens.len()
        }
    }

    /// Whether anything is wanted of a row from `start` to `end`.
    pub fn wants(&self, start: usize, end: usize) -> bool {
        match self.pooling {
            None => end == self.row_end(start),
            Some(Pooling::Last) => end == self.tokens.len(),
            Some(Pooling::Mean) => true,
        }
    }

    /// Fills its empty table with the longest cached prefix, without a reference yet.
    pub fn find_prefix(&mut self, blocks: &BlockManager, hasher: &BlockHasher) {
        hasher.extend(&mut self.block_hashes, &self.tokens, blocks.block_size());
        blocks.find_prefix(&self.tokens, &self.block_hashes, &mut self.block_table);
    }

    /// How many of this one's full blocks behind the first `found` are the same as `other`'s. The block of the last token
    /// is not counted: it is never shared.
    pub fn common_blocks(&self, other: &Self, found: usize, block_size: usize) -> usize {
        let shareable = (self.tokens.len() - 1) / block_size;
        let own = self.block_hashes[..shareable].iter().skip(found);
        let theirs = other.block_hashes.iter().skip(found);
        own.zip(theirs)
            .take_while(|(own, theirs)| own == theirs)
            .count()
    }

    /// It starts behind the first `blocks` blocks of its table, which came from the cache. Returns the tokens in them if
    /// this is its first start.
    pub fn start_behind(&mut self, blocks: usize, block_size: usize) -> Option<usize> {
        self.computed = blocks * block_size;
        self.published = blocks;
        self.leader = None;
        self.pooled.clear();
        let first = self.cached_tokens.is_none();
        if first {
            self.processors
                .iter_mut()
                .for_each(|processor| processor.prepare());
        }
        first.then(|| *self.cached_tokens.insert(self.computed))
    }

    /// None of its blocks can be found any more.
    pub fn unpublish(&mut self) {
        self.published = 0;
    }

    /// Lets others find the blocks that are full and computed.
    pub fn publish(&mut self, blocks: &mut BlockManager, hasher: &BlockHasher) {
        if !self.is_cacheable() {
            return;
        }
        let block_size = blocks.block_size();
        while (self.published + 1) * block_size <= self.computed {
            let index = self.published;
            hasher.extend(&mut self.block_hashes, &self.tokens, block_size);
            let tokens = &self.tokens[index * block_size..][..block_size];
            let hash = self.block_hashes[index];
            if !blocks.publish(&mut self.block_table, index, hash, tokens) {
                // Another prefix has the hash. What follows cannot be found without this block either.
                return;
            }
            self.published += 1;
        }
    }

    /// Tokens it may ever have in its blocks: the last one that is generated is never computed.
    pub fn max_computed(&self) -> usize {
        self.prompt_len + self.max_tokens.saturating_sub(1)
    }

    /// Whether nothing is to be generated.
    pub fn is_prompt_only(&self) -> bool {
        self.max_tokens == 0
    }

    /// The tokens still to be computed before the next one can be sampled.
    pub fn uncomputed(&self) -> &[u32] {
        &self.tokens[self.computed..]
    }

    /// Whether only what came behind the last logits is to be computed, as a rule a single token: a decode row, not a prefill
    /// chunk.
    pub fn is_decoding(&self) -> bool {
        self.uncomputed().len() <= self.appended.max(1)
    }

    /// Scores the prompt's next token from the logits behind the last computed one.
    ///
    /// # Errors
    /// [`EngineError::Runner`] if the logits are unusable.
    pub fn score(&mut self, sampler: &mut Sampler, logits: &[f32]) -> Result<(), EngineError> {
        let token = self.tokens[self.computed];
        let top = self.sampling.prompt_logprobs.unwrap_or(0);
        self.prompt_logprobs
            .push(sampler.score(logits, token, top)?);
        self.scored += 1;
        Ok(())
    }

    /// Adds hidden states of `size` elements to those it pools.
    pub fn pool(&mut self, hidden: &[f32], size: usize) {
        self.pooled.resize(size, 0.0);
        for state in hidden.chunks_exact(size) {
            for (sum, value) in self.pooled.iter_mut().zip(state) {
                *sum += f64::from(*value);
            }
        }
    }

    /// What it pooled, as one vector.
    ///
    /// # Errors
    /// [`EngineError::Runner`] if any of it is no finite number.
    pub fn take_vector(&mut self) -> Result<Vec<f32>, EngineError> {
        let count = match self.pooling {
            Some(Pooling::Mean) => self.tokens.len() as f64,
            _ => 1.0,
        };
        let sums = std::mem::take(&mut self.pooled);
        if sums.iter().any(|sum| !sum.is_finite()) {
            return Err(EngineError::Runner(
                "a hidden state is not finite".to_owned(),
            ));
        }
        Ok(sums.iter().map(|sum| (sum / count) as f32).collect())
    }

    /// What the model thinks of the prompt, once; None where nobody asked.
    pub fn take_prompt_logprobs(&mut self) -> Option<Vec<TokenLogprobs>> {
        self.sampling.prompt_logprobs.take()?;
        Some(std::mem::take(&mut self.prompt_logprobs))
    }

    /// How many of the largest logits are enough to choose from, whichever they are; None if only all are.
    pub fn enough_logits(&self) -> Option<usize> {
        let SamplingParams {
            top_k, logprobs, ..
        } = self.sampling;
        if !self.processors.is_empty() || logprobs.is_some() || self.sees_whole_prompt() {
            return None;
        }
        match self.sampling.is_greedy() {
            true => Some(1),
            false => (top_k > 0).then_some(top_k),
        }
    }

    /// Chooses the next token from the logits behind the last one: all of them, or [`Sequence::enough_logits`].
    ///
    /// # Errors
    /// [`EngineError::Runner`] if the logits are unusable.
    pub fn sample(
        &mut self,
        sampler: &mut Sampler,
        row: LogitsRow<'_>,
    ) -> Result<SampledToken, EngineError> {
        let sampled = sampler.sample(
            row.logits,
            &self.sampling,
            &mut self.processors,
            &mut self.rng,
        );
        let mut sampled = sampled.map_err(|error| match self.failure() {
            Some(reason) => EngineError::Constraint(reason),
            None => error,
        })?;
        sampled.id = row.token(sampled.id);
        Ok(sampled)
    }

    fn failure(&self) -> Option<String> {
        self.processors.last()?.failure()
    }

    /// The next token, where its constraint leaves no other: it costs no random number. Other masks are not overruled: where
    /// the request has any, every token is chosen from logits.
    pub fn forced(&mut self) -> Option<u32> {
        self.forced_within(Duration::MAX)
    }

    fn forced_within(&mut self, patience: Duration) -> Option<u32> {
        let masked = self.sampling.allowed_tokens.is_some() || !self.sampling.bad_words.is_empty();
        match self.processors.last_mut() {
            Some(constraint) if self.constrained && !masked => constraint.forced(patience),
            _ => None,
        }
    }

    /// As [`Sequence::forced`], where that is soon known and nobody wants to know what the model thinks of the token: then it
    /// takes no logits. What is not known in time is forced behind the next ones: that changes no token. What is waited goes off
    /// the patience.
    pub fn forced_ahead(&mut self, patience: &mut Duration) -> Option<u32> {
        if !self.constrained || self.sampling.logprobs.is_some() {
            return None;
        }
        let began = Instant::now();
        let forced = self.forced_within(*patience);
        *patience = patience.saturating_sub(began.elapsed());
        forced
    }

    /// What is told of a forced token, from the logits before it.
    ///
    /// # Errors
    /// As [`Sequence::sample`].
    pub fn tell_forced(
        &self,
        sampler: &mut Sampler,
        logits: &[f32],
        id: u32,
    ) -> Result<SampledToken, EngineError> {
        let top = self.sampling.logprobs;
        let logprobs = top.map(|top| sampler.score(logits, id, top)).transpose()?;
        Ok(SampledToken { id, logprobs })
    }

    /// Appends a chosen token and says whether the sequence ends with it. An end token ends it as [`FinishReason::Stop`].
    pub fn accept(&mut self, token: u32) -> Option<FinishReason> {
        self.tokens.push(token);
        self.appended = self.tokens.len() - self.computed;
        let left = self.max_tokens + self.prompt_len - self.tokens.len();
        if self.constrained
            && left <= self.closing_reserve
            && let Some(constraint) = self.processors.last_mut()
        {
            constraint.close(left);
        }
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

    /// Prompt tokens that it found in the cache when it first started.
    pub fn cached_tokens(&self) -> usize {
        self.cached_tokens.unwrap_or(0)
    }

    /// Token counts so far.
    pub fn usage(&self) -> SequenceUsage {
        SequenceUsage {
            prompt_tokens: self.prompt_len,
            cached_tokens: self.cached_tokens(),
            completion_tokens: self.tokens.len() - self.prompt_len,
        }
    }
}
