//! The engine: takes sequences, and with every step computes one ragged batch and says what came of it.
//!
//! Invariants: a sequence's tokens depend on its request alone; each sequence ends with exactly one `Finished` or error,
//! unless it is aborted, and then nothing more is said of it; its blocks can be had again when that is said, or when `abort`
//! returns. What they hold stays findable until they are taken, unless its logits were unusable.
//! It never waits: whoever drives it steps while there is work, and pauses sequences whose readers are slow.

use std::{
    hash::{BuildHasher, RandomState},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    admission,
    batch::{Batch, Logits},
    block_manager::BlockManager,
    error::EngineError,
    generator::Generated,
    measurements::Measurements,
    request::{SequenceId, SequenceRequest},
    runner::{ModelRunner, RunnerInfo},
    sampler::Sampler,
    scheduler::Scheduler,
    sequence::Sequence,
};

mod answers;
mod pooled;

pub use answers::MAX_FORCED_PER_STEP;
use answers::take_logits;

/// How long a step waits to learn which tokens constraints force, all its rows together: a row takes a hundredth of it as a
/// rule, and a step that is saved more.
const FORCING_PATIENCE: Duration = Duration::from_millis(4);

/// The engine's limits. Zeros count as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Tokens computed in one step at most, decode rows and prefill chunks together.
    pub max_num_batched_tokens: usize,
    /// Sequences computed in one step at most; never more than `max_num_batched_tokens`.
    pub max_num_seqs: usize,
    /// Sequences that may wait to be started.
    pub max_queue: usize,
    /// Whether a sequence starts behind the KV blocks that hold its first tokens already. What it says is then the same as
    /// far as the runner's rounding does not depend on where a prompt is cut into chunks.
    pub prefix_cache: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_num_batched_tokens: 512,
            max_num_seqs: 64,
            max_queue: 1024,
            prefix_cache: true,
        }
    }
}

/// What a step says about one sequence; the result is the next item of its stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutput {
    /// Whose output this is.
    pub sequence: SequenceId,
    /// A token, the end, or the error that ended it.
    pub result: Result<Generated, EngineError>,
}

/// Gauges and totals, for metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineCounters {
    /// Sequences that wait to be started, or started again after preemption.
    pub waiting: usize,
    /// Sequences that are being computed.
    pub running: usize,
    /// Sequences paused for a slow reader.
    pub paused: usize,
    /// KV blocks in use.
    pub blocks_used: usize,
    /// KV blocks that nobody uses and whose content can be found again.
    pub blocks_cached: usize,
    /// KV blocks there are.
    pub blocks_total: usize,
    /// Steps that ran the model, since the start.
    pub steps: u64,
    /// Tokens computed by the model, recomputation included, since the start.
    pub computed_tokens: u64,
    /// Tokens sampled or forced, since the start.
    pub generated_tokens: u64,
    /// Those of them that a constraint forced, since the start.
    pub forced_tokens: u64,
    /// Sequences preempted because blocks ran out, since the start.
    pub preemptions: u64,
    /// Steps that failed in the runner, since the start.
    pub failed_steps: u64,
    /// Whether the last step found that the runner can compute none.
    pub lost: bool,
    /// Tokens of all sequences started, each counted at its first start, since the start.
    pub prefix_query_tokens: u64,
    /// Those of them that were found in the prefix cache, since the start.
    pub prefix_hit_tokens: u64,
    /// Cached blocks that were taken for something else, since the start.
    pub blocks_evicted: u64,
}

/// Continuous batching over one model runner.
pub struct Engine {
    runner: Box<dyn ModelRunner>,
    info: RunnerInfo,
    max_queue: usize,
    scheduler: Scheduler,
    sampler: Sampler,
    batch: Batch,
    /// Of each row that wants logits, how many of them are enough.
    enough: Vec<Option<usize>>,
    logits: Logits,
    /// The step's rows of sequences that become vectors, and their hidden states.
    pooled: Batch,
    hidden: Vec<f32>,
    next_id: u64,
    /// Seeds of requests that name none.
    seeds: ChaCha8Rng,
    /// The totals since the start; `counters` adds the gauges.
    totals: EngineCounters,
    measurements: Arc<Measurements>,
}

impl Engine {
    /// An idle engine.
    ///
    /// # Panics
    /// If the runner's info names a block size of 0 or more blocks than a `u32` can number.
    pub fn new(runner: Box<dyn ModelRunner>, config: EngineConfig) -> Self {
        let info = runner.info().clone();
        let blocks = BlockManager::new(info.num_blocks, info.block_size);
        Self {
            runner,
            info,
            max_queue: config.max_queue.max(1),
            scheduler: Scheduler::new(&config, blocks),
            sampler: Sampler::default(),
            batch: Batch::default(),
            enough: Vec::new(),
            logits: Logits::default(),
            pooled: Batch::default(),
            hidden: Vec::new(),
            next_id: 0,
            // The standard library's hasher keys come from the operating system's random numbers.
            seeds: ChaCha8Rng::seed_from_u64(RandomState::new().hash_one(0)),
            totals: EngineCounters::default(),
            measurements: Arc::default(),
        }
    }

    /// The runner's sizes and end tokens.
    pub fn info(&self) -> &RunnerInfo {
        &self.info
    }

    /// Elements of the vectors it makes; None if its runner makes none.
    pub fn hidden_size(&self) -> Option<usize> {
        self.runner.hidden_size()
    }

    /// Elements of the embeddings that a request may have in place of tokens; None if its runner takes none.
    pub fn prompt_embedding_size(&self) -> Option<usize> {
        self.runner.prompt_embedding_size()
    }

    /// What it measures as it steps.
    pub fn measurements(&self) -> &Arc<Measurements> {
        &self.measurements
    }

    /// Queues a sequence.
    ///
    /// # Errors
    /// [`EngineError::InvalidRequest`], [`EngineError::TooLong`] or [`EngineError::QueueFull`].
    pub fn add(&mut self, request: SequenceRequest) -> Result<SequenceId, EngineError> {
        let max_tokens = self.check(&request)?;
        self.check_room(1)?;
        Ok(self.queue(request, max_tokens))
    }

    /// Queues several sequences: all of them, or none.
    ///
    /// # Errors
    /// As [`Engine::add`]; [`EngineError::InvalidRequest`] for more than the queue can ever hold.
    pub fn add_all(
        &mut self,
        requests: Vec<SequenceRequest>,
    ) -> Result<Vec<SequenceId>, EngineError> {
        let checks = requests.iter().map(|request| self.check(request));
        let max_tokens: Vec<usize> = checks.collect::<Result<_, _>>()?;
        self.check_room(requests.len())?;
        let requests = requests.into_iter().zip(max_tokens);
        Ok(requests
            .map(|(request, max_tokens)| self.queue(request, max_tokens))
            .collect())
    }

    /// Whether it can ever be computed; how many tokens it may generate.
    fn check(&self, request: &SequenceRequest) -> Result<usize, EngineError> {
        if request.pooling.is_some() && self.hidden_size().is_none() {
            return Err(EngineError::InvalidRequest(
                "this model's runner makes no vectors".to_owned(),
            ));
        }
        admission::check_embeddings(request, self.runner.prompt_embedding_size())?;
        admission::check(request, &self.info)
    }

    /// Whether the queue takes so many more.
    fn check_room(&self, wanted: usize) -> Result<(), EngineError> {
        let (queued, limit) = (self.scheduler.queued(), self.max_queue);
        if wanted > limit {
            return Err(EngineError::InvalidRequest(format!(
                "{wanted} answers at once are more than the queue's {limit} places"
            )));
        }
        if queued + wanted > limit {
            return Err(EngineError::QueueFull { queued, limit });
        }
        Ok(())
    }

    fn queue(&mut self, request: SequenceRequest, max_tokens: usize) -> SequenceId {
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        let fresh_seed = self.seeds.next_u64();
        self.scheduler.add(Sequence::new(
            id,
            request,
            max_tokens,
            &self.info.eos_token_ids,
            fresh_seed,
        ));
        id
    }

    /// Forgets a sequence; its blocks are free when this returns. False if it has ended already.
    pub fn abort(&mut self, id: SequenceId) -> bool {
        let lived = self.scheduler.remove(id);
        if lived {
            self.runner.release(id);
        }
        lived
    }

    /// Stops scheduling a sequence until it is resumed. It keeps its blocks while nobody else needs them. False if it has ended.
    pub fn pause(&mut self, id: SequenceId) -> bool {
        self.scheduler.set_paused(id, true)
    }

    /// Schedules a paused sequence again. False if it has ended.
    pub fn resume(&mut self, id: SequenceId) -> bool {
        self.scheduler.set_paused(id, false)
    }

    /// Whether a step would compute anything: some sequence lives and is not paused.
    pub fn has_work(&self) -> bool {
        self.scheduler.has_work()
    }

    /// Computes one batch: schedule, run, postprocess. Appends the outputs in batch order; none without work.
    pub fn step_into(&mut self, outputs: &mut Vec<StepOutput>) {
        let began = Instant::now();
        self.scheduler.schedule(&mut self.batch, &mut self.pooled);
        if self.batch.rows.is_empty() && self.pooled.rows.is_empty() {
            return;
        }
        self.totals.steps += 1;
        if !self.batch.rows.is_empty() {
            match self.run() {
                Ok(()) => self.postprocess(outputs),
                Err(error) => {
                    let batch = mem::take(&mut self.batch);
                    self.fail(&batch, &error, outputs);
                    self.batch = batch;
                }
            }
        }
        if !self.pooled.rows.is_empty() {
            let batch = mem::take(&mut self.pooled);
            match self.run_pooled(&batch) {
                Ok(()) => self.pool(&batch, outputs),
                Err(error) => self.fail(&batch, &error, outputs),
            }
            self.pooled = batch;
        }
        self.measure(began);
    }

    fn measure(&self, began: Instant) {
        let Measurements {
            step,
            step_sequences,
            step_tokens,
            ..
        } = &*self.measurements;
        step.observe_duration(began.elapsed());
        let rows = self.batch.rows.len() + self.pooled.rows.len();
        let tokens = self.batch.tokens.len() + self.pooled.tokens.len();
        step_sequences.observe(rows as u64);
        step_tokens.observe(tokens as u64);
    }

    /// [`Engine::step_into`] with outputs of their own, for callers that do not step on and on.
    pub fn step(&mut self) -> Vec<StepOutput> {
        let mut outputs = Vec::new();
        self.step_into(&mut outputs);
        outputs
    }

    fn run(&mut self) -> Result<(), EngineError> {
        // What an earlier step left must not pass for this one's.
        self.logits.resize(0, self.info.vocab_size);
        self.enough.clear();
        for row in self.batch.rows.iter().filter(|row| row.wants_logits) {
            let sequence = self.scheduler.running_mut(row.sequence);
            let enough = sequence.and_then(|sequence| sequence.enough_logits());
            self.enough.push(enough);
        }
        let logits = &mut self.logits;
        let outcome = self
            .runner
            .execute_choosing(&self.batch, &self.enough, logits);
        self.totals.lost = matches!(outcome, Err(EngineError::Lost(_)));
        outcome?;
        let wanted = self.batch.logit_rows();
        let (shape, expected) = (self.logits.shape(), (wanted, self.info.vocab_size));
        if wanted > 0 && shape != expected {
            let message = format!("logits are {shape:?}, not {expected:?}");
            return Err(EngineError::Runner(message));
        }
        Ok(())
    }

    /// Counts what was computed and gives every row that wanted logits what they bring.
    fn postprocess(&mut self, outputs: &mut Vec<StepOutput>) {
        let now = Instant::now();
        let mut patience = FORCING_PATIENCE;
        let mut logits = self.logits.parts_mut();
        for row in &self.batch.rows {
            let id = row.sequence;
            let logits = row.wants_logits.then(|| match logits.next() {
                Some(logits) => logits,
                None => unreachable!("the number of logits rows was checked"),
            });
            self.totals.computed_tokens += row.len as u64;
            let Some(sequence) = self.scheduler.running_mut(id) else {
                // A row before this one has ended it.
                continue;
            };
            sequence.computed += row.len;
            let Some(logits) = logits else {
                self.scheduler.publish(id);
                continue;
            };
            let len = sequence.len();
            let sampled = self.sampler.sampled();
            let ended =
                match take_logits(sequence, &mut self.sampler, logits, &mut patience, outputs) {
                    Ok(ended) => {
                        let generated = (sequence.len() - len) as u64;
                        self.totals.generated_tokens += generated;
                        self.totals.forced_tokens += generated - (self.sampler.sampled() - sampled);
                        if let Some(gap) =
                            (generated > 0).then(|| sequence.note_token(now)).flatten()
                        {
                            self.measurements.inter_token.observe_duration(gap);
                        }
                        self.scheduler.publish(id);
                        ended
                    }
                    Err(error) => {
                        // Whatever it has read may be what spoiled it. Nobody else shall find that. What a request itself
                        // asks for spoils nothing.
                        if !matches!(
                            error,
                            EngineError::Constraint(_) | EngineError::InvalidRequest(_)
                        ) {
                            self.scheduler.forget_prefixes();
                        }
                        outputs.push(StepOutput {
                            sequence: id,
                            result: Err(error),
                        });
                        true
                    }
                };
            if ended {
                self.scheduler.remove(id);
                self.runner.release(id);
            }
        }
    }

    /// Ends every sequence of the batch with the runner's error; the others go on.
    fn fail(&mut self, batch: &Batch, error: &EngineError, outputs: &mut Vec<StepOutput>) {
        self.totals.failed_steps += 1;
        for row in &batch.rows {
            // A sequence whose prompt is scored has several rows.
            if self.scheduler.remove(row.sequence) {
                self.runner.release(row.sequence);
                outputs.push(StepOutput {
                    sequence: row.sequence,
                    result: Err(error.clone()),
                });
            }
        }
    }

    /// What the engine is doing and has done.
    pub fn counters(&self) -> EngineCounters {
        let mut counters = self.totals;
        self.scheduler.count(&mut counters);
        counters
    }

    /// Leaves few bits of every block's hash, so that hashes collide.
    #[cfg(test)]
    pub fn weaken_hashes(&mut self, mask: u64) {
        self.scheduler.weaken_hashes(mask);
    }

    /// Asserts what must hold between any two calls.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        self.scheduler.check_invariants();
    }
}
