//! `cargo xtask candidates`: five candidates and an answer made of them, beside one candidate and an answer, at equal lengths, as a
//! table that is kept.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    ask::{Client, Reply},
    long_documents::{CONTEXT, documents, spread},
    release, report,
    servers::{self, Server},
};

const CANDIDATES: u64 = 5;
/// Tokens of the outline, where there is one.
const OUTLINE: u64 = 64;
/// Wanted: times as long at most as one candidate and the answer.
const MAX_RATIO: f64 = 2.0;
/// Words of the text that is asked about, and tokens of each candidate and of the answer.
const SHAPES: [(usize, u64); 4] = [(60, 128), (600, 128), (600, 256), (1500, 256)];

/// What a round took.
struct Round {
    /// One candidate and an answer made of it.
    one: f64,
    /// Five and an answer, with outline and without.
    outlined: f64,
    bare: f64,
    /// Of the five, prompt tokens that were not computed again, and all of theirs.
    cached: u64,
    asked: u64,
}

#[derive(clap::Args)]
pub struct Arguments {
    /// Measure this binary instead of building weir in the release profile
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Rounds of each shape, one way after another
    #[arg(long, default_value_t = 5)]
    rounds: u64,
}

/// Asks and measures, and writes tests/reports/candidates.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    ensure!(arguments.rounds > 0, "--rounds must be at least 1");
    let binary = release::weir_or(arguments.binary.as_deref(), root)?;
    let (body, met) = measure(&binary, &root.join("target/candidates"), arguments.rounds)?;
    report::write(
        root,
        "candidates",
        "Several candidates and one answer",
        "cargo xtask candidates",
        &body,
    )?;
    ensure!(met, "not met");
    Ok(())
}

/// The report, and whether it is as wanted.
fn measure(binary: &Path, folder: &Path, rounds: u64) -> Result<(String, bool)> {
    let model = release::default_model(binary)?;
    let log = folder.join("weir.log");
    let bare = folder.join("mpr.toml");
    std::fs::create_dir_all(folder)?;
    std::fs::write(&bare, "plugin_config = { mpr = { outline = false } }\n")?;
    let bare = bare.to_str().context("a path that is no UTF-8")?;
    let options = ["--max-model-len", CONTEXT, "--max-num-seqs", "16"];
    let outlined = servers::weir(binary, &model, &options, &log)?;
    let bare = servers::weir(
        binary,
        &model,
        &[&options[..], &["--config", bare]].concat(),
        &log,
    )?;
    let (mut table, mut all_met) = (String::new(), true);
    for (words, tokens) in SHAPES {
        let mut all = Vec::new();
        for number in 0..rounds {
            all.push(round(&outlined, &bare, words, tokens, number)?);
        }
        let one = spread(all.iter().map(|round| round.one)).0;
        let outlined = spread(all.iter().map(|round| round.outlined)).0;
        let bare = spread(all.iter().map(|round| round.bare)).0;
        let with = spread(all.iter().map(|round| round.outlined / round.one));
        let without = spread(all.iter().map(|round| round.bare / round.one));
        let cached: u64 = all.iter().map(|round| round.cached).sum();
        let asked: u64 = all.iter().map(|round| round.asked).sum();
        let met = with.0 <= MAX_RATIO;
        all_met &= met;
        let line = format!(
            "| {words} | {tokens} | {one:.2} | {bare:.2} | {:.2} ({:.2}) | {outlined:.2} | {:.2} ({:.2}) | {:.0}% | {} |\n",
            without.0,
            without.1,
            with.0,
            with.1,
            100.0 * cached as f64 / asked as f64,
            if met { "met" } else { "not met" },
        );
        print!("{line}");
        table.push_str(&line);
    }
    let body = format!(
        "The default model, context {CONTEXT}, medians of {rounds} rounds (and the largest), on cores that others used too. `mpr_candidates` {CANDIDATES}: \
         the candidates in one batch, then an answer made of them, beside one candidate and an answer made of it; every text is as long as said \
         (`ignore_eos`). The ratio is of the same round; wanted: {MAX_RATIO} at most, with the outline of {OUTLINE} tokens, which is generated beside the \
         candidates and one candidate does not need. Cached are prompt tokens of outline, candidates and answer that were not computed again, by \
         `usage` and by /metrics alike.\n\n\
         | words asked about | tokens each | one, s | five, no outline, s | ratio | five, s | ratio | cached | |\n|---|---|---|---|---|---|---|---|---|\n{table}"
    );
    Ok((body, all_met))
}

/// A field of an answer's usage.
fn used(body: &Value, pointer: &str) -> u64 {
    let value = body["usage"].pointer(pointer);
    value.and_then(Value::as_u64).unwrap_or_default()
}

fn round(
    outlined: &Server,
    bare: &Server,
    words: usize,
    tokens: u64,
    number: u64,
) -> Result<Round> {
    // A text of its own in each round, or the one before would have filled the cache.
    let text = |edition: u64| {
        let document = documents::english(1000 * words as u64 + 100 * tokens + edition);
        let words: Vec<&str> = document.split_whitespace().take(words).collect();
        words.join(" ")
    };
    let one = one_candidate(outlined, &text(3 * number), tokens)?;
    let (outlined, counted) = five(outlined, &text(3 * number + 1), tokens, OUTLINE)?;
    let (bare, _) = five(bare, &text(3 * number + 2), tokens, 0)?;
    Ok(Round {
        one,
        outlined,
        bare,
        cached: counted.0,
        asked: counted.1,
    })
}

fn body(text: &str, question: &str, tokens: u64) -> Value {
    json!({
        "messages": [{"role": "system", "content": text}, {"role": "user", "content": question}],
        "max_tokens": tokens, "temperature": 0.8, "seed": 1, "ignore_eos": true,
    })
}

const QUESTION: &str = "What is this text about?";

/// Seconds of a candidate and of an answer made of it.
fn one_candidate(server: &Server, text: &str, tokens: u64) -> Result<f64> {
    let client = Client::new(server);
    let begun = Instant::now();
    let candidate = whole(client.chat(&body(text, QUESTION, tokens))?, tokens)?;
    let said = candidate["choices"][0]["message"]["content"].as_str();
    let said = said.context("a candidate without text")?;
    let synthesis =
        format!("{QUESTION}\n\nAn answer was drafted:\n\n[1]\n{said}\n\nWrite the final answer.");
    whole(client.chat(&body(text, &synthesis, tokens))?, tokens)?;
    Ok(begun.elapsed().as_secs_f64())
}

fn whole(reply: Reply, tokens: u64) -> Result<Value> {
    ensure!(reply.status == 200, "{}", reply.body);
    let made = used(&reply.body, "/completion_tokens");
    ensure!(made == tokens, "{made} tokens and not {tokens}");
    Ok(reply.body)
}

/// Seconds of five and the answer; their cached prompt tokens, and all of them.
fn five(server: &Server, text: &str, tokens: u64, outline: u64) -> Result<(f64, (u64, u64))> {
    let client = Client::new(server);
    let hits = || client.metric("weir_prefix_cache_hit_tokens_total");
    let before = hits()?.unwrap_or_default();
    let begun = Instant::now();
    let mut body = body(text, QUESTION, tokens);
    body["mpr_candidates"] = CANDIDATES.into();
    let expected = outline + (CANDIDATES + 1) * tokens;
    let body = whole(client.chat(&body)?, expected)?;
    let seconds = begun.elapsed().as_secs_f64();
    let cached = used(&body, "/prompt_tokens_details/cached_tokens");
    let found = hits()?.unwrap_or_default() - before;
    ensure!(
        (found - cached as f64).abs() < 0.5,
        "usage says {cached} cached tokens, the metrics {found}"
    );
    let generations = used(&body, "/processing_details/generations");
    let outlines = u64::from(outline > 0);
    ensure!(
        generations == CANDIDATES + outlines,
        "{generations} generations"
    );
    let of_candidates = used(&body, "/processing_details/completion_tokens");
    ensure!(
        of_candidates == expected - tokens,
        "{of_candidates} tokens behind the answer's"
    );
    Ok((seconds, (cached, used(&body, "/prompt_tokens"))))
}
