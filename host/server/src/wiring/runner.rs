//! Which runner computes a model: the GPU's where there is one and it can, else the CPU's, else the reference.

use weir_cpu::CpuRunner;
use weir_cuda::{CudaOptions, CudaRunner, Gpu, LargestStep};
use weir_engine::ModelRunner;
use weir_model::{CandleRunner, Checkpoint, LoadProgress, ModelError, RunnerOptions};

use crate::config::{Config, Device, Dtype};

/// The runner of a model.
pub(super) fn runner_for(
    config: &Config,
    checkpoint: &Checkpoint,
    options: RunnerOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Box<dyn ModelRunner>, ModelError> {
    if config.device != Device::Cpu
        && let Some(runner) = on_a_gpu(config, checkpoint, &options, progress)?
    {
        return Ok(runner);
    }
    if config.dtype != Dtype::Auto {
        tracing::warn!(
            "dtype changes nothing on the CPU: it keeps to the types of the model's files"
        );
    }
    if let Err(reason) = CpuRunner::supports(checkpoint) {
        tracing::info!("the reference runner computes this model: {reason}");
        return Ok(Box::new(CandleRunner::load(checkpoint, options, progress)?));
    }
    let runner = CpuRunner::load(checkpoint, options, config.threads, progress)?;
    Ok(Box::new(runner))
}

/// The GPU's runner; None where `auto` goes on to the CPU, which the log tells, and in a build without CUDA.
fn on_a_gpu(
    config: &Config,
    checkpoint: &Checkpoint,
    options: &RunnerOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Option<Box<dyn ModelRunner>>, ModelError> {
    if !cfg!(feature = "cuda") {
        return Ok(None);
    }
    let can = Gpu::open().and_then(|gpu| CudaRunner::supports(checkpoint).map(|()| gpu));
    let gpu = match can {
        Ok(gpu) => gpu,
        Err(reason) if config.device == Device::Cuda => {
            return Err(ModelError::InvalidOptions(format!(
                "device is cuda, but {reason}: use --device auto to compute on the CPU then"
            )));
        }
        Err(reason) => {
            tracing::info!("the CPU computes this model: {reason}");
            return Ok(None);
        }
    };
    let dtype = match config.dtype {
        Dtype::Auto | Dtype::Bf16 => weir_cuda::Dtype::Bf16,
        Dtype::F16 => weir_cuda::Dtype::F16,
    };
    let fill = config.kv_cache_memory.is_none().then_some(LargestStep {
        tokens: config.max_num_batched_tokens,
        rows: config.max_num_seqs,
    });
    let options = CudaOptions {
        runner: options.clone(),
        dtype,
        fill,
    };
    let runner = CudaRunner::load(checkpoint, &gpu, options, progress)?;
    let info = runner.info();
    tracing::info!(
        "{} computes this model in {dtype:?}, with KV for {} tokens",
        gpu.name(),
        info.kv_tokens()
    );
    Ok(Some(Box::new(runner)))
}
