//! The CUDA code, type-checked and linted where there is no CUDA: the build scripts of candle are given a compiler that writes
//! empty files, and CUTLASS without headers.
//!
//! All of it in a target folder of its own, because an empty object must never be linked as a real one.

use std::{env, path::Path, process::Command};

use anyhow::{Result, ensure};

use super::{FEATURES, cutlass, kernels, nvcc};

/// What a user's own settings would change in the build scripts.
const FOREIGN_VARIABLES: [&str; 6] = [
    "CANDLE_FLASH_ATTN_BUILD_DIR",
    "CUDARC_CUDA_VERSION",
    "CUDA_PATH",
    "CUDA_ROOT",
    "CUDA_TOOLKIT_ROOT_DIR",
    nvcc::REAL,
];

/// Only macros and build scripts are compiled, and run once: to optimise them takes twice the time of all the rest.
const CONFIG: &str = "profile.dev.package.\"*\".opt-level=0";

/// Checks the crate whose code the features change, with its tests, and that our kernels' PTX is of their source. The server's
/// features only hand on to it.
pub fn run(root: &Path) -> Result<()> {
    let folder = root.join("target/cuda/type-check");
    let nvcc = nvcc::link(&folder.join("toolkit"))?;
    let cudaforge = folder.join("cudaforge");
    cutlass::empty(&cudaforge)?;
    let path = env::var_os("PATH").unwrap_or_default();
    let bin = nvcc.parent().map(Path::to_owned).into_iter();
    let path = env::join_paths(bin.chain(env::split_paths(&path)))?;
    let mut cargo = Command::new("cargo");
    for variable in FOREIGN_VARIABLES {
        cargo.env_remove(variable);
    }
    cargo
        .args(["clippy", "--quiet", "-p", "weir-cuda", "--all-targets"])
        .args(["--features", FEATURES, "--config", CONFIG, "--target-dir"])
        .arg(folder.join("target"))
        .args(["--", "-D", "warnings"])
        .env("CUDA_HOME", folder.join("toolkit"))
        .env("CUDA_COMPUTE_CAP", "90")
        .env("CUDAFORGE_HOME", &cudaforge)
        .env("NVCC", &nvcc)
        .env("PATH", &path)
        .current_dir(root);
    ensure!(
        cargo.status()?.success(),
        "weir-cuda does not pass with {FEATURES}"
    );
    kernels::check_hashes(root)?;
    println!("cuda: weir-cuda passes with {FEATURES}");
    Ok(())
}
