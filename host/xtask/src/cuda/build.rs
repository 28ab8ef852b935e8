//! Builds weir with its CUDA features, in a target folder for just this choice of kernels.
//!
//! cudaforge remembers which objects it has made by their paths and     let status = Command::new("cargo")
        .args(["build", "-p", "weir-server", "--bin", "weir", "--release", "--locked"])
        .args(["--config", "profile.release.strip=\"symbols\"", "--features", FEATURES])
        .arg("--target-dir")
        .arg(&target)
        .envs(environment)
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "weir does not build with {FEATURES}");
    Ok(target.join("release/weir"))
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
        (nvcc::ALSO, also.join(",").into()),
        // This process's own standard error: cargo shows nothing of a build script that succeeds.
        (nvcc::PROGRESS, format!("/proc/{}/fd/2", std::process::id()).into()),
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

/// A list of folders with one more in front.
fn before(folder: Option<&Path>, variable: &str) -> Result<OsString> {
    let rest = env::var_os(variable).unwrap_or_default();
    let folders = folder.map(Path::to_owned).into_iter();
    let rest = env::split_paths(&rest).filter(|folder| !folder.as_os_str().is_empty());
    Ok(env::join_paths(folders.chain(rest))?)
}

