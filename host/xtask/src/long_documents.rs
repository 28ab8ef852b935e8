//! `cargo xtask long-documents`: documents longer than the context, asked about on the real server with the default model, as a table that is kept.
//!
//! Facts are hidden in documents far longer than the context; what is judged is the prompt that the model got, which the answer
//! tells, and when its generation began, which the engine's count of sequences tells.

pub mod documents;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use self::documents::Fact;
use crate::{
    ask::Client,
    release, report,
    servers::{self, Server},
};

/// Tokens of prompt and answer together.
pub const CONTEXT: &str = "8192";
/// Wanted: seconds until generation begins, of the first question on a document and of the next.
const MAX_FIRST: f64 = 5.0;
const MAX_SECOND: f64 = 0.3;
/// A chunk's vector takes a few milliseconds; whoever waits longer for all of a document's is stuck.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(clap::Args)]
pub struct Arguments {
    /// Measure this binary instead of building weir in the release profile
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// An embedding model to serve beside the default model; without it words alone find passages
    #[arg(long, value_name = "SOURCE")]
    embedding_model: Option<String>,
    /// Documents of each kind whose questions are timed
    #[arg(long, default_value_t = 5)]
    rounds: u64,
}

/// A kind of documents.
struct Kind {
    name: &'static str,
    document: fn(u64) -> String,
    facts: &'static [Fact; 10],
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "English, 60,000 words",
        document: documents::english,
        facts: &documents::ENGLISH,
    },
    Kind {
        name: "Chinese, 90,000 characters",
        document: documents::chinese,
        facts: &documents::CHINESE,
    },
];

/// Asks and measures, and writes tests/reports/long_documents.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    ensure!(arguments.rounds > 0, "--rounds must be at least 1");
    let binary = release::weir_or(arguments.binary.as_deref(), root)?;
    let folder = root.join("target/long_documents");
    let mut setups = vec![("words alone", None)];
    if let Some(model) = &arguments.embedding_model {
        setups.push(("words and vectors", Some(model.as_str())));
    }
    let (mut needles, mut times, mut all_met) = (String::new(), String::new(), true);
    for (setup, embedding) in setups {
        let server = start(&binary, &folder, embedding)?;
        for kind in &KINDS {
            let (lines, met) = ask(&server, kind, setup, embedding.is_some(), arguments.rounds)?;
            let [found, timed] = lines;
            print!("{found}{timed}");
            needles.push_str(&found);
            times.push_str(&timed);
            all_met &= met;
        }
    }
    let body = format!(
        "The default model, context {CONTEXT}, {} rounds; times are medians (and the slowest), on cores that others used too.\n\n\
         ## Facts hidden in documents\n\nTen questions on each document; found is a fact that stands in the rendered prompt.\n\n\
         | documents | by | found | tokens of the prompt |\n|---|---|---|---|\n{needles}\n\
         ## Until generation begins\n\nSeconds from sending the request until the engine has the prompt, then until the first token of the answer, \
         which has the prompt's computation in it. Wanted: {MAX_FIRST} s and {MAX_SECOND} s until it begins.\n\n\
         | documents | by | first question: begins | first token | second: begins | first token |\n|---|---|---|---|---|---|\n{times}",
        arguments.rounds
    );
    report::write(
        root,
        "long_documents",
        "Documents longer than the context",
        "cargo xtask long-documents",
        &body,
    )?;
    ensure!(all_met, "not met");
    Ok(())
}

fn start(binary: &Path, folder: &Path, embedding: Option<&str>) -> Result<Server> {
    let log = folder.join("weir.log");
    let model = release::default_model(binary)?;
    let Some(embedding) = embedding else {
        let options = [
            "--request-processor",
            "long_document",
            "--max-model-len",
            CONTEXT,
        ];
        return servers::weir(binary, &model, &options, &log);
    };
    let config = format!(
        "request_processor = 'long_document'\n[[models]]\nname = 'chat'\nmodel = '{model}'\nmax_model_len = {CONTEXT}\n\
         [[models]]\nname = 'vectors'\nmodel = '{embedding}'\n"
    );
    std::fs::create_dir_all(folder)?;
    let path = folder.join("weir.toml");
    std::fs::write(&path, config)?;
    let mut command = std::process::Command::new(binary);
    command.args(["serve", "--port", "0", "--log-level", "debug", "--config"]);
    command.arg(&path);
    release::clean_environment(&mut command);
    let server = Server::start(&mut command, "weir serves chat", &log)?;
    until(|| Ok(server_is_ready(&server)))?;
    Ok(server)
}

fn server_is_ready(server: &Server) -> bool {
    let url = format!("{}/ready", server.url.trim_end_matches("/v1"));
    ureq::get(url).call().is_ok()
}

fn until(mut there: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !there()? {
        ensure!(begun.elapsed() < PATIENCE, "still not there");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A question, answered.
struct Asked {
    /// Seconds until the engine had the prompt.
    begins: f64,
    /// Seconds until the answer, which has one token.
    answered: f64,
    prompt: String,
    prompt_tokens: u64,
}

/// Two lines of the report: what was found, and how long it took; and whether that is as wanted.
fn ask(
    server: &Server,
    kind: &Kind,
    setup: &str,
    vectors: bool,
    rounds: u64,
) -> Result<([String; 2], bool)> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for edition in 1..=rounds {
        let document = (kind.document)(edition);
        first.push(question(server, &document, kind.facts[0].question)?);
        if vectors {
            wait_for_vectors(server)?;
        }
        second.push(question(server, &document, kind.facts[1].question)?);
    }
    let document = (kind.document)(1);
    let (mut found, mut missing, mut tokens) = (0, Vec::new(), Vec::new());
    for Fact {
        fact,
        question: asked,
    } in kind.facts
    {
        let asked_of = question(server, &document, asked)?;
        tokens.push(asked_of.prompt_tokens);
        match asked_of.prompt.contains(fact) {
            true => found += 1,
            false => missing.push(*asked),
        }
    }
    let mut line = format!(
        "| {} | {setup} | {found} of 10 | {} to {} |\n",
        kind.name,
        tokens.iter().min().context("ten of them")?,
        tokens.iter().max().context("ten of them")?,
    );
    for asked in missing {
        eprintln!("not found: {asked}");
    }
    let begins = |all: &[Asked]| spread(all.iter().map(|one| one.begins));
    let answered = |all: &[Asked]| spread(all.iter().map(|one| one.answered));
    let mut timed = format!("| {} | {setup} ", kind.name);
    for times in [
        begins(&first),
        answered(&first),
        begins(&second),
        answered(&second),
    ] {
        write!(timed, "| {:.2} ({:.2}) ", times.0, times.1)?;
    }
    timed.push_str("|\n");
    let met = found == 10 && begins(&first).0 < MAX_FIRST && begins(&second).0 < MAX_SECOND;
    if !met {
        line.insert_str(line.len() - 2, "(not met) ");
    }
    Ok(([line, timed], met))
}

/// The median and the largest.
pub fn spread(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let largest = values.last().copied().unwrap_or_default();
    (
        values.get(values.len() / 2).copied().unwrap_or_default(),
        largest,
    )
}

/// Asks for one token, and watches the engine meanwhile.
fn question(server: &Server, document: &str, question: &str) -> Result<Asked> {
    let (client, watcher) = (Client::new(server), Client::new(server));
    let body = json!({
        "messages": [{"role": "system", "content": document}, {"role": "user", "content": question}],
        "max_tokens": 1, "temperature": 0, "nvext": {"annotations": ["formatted_prompt"]},
    });
    let there = || -> Result<bool> {
        let waiting = watcher.metric("weir_sequences_waiting")?;
        let running = watcher.metric("weir_sequences_running")?;
        Ok(waiting.context("no count of sequences")? + running.unwrap_or_default() > 0.0)
    };
    ensure!(!there()?, "another question is being answered");
    let over = AtomicBool::new(false);
    let asked = Instant::now();
    let (reply, begins) = thread::scope(|scope| -> Result<_> {
        let watching = scope.spawn(|| -> Result<f64> {
            while !over.load(Ordering::Relaxed) {
                if there()? {
                    break;
                }
                thread::sleep(Duration::from_millis(4));
            }
            Ok(asked.elapsed().as_secs_f64())
        });
        let reply = client.chat(&body);
        over.store(true, Ordering::Relaxed);
        let begins = watching.join();
        let begins = begins.map_err(|_| anyhow::anyhow!("the watcher failed"))??;
        Ok((reply?, begins))
    })?;
    let answered = asked.elapsed().as_secs_f64();
    ensure!(reply.status == 200, "{}", reply.body);
    let prompt = reply.body["nvext"]["formatted_prompt"].as_str();
    let tokens = &reply.body["usage"]["prompt_tokens"];
    Ok(Asked {
        begins,
        answered,
        prompt: prompt.context("no prompt is told")?.to_owned(),
        prompt_tokens: tokens.as_u64().context("no count of tokens")?,
    })
}

/// Until the document's vectors are kept: no plugin works any more.
fn wait_for_vectors(server: &Server) -> Result<()> {
    let client = Client::new(server);
    until(|| Ok(client.metric("weir_plugin_instances")? == Some(0.0)))
}
