//! One file to carry to a GPU machine: weir, its launcher, what it links with, and the check that is run there.
//!
//! `weir-cuda-CAP.tar.xz` unpacks to a folder: `weir` (the launcher), `gpu-check`, `bin/` with the program, `lib/` with the CUDA
//! runtime, `no-gpu/` with stand-ins, `gpu/` with the scripts of tests/gpu, and `build.json`, which says what it was built
//! of.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{build::Plan, stubs::Stubs, toolkit::Toolkit};

const LAUNCHER: &str = include_str!("weir.sh");
const GPU_CHECK: &str = include_str!("gpu-check.sh");

/// Packs it into target/cuda and starts what is in it once.
pub fn run(root: &Path, toolkit: &Toolkit, stubs: &Stubs, plan: &Plan, weir: &Path) -> Result<()> {
    let name = format!("weir-cuda-{}", plan.capabilities());
    let place = root.join("target/cuda");
    let folder = place.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for part in ["bin", "lib", "gpu"] {
        fs::create_dir_all(folder.join(part))?;
    }
    fs::copy(weir, folder.join("bin/weir"))?;
    let runtime = format!("libcudart.so.{}", toolkit.major()?);
    fs::copy(find(toolkit, &runtime)?, folder.join("lib").join(&runtime))?;
    for soname in &stubs.sonames {
        let own = folder.join("no-gpu").join(soname);
        fs::create_dir_all(&own)?;
        fs::copy(stubs.folder.join(soname).join(soname), own.join(soname))?;
    }
    copy_scripts(&root.join("tests/gpu"), &folder)?;
    for (file, text) in [("weir", LAUNCHER), ("gpu-check", GPU_CHECK)] {
        let path = folder.join(file);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let description = describe(root, toolkit, plan)?;
    fs::write(folder.join("build.json"), format!("{description:#}\n"))?;
    start(&folder)?;
    let file = format!("{name}.tar.xz");
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "-cJf", &file, &name]);
    let status = tar
        .env("XZ_OPT", "-T0")
        .current_dir(&place)
        .status()
        .context("tar")?;
    ensure!(
        status.success(),
        "tar cannot pack {name}: are tar and xz installed?"
    );
    let path = place.join(&file);
    let megabytes = fs::metadata(&path)?.len() as f64 / 1e6;
    println!(
        "{}, {megabytes:.1} MB; on a machine with a GPU: tar xf {file} && {name}/gpu-check",
        path.display()
    );
    Ok(())
}

/// The Python files and the page that explains them.
fn copy_scripts(scripts: &Path, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(scripts).with_context(|| scripts.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "py") {
            fs::copy(
                &path,
                folder.join("gpu").join(path.file_name().context("a file")?),
            )?;
        }
    }
    fs::copy(scripts.join("README.md"), folder.join("README.md"))?;
    Ok(())
}

fn find(toolkit: &Toolkit, library: &str) -> Result<PathBuf> {
    let places = [
        "lib64",
        "lib",
        "targets/x86_64-linux/lib",
        "lib/x86_64-linux-gnu",
    ];
    let files = places.map(|place| toolkit.home.join(place).join(library));
    let found = files.into_iter().find(|file| file.exists());
    found.with_context(|| format!("no {library} in {}", toolkit.home.display()))
}

fn describe(root: &Path, toolkit: &Toolkit, plan: &Plan) -> Result<serde_json::Value> {
    let said = |program: &str, arguments: &[&str]| -> Result<String> {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(root)
            .output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let commit = said("git", &["rev-parse", "--short", "HEAD"])?;
    Ok(json!({
        "commit": if changed { commit + "+" } else { commit },
        "date": said("date", &["-u", "+%F"])?,
        "nvcc": toolkit.version,
        "compute_capabilities": plan.capabilities,
        "head_sizes": plan.variants.head_sizes,
        "f16": plan.variants.f16,
        "profile": if plan.dev { "dev" } else { "release" },
    }))
}

/// A program that does not start is found here, not on the other machine.
fn start(folder: &Path) -> Result<()> {
    let output = Command::new(folder.join("weir")).arg("version").output()?;
    ensure!(
        output.status.success(),
        "what was built does not start: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    print!("it starts: {}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
