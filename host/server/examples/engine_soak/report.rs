//! The table of a soak, and whether all went well.

use anyhow::{Result, ensure};
use weir_engine::EngineCounters;

use crate::{Arguments, Counts, Watched, resident::Resident, server::Server};

/// How far memory may grow between the first quarter after the warm-up and the last.
const GROWTH: f64 = 0.02;

/// Prints the table.
///
/// # Errors
/// Whatever went wrong.
pub fn report(
    arguments: &Arguments,
    (served, alone): (&Server, &Server),
    counts: &Counts,
    watched: &Watched,
) -> Result<()> {
    let engine = served.engine.counters();
    let resident = Resident::of(&watched.resident);
    let grown = resident.growth();
    println!("| what | figure |\n|---|---|");
    let id = served
        .state
        .model_named(None)
        .map(|model| model.id().to_owned());
    row("model", id.unwrap_or_default());
    row("seconds", arguments.seconds);
    row("clients", arguments.clients);
    row("longest prompt, tokens", arguments.longest_prompt);
    row("KV blocks of 32 tokens", engine.blocks_total);
    requests(counts);
    row("most sequences running", watched.most_running);
    row("most sequences waiting", watched.most_waiting);
    row(
        "most sequences paused for slow readers",
        watched.most_paused,
    );
    row("most plugin sessions alive", watched.most_sessions);
    totals(&engine);
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    row(
        "resident without files after the warm-up, median of a quarter",
        mib(resident.first),
    );
    row(
        "resident at the end, median of a quarter",
        mib(resident.last),
    );
    row("most resident after the warm-up", mib(resident.most));
    row(
        "growth of resident memory",
        format!("{:.1}%", grown * 100.0),
    );
    let left = Left::of(served, alone);
    row("left when all had gone", &left);
    ensure!(counts.failed.get() == 0, "requests failed");
    ensure!(
        counts.different.get() == 0,
        "answers differ from what is said alone"
    );
    ensure!(engine.failed_steps == 0, "steps failed");
    for (what, count) in [
        ("was checked", counts.checked.get()),
        ("went away", counts.left.get()),
        ("was preempted", engine.preemptions),
        ("was found in the prefix cache", engine.prefix_hit_tokens),
    ] {
        ensure!(
            count > 0,
            "nothing {what}: the load is not what it should be"
        );
    }
    ensure!(left == Left::default(), "something is left: {left}");
    ensure!(grown <= GROWTH, "memory is not flat");
    Ok(())
}

fn row(what: &str, figure: impl std::fmt::Display) {
    println!("| {what} | {figure} |");
}

fn requests(counts: &Counts) {
    for (what, count) in [
        ("requests answered", &counts.answered),
        ("of those streamed", &counts.streamed),
        ("of those with four choices", &counts.several),
        ("of those read slowly", &counts.slow),
        ("clients that went away", &counts.left),
        ("turned away, the queue being full", &counts.queue_full),
        ("failed", &counts.failed),
        (
            "answers that alone are the same to the letter",
            &counts.checked,
        ),
        ("answers that alone are not", &counts.different),
        ("not checked, the checker being behind", &counts.passed_over),
    ] {
        row(what, count.get());
    }
}

fn totals(engine: &EngineCounters) {
    for (what, total) in [
        ("steps", engine.steps),
        ("steps that failed", engine.failed_steps),
        ("tokens computed", engine.computed_tokens),
        ("tokens generated", engine.generated_tokens),
        ("preemptions", engine.preemptions),
        ("prompt tokens looked up", engine.prefix_query_tokens),
        (
            "prompt tokens found in the prefix cache",
            engine.prefix_hit_tokens,
        ),
        (
            "cached blocks taken for something else",
            engine.blocks_evicted,
        ),
    ] {
        row(what, total);
    }
}

/// What must be nothing at the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    blocks: usize,
    sequences: usize,
    sessions: u32,
    requests: usize,
}

impl Left {
    fn of(served: &Server, alone: &Server) -> Self {
        let mut left = Self::default();
        for server in [served, alone] {
            let now = server.engine.counters();
            left.blocks += now.blocks_used;
            left.sequences += now.running + now.waiting + now.paused;
            left.sessions += server.plugins.live_sessions();
            left.requests += server.state.lifecycle.active();
        }
        left
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            blocks,
            sequences,
            sessions,
            requests,
        } = self;
        write!(
            out,
            "{blocks} blocks, {sequences} sequences, {sessions} plugin sessions, {requests} requests"
        )
    }
}
