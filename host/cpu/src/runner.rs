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
    decoder::{Decoder, supports},
    kv_cache::KvCache,
    loading,
    machine::{self, Memory},
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
        if let Err(reason) = Self::supports(checkpoint, &description) {
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
    use super::*;

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
