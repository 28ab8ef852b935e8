//! [`CudaRunner`]: the decoder and its KV slabs behind the engine's boundary.

use candle_core::{DType, Device};
use weir_engine::{Batch, BatchRow, EngineError, Logits, ModelRunner, RunnerInfo, SequenceId};
use weir_model::{
    Attention, Checkpoint, KvCapacity, KvSlabs, LoadProgress, ModelDescription, ModelError,
    RunnerOptions, check_batch,
};

use crate::{
    built,
    choose::Chooser,
    decoder::Decoder,
    device::{self, Gpu},
    dtype::Dtype,
    kernels, layer, self_test,
    step::Step,
    weight_source::CheckpointSource,
};

/// The longest context there is a table of angles for, in tokens: half a GiB of them for a usual head.
const LONGEST_CONTEXT: usize = 1 << 20;

/// What a caller chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaOptions {
    /// Sizes.
    pub runner: RunnerOptions,
    /// The type of weights, activations and KV.
    pub dtype: Dtype,
    /// KV takes what the GPU has left beside the weights and the largest step, whatever `runner.kv_capacity` says; None
    /// keeps to that.
    pub fill: Option<LargestStep>,
}

/// The most that one step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargestStep {
    /// New tokens of all rows.
    pub tokens: usize,
    /// Rows.
    pub rows: usize,
}

/// Computes a decoder on a GPU.
#[derive(Debug)]
pub struct CudaRunner {
    decoder: Decoder,
    slabs: KvSlabs,
    info: RunnerInfo,
    device: Device,
    chooser: Chooser,
}

impl CudaRunner {
    /// Whether a model is one that this runner computes.
    ///
    /// # Errors
    /// What it lacks, in one line; or that the model cannot be described at all.
    pub fn supports(checkpoint: &Checkpoint) -> Result<(), String> {
        let description = checkpoint.describe().map_err(|error| error.to_string())?;
        supports(&description)
    }

    /// Proves the device on random numbers, then loads a model; `progress` hears of every tensor, first with nothing
    /// loaded.
    ///
    /// # Errors
    /// Names what the files lack or hold that is not supported, the option that does not fit the model or the device, or
    /// what the device computes wrong.
    pub fn load(
        checkpoint: &Checkpoint,
        gpu: &Gpu,
        options: CudaOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, ModelError> {
        let refuse = ModelError::InvalidOptions;
        let device = gpu.device();
        let dtype = options.dtype.candle();
        let description = checkpoint.describe()?;
        supports(&description).map_err(refuse)?;
        gpu.check(dtype).map_err(refuse)?;
        if let Some(lacking) = built::lacks_numbers(options.dtype) {
            return Err(refuse(lacking));
        }
        let block_size = options.runner.block_size;
        let block_bytes = KvSlabs::bytes_per_block(&description, block_size, dtype);
        // Before anything is read: wrong sizes are known already.
        let info = options
            .runner
            .clone()
            .runner_info(&description, block_bytes)?;
        check_sizes(&info)?;
        self_test::run(device, options.dtype, &description, &kernels::serving).map_err(refuse)?;
        let mut source = CheckpointSource::new(checkpoint, progress);
        let decoder = Decoder::load(
            &description,
            info.max_model_len,
            &mut source,
            dtype,
            device,
            kernels::serving(device)?,
        )?;
        source.finish(&description)?;
        let info = match options.fill {
            None => info,
            Some(step) => {
                let free = gpu.free_after(|| largest_step(&decoder, &info, step, dtype, device))?;
                let mut runner = options.runner;
                runner.kv_capacity = KvCapacity::Bytes(free);
                let info = runner.runner_info(&description, block_bytes)?;
                check_sizes(&info)?;
                info
            }
        };
        let slabs = KvSlabs::new(
            &description,
            info.num_blocks,
            info.block_size,
            dtype,
            device,
        )
        .map_err(|error| {
            let kv = (info.num_blocks * block_bytes) >> 20;
            refuse(format!(
                "a KV cache of {kv} MiB does not fit {}, choose a smaller kv_cache_memory: {error}",
                gpu.name()
            ))
        })?;
        device.synchronize()?;
        tracing::debug!(model = ?description, ?info, "model loaded");
        Ok(Self {
            decoder,
            slabs,
            info,
            device: device.clone(),
            chooser: Chooser::default(),
        })
    }

    /// What was loaded.
    pub fn description(&self) -> &ModelDescription {
        self.decoder.description()
    }

    /// The logits of the rows that want them, each whole or in part.
    fn choose(
        &mut self,
        batch: &Batch,
        enough: &[Option<usize>],
        logits: &mut Logits,
    ) -> candle_core::Result<()> {
        let step = Step::wanting(batch, self.info.block_size, false, &self.device)?;
        match self.decoder.forward(&step, &self.slabs)? {
            Some(computed) => {
                let kernels = self.decoder.kernels();
                self.chooser.hand_over(&computed, enough, kernels, logits)
            }
            None => {
                logits.resize(0, self.info.vocab_size);
                Ok(())
            }
        }
    }

    /// The hidden states of the tokens of rows that want them.
    fn hidden(&self, batch: &Batch, hidden: &mut [f32]) -> candle_core::Result<()> {
        let step = Step::wanting(batch, self.info.block_size, true, &self.device)?;
        match self.decoder.forward_hidden(&step, &self.slabs)? {
            Some(computed) => device::fetch(&computed, hidden),
            None => Ok(()),
        }
    }

    /// A device that failed once answers every later call with that failure.
    fn failure(&self, error: &candle_core::Error) -> EngineError {
        match self.device.is_cuda() {
            true => EngineError::Lost(error.to_string()),
            false => EngineError::Runner(error.to_string()),
        }
    }
}

impl ModelRunner for CudaRunner {
    fn info(&self) -> &RunnerInfo {
        &self.info
    }

    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError> {
        self.execute_choosing(batch, &[], logits)
    }

    fn execute_choosing(
        &mut self,
        batch: &Batch,
        enough: &[Option<usize>],
        logits: &mut Logits,
    ) -> Result<(), EngineError> {
        check_batch(batch, &self.info).map_err(EngineError::Runner)?;
        if batch.rows.is_empty() {
            logits.resize(0, self.info.vocab_size);
            return Ok(());
        }
        self.choose(batch, enough, logits)
            .map_err(|error| self.failure(&error))
    }

    fn hidden_size(&self) -> Option<usize> {
        Some(self.description().hidden)
    }

    fn hidden_into(&mut self, batch: &Batch, hidden: &mut Vec<f32>) -> Result<(), EngineError> {
        check_batch(batch, &self.info).map_err(EngineError::Runner)?;
        hidden.resize(batch.wanted_tokens() * self.description().hidden, 0.0);
        if batch.rows.is_empty() {
            return Ok(());
        }
        self.hidden(batch, hidden)
            .map_err(|error| self.failure(&error))
    }
}

fn supports(description: &ModelDescription) -> Result<(), String> {
    let lacking = description.layers.iter().find_map(layer::lacking);
    if let Some(lacking) = lacking {
        return Err(format!(
            "the model has {lacking}, which the GPU runner lacks"
        ));
    }
    for layer in &description.layers {
        let Attention::Grouped(attention) = &layer.attention else {
            continue;
        };
        if !(attention.head_dim.is_multiple_of(8) && attention.head_dim <= 512) {
            return Err(format!(
                "the model has heads of {} elements; the GPU runner needs a multiple of 8, 512 at most",
                attention.head_dim
            ));
        }
        if let Some(lacking) = built::lacks_heads(attention.head_dim) {
            return Err(lacking);
        }
    }
    Ok(())
}

fn check_sizes(info: &RunnerInfo) -> Result<(), ModelError> {
    if info.max_model_len > LONGEST_CONTEXT {
        return Err(ModelError::InvalidOptions(format!(
            "a context of {} tokens is not possible on a GPU, at most {LONGEST_CONTEXT} are: choose a smaller max_model_len",
            info.max_model_len
        )));
    }
    // Slots are numbered in u32.
    let slots = info.num_blocks.checked_mul(info.block_size);
    match slots.and_then(|slots| u32::try_from(slots).ok()) {
        Some(_) => Ok(()),
        None => Err(ModelError::InvalidOptions(format!(
            "{} KV blocks of {} tokens are not possible: choose a smaller kv_cache_memory",
            info.num_blocks, info.block_size
        ))),
    }
}

/// Computes the step that needs most memory. Its rows share blocks, whose KV means nothing.
fn largest_step(
    decoder: &Decoder,
    info: &RunnerInfo,
    step: LargestStep,
    dtype: DType,
    device: &Device,
) -> candle_core::Result<()> {
    let rows = step.rows.clamp(1, step.tokens.max(1));
    let len = (step.tokens / rows).clamp(1, info.max_model_len);
    let blocks = len.div_ceil(info.block_size);
    let description = decoder.description();
    let slabs = KvSlabs::new(description, blocks, info.block_size, dtype, device)?;
    let row = |row| BatchRow {
        sequence: SequenceId(row),
        context_len: 0,
        len,
        block_table: (0..blocks as u32).collect(),
        wants_logits: true,
    };
    let batch = Batch {
        embedded: Vec::new(),
        tokens: vec![0; rows * len],
        rows: (0..rows as u64).map(row).collect(),
    };
    decoder.forward(&Step::new(&batch, info.block_size, device)?, &slabs)?;
    Ok(())
}
