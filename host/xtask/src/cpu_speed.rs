//! `cargo xtask cpu-speed`: weir beside llama.cpp's own server over HTTP, on the same file with the same number of threads,
//! as a table that is kept.
//!
//! The peer is started by tests/reference/serve_llama_cpp.py (Python with venv, and PyPI once); `weir bench` loads both in
//! turn. Nothing else should run on the machine: the bars are meant for a quiet one.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    release, report,
    servers::{self, Server},
};

#[derive(clap::Args)]
pub struct Arguments {
    /// The GGUF file that both serve [default: weir's default model]. With another file the tables are printed and no
    /// report is written
    model: Option<PathBuf>,
    /// Threads that each server computes with
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// Rounds, in which the servers take turns; five take about eleven minutes with the default model on two quiet cores
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// One short round in about a minute, to see that everything works; no report is written
    #[arg(long)]
    quick: bool,
    /// A weir that is built already [default: this checkout's, built for release]
    #[arg(long, value_name = "PATH")]
    weir: Option<PathBuf>,
}

/// One run of `weir bench`.
struct Load {
    name: &'static str,
    /// What the table's caption says of it.
    says: &'static str,
    /// What `weir bench` gets.
    arguments: &'static str,
    quick: &'static str,
}

/// About 200 prompt tokens with the default model's chat template.
const LEVELS: Load = Load {
    name: "levels",
    says: "Prompts of about 200 tokens, answers of 128, every prompt new to both servers.",
    arguments: "--concurrency 1,8,16 --input-tokens 173 --output-tokens 128",
    quick: "--concurrency 1,8,16 --input-tokens 173 --output-tokens 8 --requests 4",
};
/// 1,490 tokens before each question, which are new in each round.
const SHARED: Load = Load {
    name: "shared prefix",
    says: "One system prompt of about 1,490 tokens, new in each round: the first request computes it (cold), four more \
           begin with it (warm), one after the other.",
    arguments: "--concurrency 1 --requests 4 --shared-prefix-tokens 1435 --input-tokens 40 --output-tokens 32",
    quick: "--concurrency 1 --requests 1 --shared-prefix-tokens 1435 --input-tokens 40 --output-tokens 8",
};

/// What issue 6 asks of the default model with two threads.
struct Bar {
    says: &'static str,
    load: &'static str,
    clients: u64,
    /// Where in a level's ratios it stands.
    figure: &'static str,
    bar: Limit,
}

enum Limit {
    AtLeast(f64),
    AtMost(f64),
}
use Limit::{AtLeast, AtMost};

#[rustfmt::skip]
const BARS: [Bar; 6] = [
    Bar { says: "output tok/s, 1 client", load: LEVELS.name, clients: 1, figure: "/output_throughput", bar: AtLeast(1.7) },
    Bar { says: "output tok/s, 8 clients", load: LEVELS.name, clients: 8, figure: "/output_throughput", bar: AtLeast(3.0) },
    Bar { says: "output tok/s, 16 clients", load: LEVELS.name, clients: 16, figure: "/output_throughput", bar: AtLeast(3.0) },
    Bar { says: "TTFT, 8 clients", load: LEVELS.name, clients: 8, figure: "/ttft_ms/p50", bar: AtMost(1.0 / 3.0) },
    Bar { says: "TTFT of the long shared prompt, cold", load: SHARED.name, clients: 1, figure: "/cold_ttft_ms", bar: AtMost(0.4) },
    Bar { says: "TTFT of the long shared prompt, warm", load: SHARED.name, clients: 1, figure: "/ttft_ms/p50", bar: AtMost(0.25) },
];

/// Measures, prints, and writes tests/reports/cpu_speed.md for the default model; fails where a bar is not met. The servers
/// end with their handles, whatever happens.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    // To measure and to measure with.
    let program = release::weir_or(arguments.weir.as_deref(), root)?;
    let default = release::default_model(&program)?;
    let model = match &arguments.model {
        Some(path) => path.to_str().context("the model's path is no UTF-8")?,
        None => &default,
    };
    let logs = root.join("target/cpu_speed");
    let threads = arguments.threads.to_string();
    let weir = servers::weir(
        &program,
        model,
        &["--threads", &threads],
        &logs.join("weir.log"),
    )?;
    let peer = servers::llama_cpp(root, model, &threads, &logs.join("llama_cpp.log"))?;
    let peer_version = peer.line.rsplit(", ").next().unwrap_or_default();
    let mut body = format!(
        "{}, {} threads each, medians of {} rounds in which the servers take turns. Peer: llama.cpp's server, {peer_version}. \
         Times are p50 / p90 / p99.\n",
        file_name(model),
        arguments.threads,
        rounds(arguments),
    );
    let mut found = Vec::new();
    for load in [LEVELS, SHARED] {
        let figures = bench(&program, &load, arguments, [&weir, &peer])?;
        write!(body, "\n{}\n\n{}", load.says, table(&figures))?;
        found.push((load.name, figures));
    }
    let (bars, met) = bars(&found);
    write!(
        body,
        "\n{bars}\nThe whole run took {} s.\n",
        begun.elapsed().as_secs()
    )?;
    print!("{body}");
    if arguments.quick {
        println!(
            "--quick: fewer requests and shorter answers than the text says, so these figures compare nothing"
        );
        return Ok(());
    }
    if model != default {
        return Ok(());
    }
    let command = command_line(arguments);
    let title = "weir beside llama.cpp over HTTP, on processor cores";
    report::write(root, "cpu_speed", title, &command, &body)?;
    ensure!(met, "not every bar is met");
    Ok(())
}

fn rounds(arguments: &Arguments) -> u32 {
    if arguments.quick { 1 } else { arguments.rounds }
}

fn command_line(arguments: &Arguments) -> String {
    let defaults = arguments.threads == 2 && arguments.rounds == 5;
    match defaults {
        true => "cargo xtask cpu-speed".to_owned(),
        false => format!(
            "cargo xtask cpu-speed --threads {} --rounds {}",
            arguments.threads, arguments.rounds
        ),
    }
}

/// Runs one load on both servers and answers its JSON.
fn bench(
    program: &Path,
    load: &Load,
    arguments: &Arguments,
    [weir, peer]: [&Server; 2],
) -> Result<Value> {
    let flags = match arguments.quick {
        true => load.quick,
        false => load.arguments,
    };
    let mut command = Command::new(program);
    command
        .args([
            "bench",
            "--url",
            &weir.url,
            "--against",
            &peer.url,
            "--json",
            "-",
        ])
        .args(["--rounds", &rounds(arguments).to_string()])
        .args(flags.split_whitespace())
        .stderr(Stdio::inherit());
    let output = command.output()?;
    ensure!(output.status.success(), "weir bench failed: {}", load.name);
    let figures: Value = serde_json::from_slice(&output.stdout)?;
    for level in levels(&figures) {
        for side in ["server", "against"] {
            let failed = &level[side]["failed"];
            ensure!(
                failed == 0,
                "{failed} requests failed, see {side} in the table"
            );
        }
    }
    Ok(figures)
}

fn levels(figures: &Value) -> impl Iterator<Item = &Value> {
    figures["levels"].as_array().into_iter().flatten()
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Both servers' figures and their ratios, a row each.
fn table(figures: &Value) -> String {
    let shared = figures["shared_prefix_tokens"] != 0;
    let mut text = "| clients | | output tok/s | total tok/s | TTFT ms | inter-token ms | end-to-end ms | tokens in / out |".to_owned();
    text += if shared { " cold TTFT ms |\n" } else { "\n" };
    text += "|---|---|---|---|---|---|---|---|";
    text += if shared { "---|\n" } else { "\n" };
    for level in levels(figures) {
        let clients = &level["concurrency"];
        let rows = [
            ("weir", &level["server"]["median"]),
            ("llama.cpp", &level["against"]["median"]),
            ("ratio", &level["ratios"]),
        ];
        for (name, row) in rows {
            let number = |pointer: &str| number(row.pointer(pointer));
            let spread = |name: &str| {
                ["p50", "p90", "p99"]
                    .map(|p| number(&format!("/{name}/{p}")))
                    .join(" / ")
            };
            let cells = [
                clients.to_string(),
                name.to_owned(),
                number("/output_throughput"),
                number("/total_token_throughput"),
                spread("ttft_ms"),
                spread("itl_ms"),
                spread("e2el_ms"),
                format!(
                    "{} / {}",
                    number("/prompt_tokens"),
                    number("/completion_tokens")
                ),
            ];
            let cold = shared.then(|| number("/cold_ttft_ms"));
            let cells: Vec<String> = cells.into_iter().chain(cold).collect();
            text += &format!("| {} |\n", cells.join(" | "));
        }
    }
    text
}

fn number(value: Option<&Value>) -> String {
    match value.and_then(Value::as_f64) {
        None => "-".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// The bars with what was found, and whether all are met.
fn bars(found: &[(&str, Value)]) -> (String, bool) {
    let mut text = "| weir to llama.cpp | asked | found | |\n|---|---|---|---|\n".to_owned();
    let mut all = true;
    for Bar {
        says,
        load,
        clients,
        figure,
        bar,
    } in &BARS
    {
        let figures = found.iter().filter(|(name, _)| name == load);
        let mut levels = figures.flat_map(|(_, figures)| levels(figures));
        let level = levels.find(|level| level["concurrency"] == *clients);
        let ratio = level.and_then(|level| level["ratios"].pointer(figure)?.as_f64());
        let (asked, met) = match bar {
            AtLeast(least) => (
                format!("at least {least:.2}"),
                ratio.is_some_and(|ratio| ratio >= *least),
            ),
            AtMost(most) => (
                format!("at most {most:.2}"),
                ratio.is_some_and(|ratio| ratio <= *most),
            ),
        };
        all &= met;
        let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let verdict = if met { "met" } else { "not met" };
        text += &format!("| {says} | {asked} | {ratio} | {verdict} |\n");
    }
    (text, all)
}
