//! What standing in front costs: time to the first token beside the engine asked directly, and processor time of weir's own
//! process for each token of 64 streams.
//!
//! Both ways take turns within one run, and prompts are never the same twice, so neither the machine's moods nor a prefix cache
//! favour one of them. weir's processor time is what the system counted for its process, all threads, in user and kernel.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    peer,
    servers::{self, Server},
};

/// Streams at once, of those that are counted by processor time.
const STREAMS: u32 = 64;
/// Tokens a second of each, as of a large model on a busy GPU: events come one by one, not in heaps.
const PACE: u32 = 40;
/// Tokens of a replayed answer.
const ANSWER: usize = 128;
/// Wanted: milliseconds that the first token may come later.
const MAX_TTFT: f64 = 1.0;
/// Wanted: microseconds of processor time a token.
const MAX_CPU: f64 = 100.0;

/// The loads, as `weir bench` has them.
const ONE: &str = "--concurrency 1 --requests 200 --output-tokens 8 --respect-eos";
const ONE_LLAMA: &str = "--concurrency 1 --requests 12 --input-tokens 20 --output-tokens 4";
const MANY: (&str, u32) = ("--concurrency 64 --output-tokens 128 --respect-eos", 256);
const MANY_LLAMA: (&str, u32) = ("--concurrency 64 --input-tokens 20 --output-tokens 32", 64);

/// An engine, and weir in front of it.
struct Pair<'a> {
    engine: &'a Server,
    front: Server,
}

/// The way of a load.
#[derive(Clone, Copy)]
enum Way {
    Direct,
    Through,
}

impl Pair<'_> {
    fn new<'a>(weir: &Path, engine: &'a Server, tokenizer: &str, log: &Path) -> Result<Pair<'a>> {
        let mut command = Command::new(weir);
        command
            .args(["serve", "--port", "0", "--engine", &engine.url])
            .args(["--tokenizer", tokenizer])
            // The parsers of most reasoning models that call tools.
            .args([
                "--reasoning-parser",
                "qwen3",
                "--tool-call-parser",
                "hermes",
            ]);
        crate::release::clean_environment(&mut command);
        let front = Server::start(&mut command, "weir serves", log)?;
        Ok(Pair { engine, front })
    }

    /// One run of `weir bench`; a seed of its own makes its prompts new.
    fn load(&self, weir: &Path, way: Way, flags: &[&str], seed: u32) -> Result<Value> {
        let server = match way {
            Way::Direct => self.engine,
            Way::Through => &self.front,
        };
        let mut command = Command::new(weir);
        command
            .args(["bench", "--url", &server.url, "--json", "-"])
            .args(["--seed", &seed.to_string()])
            .args(flags)
            .stderr(Stdio::null());
        let figures: Value = serde_json::from_str(&peer::output(&mut command)?)?;
        let level = &figures["levels"][0]["server"];
        ensure!(level["failed"] == 0, "requests failed: {level}");
        Ok(level["median"].clone())
    }

    /// Median times to the first token in milliseconds, both ways, and the median of what was added from round to round.
    fn first_token(&self, weir: &Path, flags: &[&str], rounds: u32, seed: u32) -> Result<[f64; 3]> {
        let mut found: [Vec<f64>; 3] = Default::default();
        for round in 0..rounds {
            let ask = |way, turn| {
                let figures = self.load(weir, way, flags, seed + 2 * round + turn)?;
                let median = figures.pointer("/ttft_ms/p50").and_then(Value::as_f64);
                median.context("no time to the first token")
            };
            let (direct, through) = match round % 2 {
                0 => (ask(Way::Direct, 0)?, ask(Way::Through, 1)?),
                _ => {
                    let through = ask(Way::Through, 1)?;
                    (ask(Way::Direct, 0)?, through)
                }
            };
            eprintln!(
                "round {}: {direct:.2} ms directly, {through:.2} ms through weir",
                round + 1
            );
            for (all, one) in found.iter_mut().zip([direct, through, through - direct]) {
                all.push(one);
            }
        }
        Ok(found.map(median))
    }

    /// Microseconds of weir's processor time a token, the median of the rounds; and tokens a second through it.
    fn processor_time(
        &self,
        weir: &Path,
        (flags, requests): (&str, u32),
        rounds: u32,
        seed: u32,
    ) -> Result<[f64; 2]> {
        let count = requests.to_string();
        let flags: Vec<&str> = words(flags)
            .into_iter()
            .chain(["--requests", &count])
            .collect();
        let (mut costs, mut rates) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let before = processor_seconds(self.front.id())?;
            let figures = self.load(weir, Way::Through, &flags, seed + round)?;
            let seconds = processor_seconds(self.front.id())? - before;
            let number = |name: &str| figures[name].as_f64().context("no figure");
            // The figures' tokens are those of one answer.
            let tokens = number("completion_tokens")? * f64::from(requests);
            costs.push(seconds * 1e6 / tokens);
            rates.push(number("output_throughput")?);
            eprintln!(
                "round {}: {:.1} µs a token",
                round + 1,
                seconds * 1e6 / tokens
            );
        }
        Ok([median(costs), median(rates)])
    }
}

/// What was found: times to the first token (directly, through weir, added) and costs a token with tokens a second.
struct Found {
    first_token: [f64; 3],
    first_token_llama: [f64; 3],
    cost: [f64; 2],
    cost_llama: [f64; 2],
}

/// The table, and whether both bars are met.
pub(super) fn measure(
    weir: &Path,
    llama: &Server,
    model: &str,
    folder: &Path,
    rounds: u32,
) -> Result<(String, bool)> {
    let replay = |name: &str, pace: Option<u32>| -> Result<(String, Server)> {
        let source = write_replay(&folder.join(name), pace)?;
        let options = ["--max-num-seqs", "64", "--max-model-len", "8192"];
        let engine = servers::weir(weir, &source, &options, &folder.join(format!("{name}.log")))?;
        Ok((source, engine))
    };
    let (text, fast) = replay("fast.jsonl", None)?;
    let (_, paced) = replay("paced.jsonl", Some(PACE))?;
    let front =
        |engine, tokenizer: &str, log| Pair::new(weir, engine, tokenizer, &folder.join(log));
    let fast = front(&fast, &text, "front-fast.log")?;
    let paced = front(&paced, &text, "front-paced.log")?;
    let llama = front(llama, model, "front-llama.log")?;
    let found = Found {
        first_token: fast.first_token(weir, &words(ONE), rounds, 1_000)?,
        first_token_llama: llama.first_token(weir, &words(ONE_LLAMA), rounds, 2_000)?,
        cost: paced.processor_time(weir, MANY, rounds, 3_000)?,
        cost_llama: llama.processor_time(weir, MANY_LLAMA, 1, 4_000)?,
    };
    Ok(found.table(rounds))
}

fn words(flags: &str) -> Vec<&str> {
    flags.split_whitespace().collect()
}

impl Found {
    fn table(&self, rounds: u32) -> (String, bool) {
        let verdict = |met: bool| if met { "met" } else { "**not met**" };
        let added = |[direct, through, added]: [f64; 3]| {
            format!("{direct:.2} ms directly, {through:.2} ms through weir: {added:.2} ms added")
        };
        let spent = |[cost, rate]: [f64; 2]| format!("{cost:.0} µs at {rate:.0} tokens/s");
        let late = "time to the first token, 1 stream";
        let busy = format!("weir's processor time a token, {STREAMS} streams");
        let quick = self.first_token[2] < MAX_TTFT;
        let cheap = self.cost[0] < MAX_CPU;
        let rows = [
            (
                late,
                "replay",
                added(self.first_token),
                format!("< {MAX_TTFT} ms"),
                verdict(quick),
            ),
            (
                &busy,
                &format!("replay, {PACE} tokens/s a stream"),
                spent(self.cost),
                format!("< {MAX_CPU} µs"),
                verdict(cheap),
            ),
            (
                late,
                "llama.cpp",
                added(self.first_token_llama),
                String::new(),
                "",
            ),
            (
                &busy,
                "llama.cpp, 16 at once",
                spent(self.cost_llama),
                String::new(),
                "",
            ),
        ];
        let mut text = format!(
            "Medians of {rounds} rounds; `weir bench` asks for chats (of the replay with prompts of 200 words, a token a byte), and weir reads the answers \
             with the parsers `qwen3` and `hermes`. The engine in front of which the bars are measured is a second weir that \
             replays texts: it costs next to nothing, so what is added is weir's. The same in front of llama.cpp, which computes \
             on the same two cores, stands below.\n\n| what | engine | measured | wanted | |\n|---|---|---|---|---|\n"
        );
        for (what, engine, measured, wanted, verdict) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {what} | {engine} | {measured} | {wanted} | {verdict} |"
            );
        }
        (text, quick && cheap)
    }
}

/// Writes what a replaying engine says, and tells how that is named as a model.
fn write_replay(path: &Path, pace: Option<u32>) -> Result<String> {
    // Each is a token: words as models write them.
    let words = [
        "The",
        " river",
        " runs",
        " past",
        " old",
        " stone",
        " bridges,",
        " and",
    ];
    let chunks: Vec<&str> = words.iter().cycle().take(ANSWER).copied().collect();
    let mut line = serde_json::json!({"chunks": chunks});
    if let Some(pace) = pace {
        line["tokens_per_second"] = pace.into();
    }
    fs::write(path, format!("{line}\n")).with_context(|| path.display().to_string())?;
    Ok(format!("replay:{}", path.display()))
}

/// Processor time of a process so far, all its threads: `utime` and `stime` of proc(5), in clock ticks.
fn processor_seconds(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).context(path)?;
    // The name, in parentheses, may hold spaces; behind it fields are counted from the third.
    let (_, fields) = text.rsplit_once(") ").context("no process status")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |number: usize| -> Result<f64> {
        let field = fields.get(number - 3).context("a short process status")?;
        Ok(field.parse()?)
    };
    let a_second = peer::output(Command::new("getconf").arg("CLK_TCK"))?;
    let a_second: f64 = a_second.trim().parse()?;
    Ok((ticks(14)? + ticks(15)?) / a_second)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
