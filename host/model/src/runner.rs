//! [`CandleRunner`]: the decoder and its KV slabs behind the engine's boundary.
//!
//! It is the reference that faster runners are measured against.

use candle_core::{DType, Device, Result, Tensor};
use weir_engine::{Batch, EngineError, Logits, ModelRunner, RunnerInfo};

use crate::{
    checkpoint::Checkpoint,
    decoder::Decoder,
    description::ModelDescription,
    error::ModelError,
    kv_slabs::KvSlabs,
    runner_options::{RunnerOptions, check_batch},
    tensor_account::LoadProgress,
    weights::Weights,
};

/// The reference runner: candle on the CPU.
#[derive(Debug)]
pub struct CandleRunner {
    decoder: Decoder,
    slabs: KvSlabs,
    info: RunnerInfo,
}

impl CandleRunner {
    /// Loads a model; `progress` hears of every tensor, first with nothing loaded.
    ///
    /// # Errors
    /// Names what the files lack or hold that is not supported, or the option that does not fit the model.
    pub fn load(
        checkpoint: &Checkpoint,
        options: RunnerOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> std::result::Result<Self, ModelError> {
        let device = Device::Cpu;
        let description = checkpoint.describe()?;
        let block_bytes = KvSlabs::bytes_per_block(&description, options.block_size, DType::F32);
        let info = options.runner_info(&description, block_bytes)?;
        let weights = Weights::new(checkpoint, &device, progress);
        let decoder = Decoder::load(description, info.max_model_len, weights, &device)?;
        let slabs = KvSlabs::new(
            decoder.description(),
            info.num_blocks,
            info.block_size,
            DType::F32,
            &device,
        )?;
        tracing::debug!(model = ?decoder.description(), ?info, "model loaded");
        Ok(Self {
            decoder,
            slabs,
            info,
        })
    }

    /// What was loaded.
    pub fn description(&self) -> &ModelDescription {
        self.decoder.description()
    }

    /// A batch's numbers, row-major, as `forward` gives them; none for none.
    fn compute(
        &self,
        batch: &Batch,
        forward: impl Fn(&Decoder, &Batch, &KvSlabs) -> Result<Option<Tensor>>,
    ) -> std::result::Result<Vec<f32>, EngineError> {
        check_batch(batch, &self.info).map_err(EngineError::Runner)?;
        if batch.rows.is_empty() {
            return Ok(Vec::new());
        }
        let numbers = || match forward(&self.decoder, batch, &self.slabs)? {
            Some(numbers) => numbers.flatten_all()?.to_vec1(),
            None => Ok(Vec::new()),
        };
        numbers().map_err(|error| EngineError::Runner(error.to_string()))
    }
}

impl ModelRunner for CandleRunner {
    fn info(&self) -> &RunnerInfo {
        &self.info
    }

    fn execute_into(
        &mut self,
        batch: &Batch,
        logits: &mut Logits,
    ) -> std::result::Result<(), EngineError> {
        let computed = self.compute(batch, Decoder::forward)?;
        *logits = Logits::new(computed, self.info.vocab_size);
        Ok(())
    }

    fn prompt_embedding_size(&self) -> Option<usize> {
        Some(self.description().hidden)
    }

    fn hidden_size(&self) -> Option<usize> {
        Some(self.description().hidden)
    }

    fn hidden_into(
        &mut self,
        batch: &Batch,
        hidden: &mut Vec<f32>,
    ) -> std::result::Result<(), EngineError> {
        *hidden = self.compute(batch, Decoder::forward_hidden)?;
        Ok(())
    }
}
