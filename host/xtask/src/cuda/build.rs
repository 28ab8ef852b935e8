//! Builds weir with its CUDA features, in a target folder for just this toolkit and these devices.
//!
//! cudaforge remembers which objects it has made by their paths and arguments, and knows nothing of what was left out of
//! them. So another choice of kernels has its library put together anew; what of it was compiled before is kept
//! ([`super::objects`]).

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, ensure};

use super::{FEATURES, cutlass, nvcc, objects, stubs::Stubs, toolkit::Toolkit, variants::Variants};
use crate::plugins::sha256;

/// What a compiler of a flash attention kernel takes at most.
const BYTES_A_JOB: u64 = 3_300_000_000;

/// The run-time questions of flash attention that weir always answers alike.
const SWITCHES: &str = include_str!("switches.h");

/// What to build.
pub struct Plan {
    /// Ascending; PTX is for the first.
    pub capabilities: Vec<u32>,
    pub variants: Variants,
    /// The dev profile instead of release.
    pub dev: bool,
    pub jobs: u32,
}

impl Plan {
    /// The capabilities, as files are named for them.
    pub fn capabilities(&self) -> String {
        let names: Vec<String> = self.capabilities.iter().map(u32::to_string).collect();
        names.join("-")
    }
}

/// As many compilers as there are cores, and memory for.
pub fn possible_jobs() -> u32 {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = available.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    let room = kib.map_or(1, |kib: u64| kib * 1024 / BYTES_A_JOB) as u32;
    cores.min(room).max(1)
}

/// Builds it; where the program is.
pub fn weir(root: &Path, toolkit: &Toolkit, stubs: &Stubs, plan: &Plan) -> Result<PathBuf> {
    let target =
        root.join("target/cuda")
            .join(format!("build-{}-{}", toolkit.version, plan.capabilities()));
    let profile = if plan.dev { "dev" } else { "release" };
    forget_other_choice(root, &target, profile, &plan.variants)?;
    println!(
        "building for compute capability {} with nvcc {}, {} at once; flash attention for heads of {} takes minutes a file",
        plan.capabilities(),
        toolkit.version,
        plan.jobs,
        plan.variants.head_sizes(", ")
    );
    let environment = environment(root, toolkit, stubs, plan)?;
    let status = Command::new("cargo")
        .args(["rustc", "-p", "weir-server", "--bin", "weir", "--locked"])
        .args(["--profile", profile, "--features", FEATURES, "--target-dir"])
        .arg(&target)
        // Of the program alone: the libraries are what they are in any release build.
        .args(["--", "-C", "strip=symbols"])
        .envs(environment)
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "weir does not build with {FEATURES}");
    let folder = if plan.dev { "debug" } else { "release" };
    Ok(target.join(folder).join("weir"))
}

/// Clears the library that was made of another choice of kernels.
fn forget_other_choice(
    root: &Path,
    target: &Path,
    profile: &str,
    variants: &Variants,
) -> Result<()> {
    let note = target.join(format!("variants-{profile}.txt"));
    let choice = variants.to_string();
    if fs::read_to_string(&note).is_ok_and(|before| before == choice) {
        return Ok(());
    }
    fs::create_dir_all(target).with_context(|| target.display().to_string())?;
    let status = Command::new("cargo")
        .args(["clean", "--quiet", "-p", "candle-flash-attn"])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "cargo clean of candle-flash-attn failed");
    fs::write(&note, choice).with_context(|| note.display().to_string())
}

fn environment(
    root: &Path,
    toolkit: &Toolkit,
    stubs: &Stubs,
    plan: &Plan,
) -> Result<Vec<(&'static str, OsString)>> {
    let nvcc = nvcc::link(&root.join("target/cuda/nvcc"))?;
    let (first, also) = plan.capabilities.split_first().context("no capability")?;
    let also: Vec<String> = also.iter().map(u32::to_string).collect();
    let mut environment: Vec<(&str, OsString)> = vec![
        ("CUDA_HOME", toolkit.home.clone().into()),
        ("CUDA_COMPUTE_CAP", first.to_string().into()),
        ("CUDAFORGE_HOME", cutlass::fetched()?.into()),
        ("CUDAFORGE_THREADS", plan.jobs.to_string().into()),
        ("PATH", before(nvcc.parent(), "PATH")?),
        (nvcc::REAL, toolkit.nvcc().into()),
        (nvcc::VARIANTS, plan.variants.to_string().into()),
        (nvcc::SWITCHES, switches(root)?.into()),
        (nvcc::ALSO, also.join(",").into()),
        (
            objects::FOLDER,
            root.join("target/cuda/objects")
                .join(&toolkit.version)
                .into(),
        ),
        // This process's own standard error: cargo shows nothing of a build script that succeeds.
        (
            nvcc::PROGRESS,
            format!("/proc/{}/fd/2", std::process::id()).into(),
        ),
        // For the runner, which refuses models whose kernels were left out.
        ("WEIR_CUDA_HEAD_SIZES", plan.variants.head_sizes(",").into()),
        ("WEIR_CUDA_F16", plan.variants.f16.to_string().into()),
        ("NVCC", nvcc.into()),
    ];
    if toolkit.is_pinned {
        environment.push(("LIBRARY_PATH", before(Some(&stubs.folder), "LIBRARY_PATH")?));
    }
    Ok(environment)
}

/// The file of [`SWITCHES`], whose name changes with what is in it: what was compiled with another is not taken for this.
fn switches(root: &Path) -> Result<PathBuf> {
    let name = format!("switches-{}.h", &sha256(SWITCHES.as_bytes())[..16]);
    let path = root.join("target/cuda/nvcc").join(name);
    fs::write(&path, SWITCHES).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// A list of folders with one more in front.
fn before(folder: Option<&Path>, variable: &str) -> Result<OsString> {
    let rest = env::var_os(variable).unwrap_or_default();
    let folders = folder.map(Path::to_owned).into_iter();
    let rest = env::split_paths(&rest).filter(|folder| !folder.as_os_str().is_empty());
    Ok(env::join_paths(folders.chain(rest))?)
}
