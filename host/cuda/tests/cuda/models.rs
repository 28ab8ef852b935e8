//! The tiny checkpoints that the runner computes, and what it is told.

use std::path::{Path, PathBuf};

use weir_cuda::{CudaOptions, CudaRunner, Dtype, Gpus};
use weir_model::{Checkpoint, ModelError, RunnerOptions};

use crate::checkpoints::{Prompt, entries, options, prompts};

/// A folder, or a GGUF file in one, and its prompts.
pub struct Model {
    pub path: PathBuf,
    pub prompts: Vec<Prompt>,
}

/// Every decoder, as safetensors and as GGUF, whether it is computed or not.
pub fn decoders() -> Vec<Model> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models");
    let mut found = Vec::new();
    for folder in entries(&root) {
        let files = entries(&folder).into_iter();
        let files = files.filter(|path| path.extension().is_some_and(|kind| kind == "gguf"));
        for path in files.chain([folder.clone()]) {
            let checkpoint = Checkpoint::open(&path).unwrap();
            // An encoder is no decoder.
            if checkpoint.describe().is_ok() {
                let prompts = prompts(&folder);
                found.push(Model { path, prompts });
            }
        }
    }
    found
}

/// A runner of a file or folder.
pub fn load(path: &Path, block_size: usize, dtype: Dtype) -> Result<CudaRunner, ModelError> {
    load_with(path, options(block_size), dtype)
}

/// The same on several devices.
pub fn load_shared(
    path: &Path,
    block_size: usize,
    devices: usize,
) -> Result<CudaRunner, ModelError> {
    load_on(path, options(block_size), Dtype::F32, devices)
}

/// The same with other sizes.
pub fn load_with(
    path: &Path,
    runner: RunnerOptions,
    dtype: Dtype,
) -> Result<CudaRunner, ModelError> {
    load_on(path, runner, dtype, 1)
}

fn load_on(
    path: &Path,
    runner: RunnerOptions,
    dtype: Dtype,
    devices: usize,
) -> Result<CudaRunner, ModelError> {
    let options = CudaOptions {
        runner,
        dtype,
        fill: None,
    };
    let checkpoint = Checkpoint::open(path)?;
    CudaRunner::load(
        &checkpoint,
        &Gpus::on_the_cpu(devices),
        options,
        &mut |_| {},
    )
}
