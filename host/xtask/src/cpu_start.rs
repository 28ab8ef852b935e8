//! `cargo xtask cpu-start`: how soon weir answers after it was started, and how much memory it takes, as a table that is
//! kept.
//!
//! Each round starts the release binary with the model's file in the page cache, waits for the line that says it serves,
//! asks for one token and reads what /proc says of the process. Time counts from just before the process is started to the
//! first chunk of the answer that holds text. A round takes seconds.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{release, report, servers};

/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// What issue and README promise: seconds to the first token of the default model, and memory by the file's size.
const MAX_SECONDS: f64 = 1.5;
const MAX_RATIO: f64 = 1.3;
const MIB: f64 = (1 << 20) as f64;

#[derive(clap::Args)]
pub struct Arguments {
    /// GGUF files to start with; the report is written where none is named [default: the default model]
    models: Vec<PathBuf>,
    /// Starts of each model
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Memory of the KV cache in MiB: little, so that what it is given cannot hide what the weights take
    #[arg(long, default_value_t = 64)]
    kv: u64,
    /// Measure this binary instead of building weir in the release profile
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// What one start showed.
struct Start {
    ready: f64,
    first_token: f64,
    peak: f64,
    resident: f64,
}

/// Starts each model so many times and writes tests/reports/cpu_start.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    ensure!(arguments.rounds > 0, "--rounds must be at least 1");
    let binary = release::weir_or(arguments.binary.as_deref(), root)?;
    let models = match arguments.models.is_empty() {
        true => vec![PathBuf::from(release::default_model(&binary)?)],
        false => arguments.models.clone(),
    };
    let mut table = String::from(
        "| model | GGUF, MiB | ready, s | first token, s: median | max | peak, MiB | with one request done, MiB | \
         peak / bound | time | memory |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut all_met = true;
    let log = root.join("target/cpu_start/weir.log");
    for model in &models {
        let (line, met) = measure(&binary, model, arguments, &log)?;
        print!("{line}");
        table.push_str(&line);
        all_met &= met;
    }
    if arguments.models.is_empty() {
        let body = format!(
            "{table}\n{} starts, {} MiB of KV, the file in the page cache. Time: the first token within {MAX_SECONDS} s, every \
             time. Memory: the peak (VmHWM) within {MAX_RATIO} times the GGUF plus the KV.\n",
            arguments.rounds, arguments.kv
        );
        let title = "From the start of the process to the first token, and memory";
        report::write(root, "cpu_start", title, "cargo xtask cpu-start", &body)?;
    }
    ensure!(all_met, "not met");
    Ok(())
}

fn measure(
    binary: &Path,
    model: &Path,
    arguments: &Arguments,
    log: &Path,
) -> Result<(String, bool)> {
    let file = fs::read(model)
        .with_context(|| model.display().to_string())?
        .len() as f64
        / MIB;
    let mut starts = Vec::new();
    for _ in 0..arguments.rounds {
        starts.push(start(binary, model, arguments.kv, log)?);
    }
    let sorted = |pick: fn(&Start) -> f64| {
        let mut values: Vec<f64> = starts.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[values.len() - 1])
    };
    let (ready, _) = sorted(|start| start.ready);
    let (median, slowest) = sorted(|start| start.first_token);
    let (_, peak) = sorted(|start| start.peak);
    let (_, resident) = sorted(|start| start.resident);
    let bound = file * MAX_RATIO + arguments.kv as f64;
    let (in_time, in_memory) = (slowest <= MAX_SECONDS, peak <= bound);
    let word = |met| if met { "met" } else { "not met" };
    // Other models have no promise of time: they are larger.
    let time = match arguments.models.is_empty() {
        true => word(in_time),
        false => "-",
    };
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    let line = format!(
        "| {name} | {file:.1} | {ready:.2} | {median:.2} | {slowest:.2} | {peak:.1} | {resident:.1} | {:.2} | {time} | {} |\n",
        peak / bound,
        word(in_memory),
    );
    let met = in_memory && (in_time || !arguments.models.is_empty());
    Ok((line, met))
}

fn start(binary: &Path, model: &Path, kv: u64, log: &Path) -> Result<Start> {
    let began = Instant::now();
    let kv = format!("--kv-cache-memory={kv}MiB");
    let options = ["--accept-any-model", &kv];
    let model = model.to_str().context("the model's path is no UTF-8")?;
    let server = servers::weir(binary, model, &options, log)?;
    let ready = began.elapsed();
    let (_, address) = server.url.split_once("//").context("a URL")?;
    first_token(address.trim_end_matches("/v1"))?;
    let first_token = began.elapsed();
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let mib = |name: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: f64 = kib.with_context(|| name.to_owned())?.trim().parse()?;
        Ok(kib / 1024.0)
    };
    Ok(Start {
        ready: ready.as_secs_f64(),
        first_token: first_token.as_secs_f64(),
        peak: mib("VmHWM:")?,
        resident: mib("VmRSS:")?,
    })
}

/// Asks for one token and waits for the chunk that brings it.
fn first_token(address: &str) -> Result<()> {
    let body = r#"{"model": "any", "prompt": "The capital of France is", "max_tokens": 1, "temperature": 0, "stream": true}"#;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST /v1/completions HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.starts_with("data: {") {
            return Ok(());
        }
        ensure!(
            !line.starts_with("HTTP/1.1 ") || line.contains(" 200 "),
            "it answers {line}"
        );
    }
    bail!("the answer has no chunk")
}
