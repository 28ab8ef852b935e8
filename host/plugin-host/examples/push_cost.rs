//! The table of `cargo xtask push-cost`: what a session and a push cost, as a component and natively.
//!
//! The machines this runs on share their cores with others, so that everything is at times twice as slow. So the
//! subjects take turns, in blocks of a few dozen pushes, and each has two figures: the median of its blocks, and the limit
//! of their best tenth, which is what it costs on a core of one's own. Nothing is asserted: a time is no test.

#[path = "../benches/streams/mod.rs"]
mod streams;

use std::time::{Duration, Instant};

use weir_output::Parser;

use streams::{Component, Native, Streamed, streams};

const ROUNDS: usize = 6_000;
const BLOCK: usize = 50;
const SESSIONS_PER_ROUND: usize = 20;

/// A subject's times, in nanoseconds.
struct Subject {
    name: String,
    bar: &'static str,
    times: Vec<f64>,
}

impl Subject {
    fn new(name: &str, bar: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            bar,
            times: Vec::new(),
        }
    }

    fn add(&mut self, spent: Duration, count: usize) {
        self.times.push(spent.as_secs_f64() * 1e9 / count as f64);
    }

    fn quantile(&self, share: f64) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        times[(times.len() as f64 * share) as usize]
    }
}

fn main() {
    let parser = streams::component();
    // First, while no slot of the instance pool was used yet.
    let memory = live_session_bytes(parser.as_ref()) / 1024;
    let bars = ["600 / 50", "1,000 / 50", "1.1 times the row above / 50"];
    let mut wasm: Vec<_> = streams()
        .iter()
        .zip(bars)
        .map(|((name, ..), bar)| Subject::new(name, bar))
        .collect();
    let mut native: Vec<_> = streams()
        .iter()
        .zip(bars)
        .map(|((name, ..), bar)| Subject::new(name, bar))
        .collect();
    let mut session = Subject::new("session", "50 us");
    for round in 0..ROUNDS {
        if round % (ROUNDS / 10) == 0 {
            eprintln!("round {round} of {ROUNDS}");
        }
        for (index, (_, start, deltas)) in streams().iter().enumerate() {
            // The long stream gives as many blocks as the others together; a part of the rounds is enough.
            if deltas.len() < 1_000 || round % 10 == 0 {
                blocks(
                    Component::open(parser.as_ref()),
                    start,
                    deltas,
                    &mut wasm[index],
                );
                blocks(Native::open(), start, deltas, &mut native[index]);
            }
        }
        for _ in 0..SESSIONS_PER_ROUND {
            let begun = Instant::now();
            drop(Component::open(parser.as_ref()));
            session.add(begun.elapsed(), 1);
        }
    }
    println!(
        "| what | wasm, best tenth | wasm, median | native, best tenth | native, median | bar, wasm / native |"
    );
    println!("|---|---|---|---|---|---|");
    for (wasm, native) in wasm.iter().zip(&native) {
        println!(
            "| push, {} | {:.0} ns | {:.0} ns | {:.0} ns | {:.0} ns | {} |",
            wasm.name,
            wasm.quantile(0.1),
            wasm.quantile(0.5),
            native.quantile(0.1),
            native.quantile(0.5),
            wasm.bar
        );
    }
    println!(
        "| session, start to drop | {:.1} us | {:.1} us | | | {} |",
        session.quantile(0.1) / 1e3,
        session.quantile(0.5) / 1e3,
        session.bar
    );
    println!("| memory of a live session | {memory} KiB | {memory} KiB | | | 64 KiB |");
}

/// Times all deltas of a stream, block by block.
fn blocks<S: Streamed>(mut session: S, start: &str, deltas: &[String], subject: &mut Subject) {
    if !start.is_empty() {
        session.push(&S::fragment(start));
    }
    let fragments: Vec<_> = deltas.iter().map(|delta| S::fragment(delta)).collect();
    for block in fragments.chunks_exact(BLOCK) {
        let begun = Instant::now();
        block.iter().for_each(|fragment| session.push(fragment));
        subject.add(begun.elapsed(), BLOCK);
    }
}

/// What a session in the middle of a call of 2,000 characters holds of this process's memory.
fn live_session_bytes(parser: &dyn Parser) -> usize {
    const SESSIONS: usize = 200;
    let (_, start, deltas) = streams().swap_remove(1);
    let mut sessions = vec![Component::open(parser)];
    let before = resident_bytes();
    for _ in 0..SESSIONS {
        let mut session = Component::open(parser);
        session.push(&Component::fragment(&start));
        for delta in &deltas {
            session.push(&Component::fragment(delta));
        }
        sessions.push(session);
    }
    (resident_bytes() - before) / SESSIONS
}

/// From Linux's /proc/self/statm, in pages of 4 KiB.
fn resident_bytes() -> usize {
    let counts = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = counts.split_whitespace().nth(1).expect("a second count");
    pages.parse::<usize>().expect("a number") * 4096
}
