//! llama.cpp, the peer that the CPU engine is measured against: its tools, and the models both run.
//!
//! Tools and models come from the scripts under tests/reference, which keep both in weir's cache; here they are called.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The formats of the default model that texts and perplexities are compared in, beside its own file.
pub const FORMATS: [&str; 10] = [
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K_M", "Q5_K_M", "Q6_K", "F16", "BF16",
];

/// The folder of llama.cpp's tools; they are built the first time.
pub fn tools(root: &Path) -> Result<PathBuf> {
    let printed = python(root, "llama_cpp_tools.py", &[])?;
    Ok(PathBuf::from(printed.trim()))
}

/// The files that are given, or the default model's and those of it in these formats.
pub fn models(root: &Path, given: &[PathBuf], formats: &[&str]) -> Result<Vec<PathBuf>> {
    for path in given {
        ensure!(path.is_file(), "{} is no file", path.display());
    }
    if !given.is_empty() {
        return given
            .iter()
            .map(|path| {
                path.canonicalize()
                    .with_context(|| path.display().to_string())
            })
            .collect();
    }
    let mut models = vec![default_model(root)?];
    if !formats.is_empty() {
        let arguments = [&["--formats"], formats].concat();
        let printed = python(root, "requantize.py", &arguments)?;
        models.extend(printed.lines().map(PathBuf::from));
    }
    Ok(models)
}

/// The file of weir's default model.
pub fn default_model(root: &Path) -> Result<PathBuf> {
    let printed = python(root, "requantize.py", &["--source"])?;
    let path = Path::new(printed.trim());
    path.canonicalize()
        .with_context(|| path.display().to_string())
}

/// A model's name in a table: its file's, without the ending.
pub fn name(model: &Path) -> String {
    let stem = model.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// What a program prints to its standard output; the rest goes to the terminal.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| program.clone())?;
    ensure!(output.status.success(), "{program} failed: {command:?}");
    Ok(String::from_utf8(output.stdout)?)
}

fn python(root: &Path, script: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("python3");
    command
        .arg(root.join("tests/reference").join(script))
        .args(arguments);
    output(&mut command)
}
