//! `weir bench`: loads any running OpenAI-compatible server and says how fast it answers; with a second server, both in
//! turn and the ratios.
//!
//! Invariants: two servers get the same prompts, never at the same time, and change places from round to round, so that what
//! the machine does otherwise hits both; no prompt comes twice in a run; a request that fails is counted and shown,
//! whatever was wrong with it. It does not start servers, and it does not judge the answers.

mod chunk;
mod client;
mod figures;
mod flags;
mod load;
mod prompts;
mod report;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;

pub use self::flags::{AgainstFlags, BenchFlags, Endpoint, LoadFlags};
use self::{
    client::Server,
    figures::Measured,
    load::{Load, Target},
    prompts::{Place, Prompts},
    report::{Asked, Level, Report},
};

/// Why nothing was measured.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The URL of a server.
    #[error("`{url}` is no URL of a server: {reason}; write it as in http://127.0.0.1:8000/v1")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key cannot be sent.
    #[error("the API key holds characters that no HTTP header may hold")]
    Key,
    /// No certificates on this system.
    #[error("https needs the system's certificates: {0}")]
    Tls(String),
    /// No model to ask for.
    #[error("{url}/models: {reason}; is a server running there? Or name the model with --model")]
    Models {
        /// The server.
        url: String,
        /// What came instead of a list.
        reason: String,
    },
    /// A value out of its range.
    #[error("{0}")]
    Value(String),
    /// The file for the figures.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why it cannot be written.
        reason: String,
    },
    /// The runtime, or writing the table.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The figures as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Measures and prints; says whether every server answered a request well.
///
/// # Errors
/// What keeps it from measuring, in one line. Requests that fail are none: they are in the table.
pub fn run(flags: &BenchFlags) -> Result<bool, BenchError> {
    check(flags)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(flags))?;
    let table = report.to_table();
    match flags.json.as_deref() {
        None => io::stdout().write_all(table.as_bytes())?,
        Some(path) if path == Path::new("-") => {
            io::stderr().write_all(table.as_bytes())?;
            io::stdout().write_all(report.to_json()?.as_bytes())?;
        }
        Some(path) => {
            io::stdout().write_all(table.as_bytes())?;
            fs::write(path, report.to_json()?).map_err(|error| BenchError::File {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        }
    }
    Ok(report.all_answer())
}

/// What the command line's types do not say.
fn check(flags: &BenchFlags) -> Result<(), BenchError> {
    let load = &flags.load;
    if !(0.0..=2.0).contains(&load.temperature) {
        let message = format!("--temperature is {}, it goes from 0 to 2", load.temperature);
        return Err(BenchError::Value(message));
    }
    let levels = load.concurrency.len();
    if levels > prompts::MAX_LEVELS {
        let most = prompts::MAX_LEVELS;
        let message = format!("--concurrency has {levels} levels, {most} at most");
        return Err(BenchError::Value(message));
    }
    Ok(())
}

async fn measure(flags: &BenchFlags) -> Result<Report, BenchError> {
    let timeout = Duration::from_secs(flags.timeout);
    let mut targets = vec![target(&flags.url, &flags.model, &flags.api_key, timeout).await?];
    let AgainstFlags {
        url,
        model,
        api_key,
    } = &flags.against;
    if let Some(url) = url {
        targets.push(target(url, model, api_key, timeout).await?);
    }
    let load = Load {
        flags: &flags.load,
        prompts: Prompts {
            seed: flags.load.seed.unwrap_or_else(clock_seed),
            input_tokens: flags.load.input_tokens,
            shared_prefix_tokens: flags.load.shared_prefix_tokens,
        },
        progress: progress(&flags.load, targets.len()),
    };
    let measured = rounds(&load, &targets).await;
    load.progress.finish_and_clear();
    Ok(report(&load, targets, &measured))
}

async fn target(
    url: &str,
    model: &Option<String>,
    api_key: &Option<String>,
    timeout: Duration,
) -> Result<Target, BenchError> {
    let server = Server::new(url, api_key.as_deref(), timeout)?;
    let model = match model {
        Some(model) => model.clone(),
        None => server.first_model().await?,
    };
    Ok(Target { server, model })
}

/// Runs all rounds: what each target did in each level, round after round.
async fn rounds(load: &Load<'_>, targets: &[Target]) -> Vec<Vec<Vec<Measured>>> {
    let levels = load.flags.concurrency.len();
    for (number, target) in (0..).zip(targets) {
        let place = Place {
            round: prompts::WARM_UP,
            level: 0,
            number,
        };
        load.warm_up(target, place).await;
    }
    let nothing = || (0..levels).map(|_| Vec::new()).collect();
    let mut measured: Vec<Vec<Vec<Measured>>> = targets.iter().map(|_| nothing()).collect();
    for round in 0..load.flags.rounds {
        for (level, clients) in load.flags.concurrency.iter().enumerate() {
            let place = Place {
                round,
                level: level as u32,
                number: 0,
            };
            // Each begins as often as the other.
            let first = (round as usize + level) % targets.len();
            for step in 0..targets.len() {
                let index = (first + step) % targets.len();
                let url = &targets[index].server.url;
                load.progress
                    .set_message(format!("round {}, {clients} clients, {url}", round + 1));
                let result = load.run(&targets[index], place).await;
                measured[index][level].push(result);
            }
        }
        if load.progress.is_hidden() && load.flags.rounds > 1 {
            let (round, rounds) = (round + 1, load.flags.rounds);
            eprintln!("weir bench: round {round} of {rounds} is done");
        }
    }
    measured
}

fn report(load: &Load, targets: Vec<Target>, measured: &[Vec<Vec<Measured>>]) -> Report {
    let flags = load.flags;
    let levels = flags.concurrency.iter().enumerate().map(|(index, &level)| {
        let of = |target: usize| measured.get(target).map(|levels| levels[index].as_slice());
        let numbers = (level, flags.requests(level));
        Level::new(numbers, of(0).unwrap_or_default(), of(1))
    });
    let levels = levels.collect();
    let mut asked = targets.into_iter().map(|target| Asked {
        url: target.server.url,
        model: target.model,
    });
    let (server, against) = (asked.next().unwrap_or_default(), asked.next());
    Report {
        weir: env!("CARGO_PKG_VERSION"),
        endpoint: flags.endpoint.path(),
        seed: load.prompts.seed,
        rounds: flags.rounds,
        input_tokens: flags.input_tokens,
        output_tokens: flags.output_tokens,
        shared_prefix_tokens: flags.shared_prefix_tokens,
        temperature: flags.temperature,
        ignore_eos: !flags.respect_eos,
        server,
        against,
        levels,
    }
}

/// Another one each time, and short enough to be typed again.
fn clock_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::from(since.subsec_nanos()))
}

/// A bar of all requests on a terminal, nothing elsewhere.
fn progress(flags: &LoadFlags, targets: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let ahead = u64::from(flags.shared_prefix_tokens > 0);
    let levels = flags.concurrency.iter();
    let a_round: u64 = levels
        .map(|&level| u64::from(flags.requests(level)) + ahead)
        .sum();
    let bar = ProgressBar::new(a_round * u64::from(flags.rounds) * targets as u64);
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} requests, {elapsed}, {wide_msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
