//! `cargo xtask constrained-cost`: what a schema costs, measured in one run with and without it.
//!
//! Streams within a schema take turns with streams of free text that are exactly as long, on the same prompts, so that the
//! machine's moods meet both. Steps are counted by the server: with tokens that the schema forces, an answer takes fewer of
//! them than it has tokens. A schema that was never seen before delays the first token; each of those measured is new.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use crate::{
    ask::{self, Client, Stream},
    release, report, servers,
};

/// Streams at once.
const STREAMS: usize = 8;
/// Wanted: throughput of bound streams in parts of that of free ones.
const MIN_RATIO: f64 = 0.9;
/// Wanted: steps that a key-heavy schema saves, in parts of its tokens.
const MIN_SAVED: f64 = 0.25;
/// Wanted: what the first use of a large schema adds until the first token.
const MAX_FIRST_USE: Duration = Duration::from_millis(50);
/// Wanted: the time of a mask, of 99 in a hundred.
const MAX_MASK: Duration = Duration::from_millis(1);
/// Times of masks, and times that steps waited for one.
const MASKS: &str = "weir_mask_seconds";
const WAITS: &str = "weir_mask_wait_seconds";
/// Times that steps waited to learn what is forced.
const FORCED_WAITS: &str = "weir_forced_wait_seconds";
const STEPS: &str = "weir_step_seconds_count";
/// Bytes of the large schema, at least.
const LARGE: usize = 20_000;

#[derive(clap::Args)]
pub struct Arguments {
    /// Rounds of each kind, bound and free in turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// New schemas whose first use is measured
    #[arg(long, default_value_t = 15)]
    schemas: usize,
    /// Use this binary instead of building weir in the release profile
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// The report in the making.
#[derive(Default)]
struct Findings {
    table: String,
    met: bool,
}

impl Findings {
    fn row(&mut self, what: &str, measured: &str, wanted: &str, met: bool) {
        self.met &= met;
        let verdict = if met { "met" } else { "**not met**" };
        let line = format!("| {what} | {measured} | {wanted} | {verdict} |\n");
        print!("{line}");
        self.table.push_str(&line);
    }
}

/// Measures and writes tests/reports/constrained_cost.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let binary = release::weir_or(arguments.binary.as_deref(), root)?;
    let model = release::default_model(&binary)?;
    let log = root.join("target/constrained_cost/weir.log");
    let server = servers::weir(&binary, &model, &[], &log)?;
    let client = Client::new(&server);
    let mut findings = Findings {
        met: true,
        table: "| what | measured | wanted | |\n|---|---|---|---|\n".to_owned(),
    };
    for (what, schema) in [("long texts", texts()), ("many keys", keys())] {
        throughput(&client, what, &schema, arguments.rounds, &mut findings)?;
    }
    masks(&client, &mut findings)?;
    steps(&client, &mut findings)?;
    first_use(&client, arguments.schemas, &mut findings)?;
    let body = format!(
        "The default model, {STREAMS} streams at once, medians of {} rounds in turns; temperature 1.\n\n{}",
        arguments.rounds, findings.table
    );
    let command = "cargo xtask constrained-cost";
    report::write(
        root,
        "constrained_cost",
        "What a schema costs",
        command,
        &body,
    )?;
    ensure!(
        findings.met,
        "not all is as it must be; the table says what"
    );
    Ok(())
}

fn question(number: usize) -> Value {
    let content = format!("Tell me about place number {number} on your journey.");
    json!({"messages": [{"role": "user", "content": content}], "temperature": 1.0, "seed": number, "max_tokens": 1000})
}

fn bound(mut question: Value, schema: &Value) -> Value {
    question["response_format"] =
        json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}});
    question
}

/// As many tokens without a schema.
fn free(mut question: Value, tokens: u64) -> Value {
    question["max_tokens"] = tokens.into();
    question["ignore_eos"] = true.into();
    question
}

/// Tokens a second of streams bound and free.
fn throughput(
    client: &Client,
    what: &str,
    schema: &Value,
    rounds: usize,
    findings: &mut Findings,
) -> Result<()> {
    let (mut of_bound, mut of_free, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // What is asked for the first time is compiled and its prompts are computed: both come before the measuring.
    streams(|number| client.stream(&bound(question(number), schema)))?;
    for round in 1..=rounds {
        let asked = |number| question(round * STREAMS + number);
        let (bound_rate, lengths) = streams(|number| client.stream(&bound(asked(number), schema)))?;
        let (free_rate, _) =
            streams(|number| client.stream(&free(asked(number), lengths[number])))?;
        eprintln!(
            "{what}, round {round}: {bound_rate:.0} and {free_rate:.0} tokens/s, {lengths:?} tokens"
        );
        of_bound.push(bound_rate);
        of_free.push(free_rate);
        ratios.push(bound_rate / free_rate);
    }
    let ratio = median(&mut ratios);
    let measured = format!(
        "{:.0} of {:.0} tokens/s, {:.0}%",
        median(&mut of_bound),
        median(&mut of_free),
        ratio * 100.0
    );
    let wanted = format!("{:.0}%", MIN_RATIO * 100.0);
    let what = format!("throughput of a schema of {what}, of free text");
    findings.row(&what, &measured, &wanted, ratio >= MIN_RATIO);
    Ok(())
}

/// Tokens a second of streams at once, and the tokens of each.
fn streams(one: impl Fn(usize) -> Result<Stream> + Sync) -> Result<(f64, Vec<u64>)> {
    let begun = Instant::now();
    let streams = ask::at_once(STREAMS, STREAMS, one);
    let seconds = begun.elapsed().as_secs_f64();
    let lengths = streams
        .into_iter()
        .map(|stream| Ok(stream?.tokens))
        .collect::<Result<Vec<_>>>()?;
    Ok((lengths.iter().sum::<u64>() as f64 / seconds, lengths))
}

/// What the server says of the masks so far.
fn masks(client: &Client, findings: &mut Findings) -> Result<()> {
    let shown = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let mask = client.quantile(MASKS, 0.99)?;
    findings.row(
        "a mask, p99",
        &format!("at most {}", shown(mask)),
        &format!("below {}", shown(MAX_MASK)),
        mask <= MAX_MASK,
    );
    let computed = client.metric("weir_step_seconds_sum")?.unwrap_or_default();
    let share = |name: &str| -> Result<f64> {
        let waited = client.metric(&format!("{name}_sum"))?;
        Ok(100.0 * waited.unwrap_or_default() / computed.max(f64::MIN_POSITIVE))
    };
    let waited = share(WAITS)?;
    findings.row(
        "steps waited for masks",
        &format!("{waited:.2}% of their time"),
        "below 1%",
        waited < 1.0,
    );
    let learning = share(FORCED_WAITS)?;
    findings.row(
        "steps waited to learn what is forced, which saves others",
        &format!("{learning:.2}% of their time"),
        "below 5%",
        learning < 5.0,
    );
    Ok(())
}

/// Steps of an answer of many keys, alone on the server.
fn steps(client: &Client, findings: &mut Findings) -> Result<()> {
    let schema = keys();
    let before = client.metric(STEPS)?.unwrap_or_default();
    let mut tokens = 0;
    for number in 0..STREAMS {
        tokens += client
            .stream(&bound(question(1_000 + number), &schema))?
            .tokens;
    }
    let steps = client.metric(STEPS)?.unwrap_or_default() - before;
    let saved = 1.0 - steps / tokens as f64;
    findings.row(
        "steps saved on a schema of many keys",
        &format!(
            "{steps:.0} steps for {tokens} tokens: {:.0}%",
            saved * 100.0
        ),
        &format!("{:.0}%", MIN_SAVED * 100.0),
        saved >= MIN_SAVED,
    );
    Ok(())
}

/// What a schema that is new adds until the first token.
fn first_use(client: &Client, schemas: usize, findings: &mut Findings) -> Result<()> {
    let (mut new, mut known, mut without) = (Vec::new(), Vec::new(), Vec::new());
    let first =
        |body: &Value| Ok::<_, anyhow::Error>(client.stream(body)?.first.as_secs_f64() * 1e3);
    let short = |mut body: Value| {
        body["max_tokens"] = 24.into();
        body
    };
    first(&short(question(1)))?;
    for number in 0..schemas {
        let asked = bound(question(1), &large(number));
        without.push(first(&free(question(1), 24))?);
        new.push(first(&short(asked.clone()))?);
        known.push(first(&short(asked))?);
    }
    let (new, known, without) = (median(&mut new), median(&mut known), median(&mut without));
    let added = new - without;
    findings.row(
        "time to the first token, first use of a 20 KB schema",
        &format!("{new:.1} ms, {known:.1} ms when it is known, {without:.1} ms without: {added:.1} ms added"),
        &format!("{} ms", MAX_FIRST_USE.as_millis()),
        added <= MAX_FIRST_USE.as_secs_f64() * 1e3,
    );
    Ok(())
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// An object whose properties are all asked for.
fn object(properties: Map<String, Value>) -> Value {
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

/// Little is forced: the model writes texts.
fn texts() -> Value {
    let text = json!({"type": "string", "minLength": 150, "maxLength": 250});
    let keys = ["arrival", "stay", "departure"].map(|key| (key.to_owned(), text.clone()));
    object(Map::from_iter(keys))
}

/// Much is forced: long keys, short values.
fn keys() -> Value {
    let values = [
        json!({"type": "integer", "minimum": 0, "maximum": 99}),
        json!({"type": "boolean"}),
        json!({"type": "string", "maxLength": 12}),
        json!({"enum": ["excellent", "good", "average", "poor"]}),
    ];
    let keys = [
        "number_of_inhabitants_in_thousands",
        "has_a_railway_station",
        "name_of_the_mayor",
        "quality_of_the_accommodation",
        "average_temperature_in_celsius",
        "is_worth_a_second_visit",
        "language_spoken_at_the_market",
        "condition_of_the_roads",
    ];
    let properties = keys.iter().zip(values.iter().cycle());
    let properties = properties.map(|(key, value)| ((*key).to_owned(), value.clone()));
    object(properties.collect())
}

/// A schema that differs for each number, from its first key on.
fn large(number: usize) -> Value {
    let mut sections = Map::new();
    let mut size = 0;
    for section in 0.. {
        let properties = (0..6).map(|at| {
            let key = format!("detail_{at}_of_section_{section}_in_schema_{number}");
            let value = match at % 3 {
                0 => json!({"type": "string", "maxLength": 40, "description": "What is known of it, in a few words."}),
                1 => json!({"type": "integer", "minimum": 0, "maximum": 1000 + section}),
                _ => json!({"type": "array", "items": {"enum": ["red", "green", "blue", section]}, "maxItems": 3}),
            };
            (key, value)
        });
        let value = object(properties.collect());
        size += value.to_string().len();
        sections.insert(format!("section_{section}_of_schema_{number}"), value);
        if size >= LARGE {
            break;
        }
    }
    object(sections)
}
