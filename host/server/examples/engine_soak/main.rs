//! Mixed load on a real model for as long as it is told: `cargo xtask engine-soak` runs it and keeps its table.
//!
//! Clients of every kind (see `load`) reach the real router over TCP, in one process with the engine, so that its counters
//! can be read. KV is scarce: sequences are preempted all the time. Nothing may fail, be said differently than alone (see
//! `spot`), or be left when all have gone; memory must be flat.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tokio::{
    sync::mpsc::{self, Sender},
    task::JoinSet,
    time::sleep,
};
use weir_server::config::{ByteSize, Config, Switch};

mod answer;
mod client;
mod load;
mod report;
#[path = "../resident/mod.rs"]
mod resident;
mod server;
mod spot;

use answer::Answer;
use client::{Manner, Reply};
use load::{Asked, Load};
use server::Server;
use spot::Spot;

/// The longest answer, in tokens.
const LONGEST_OUTPUT: usize = 256;
const BLOCK_SIZE: usize = 32;
/// Sequences at once, and those that may wait: fewer than the clients ask for.
const MAX_NUM_SEQS: usize = 16;
const MAX_QUEUE: usize = 12;
/// One repeatable answer in so many is checked.
const CHECK_ONE_IN: u64 = 10;
/// Answers that wait to be checked; more are passed over.
const SPOTS: usize = 32;
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
const SAY_EVERY: Duration = Duration::from_secs(30);
/// Failures that are printed.
const PRINTED: u64 = 5;

#[derive(Parser)]
struct Arguments {
    /// How long clients ask, in seconds; then their last requests end
    #[arg(long, default_value_t = 1_800, value_parser = clap::value_parser!(u64).range(20..))]
    seconds: u64,
    /// The model, as `weir serve --model` takes it [default: the default model]
    #[arg(long)]
    model: Option<String>,
    /// Clients, each with one request at a time
    #[arg(long, default_value_t = 24)]
    clients: u64,
    /// The longest prompt in tokens, where the model's context has room for it
    #[arg(long, default_value_t = 4_000)]
    longest_prompt: usize,
    /// Tokens that KV blocks hold; never fewer than the longest request and a chat template need
    #[arg(long, default_value_t = 5_120)]
    kv_tokens: usize,
    /// What the requests are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    weir_server::serve::start_log("error", weir_server::config::LogFormat::Text)?;
    let arguments = Arguments::parse();
    let (served, alone) = servers(&arguments).await?;
    let room = served.max_model_len - LONGEST_OUTPUT;
    let longest_prompt = arguments.longest_prompt.clamp(1, room);
    let (spots, to_check) = mpsc::channel(SPOTS);
    let counts = Arc::new(Counts::default());
    let checker = tokio::spawn(spot::check(alone.address, to_check, Arc::clone(&counts)));
    let soak = Arc::new(Soak {
        served,
        counts,
        spots,
        over: AtomicBool::new(false),
    });
    warm(&soak, &alone, longest_prompt).await?;
    let mut clients = JoinSet::new();
    for number in 0..arguments.clients {
        let seed = arguments.seed * 1_000_000 + number;
        let load = Load::new(seed, Arc::clone(&soak.served.tokenizer), longest_prompt)?;
        let soak = Arc::clone(&soak);
        clients.spawn(async move { soak.one_after_the_other(load).await });
    }
    let watched = soak.watch(Duration::from_secs(arguments.seconds)).await?;
    soak.over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    let soak = Arc::into_inner(soak).context("a client is left")?;
    let Soak {
        served,
        counts,
        spots,
        ..
    } = soak;
    drop(spots);
    checker.await?;
    served.state.lifecycle.idle().await;
    // An abort is the engine's next step's business.
    sleep(Duration::from_secs(1)).await;
    report::report(&arguments, (&served, &alone), &counts, &watched)
}

/// The server under load, with little KV, and the one that checks it.
async fn servers(arguments: &Arguments) -> Result<(Server, Server)> {
    let mut config = Config {
        max_num_seqs: MAX_NUM_SEQS,
        max_queue: MAX_QUEUE,
        tool_call_parser: Some("qwen25".to_owned()),
        ..Config::default()
    };
    if let Some(model) = &arguments.model {
        config.model.clone_from(model);
    }
    let block_bytes = server::block_bytes(&config)?;
    let memory = |tokens: usize| ByteSize(tokens.div_ceil(BLOCK_SIZE) as u64 * block_bytes);
    let enough = arguments.longest_prompt.max(load::TEMPLATE) + LONGEST_OUTPUT;
    config.kv_cache_memory = Some(memory(arguments.kv_tokens.max(enough)));
    let served = Server::start(&config).await?;
    let alone = Config {
        kv_cache_memory: Some(memory(enough)),
        max_num_seqs: 1,
        max_num_batched_tokens: 777,
        prefix_cache: Switch(false),
        ..config
    };
    let alone = Server::start(&alone).await?;
    ensure!(
        served.max_model_len > 2 * LONGEST_OUTPUT,
        "a context of {} tokens is too short for this load",
        served.max_model_len
    );
    Ok((served, alone))
}

/// The longest request on both, so that their memory is taken before it is watched.
async fn warm(soak: &Soak, alone: &Server, longest_prompt: usize) -> Result<()> {
    let prompt = vec![1_u32; longest_prompt];
    let asked = Asked {
        path: "/v1/completions",
        body: serde_json::json!({"prompt": prompt, "max_tokens": 4, "temperature": 0}),
        manner: Manner::Patient,
        repeatable: true,
        prompt_tokens: Some(longest_prompt),
        output_tokens: None,
        answers: 1,
        stream: false,
    };
    let said = spot::ask(soak.served.address, &asked).await?;
    let again = spot::ask(alone.address, &asked).await?;
    ensure!(said == again, "the first answer differs already");
    Ok(())
}

/// A count that everybody adds to.
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    /// One more; answers how many there were.
    fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened so far.
#[derive(Default)]
struct Counts {
    answered: Count,
    repeatable: Count,
    streamed: Count,
    several: Count,
    slow: Count,
    left: Count,
    queue_full: Count,
    failed: Count,
    checked: Count,
    different: Count,
    /// Not checked, because too many were waiting to be.
    passed_over: Count,
}

impl Counts {
    /// Counts a failure and prints it, if it is one of the first.
    fn failure(&self, asked: &Asked, error: &anyhow::Error) {
        if self.failed.add() < PRINTED {
            let mut body = asked.body.to_string();
            body.truncate(body.floor_char_boundary(300));
            eprintln!("failed: {error:#}\n{} {body}", asked.path);
        }
    }

    fn line(&self) -> String {
        format!(
            "{} answered, {} left, {} turned away, {} failed; {} checked, {} different",
            self.answered.get(),
            self.left.get(),
            self.queue_full.get(),
            self.failed.get(),
            self.checked.get(),
            self.different.get()
        )
    }
}

/// What was seen while it ran.
#[derive(Default)]
struct Watched {
    /// Resident memory after the warm-up, in bytes, without the pages of files.
    resident: Vec<u64>,
    most_running: usize,
    most_waiting: usize,
    most_paused: usize,
    most_sessions: u32,
}

struct Soak {
    served: Server,
    counts: Arc<Counts>,
    spots: Sender<Spot>,
    over: AtomicBool,
}

impl Soak {
    async fn one_after_the_other(&self, mut load: Load) {
        while !self.over.load(Ordering::Relaxed) {
            let asked = load.draw();
            // Asked again until it is taken: those that want many places would never be served else.
            while self.ask(asked.clone()).await && !self.over.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(200 + load.below(800) as u64)).await;
            }
        }
    }

    /// One request; true if it was turned away for load.
    async fn ask(&self, asked: Asked) -> bool {
        let counts = &self.counts;
        let reply = client::post(self.served.address, asked.path, &asked.body, asked.manner);
        let answer = match reply.await {
            Ok(Reply::Left) => {
                counts.left.add();
                return false;
            }
            Ok(Reply::Whole(status, body)) => answer::read(&asked, status, &body),
            Err(error) => Err(error),
        };
        match answer {
            Ok(Answer::Said(said)) => {
                counts.answered.add();
                let kinds = [
                    (asked.stream, &counts.streamed),
                    (asked.answers > 1, &counts.several),
                    (asked.manner == Manner::Slow, &counts.slow),
                ];
                for (_, count) in kinds.iter().filter(|(is, _)| *is) {
                    count.add();
                }
                if asked.repeatable && counts.repeatable.add().is_multiple_of(CHECK_ONE_IN) {
                    let spot = Spot { asked, said };
                    if self.spots.try_send(spot).is_err() {
                        counts.passed_over.add();
                    }
                }
            }
            Ok(Answer::QueueFull) => {
                counts.queue_full.add();
                return true;
            }
            Err(error) => counts.failure(&asked, &error),
        }
        false
    }

    /// Looks at the engine and at memory until time is up.
    async fn watch(&self, duration: Duration) -> Result<Watched> {
        let begun = Instant::now();
        let warm_up = duration / 5;
        let mut said = Duration::ZERO;
        let mut watched = Watched::default();
        while begun.elapsed() < duration {
            sleep(SAMPLE_EVERY).await;
            let now = self.served.engine.counters();
            let sessions = self.served.plugins.live_sessions();
            watched.most_running = watched.most_running.max(now.running);
            watched.most_waiting = watched.most_waiting.max(now.waiting);
            watched.most_paused = watched.most_paused.max(now.paused);
            watched.most_sessions = watched.most_sessions.max(sessions);
            let resident = resident_bytes()?;
            if begun.elapsed() > warm_up {
                watched.resident.push(resident);
            }
            if begun.elapsed() >= said + SAY_EVERY {
                said += SAY_EVERY;
                eprintln!(
                    "{} s: {}; {} running, {} waiting, {} paused, {} preemptions, {} of {} blocks used, {} MiB",
                    begun.elapsed().as_secs(),
                    self.counts.line(),
                    now.running,
                    now.waiting,
                    now.paused,
                    now.preemptions,
                    now.blocks_used,
                    now.blocks_total,
                    resident >> 20
                );
            }
        }
        Ok(watched)
    }
}

/// Resident memory of this process without the pages of files, which the system takes and gives as it likes (proc(5)).
fn resident_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: u64 = kibibytes
        .context("no RssAnon in /proc/self/status")?
        .parse()?;
    Ok(kibibytes << 10)
}
