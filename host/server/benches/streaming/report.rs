//! From arrivals and processor times to figures, and the figures to tests/reports/streaming.md.

use std::{
    fmt::{self, Write as _},
    fs,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Heard, processor_time::Spent};

/// Events at a stream's beginning and end that are no tokens in their place.
const BEGINNING: usize = 8;
const END: usize = 4;

/// The rounds of one rate.
pub struct Measured {
    pub rate: u32,
    pub rounds: Vec<Round>,
}

/// The figures of one round.
pub struct Round {
    /// Of all streams, from the first event to the last.
    tokens_per_second: f64,
    /// Of the server, per token.
    user_micros: f64,
    system_micros: f64,
    interrupt_micros: f64,
    client_micros: f64,
    /// Cores that everybody else had.
    others: f64,
    /// Events that came with one read.
    events_per_read: f64,
    /// Milliseconds from tick to arrival.
    median_ms: f64,
    p99_ms: f64,
    most_ms: f64,
}

impl Round {
    /// `period` lies between the steps, which begin at its multiples since 1970.
    pub fn new(heard: &[Heard], period: Duration, spent: Spent) -> Self {
        let tokens: usize = heard.iter().map(|stream| stream.tokens).sum();
        let arrivals = || heard.iter().flat_map(|stream| &stream.arrivals);
        let times = || arrivals().map(|(at, _)| *at);
        let wall = times().max().zip(times().min());
        let wall = wall.map_or(0, |(last, first)| last - first) as f64 / 1e9;
        let events: usize = arrivals().map(|(_, events)| events).sum();
        let mut late: Vec<u64> = heard
            .iter()
            .flat_map(|stream| lateness(stream, period))
            .collect();
        late.sort_unstable();
        let part = |share: f64| {
            let index = (late.len().saturating_sub(1)) as f64 * share;
            late.get(index as usize).copied().unwrap_or_default() as f64 / 1e6
        };
        let micros = |seconds: f64| seconds * 1e6 / tokens as f64;
        Self {
            tokens_per_second: tokens as f64 / wall,
            user_micros: micros(spent.server_user),
            system_micros: micros(spent.server_system),
            interrupt_micros: micros(spent.interrupts),
            client_micros: micros(spent.client),
            others: spent.others / spent.wall,
            events_per_read: events as f64 / arrivals().count() as f64,
            median_ms: part(0.5),
            p99_ms: part(0.99),
            most_ms: part(1.0),
        }
    }

    fn server_micros(&self) -> f64 {
        self.user_micros + self.system_micros
    }
}

/// How long after its tick each token came. Each tick brings a stream one token, so the first token's tick is the latest
/// that leaves no token in front of its own; where a stream missed a tick, all its later tokens count as late.
fn lateness(stream: &Heard, period: Duration) -> Vec<u64> {
    let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    let events = stream
        .arrivals
        .iter()
        .flat_map(|(at, events)| std::iter::repeat_n(*at, *events));
    let mut events: Vec<u64> = events.skip(BEGINNING).collect();
    events.truncate(events.len().saturating_sub(END));
    let numbered = || (0..).zip(&events);
    let first = numbered().map(|(number, at)| (at / period).saturating_sub(number));
    let Some(first) = first.min() else {
        return Vec::new();
    };
    numbered()
        .map(|(number, at)| at.saturating_sub((first + number) * period))
        .collect()
}

impl fmt::Display for Round {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:.0} tokens/s, server {:.2} us ({:.2} user, {:.2} system), interrupts {:.2} us, client {:.2} us, others {:.2} cores, \
             {:.2} events a read, late {:.2} ms median, {:.2} ms p99",
            self.tokens_per_second,
            self.server_micros(),
            self.user_micros,
            self.system_micros,
            self.interrupt_micros,
            self.client_micros,
            self.others,
            self.events_per_read,
            self.median_ms,
            self.p99_ms
        )
    }
}

/// A figure, and its digits behind the point.
type Column = (fn(&Round) -> f64, usize);

/// The report's text.
pub fn body(measured: &[Measured], streams: usize, seconds: f64) -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let rounds = measured.first().map_or(0, |measured| measured.rounds.len());
    let mut text = format!(
        "{cores} cores, {streams} streams, the parser `hermes` on, {seconds} s a round; medians of {rounds} rounds, all rounds' least and \
         most in brackets.\n\n\
         | paced tokens/s | tokens/s | server us a token | user | system | interrupts | client us a token | others' cores | events a read | \
         tick to arrival, median ms | p99 ms | most ms |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for Measured { rate, rounds } in measured {
        let columns: [Column; 11] = [
            (|round| round.tokens_per_second, 0),
            (Round::server_micros, 2),
            (|round| round.user_micros, 2),
            (|round| round.system_micros, 2),
            (|round| round.interrupt_micros, 2),
            (|round| round.client_micros, 2),
            (|round| round.others, 2),
            (|round| round.events_per_read, 2),
            (|round| round.median_ms, 2),
            (|round| round.p99_ms, 2),
            (|round| round.most_ms, 1),
        ];
        let _ = write!(text, "| {rate} |");
        for (number, digits) in columns {
            let mut numbers: Vec<f64> = rounds.iter().map(number).collect();
            numbers.sort_by(f64::total_cmp);
            let [least, median, most] =
                [0, numbers.len() / 2, numbers.len() - 1].map(|index| numbers[index]);
            let _ = write!(
                text,
                " {median:.digits$} ({least:.digits$}-{most:.digits$}) |"
            );
        }
        text.push('\n');
    }
    text.push_str(EXPLANATION);
    text
}

const EXPLANATION: &str = "
Bars: 100,000 tokens a second (goal 200,000), at most 12 us of the server's user and system time a token, p99 under 10 ms at 50,000 a \
second. Every token of a stream is an event of its own; several may come with one read where the client or the server is behind. The last \
row is paced beyond what the machine can do.

Server and client: user and system time of their processes, from /proc/PID/stat, requests and their prompts included. Interrupts: of the whole \
machine, where the system counts them by themselves. Others' cores: everything else that ran. Tick to arrival: the replay's steps begin at the \
multiples of a period of the machine's clock; what lies between such a tick and the moment when the client has read the token contains \
the engine's step, the way through the parser, the write, the way back through the kernel and the client's own waiting for a processor. The \
write itself is earlier.
";

/// Writes the report as `xtask` writes its own.
pub fn write(command: &str, body: &str) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let said = |program: &str, arguments: &[&str]| -> Result<String> {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&root)
            .output()
            .with_context(|| program.to_owned())?;
        ensure!(output.status.success(), "{program} {arguments:?} failed");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let date = said("date", &["-u", "+%F"])?;
    let commit = said("git", &["rev-parse", "--short", "HEAD"])?;
    let changes = said("git", &["status", "--porcelain", "--untracked-files=no"])?;
    let mark = if changes.is_empty() { "" } else { "+" };
    let text = format!(
        "# What a streamed token costs\n\n{date}, commit {commit}{mark}, `{command}`\n\n{}\n",
        body.trim()
    );
    let path = root.join("tests/reports/streaming.md");
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    Ok(())
}
