//! Many sessions at once over many plugins, some of them hostile, for as long as it is told: nothing may be lost, mixed up
//! or leaked. `cargo xtask soak` runs it and keeps its table.
//!
//! The texts are the corpora's, said by the replayed model four characters at a time; they go the way of every request, from
//! the engine's thread through the plugins to events, and each message is compared with what its case expects.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures_util::StreamExt;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde_json::json;
use tokio::task::JoinSet;
use weir_corpus::{
    case::{self, Case},
    fold::{Folded, Runner},
};
use weir_engine::{Engine, EngineConfig};
use weir_output::{
    Configured, FinishReason, OnError, RequestContext, Tool, ToolCallStreaming, ToolChoice,
};
use weir_plugin_host::{PluginHost, PluginHostConfig, Registry};
use weir_protocol::SamplingFields;
use weir_server::{
    EngineHandle, EngineThread, ServedModel,
    active_plugins::ActivePlugins,
    generation::{self, Plan},
    replay::Replay,
};

mod resident;

use resident::Resident;

/// The plugins, of every kind of format there is.
const PLUGINS: [&str; 8] = [
    "deepseek_v3",
    "glm45",
    "gpt_oss",
    "kimi_k2",
    "llama3",
    "mistral",
    "qwen25",
    "qwen3",
];
/// What one session in [`ONE_IN`] does in place of parsing, each within a push.
const MISDEEDS: [&str; 7] = [
    "loop",
    "recurse",
    "memory",
    "panic",
    "many-events",
    "long-text",
    "gap",
];
const ONE_IN: u64 = 50;
/// What a hostile plugin is granted: a loop holds a worker for so long.
const HOSTILE_CALL_MS: u64 = 20;
const MAX_MODEL_LEN: usize = 4096;
/// How far memory may wander from where it was after the warm-up.
const RSS_TOLERANCE: f64 = 0.05;

#[derive(Parser)]
struct Arguments {
    /// Sessions alive at one time
    #[arg(long, default_value_t = 2_000)]
    sessions: usize,
    /// How long
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Tokens a second of each session
    #[arg(long, default_value_t = 25.0)]
    rate: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let soak = Arc::new(Soak::new(&arguments)?);
    let begun = Instant::now();
    let warm_up = Duration::from_secs(arguments.seconds / 5);
    let mut sessions = JoinSet::new();
    for number in 0..arguments.sessions {
        let soak = Arc::clone(&soak);
        sessions.spawn(async move { soak.one_after_the_other(number as u64).await });
    }
    let mut resident = Vec::new();
    while begun.elapsed() < Duration::from_secs(arguments.seconds) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if begun.elapsed() > warm_up {
            resident.push(resident_bytes()?);
        }
        let seconds = begun.elapsed().as_secs();
        if seconds.is_multiple_of(30) {
            eprintln!("{seconds} s: {}", soak.counts.line());
        }
    }
    let live = soak.host.live_sessions();
    soak.over.store(true, Ordering::Relaxed);
    while let Some(ended) = sessions.join_next().await {
        ended?;
    }
    soak.engine.shutdown();
    report(&arguments, &soak, &resident, live)
}

/// What happened so far.
#[derive(Default)]
struct Counts {
    right: AtomicU64,
    wrong: AtomicU64,
    events: AtomicU64,
    hostile: AtomicU64,
    unpunished: AtomicU64,
}

impl Counts {
    fn line(&self) -> String {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{} sessions right, {} wrong, {} hostile ended, {} hostile passed",
            of(&self.right),
            of(&self.wrong),
            of(&self.hostile),
            of(&self.unpunished)
        )
    }
}

struct Soak {
    host: Arc<PluginHost>,
    model: ServedModel,
    engine: EngineHandle,
    /// Each with the plugins of its folder.
    cases: Vec<(Case, Arc<ActivePlugins>)>,
    hostile: Vec<Arc<ActivePlugins>>,
    counts: Counts,
    over: AtomicBool,
}

impl Soak {
    fn new(arguments: &Arguments) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let sessions = u32::try_from(arguments.sessions)?;
        let host = PluginHost::new(&PluginHostConfig {
            max_sessions: sessions + 16,
            cache_dir: Some(folder.path().join("cache")),
        })?;
        let registry = registry(&host, folder.path())?;
        let mut cases = Vec::new();
        for plugin in PLUGINS {
            let active = Arc::new(active(&registry, plugin)?);
            let folder = root().join("tests/corpora/parsers").join(plugin);
            let before = cases.len();
            let fit = case::read_folder(&folder)?.into_iter().filter(usable);
            cases.extend(fit.map(|case| (case, Arc::clone(&active))));
            ensure!(cases.len() > before + 5, "{plugin}: too few cases fit");
        }
        let hostile = MISDEEDS
            .iter()
            .map(|mode| Ok(Arc::new(active(&registry, &format!("hostile-{mode}"))?)))
            .collect::<Result<_>>()?;
        let (model, engine) = model(arguments, folder.path(), &cases)?;
        Ok(Self {
            host,
            model,
            engine,
            cases,
            hostile,
            counts: Counts::default(),
            over: AtomicBool::new(false),
        })
    }

    /// Sessions until time is up; the first begins somewhere within a second, so that they do not march in step.
    async fn one_after_the_other(&self, number: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(number);
        tokio::time::sleep(Duration::from_millis(random.next_u64() % 1_000)).await;
        while !self.over.load(Ordering::Relaxed) {
            let which = usize::try_from(random.next_u64() % self.cases.len() as u64);
            let which = which.unwrap_or_default();
            let mode = if random.next_u64().is_multiple_of(2) {
                ToolCallStreaming::Incremental
            } else {
                ToolCallStreaming::Complete
            };
            if random.next_u64().is_multiple_of(ONE_IN) {
                let misdeed = random.next_u64() % self.hostile.len() as u64;
                let plugins = &self.hostile[usize::try_from(misdeed).unwrap_or_default()];
                let outcome = self.message(which, plugins, mode).await;
                let count = match outcome {
                    Err(_) => &self.counts.hostile,
                    Ok(_) => &self.counts.unpunished,
                };
                count.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let (case, plugins) = &self.cases[which];
            let expected = Folded::expected(case, mode);
            match self.message(which, plugins, mode).await {
                Ok(message) if message.meets(&expected) => {
                    self.counts.right.fetch_add(1, Ordering::Relaxed);
                }
                other => {
                    self.counts.wrong.fetch_add(1, Ordering::Relaxed);
                    let path = case.path.display();
                    match other {
                        Ok(message) => eprintln!("{path}, {mode:?}:\n{message}not\n{expected}"),
                        Err(error) => eprintln!("{path}: {error}"),
                    }
                }
            }
        }
    }

    /// One answer, from the prompt to the message.
    async fn message(
        &self,
        which: usize,
        plugins: &Arc<ActivePlugins>,
        mode: ToolCallStreaming,
    ) -> Result<Folded> {
        let (case, _) = &self.cases[which];
        let context = context(case);
        let plan = Plan {
            prompt: key(which).bytes().map(u32::from).collect(),
            embeddings: None,
            sampling: SamplingFields::default(),
            constraint: None,
            reasoning_budget: None,
            parse: true,
            plugins: Arc::clone(plugins),
            context: context.clone(),
            tool_call_streaming: mode,
        };
        let refused = |error: weir_server::ApiError| anyhow::anyhow!("{error:?}");
        let nobody = weir_server::Caller::anonymous();
        let steps = generation::generate(&self.model, vec![plan], 1, None, &nobody);
        let mut steps = steps.map_err(refused)?;
        let mut events = Vec::new();
        let mut ended = None;
        while let Some(step) = steps.next().await {
            let step = step.map_err(refused)?;
            events.extend(step.events);
            ended = step.end.map(|end| end.reason);
        }
        let ended = ended.context("the stream has no end")?;
        let count = events.len() as u64;
        self.counts.events.fetch_add(count, Ordering::Relaxed);
        Ok(Runner::new(context, ended).fold(&events, ended))
    }
}

/// What the model is asked for this text.
fn key(which: usize) -> String {
    format!("#{which}#")
}

/// Cases that the replayed model can say and that need no more than their plugin.
fn usable(case: &Case) -> bool {
    case.text.is_some()
        && case.with.is_none()
        && case.config.is_empty()
        && !case.strict_markers
        && case.finish_reason == FinishReason::Stop
        && case.choice() == ToolChoice::Auto
}

/// A server's tool parsers run where tools are offered.
fn context(case: &Case) -> RequestContext {
    let mut context = case.context();
    if context.tools.is_empty() {
        context.tools.push(Tool {
            name: "not_in_any_case".to_owned(),
            description: None,
            parameters: "{}".to_owned(),
            strict: false,
        });
    }
    context
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The project's plugins, and the hostile one under a name for each misdeed.
fn registry(host: &Arc<PluginHost>, folder: &Path) -> Result<Registry> {
    let component = root().join("tests/hostile/dist/hostile.wasm");
    fs::copy(component, folder.join("hostile.wasm"))?;
    let entry = |mode: &&str| {
        format!(
            "[hostile-{mode}]\nkind = \"parser\"\nwasm = \"hostile.wasm\"\nlimits = {{ call_ms = {HOSTILE_CALL_MS} }}\nconfig = {{ mode = \"{mode}\", in = \"push\" }}\n"
        )
    };
    let manifest = folder.join("hostile.toml");
    fs::write(&manifest, MISDEEDS.iter().map(entry).collect::<String>())?;
    Ok(Registry::builder(host)
        .manifest_file(&root().join("plugins.toml"))?
        .manifest_file(&manifest)?
        .build()?)
}

/// The plugin in each of its roles.
fn active(registry: &Registry, name: &str) -> Result<ActivePlugins> {
    let parser = Configured::new(registry.parser(name)?, OnError::Fail);
    let roles = parser.plugin.info().roles;
    Ok(ActivePlugins {
        reasoning_parser: roles.reasoning.then(|| parser.clone()),
        tool_parser: roles.tools.then_some(parser),
        ..ActivePlugins::default()
    })
}

/// A model that says the texts of the cases, each when asked for its key.
fn model(
    arguments: &Arguments,
    folder: &Path,
    cases: &[(Case, Arc<ActivePlugins>)],
) -> Result<(ServedModel, EngineHandle)> {
    let line = |(which, (case, _)): (usize, &(Case, _))| {
        let text = case.text.as_deref().unwrap_or_default();
        json!({"match": key(which), "text": text, "tokens_per_second": arguments.rate}).to_string()
    };
    let lines: Vec<String> = cases.iter().enumerate().map(line).collect();
    let file = folder.join("answers.jsonl");
    fs::write(&file, lines.join("\n"))?;
    let replay = Replay::read(&file)?;
    let tokenizer = Arc::new(replay.tokenizer());
    let runner = replay.runner(MAX_MODEL_LEN, arguments.sessions);
    let engine = Engine::new(
        Box::new(runner),
        EngineConfig {
            max_num_batched_tokens: arguments.sessions * 2,
            max_num_seqs: arguments.sessions,
            max_queue: arguments.sessions,
            ..EngineConfig::default()
        },
    );
    let handle = EngineThread::spawn(engine)?;
    let generator = Arc::new(handle.clone());
    let model = ServedModel::new("soak".to_owned(), generator, tokenizer, MAX_MODEL_LEN);
    Ok((model, handle))
}

/// Resident memory of this process (proc(5), statm).
fn resident_bytes() -> Result<u64> {
    const PAGE_BYTES: u64 = 4096;
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).context("statm")?;
    Ok(pages.parse::<u64>()? * PAGE_BYTES)
}

fn report(arguments: &Arguments, soak: &Soak, resident: &[u64], live: u32) -> Result<()> {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let counts = &soak.counts;
    let resident = Resident::of(resident);
    let mib = |bytes: u64| bytes >> 20;
    let left = soak.host.live_sessions();
    println!("| what | figure |\n|---|---|");
    println!("| seconds | {} |", arguments.seconds);
    println!("| sessions at once, asked for | {} |", arguments.sessions);
    println!("| plugin sessions alive at the end | {live} |");
    println!("| plugins | {} |", PLUGINS.join(", "));
    println!("| cases | {} |", soak.cases.len());
    println!("| healthy sessions right | {} |", of(&counts.right));
    println!("| healthy sessions wrong | {} |", of(&counts.wrong));
    println!("| events of healthy sessions | {} |", of(&counts.events));
    println!(
        "| hostile sessions ended by the host | {} |",
        of(&counts.hostile)
    );
    println!(
        "| hostile sessions that passed | {} |",
        of(&counts.unpunished)
    );
    println!(
        "| resident after the warm-up, median of a quarter | {} MiB |",
        mib(resident.first)
    );
    println!(
        "| resident at the end, median of a quarter | {} MiB |",
        mib(resident.last)
    );
    println!(
        "| most resident after the warm-up | {} MiB |",
        mib(resident.most)
    );
    println!("| sessions left when all had ended | {left} |");
    let grown = resident.growth();
    println!("| growth of resident memory | {:.1}% |", grown * 100.0);
    ensure!(of(&counts.wrong) == 0, "a healthy session was not right");
    ensure!(
        of(&counts.right) > 0 && of(&counts.hostile) > 0,
        "nothing ran"
    );
    ensure!(left == 0, "sessions are left");
    ensure!(grown.abs() <= RSS_TOLERANCE, "memory is not flat");
    Ok(())
}
