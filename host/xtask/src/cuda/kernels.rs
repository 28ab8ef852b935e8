//! The PTX of our own kernels: `host/cuda/kernels/NAME.ptx` beside `NAME.cu`, so that building weir with CUDA needs nothing of
//! it compiled, and reading it nothing installed.
//!
//! PTX of the same compiler and source is the same to the byte, so it can be held to its source. It is for capability 8.0: the
//! driver compiles it for the device it finds, from Ampere on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::toolkit::Toolkit;

const FOLDER: &str = "host/cuda/kernels";
const OPTIONS: [&str; 5] = ["--ptx", "-O3", "-std=c++17", "--gpu-architecture=compute_80", "-o"];

/// Writes the PTX of every kernel, or says which differs from what is there.
pub fn run(root: &Path, toolkit: &Toolkit, check: bool) -> Result<()> {
    let folder = root.join(FOLDER);
    let compiled = root.join("target/cuda/ptx");
    fs::create_dir_all(&compiled)?;
    let mut different = Vec::new();
    let sources = sources(&folder)?;
    ensure!(!sources.is_empty(), "no .cu file in {FOLDER}");
    for source in &sources {
        let place = source.with_extension("ptx");
        let name = place.file_name().context("a file")?;
        let ptx = compile(toolkit, &folder, source, &compiled.join(name))?;
        if fs::read(&place).ok().as_deref() == Some(&ptx[..]) {
            continue;
        }
        different.push(format!("{FOLDER}/{}", name.to_string_lossy()));
        if !check {
            fs::write(&place, &ptx).with_context(|| place.display().to_string())?;
        }
    }
    match (check, different.is_empty()) {
        (true, false) => bail!(
            "not what the source compiles to: {}; `cargo xtask cuda --kernels-only` writes it",
            different.join(", ")
        ),
        (false, false) => println!("written: {}", different.join(", ")),
        (_, true) => println!("cuda: the PTX of {} kernel files matches its source", sources.len()),
    }
    Ok(())
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let files = entries.map(|entry| Ok(entry?.path()));
    let mut files: Vec<PathBuf> = files.collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|end| end == "cu"));
    files.sort();
    Ok(files)
}

/// By the file's name alone, from within its folder: names of what is static hold a hash of the path.
fn compile(toolkit: &Toolkit, folder: &Path, source: &Path, output: &Path) -> Result<Vec<u8>> {
    let mut nvcc = Command::new(toolkit.nvcc());
    nvcc.args(OPTIONS)
        .arg(output)
        .arg(source.file_name().context("a file")?)
        .current_dir(folder);
    ensure!(nvcc.status()?.success(), "{} does not compile", source.display());
    fs::read(output).with_context(|| output.display().to_string())
}
