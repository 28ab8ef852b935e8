//! `cargo xtask cpu-engine`: the CPU runner and llama.cpp on the same files, the same threads and the same machine, in turns.
//!
//! Every figure is a process of its own that warms up, measures once and ends: host/cpu/examples/speed.rs on the one side,
//! llama-bench and llama-batched-bench on the other. They take turns within a round, and a table's figures are medians of
//! all rounds. Nothing here is asserted: a time is no test.

mod measures;
mod table;

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{peer, release, report};
use measures::{MEASURES, Measure};
use table::{Figures, Limits};

/// Of the report.
const NAME: &str = "cpu_engine";
/// Formats of the default model beside its own.
const FORMATS: [&str; 3] = ["Q8_0", "Q4_0", "Q4_K_M"];

/// About four minutes a model on two quiet cores with five rounds.
#[derive(clap::Args)]
pub struct Arguments {
    /// GGUF files [default: the default model, and the same in Q8_0, Q4_0 and Q4_K_M]
    models: Vec<PathBuf>,
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Threads of both engines
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// One round, without the prompt of 1,536 tokens and the 32 sequences, and no report: some 20 seconds a model
    #[arg(long)]
    quick: bool,
}

/// Programs to measure with.
struct Engines {
    speed: PathBuf,
    tools: PathBuf,
    threads: String,
}

/// Measures and writes tests/reports/cpu_engine.md, where each model's table has its date and commit.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let models = peer::models(root, &arguments.models, &FORMATS)?;
    let default = peer::default_model(root).ok();
    let engines = Engines {
        tools: peer::tools(root)?,
        speed: release::example(root, "weir-cpu", "speed")?,
        threads: arguments.threads.to_string(),
    };
    let rounds = if arguments.quick { 1 } else { arguments.rounds };
    // A model that is not measured this time keeps what was found of it.
    let mut sections = report::sections(root, NAME);
    for model in &models {
        let is_default = default.as_ref() == Some(model);
        let table = measure(&engines, model, (rounds, arguments.quick), is_default)?;
        let measured = format!(
            "{}: {} threads, medians of {rounds} rounds in turns, {}.\n\n{table}",
            report::stamp(root)?,
            arguments.threads,
            processor()
        );
        let name = peer::name(model);
        println!("## {name}\n\n{measured}");
        match sections.iter_mut().find(|(of, _)| *of == name) {
            Some((_, text)) => *text = measured,
            None => sections.push((name, measured)),
        }
    }
    if arguments.quick {
        return Ok(());
    }
    let mut body = table::EXPLAINED.to_owned();
    for (name, text) in &sections {
        let _ = write!(body, "\n## {name}\n\n{}\n", text.trim());
    }
    let title = "The CPU engine beside llama.cpp, below HTTP";
    report::write(root, NAME, title, "cargo xtask cpu-engine", &body)
}

/// All rounds of a model, as a table.
fn measure(
    engines: &Engines,
    model: &Path,
    (rounds, quick): (u32, bool),
    is_default: bool,
) -> Result<String> {
    let measures = || MEASURES.iter().filter(|measure| !quick || measure.quick);
    let name = peer::name(model);
    eprintln!("{name}: flash attention of the peer, on and off");
    let mut figures = Vec::new();
    for measure in measures() {
        let on = engines.peer(model, measure, true)?;
        let off = engines.peer(model, measure, false)?;
        figures.push(Figures::new(measure, on >= off));
    }
    let mut limits = Limits::default();
    for round in 0..rounds {
        eprintln!("{name}: round {} of {rounds}", round + 1);
        limits.push(&engines.weir(model, "limits")?);
        for figures in &mut figures {
            // Who comes first takes turns too.
            let weir_first = round % 2 == 0;
            if weir_first {
                figures.push_weir(&engines.weir(model, figures.measure.weir)?);
            }
            figures.push_peer(engines.peer(model, figures.measure, figures.flash_attention)?);
            if !weir_first {
                figures.push_weir(&engines.weir(model, figures.measure.weir)?);
            }
        }
    }
    Ok(table::markdown(&figures, &limits, is_default))
}

impl Engines {
    /// What weir's example says of one thing it measured.
    fn weir(&self, model: &Path, measure: &str) -> Result<Value> {
        let mut command = Command::new(&self.speed);
        command.arg(model).args(["--json", "--measure", measure]);
        let printed = peer::output(command.args(["--threads", &self.threads]))?;
        serde_json::from_str(&printed).with_context(|| format!("{printed:?} by {command:?}"))
    }

    /// Tokens a second of one thing that a tool of llama.cpp measured.
    fn peer(&self, model: &Path, measure: &Measure, flash_attention: bool) -> Result<f64> {
        let mut command = Command::new(self.tools.join(measure.tool.program()));
        command.arg("-m").arg(model).args(["-t", &self.threads]);
        command
            .args(measure.tool.arguments(flash_attention))
            .args(measure.peer);
        // What a tool logs would drown the rounds.
        command.stderr(std::process::Stdio::null());
        let output = command.output().with_context(|| format!("{command:?}"))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        measure
            .tool
            .tokens_per_second(&printed)
            .with_context(|| format!("no figure by {command:?}: {printed}"))
    }
}

/// The processor's name, where the system tells it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = name.unwrap_or("unknown processor");
    name.trim_start_matches([' ', '\t', ':']).to_owned()
}
