//! [`CpuRunner`]: the decoder, its KV cache and its team of threads behind the engine's boundary.

use std::sync::Mutex;

use weir_engine::{Batch, EngineError, Logits, ModelRunner, RunnerInfo};
use weir_model::{
    Attention, Checkpoint, LoadProgress, ModelDescription, ModelError, RunnerOptions,
    TensorAccount, check_batch,
};

use crate::{
    attention::Plan,
    barrier::Phase,
    buffers::{Buffers, Scratch},
    decoder::{Decoder, WeightSize},
    kv_cache::{KvCache, latent_groups},
    loading,
    machine::{self, Memory},
    shared::Shared,
    simd::Simd,
    step::{Output, Step, Token, phases},
    team::{Team, TeamError},
};

/// Computes a GGUF file's decoder on the CPU, with int8 activations and KV in int16.
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
    phases: Vec<Phase>,
    plans: Vec<Plan>,
    tokens: Vec<Token>,
    wanted: Vec<usize>,
}

impl CpuRunner {
    /// Whether a model is one that this runner computes.
    ///
    /// # Errors
    /// What it lacks, in one line.
    pub fn supports(checkpoint: &Checkpoint) -> Result<(), String> {
        let Checkpoint::Gguf(file) = checkpoint else {
            return Err("the model is no GGUF file, which the CPU runner needs".to_owned());
        };
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

    /// Loads a model; `progress` hears of every tensor, first with nothing loaded. `threads` of None are one for
    /// each physical core that the process may use.
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
        if let Err(reason) = Self::supports(checkpoint) {
            return refuse(reason);
        }
        let Checkpoint::Gguf(file) = checkpoint else {
            return refuse("the model is no GGUF file".to_owned());
        };
        let block_bytes = KvCache::bytes_per_block(&description, options.block_size);
        let info = options.runner_info(&description, block_bytes)?;
        check_kv_memory(block_bytes as u64 * info.num_blocks as u64, Memory::read())?;
        let threads = threads.unwrap_or_else(machine::threads).max(1);
        let account = TensorAccount::new(checkpoint);
        let sizes = (threads, info.max_model_len);
        let Some(cache) = KvCache::new(&description, info.num_blocks, info.block_size) else {
            return Err(too_large(
                block_bytes as u64 * info.num_blocks as u64,
                "the system refuses",
            ));
        };
        let decoder = loading::load(file, account, description, sizes, progress)?;
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
            phases: (0..phases).map(|_| Phase::default()).collect(),
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

    /// Lists the batch's tokens, those of which something is wanted, and the units of attention. Of a row that wants something
    /// those are all its tokens for hidden states, else the last.
    fn prepare(&mut self, batch: &Batch, hidden: bool) {
        self.tokens.clear();
        self.wanted.clear();
        for (row, asked) in batch.rows.iter().enumerate() {
            let positions = asked.context_len..asked.context_len + asked.len;
            let tokens = positions.map(|position| Token { row, position });
            self.tokens.extend(tokens);
            if asked.wants_logits {
                let wanted = if hidden { asked.len } else { 1 };
                let end = self.tokens.len();
                self.wanted.extend(end - wanted..end);
            }
        }
        for plan in &mut self.plans {
            plan.fill(&batch.rows, self.info.block_size);
        }
        self.phases.iter_mut().for_each(Phase::reset);
        self.buffers.grow(&self.decoder, batch, &self.plans);
    }

    /// Computes what was prepared.
    fn run(&mut self, batch: &Batch, output: Output<'_>) -> Result<(), EngineError> {
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
            phases: &self.phases,
            output,
        };
        self.team
            .run(&|index, barrier| step.work(index, barrier))
            .map_err(|error| match error {
                TeamError::Panicked(message) => EngineError::Runner(message),
                TeamError::NoThread(_) => EngineError::Lost(error.to_string()),
            })
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

    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError> {
        check_batch(batch, &self.info).map_err(EngineError::Runner)?;
        let vocab = self.info.vocab_size;
        if batch.rows.is_empty() {
            logits.resize(0, vocab);
            return Ok(());
        }
        self.prepare(batch, false);
        let logits = Shared::borrowed(logits.resize(self.wanted.len(), vocab));
        self.run(batch, Output::Logits(&logits))
    }

    fn prompt_embedding_size(&self) -> Option<usize> {
        Some(self.decoder.description.hidden)
    }

    fn hidden_size(&self) -> Option<usize> {
        Some(self.decoder.description.hidden)
    }

    fn hidden_into(&mut self, batch: &Batch, hidden: &mut Vec<f32>) -> Result<(), EngineError> {
        check_batch(batch, &self.info).map_err(EngineError::Runner)?;
        if batch.rows.is_empty() {
            hidden.clear();
            return Ok(());
        }
        self.prepare(batch, true);
        hidden.resize(self.wanted.len() * self.decoder.description.hidden, 0.0);
        let hidden = Shared::borrowed(hidden);
        self.run(batch, Output::Hidden(&hidden))
    }
}

/// One for each kind of heads and windows.
fn plans(description: &ModelDescription) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    for layer in &description.layers {
        let (kv_heads, window) = match &layer.attention {
            Attention::Grouped(attention) => (attention.kv_heads, attention.window),
            Attention::Latent(attention) => (latent_groups(attention.heads), None),
        };
        if !plans
            .iter()
            .any(|plan| (plan.kv_heads, plan.window) == (kv_heads, window))
        {
            plans.push(Plan::new(kv_heads, window));
        }
    }
    plans
}

/// Refuses a KV cache that can never be in memory whole, and warns of one that cannot be now: it is given page by page as
/// sequences grow, and the process that asks for one page too many is killed.
fn check_kv_memory(bytes: u64, memory: Option<Memory>) -> Result<(), ModelError> {
    let Some(Memory { limit, available }) = memory else {
        return Ok(());
    };
    if bytes > limit {
        let has = format!("the machine or its cgroup has {} MiB", limit >> 20);
        return Err(too_large(bytes, &has));
    }
    if bytes > available {
        tracing::warn!(
            "the KV cache may grow to {} MiB, but only {} MiB of memory are available: choose a smaller \
             kv_cache_memory, or the process may be killed",
            bytes >> 20,
            available >> 20
        );
    }
    Ok(())
}

fn too_large(bytes: u64, what_stands_in_the_way: &str) -> ModelError {
    ModelError::InvalidOptions(format!(
        "a KV cache of {} MiB is not possible, {what_stands_in_the_way}: choose a smaller kv_cache_memory",
        bytes >> 20
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use weir_engine::{BatchRow, SequenceId};
    use weir_model::KvCapacity;

    use super::*;

    fn tiny() -> CpuRunner {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models/llama/model.gguf");
        let options = RunnerOptions {
            kv_capacity: KvCapacity::Blocks(8),
            block_size: 4,
            max_model_len: Some(32),
            end_token_ids: Vec::new(),
        };
        let checkpoint = Checkpoint::open(&file).unwrap();
        CpuRunner::load(&checkpoint, options, Some(2), &mut |_| {}).unwrap()
    }

    fn chunk(context_len: usize, tokens: &[u32]) -> Batch {
        Batch {
            embedded: Vec::new(),
            tokens: tokens.to_vec(),
            rows: vec![BatchRow {
                sequence: SequenceId(1),
                context_len,
                len: tokens.len(),
                block_table: vec![3, 1],
                wants_logits: true,
            }],
        }
    }

    #[test]
    fn a_worker_that_panics_fails_its_step_and_no_later_one() {
        let mut sound = tiny();
        let mut shaken = tiny();
        let first = chunk(0, &[5, 6, 7]);
        let second = chunk(3, &[8, 9]);
        for runner in [&mut sound, &mut shaken] {
            runner.execute(&first).unwrap();
        }
        // The second worker finds no scratch.
        let scratch = shaken.scratch.pop().unwrap();
        let outcome = shaken.execute(&second);
        assert!(
            matches!(outcome, Err(EngineError::Runner(_))),
            "{outcome:?}"
        );
        shaken.scratch.push(scratch);
        // What was computed before stands; the step itself can be done again.
        let right = sound.execute(&second).unwrap();
        assert_eq!(shaken.execute(&second).unwrap(), right);
    }

    #[test]
    fn a_kv_cache_larger_than_all_memory_is_refused_by_name() {
        let memory = Memory {
            limit: 512 << 20,
            available: 100 << 20,
        };
        assert!(check_kv_memory(512 << 20, Some(memory)).is_ok());
        assert!(check_kv_memory(u64::MAX, None).is_ok());
        let error = check_kv_memory(1 << 30, Some(memory)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a KV cache of 1024 MiB is not possible, the machine or its cgroup has 512 MiB: choose a smaller \
             kv_cache_memory"
        );
    }
}
