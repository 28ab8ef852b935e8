//! The second table of `cargo xtask push-cost`: a push of every first-party tool parser, as a component.
//!
//! Parsers take turns, block by block, as in `push_cost`. Each streams plain text, and a string argument of a call that
//! is written as its models write it. Nothing is asserted: a time is no test.

use std::{path::Path, sync::Arc, time::Instant};

use weir_output::{Event, Fragment, FragmentKind, Parser, RequestContext, Tool};
use weir_plugin_host::{PluginHost, PluginHostConfig, Registry};

const ROUNDS: usize = 400;
const BLOCK: usize = 50;
const DELTA: usize = 4;
const CHARACTERS: usize = 2_000;

/// Each parser, what ends its reasoning if its output starts there, and what stands before the text of the argument `text`
/// of the tool `f`.
const CALLS: [(&str, &str, &str); 30] = [
    (
        "deepseek_v3",
        "",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"text\": \"",
    ),
    (
        "deepseek_v31",
        "",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"text\": \"",
    ),
    (
        "ernie45",
        "</think>",
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"text\": \"",
    ),
    (
        "functiongemma",
        "",
        "<start_function_call>call:f{text:<escape>",
    ),
    ("gemma4", "", "<|tool_call>call:f{text:<|\"|>"),
    (
        "gpt_oss",
        "",
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"text\": \"",
    ),
    (
        "granite",
        "",
        "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"text\": \"",
    ),
    (
        "hunyuan",
        "",
        "<tool_calls>[{\"name\": \"f\", \"arguments\": {\"text\": \"",
    ),
    (
        "internlm",
        "",
        "<|action_start|><|plugin|>{\"name\": \"f\", \"parameters\": {\"text\": \"",
    ),
    (
        "jamba",
        "",
        "<tool_calls>[{\"name\": \"f\", \"arguments\": {\"text\": \"",
    ),
    (
        "kimi_k2",
        "",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"text\": \"",
    ),
    (
        "llama3",
        "",
        "{\"name\": \"f\", \"parameters\": {\"text\": \"",
    ),
    ("llama4_pythonic", "", "<|python_start|>[f(text=\""),
    (
        "marked_calls",
        "",
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"text\": \"",
    ),
    (
        "mistral",
        "",
        "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"text\": \"",
    ),
    (
        "phi4mini",
        "",
        "functools[{\"name\": \"f\", \"arguments\": {\"text\": \"",
    ),
    ("pythonic", "", "[f(text=\""),
    (
        "qwen25",
        "",
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"text\": \"",
    ),
    (
        "xlam",
        "",
        "[{\"name\": \"f\", \"arguments\": {\"text\": \"",
    ),
    (
        "deepseek_v32",
        "",
        "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"text\" string=\"true\">",
    ),
    (
        "deepseek_v4",
        "",
        "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"text\" string=\"true\">",
    ),
    (
        "deepseek_v41",
        "",
        "<｜DSML｜ calls>\n<｜DSML｜ invoke name=\"f\">\n<｜DSML｜ parameter name=\"text\" string=\"true\">",
    ),
    (
        "glm45",
        "",
        "<tool_call>f\n<arg_key>text</arg_key>\n<arg_value>",
    ),
    (
        "minimax_m2",
        "</think>",
        "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"text\">",
    ),
    (
        "qwen3_coder",
        "",
        "<tool_call>\n<function=f>\n<parameter=text>\n",
    ),
    (
        "seed_oss",
        "</seed:think>",
        "<seed:tool_call>\n<function=f>\n<parameter=text>",
    ),
    (
        "step3",
        "</think>",
        "<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name=\"f\"><steptml:parameter name=\"text\">",
    ),
    ("deepseek_r1", "</think>", ""),
    ("qwen3", "", ""),
    ("marked_reasoning", "</think>", ""),
];
/// From here on calls are XML-like.
const FIRST_XML: &str = "deepseek_v32";
const LAST_XML: &str = "step3";

struct Subject {
    name: &'static str,
    parser: Arc<dyn Parser>,
    /// Plain text, and the argument of a call: what is pushed first, and the times in nanoseconds a push.
    streams: Vec<(String, Vec<f64>)>,
}

fn main() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let host = PluginHost::new(&PluginHostConfig::default()).expect("a host");
    let registry = Registry::builder(&host).manifest_file(&root.join("plugins.toml"));
    let registry = registry.expect("the manifest").build().expect("names");
    let mut subjects: Vec<Subject> = CALLS
        .into_iter()
        .map(|(name, before, call)| Subject {
            name,
            parser: registry.parser(name).expect(name),
            streams: [
                Some(before.to_owned()),
                (!call.is_empty()).then(|| format!("{before}{call}")),
            ]
            .into_iter()
            .flatten()
            .map(|start| (start, Vec::new()))
            .collect(),
        })
        .collect();
    let text: Vec<char> = "plain text with words "
        .chars()
        .cycle()
        .take(CHARACTERS)
        .collect();
    let deltas: Vec<Fragment> = text
        .chunks(DELTA)
        .map(|piece| fragment(piece.iter().collect()))
        .collect();
    for round in 0..ROUNDS {
        if round % (ROUNDS / 10) == 0 {
            eprintln!("round {round} of {ROUNDS}");
        }
        for subject in &mut subjects {
            for (start, times) in &mut subject.streams {
                stream(subject.parser.as_ref(), start, &deltas, times);
            }
        }
    }
    let mut xml = false;
    println!(
        "| parser | content, best tenth | content, median | arguments, best tenth | arguments, median | bar |"
    );
    println!("|---|---|---|---|---|---|");
    for subject in &mut subjects {
        xml |= subject.name == FIRST_XML;
        let bar = match subject.streams.len() {
            1 => "600",
            _ if xml => "600 / 1,500",
            _ => "600 / 1,000",
        };
        let figures: Vec<String> = (0..2)
            .map(|index| match subject.streams.get_mut(index) {
                Some((_, times)) => {
                    times.sort_by(f64::total_cmp);
                    format!(
                        "{:.0} ns | {:.0} ns",
                        times[times.len() / 10],
                        times[times.len() / 2]
                    )
                }
                None => " | ".to_owned(),
            })
            .collect();
        println!("| {} | {} | {bar} |", subject.name, figures.join(" | "));
        xml &= subject.name != LAST_XML;
    }
}

fn fragment(text: String) -> Fragment {
    Fragment {
        text,
        kind: FragmentKind::Text,
    }
}

/// Times the deltas block by block; a call has to have begun by then.
fn stream(parser: &dyn Parser, start: &str, deltas: &[Fragment], times: &mut Vec<f64>) {
    let context = RequestContext {
        tools: vec![Tool {
            name: "f".to_owned(),
            description: None,
            parameters: r#"{"type": "object", "properties": {"text": {"type": "string"}}}"#
                .to_owned(),
            strict: false,
        }],
        ..RequestContext::default()
    };
    let mut session = parser.session(&context).expect("a session");
    let mut events = Vec::new();
    if !start.is_empty() {
        session
            .push(&fragment(start.to_owned()), &mut events)
            .expect("a sound plugin");
        let begun = events
            .iter()
            .any(|event| matches!(event, Event::CallBegin { .. }));
        assert!(
            begun || start.starts_with("</") && !start.contains("f"),
            "no call in {start}"
        );
    }
    for block in deltas.chunks_exact(BLOCK) {
        let begun = Instant::now();
        for delta in block {
            events.clear();
            session.push(delta, &mut events).expect("a sound plugin");
        }
        times.push(begun.elapsed().as_secs_f64() * 1e9 / BLOCK as f64);
    }
}
