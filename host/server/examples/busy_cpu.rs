//! How much of its speed the engine keeps when something else wants every core: `cargo xtask busy-cpu`.
//!
//! Eight clients at the engine's own door (prompts of 64 tokens, answers of 128), first alone, then beside processes that
//! spin, as many as there are cores; the two take turns. A fair scheduler leaves the engine half of the cores. What its
//! threads lose beyond that they lose by waiting for each other, which a second column shows: tokens for each second of
//! processor time. It fails below [`LEAST`] of the quiet figure.

use std::{
    fs,
    hint::black_box,
    os::unix::process::parent_id,
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use weir_engine::{Generator, SamplingParams, SequenceRequest, StopConditions};
use weir_server::{
    EngineHandle,
    config::Config,
    pull::Source,
    wiring::{self, LoadedModel, PluginWiring},
};

const CLIENTS: u32 = 8;
const PROMPT: u32 = 64;
const OUTPUT: usize = 128;
/// What must be left of the quiet figure.
const LEAST: f64 = 0.35;
/// Between a change of the load and the measurement.
const SETTLE: Duration = Duration::from_secs(1);

#[derive(Parser)]
struct Arguments {
    /// The model, as `weir serve --model` takes it [default: the default model]
    #[arg(long)]
    model: Option<String>,
    /// Measurements of each kind
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Processes that spin [default: as many as cores]
    #[arg(long)]
    spinners: Option<usize>,
    /// Be one of them, until the process that started it is gone
    #[arg(long, hide = true)]
    spin: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.spin {
        spin();
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(compare(&arguments))
}

/// Eats a core.
fn spin() {
    const TURNS: u64 = 100_000_000;
    let parent = parent_id();
    while parent_id() == parent {
        for turn in 0..TURNS {
            black_box(turn);
        }
    }
}

/// Processes that eat a core each, until this is dropped.
struct Spinners(Vec<Child>);

impl Spinners {
    fn start(count: usize) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut spinners = Self(Vec::new());
        for _ in 0..count {
            spinners
                .0
                .push(Command::new(&program).arg("--spin").spawn()?);
        }
        Ok(spinners)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has ended already is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn compare(arguments: &Arguments) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let spinners = arguments.spinners.unwrap_or(cores);
    let mut config = Config::default();
    if let Some(model) = &arguments.model {
        config.model.clone_from(model);
    }
    let source = Source::parse(&config.model)?;
    let plugins = PluginWiring::new(&config)?;
    let LoadedModel { engine, .. } = wiring::load_model(&config, &source, &plugins)?;
    let engine = engine.context("an embedding model generates nothing")?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client(engine.clone(), number)))
        .collect();
    // Until all have an answer: first prompts are no throughput.
    while engine.counters().generated_tokens < u64::from(CLIENTS) * OUTPUT as u64 {
        tokio::time::sleep(SETTLE).await;
        ensure!(
            !clients.iter().all(JoinHandle::is_finished),
            "the clients got nothing"
        );
    }
    let window = Duration::from_secs(arguments.seconds);
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        quiet.push(measure(&engine, window).await?);
        let beside = Spinners::start(spinners)?;
        busy.push(measure(&engine, window).await?);
        drop(beside);
        eprintln!("round {}: {:?} {:?}", round + 1, quiet.last(), busy.last());
    }
    for client in clients {
        client.abort();
        // Cancelled, as was asked for.
        let _ = client.await;
    }
    engine.shutdown();
    report(&quiet, &busy, (cores, spinners), arguments)
}

/// One answer after the other. Prompts differ, so that no prefix is shared.
async fn client(engine: EngineHandle, number: u32) {
    for request in 0_u32.. {
        let first = 1_000 + number * 1_000 + request % 1_000;
        let sequence = SequenceRequest {
            prompt: (first..first + PROMPT).collect(),
            sampling: SamplingParams {
                temperature: 0.0,
                ..SamplingParams::default()
            },
            stop: StopConditions {
                max_tokens: Some(OUTPUT),
                ignore_eos: true,
                ..StopConditions::default()
            },
            constraint: None,
            embeddings: None,
            pooling: None,
            priority: 0,
        };
        let Ok(mut tokens) = engine.submit(sequence) else {
            return;
        };
        while let Some(item) = tokens.next().await {
            if let Err(error) = item {
                eprintln!("{error}");
                return;
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Speed {
    /// Tokens a second.
    wall: f64,
    /// Tokens for each second of the processor's time.
    processor: f64,
    /// Seconds of the processor's time a second.
    cores: f64,
}

async fn measure(engine: &EngineHandle, window: Duration) -> Result<Speed> {
    tokio::time::sleep(SETTLE).await;
    let (start, time, tokens) = (Instant::now(), processor_time()?, generated(engine));
    tokio::time::sleep(window).await;
    let wall = start.elapsed().as_secs_f64();
    let processor = processor_time()?.saturating_sub(time).as_secs_f64();
    let tokens = generated(engine) - tokens;
    ensure!(tokens > 0.0, "nothing was generated");
    Ok(Speed {
        wall: tokens / wall,
        processor: tokens / processor,
        cores: processor / wall,
    })
}

#[allow(clippy::cast_precision_loss, reason = "a count of minutes")]
fn generated(engine: &EngineHandle) -> f64 {
    engine.counters().generated_tokens as f64
}

/// Of all threads of this process: what /proc tells in nanoseconds of each.
fn processor_time() -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().context("schedstat")?;
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn report(
    quiet: &[Speed],
    busy: &[Speed],
    (cores, spinners): (usize, usize),
    arguments: &Arguments,
) -> Result<()> {
    println!(
        "{cores} cores, {spinners} spinning processes; {CLIENTS} clients, prompts of {PROMPT} tokens, answers of {OUTPUT}; \
         {} s a measurement after {} s of settling.\n",
        arguments.seconds,
        SETTLE.as_secs()
    );
    println!(
        "| round | quiet tok/s | busy tok/s | kept | cores had, quiet | busy | tok per processor second, quiet | busy |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (round, (quiet, busy)) in quiet.iter().zip(busy).enumerate() {
        row(&(round + 1).to_string(), quiet, busy);
    }
    let quiet = medians(quiet);
    let busy = medians(busy);
    row("median", &quiet, &busy);
    let kept = busy.wall / quiet.wall;
    println!("\nAt least {:.0}% must be kept.", LEAST * 100.0);
    ensure!(
        kept >= LEAST,
        "only {:.0}% of the quiet throughput is kept",
        kept * 100.0
    );
    Ok(())
}

fn row(name: &str, quiet: &Speed, busy: &Speed) {
    println!(
        "| {name} | {:.0} | {:.0} | {:.0}% | {:.2} | {:.2} | {:.0} | {:.0} |",
        quiet.wall,
        busy.wall,
        busy.wall / quiet.wall * 100.0,
        quiet.cores,
        busy.cores,
        quiet.processor,
        busy.processor
    );
}

fn medians(speeds: &[Speed]) -> Speed {
    let median = |of: fn(&Speed) -> f64| {
        let mut values: Vec<f64> = speeds.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Speed {
        wall: median(|speed| speed.wall),
        processor: median(|speed| speed.processor),
        cores: median(|speed| speed.cores),
    }
}
