//! Which runner computes a model: the GPU's where there is one and it can, else the CPU's, else the reference.

use weir_cpu::CpuRunner;
use weir_cuda::{CudaOptions, CudaRunner, Gpus, LargestStep};
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

/// The GPUs' runner; None where `auto` goes on to the CPU, which the log tells, and in a build without CUDA. Who asks for
/// several GPUs does not want the CPU.
fn on_a_gpu(
    config: &Config,
    checkpoint: &Checkpoint,
    options: &RunnerOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Option<Box<dyn ModelRunner>>, ModelError> {
    if !cfg!(feature = "cuda") {
        return Ok(None);
    }
    let tp = config.tp;
    let can = Gpus::open(tp).and_then(|gpus| match CudaRunner::supports(checkpoint) {
        Ok(()) => Ok(gpus),
        Err(reason) if tp > 1 => Err(format!("tp is {tp}, but {reason}")),
        Err(reason) => Err(reason),
    });
    let gpus = match can {
        Ok(gpus) => gpus,
        Err(reason) if tp > 1 => return Err(ModelError::InvalidOptions(reason)),
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
    let runner = CudaRunner::load(checkpoint, &gpus, options, progress)?;
    let info = runner.info();
    tracing::info!(
        "this model is computed in {dtype:?} on {}, with KV for {} tokens",
        gpus.name(),
        info.kv_tokens()
    );
    Ok(Some(Box::new(runner)))
}
