//! `cargo xtask cuda`: weir for NVIDIA GPUs, built on any machine, packed into one file to carry to a machine that has one.
//!
//! Where no CUDA toolkit is installed, a pinned one is put together in weir's cache folder out of Python wheels; it compiles
//! and links, and runs nothing. `--type-check` needs no CUDA at all, `--kernels-only` keeps the PTX of our own kernels in
//! step with their source. Nothing here needs a GPU. What is packed checks and measures itself where there is one
//! (tests/gpu/README.md).

mod build;
mod cutlass;
mod kernels;
pub mod nvcc;
mod objects;
mod pack;
mod stubs;
mod toolkit;
mod type_check;
mod variants;

use std::path::Path;

use anyhow::{Result, ensure};

use toolkit::Toolkit;
use variants::Variants;

/// The features of weir-server and weir-cuda.
const FEATURES: &str = "cuda,flash-attn";

#[derive(clap::Args)]
pub struct Arguments {
    /// Type-check the CUDA code with a compiler that compiles nothing, and end: needs no CUDA, takes some 150 CPU-seconds
    #[arg(long, conflicts_with_all = ["kernels_only", "check"])]
    type_check: bool,
    /// Compile host/cuda/kernels/*.cu to the PTX files beside them, and end
    #[arg(long)]
    kernels_only: bool,
    /// Write no PTX, but fail if what is there is not what the source compiles to
    #[arg(long, requires = "kernels_only")]
    check: bool,
    /// Compute capability to build for: 80 (A100), 86, 89 (L4, RTX 40), 90 (H100, H200), 100, 120; several separated by
    /// commas, each of which takes as long again
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "90", value_parser = clap::value_parser!(u32).range(80..=130))]
    compute_cap: Vec<u32>,
    /// Head sizes to build flash attention for: models with another are refused
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "64,128,256"
    )]
    head_sizes: Vec<u32>,
    /// Build flash attention for f16 beside bf16: takes twice as long
    #[arg(long)]
    f16: bool,
    /// Build weir itself in the dev profile: to see whether a build works, not how fast it is
    #[arg(long)]
    dev: bool,
    /// Compilers at once; each takes up to 3.3 GB [default: what cores and free memory allow]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    jobs: Option<u32>,
}

/// Does what the arguments say.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    if arguments.type_check {
        return type_check::run(root);
    }
    if arguments.kernels_only {
        return kernels::run(root, &Toolkit::pinned()?, arguments.check);
    }
    let variants = Variants {
        head_sizes: arguments.head_sizes.clone(),
        f16: arguments.f16,
    };
    variants.check()?;
    let mut capabilities = arguments.compute_cap.clone();
    capabilities.sort_unstable();
    capabilities.dedup();
    ensure!(!capabilities.is_empty(), "--compute-cap names none");
    let plan = build::Plan {
        capabilities,
        variants,
        dev: arguments.dev,
        jobs: arguments.jobs.unwrap_or_else(build::possible_jobs),
    };
    let toolkit = Toolkit::installed_or_pinned()?;
    let stubs = stubs::build(root, toolkit.major()?)?;
    let weir = build::weir(root, &toolkit, &stubs, &plan)?;
    pack::run(root, &toolkit, &stubs, &plan, &weir)
}
