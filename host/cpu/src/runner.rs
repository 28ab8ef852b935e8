//! [`CpuRunner`]: the decoder, its KV cache and its team of threads behind the engine's boundary.

use std::sync::{Mutex, atomic::AtomicUsize};

use weir_engine::{Batch, EngineError, Logits, ModelRunner, RunnerInfo};
use weir_model::{
    Attention, Checkpoint, LoadProgress, ModelDescription, ModelError, RunnerOptions,
    TensorAccount, check_batch,
};

use crate::{
    attention::Plan,
    buffers::{Buffers, Scratch},
    decoder::{Decoder, WeightSize, supports},
    kv_cache::KvCache,
    loading,
    shared::Shared,
    simd::Simd,
    step::{Step, Token, phases},
    team::Team,
};

/// Computes a GGUF file's decoder on the CPU, with int8 activations and KV in f16.
///
/// A row's logits are the same to the bit whatever rows are beside it, however its prompt was cut into chunks, and
/// however many threads there are.
pub struct CpuRunner {
    decoder: Decoder,
    cache: KvCache,
    info: RunnerInfo,
    team: Team,
    simd: Simd,
    buffers: Buffers,
    scratch: Vec<Mutex<Scratch>>,
    counters: Vec<AtomicUsize>,
    plans: Vec<Plan>,
    tokens: Vec<Token>,
    wanted: Vec<usize>,
}

impl CpuRunner {
    /// Whether a model is one that this runner computes.
    ///
    /// # Errors
    /// What it lacks, in one line.
    pub fn supports(checkpoint: &Checkpoint, description: &ModelDescription) -> Result<(), String> {
        let Checkpoint::Gguf(file) = checkpoint else {
            return Err("the model is no GGUF file, which the CPU runner needs".to_owned());
        };
        supports(description)?;
        match file
            .tensors()
            .find(|tensor| loading::format(&tensor.dtype).is_none())
        {
            None => Ok(()),
            Some(tensor) => Err(format!(
                "tensor {} is of type {}, which the CPU runner lacks",
                tensor.name, tensor.dtype
            )),
        }
    }

    /// Loads a model; `progress` hears of every tensor, first with nothing loaded. `threads` of None are as many as the
    /// process may use cores.
    ///
    /// # Errors
    /// Names what the files lack or hold that is not supported, or the option that does not fit the model.
    pub fn load(
        checkpoint: &Checkpoint,
        options: RunnerOptions,
        threads: Option<usize>,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, ModelError> {
        let description = checkpoint.describe()?;
        let refuse = |reason| Err(ModelError::InvalidOptions(reason));
        if let Err(reason) = Self::supports(checkpoint, &description) {
            return refuse(reason);
        }
        let Checkpoint::Gguf(file) = checkpoint else {
            return refuse("the model is no GGUF file".to_owned());
        };
        let block_bytes = KvCache::bytes_per_block(&description, options.block_size);
        let info = options.runner_info(&description, block_bytes)?;
        if block_bytes.checked_mul(info.num_blocks).is_none() {
            let blocks = info.num_blocks;
            return refuse(format!(
                "{blocks} KV blocks of {block_bytes} bytes are not possible"
            ));
        }
        let threads = threads.unwrap_or_else(cores).max(1);
        let account = TensorAccount::new(checkpoint);
        let sizes = (threads, info.max_model_len);
        let decoder = loading::load(file, account, description, sizes, progress)?;
        let cache = KvCache::new(&decoder.description, info.num_blocks, info.block_size);
        let team = Team::new(threads).map_err(|error| {
            ModelError::InvalidOptions(format!("{threads} threads are not possible: {error}"))
        })?;
        tracing::debug!(model = ?decoder.description, ?info, threads, "model loaded");
        let phases = phases(decoder.layers.len());
        Ok(Self {
            plans: plans(&decoder.description),
            decoder,
            cache,
            info,
            simd: Simd::detect(),
            buffers: Buffers::default(),
            scratch: (0..team.workers()).map(|_| Mutex::default()).collect(),
            counters: (0..phases).map(|_| AtomicUsize::new(0)).collect(),
            team,
            tokens: Vec::new(),
            wanted: Vec::new(),
        })
    }

    /// What was loaded.
    pub fn description(&self) -> &ModelDescription {
        &self.decoder.description
    }

    /// How much of the weights a step needs: the yardstick of its speed.
    pub fn weight_size(&self) -> WeightSize {
        self.decoder.weight_size()
    }

    /// Lists the batch's tokens, those whose logits are wanted, and the units of attention.
    fn prepare(&mut self, batch: &Batch) {
        self.tokens.clear();
        self.wanted.clear();
        for (row, asked) in batch.rows.iter().enumerate() {
            let positions = asked.context_len..asked.context_len + asked.len;
            let tokens = positions.map(|position| Token { row, position });
            self.tokens.extend(tokens);
            if asked.wants_logits {
                self.wanted.push(self.tokens.len() - 1);
            }
        }
        for plan in &mut self.plans {
            plan.fill(&batch.rows, self.info.block_size);
        }
        for counter in &mut self.counters {
            *counter.get_mut() = 0;
        }
        self.buffers.grow(&self.decoder, batch, &self.plans);
    }
}

impl std::fmt::Debug for CpuRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CpuRunner")
            .field("info", &self.info)
            .field("team", &self.team)
            .finish_non_exhaustive()
    }
}

impl ModelRunner for CpuRunner {
    fn info(&self) -> &RunnerInfo {
        &self.info
    }

    fn execute(&mut self, batch: &Batch) -> Result<Logits, EngineError> {
        check_batch(batch, &self.info).map_err(EngineError::Runner)?;
        let vocab = self.info.vocab_size;
        if batch.rows.is_empty() {
            return Ok(Logits::new(Vec::new(), vocab));
        }
        self.prepare(batch);
        let logits = Shared::zeros(self.wanted.len() * vocab);
        let step = Step {
            simd: self.simd,
            decoder: &self.decoder,
            cache: &self.cache,
            batch,
            tokens: &self.tokens,
            wanted: &self.wanted,
            plans: &self.plans,
            buffers: &self.buffers,
            scratch: &self.scratch,
            counters: &self.counters,
            logits: &logits,
        };
        self.team
            .run(&|index, barrier| step.work(index, barrier))
            .map_err(EngineError::Runner)?;
        Ok(Logits::new(logits.into_vec(), vocab))
    }
}

/// One for each kind of heads and windows.
fn plans(description: &ModelDescription) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    for layer in &description.layers {
        if let Attention::Grouped(attention) = &layer.attention {
            let (kv_heads, window) = (attention.kv_heads, attention.window);
            if !plans
                .iter()
                .any(|plan| (plan.kv_heads, plan.window) == (kv_heads, window))
            {
                plans.push(Plan::new(kv_heads, window));
            }
        }
    }
    plans
}

/// Cores this process may use, by its affinity and its cgroup.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
