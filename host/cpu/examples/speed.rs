//! How fast the CPU runner is, beside what the machine can do: tokens a second of prefill and of batched decode.
//!
//! `speed MODEL.gguf` measures everything, each the best of some runs. `speed MODEL.gguf --measure NAME --json` measures one
//! thing once behind a warm-up run, so that a caller can take turns with another engine (`cargo xtask cpu-engine`). It
//! measures the runner alone: no sampling, no server.

#[path = "../benches/limits/mod.rs"]
mod limits;
#[path = "../benches/workload/mod.rs"]
mod workload;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use weir_cpu::{CpuRunner, WeightSize};
use weir_engine::ModelRunner;

use workload::{CHUNK, DECODED, Outcome, Work};

const RUNS: usize = 5;

/// How fast the CPU runner is: tokens a second of prefill and of batched decode
#[derive(Parser)]
struct Arguments {
    /// The model
    model: PathBuf,
    /// Threads to compute with [default: as many as the process may use cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Measure only this, once, behind a warm-up run [default: everything, the best of five runs]
    #[arg(long)]
    measure: Option<Measure>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// What the machine can do: GB/s from memory, GOP/s of int8 in registers
    Limits,
    /// A prompt of 512 tokens
    #[value(name = "prefill-512")]
    Prefill512,
    /// A prompt of 1,536 tokens
    #[value(name = "prefill-1536")]
    Prefill1536,
    /// 64 tokens of one sequence
    #[value(name = "decode-1")]
    Decode1,
    /// 64 tokens of each of 8 sequences
    #[value(name = "decode-8")]
    Decode8,
    /// 64 tokens of each of 32 sequences
    #[value(name = "decode-32")]
    Decode32,
}

impl Measure {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn work(self) -> Option<Work> {
        match self {
            Self::Limits => None,
            Self::Prefill512 => Some(Work::Prefill(512)),
            Self::Prefill1536 => Some(Work::Prefill(1536)),
            Self::Decode1 => Some(Work::Decode(1)),
            Self::Decode8 => Some(Work::Decode(8)),
            Self::Decode32 => Some(Work::Decode(32)),
        }
    }
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let cores = std::thread::available_parallelism()?.get();
    let threads = arguments.threads.unwrap_or(cores).max(1);
    let (measures, runs) = match &arguments.measure {
        Some(one) => (std::slice::from_ref(one), 1),
        None => (Measure::value_variants(), RUNS),
    };
    let mut runner = None;
    for &measure in measures {
        let Some(work) = measure.work() else {
            print(&limits(threads), arguments.json);
            continue;
        };
        let runner = match &mut runner {
            Some(runner) => runner,
            none => none.insert(workload::load(&arguments.model, Some(threads))?),
        };
        let context = runner.info().max_model_len;
        if work.longest() <= context {
            let report = measured(runner, measure, work, (runs, threads))?;
            print(&report, arguments.json);
        } else if arguments.measure.is_some() {
            let name = measure.name();
            return Err(
                format!("{name} does not fit the model's context of {context} tokens").into(),
            );
        }
    }
    Ok(())
}

fn limits(threads: usize) -> Value {
    json!({
        "measure": Measure::Limits.name(),
        "threads": threads,
        "memory_gb_s": limits::memory(threads),
        "int8_gop_s": limits::int8(threads),
        "int8_widened_gop_s": limits::int8_widened(threads),
    })
}

/// The best of some runs, behind one that does not count. Beside the rate by the wall clock stands that by the processor's
/// time, as if all threads had had a core each, for a machine that is never quiet.
fn measured(
    runner: &mut CpuRunner,
    measure: Measure,
    work: Work,
    (runs, threads): (usize, usize),
) -> Outcome<Value> {
    let (mut wall, mut processor) = (f64::INFINITY, f64::INFINITY);
    for run in 0..=runs {
        workload::prepare(runner, work)?;
        let before = processor_time()?;
        let seconds = workload::run(runner, work)?;
        let spent = processor_time()?.saturating_sub(before);
        if run > 0 {
            wall = wall.min(seconds);
            processor = processor.min(spent.as_secs_f64() / threads as f64);
        }
    }
    let (read, multiplied) = needed(work, runner.weight_size());
    Ok(json!({
        "measure": measure.name(),
        "threads": threads,
        "tokens_per_second": work.tokens() as f64 / wall,
        "by_processor_time": work.tokens() as f64 / processor,
        "weights_gb_s": read as f64 / wall / 1e9,
        "int8_gop_s": 2.0 * multiplied as f64 / wall / 1e9,
    }))
}

/// Bytes of weights that are read and numbers that are multiplied, the head's only for logits that are wanted.
fn needed(work: Work, size: WeightSize) -> (usize, usize) {
    let (steps, logit_steps, logit_rows) = match work {
        Work::Prefill(tokens) => (tokens.div_ceil(CHUNK), 1, 1),
        Work::Decode(_) => (DECODED, DECODED, work.tokens()),
    };
    (
        steps * size.layer_bytes + logit_steps * size.head_bytes,
        work.tokens() * size.layer_numbers + logit_rows * size.head_numbers,
    )
}

fn print(report: &Value, json: bool) {
    if json {
        println!("{report}");
        return;
    }
    let name = report["measure"].as_str().unwrap_or_default();
    let number = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    if report.get("memory_gb_s").is_some() {
        println!(
            "{name:<13} {:>7.1} GB/s from memory, {:.0} GOP/s of int8, {:.0} widened to int32",
            number("memory_gb_s"),
            number("int8_gop_s"),
            number("int8_widened_gop_s")
        );
        return;
    }
    println!(
        "{name:<13} {:>7.1} tok/s  {:>7.1} by processor time  {:>5.1} GB/s of weights  {:>5.0} GOP/s",
        number("tokens_per_second"),
        number("by_processor_time"),
        number("weights_gb_s"),
        number("int8_gop_s")
    );
}

/// Of all threads: what /proc tells in nanoseconds of each.
fn processor_time() -> Outcome<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().unwrap_or_default();
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
