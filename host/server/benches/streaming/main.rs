//! What a streamed token costs the server: 256 chat streams over loopback from a paced replay, a tool parser on, one event
//! a token. Prints a table and, with `--write`, writes tests/reports/streaming.md.
//!
//! The server is the `weir` binary in a process of its own, so its processor time is its own; the client's, in this
//! process on the same machine, and everybody else's stand beside it. Half of the streams say content, half the arguments
//! of a call: both go through the parser token by token.
//!
//! `cargo bench -p weir-server --bench streaming -- [--rounds 5] [--seconds 5] [--rate 50000]... [--write]`

mod client;
mod processor_time;
mod report;
mod server;

use std::{path::PathBuf, thread, time::Duration};

use anyhow::{Result, ensure};
use clap::Parser;

use client::Heard;
use processor_time::ProcessorTime;
use report::{Measured, Round};
use server::Server;

/// Streams at once.
const STREAMS: usize = 256;
/// Tokens a second of all streams together: the latency's rate, the bar, the goal, and more than any machine does.
const RATES: [u32; 4] = [50_000, 100_000, 200_000, 1_000_000];
/// Before each measurement.
const WARM_UP: Duration = Duration::from_millis(500);
/// At a rate beyond it a server is measured for as many tokens as at this one.
const LONGEST: u32 = 200_000;

#[derive(Parser)]
struct Flags {
    /// Measurements of each rate
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of one
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Tokens a second of all streams together; may be given several times
    #[arg(long, default_values_t = RATES)]
    rate: Vec<u32>,
    /// Measure this binary and not the one that cargo has built
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_weir"))]
    server: PathBuf,
    /// Write tests/reports/streaming.md
    #[arg(long)]
    write: bool,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    ensure!(
        flags.rounds > 0 && flags.seconds > 0.0 && flags.rate.iter().all(|rate| *rate > 0),
        "rounds, seconds and rates are above 0"
    );
    let mut measured = Vec::new();
    for &rate in &flags.rate {
        measured.push(measure(rate, &flags)?);
    }
    let body = report::body(&measured, STREAMS, flags.seconds);
    println!("{body}");
    if flags.write {
        let command = format!(
            "cargo bench -p weir-server --bench streaming -- --rounds {} --seconds {} --write",
            flags.rounds, flags.seconds
        );
        report::write(&command, &body)?;
    }
    Ok(())
}

/// All rounds of one rate, on one server and the same connections.
fn measure(rate: u32, flags: &Flags) -> Result<Measured> {
    let each = f64::from(rate) / STREAMS as f64;
    let tokens = |seconds: f64| (f64::from(rate.min(LONGEST)) / STREAMS as f64 * seconds) as usize;
    let server = Server::start(&flags.server, each, tokens(flags.seconds), STREAMS)?;
    let mut streams = client::Streams::connect(server.address(), STREAMS)?;
    streams.run(tokens(WARM_UP.as_secs_f64()).max(1))?;
    let mut rounds = Vec::new();
    for number in 1..=flags.rounds {
        thread::sleep(WARM_UP);
        let before = ProcessorTime::now(server.id())?;
        let heard = streams.run(tokens(flags.seconds))?;
        let spent = ProcessorTime::now(server.id())?.since(&before);
        let round = Round::new(&heard, server::period(each), spent);
        eprintln!("{rate} tokens/s, round {number}: {round}");
        rounds.push(round);
    }
    Ok(Measured { rate, rounds })
}
