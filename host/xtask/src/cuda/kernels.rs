//! The PTX of our own kernels: `host/cuda/kernels/NAME.ptx` beside `NAME.cu`, so that building weir with CUDA compiles nothing
//! of it.
//!
//! Its first line holds the hash of the source it was made of, which anybody can check; what the same compiler makes of the
//! source again is the same to the byte, which takes a toolkit. It is for capability 8.0: the driver compiles it for the
//! device it finds, from Ampere on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::toolkit::Toolkit;
use crate::plugins;

const FOLDER: &str = "host/cuda/kernels";
const OPTIONS: [&str; 5] = [
    "--ptx",
    "-O3",
    "-std=c++17",
    "--gpu-architecture=compute_80",
    "-o",
];
const REMEDY: &str = "`cargo xtask cuda --kernels-only` writes it";

/// Writes the PTX of every kernel, or says which differs from what is there.
pub fn run(root: &Path, toolkit: &Toolkit, check: bool) -> Result<()> {
    let compiled = root.join("target/cuda/ptx");
    fs::create_dir_all(&compiled)?;
    let sources = sources(root)?;
    let mut different = Vec::new();
    for source in &sources {
        let place = source.with_extension("ptx");
        let ptx = compile(toolkit, source, &compiled)?;
        if fs::read_to_string(&place).ok().as_ref() == Some(&ptx) {
            continue;
        }
        different.push(name(&place)?);
        if !check {
            fs::write(&place, &ptx).with_context(|| place.display().to_string())?;
        }
    }
    match (check, different.is_empty()) {
        (true, false) => bail!(
            "not what the source compiles to: {}; {REMEDY}",
            different.join(", ")
        ),
        (false, false) => println!("written: {}", different.join(", ")),
        (_, true) => println!(
            "cuda: the PTX of {} files is what their source compiles to",
            sources.len()
        ),
    }
    Ok(())
}

/// Checks by its first line that all PTX was made of the source beside it.
pub fn check_hashes(root: &Path) -> Result<()> {
    for source in sources(root)? {
        let place = source.with_extension("ptx");
        let ptx = fs::read_to_string(&place).unwrap_or_default();
        ensure!(
            ptx.starts_with(&first_line(&source)?),
            "{FOLDER}/{} was not made of the source beside it; {REMEDY}",
            name(&place)?
        );
    }
    Ok(())
}

fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join(FOLDER);
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let files = entries.map(|entry| Ok(entry?.path()));
    let mut files: Vec<PathBuf> = files.collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|end| end == "cu"));
    files.sort();
    ensure!(!files.is_empty(), "no .cu file in {FOLDER}");
    Ok(files)
}

/// By the file's name alone, from within its folder: names of what is static hold a hash of the path.
fn compile(toolkit: &Toolkit, source: &Path, folder: &Path) -> Result<String> {
    let output = folder.join(name(&source.with_extension("ptx"))?);
    let mut nvcc = Command::new(toolkit.nvcc());
    nvcc.args(OPTIONS).arg(&output).arg(name(source)?);
    nvcc.current_dir(source.parent().context("a folder")?);
    ensure!(
        nvcc.status()?.success(),
        "{} does not compile",
        source.display()
    );
    let ptx = fs::read_to_string(&output).with_context(|| output.display().to_string())?;
    Ok(first_line(source)? + &ptx)
}

fn first_line(source: &Path) -> Result<String> {
    let text = fs::read(source).with_context(|| source.display().to_string())?;
    Ok(format!(
        "// Compiled from {}, sha256 {}\n",
        name(source)?,
        plugins::sha256(&text)
    ))
}

fn name(path: &Path) -> Result<String> {
    let name = path.file_name().context("a file")?;
    Ok(name.to_string_lossy().into_owned())
}
