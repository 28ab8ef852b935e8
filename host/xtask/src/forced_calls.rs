//! `cargo xtask forced-calls`: the default model, at temperature 1, must call a tool in the format of each of many families;
//! what it may write is the `grammar` of that family's plugin, and the same plugin parses it.
//!
//! Every answer must be one call of an offered tool, and nothing beside it, with arguments that the tool's schema takes.
//! Strings have a greatest length and one call is asked for: where both were left open, 6 of 50 answers of this small model
//! went on, each a valid beginning of calls, until they were cut off.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    ask::{self, Client, Reply},
    release, report, servers,
};

/// The four that users named, and others whose formats differ in kind: channels, XML, key and value tags, numbered calls,
/// Python, markup of one's own, braces without quotes.
const PARSERS: [&str; 12] = [
    "deepseek_v3",
    "qwen25",
    "llama3",
    "mistral",
    "gpt_oss",
    "qwen3_coder",
    "glm45",
    "kimi_k2",
    "pythonic",
    "deepseek_v32",
    "gemma4",
    "minimax_m2",
];
const MAX_TOKENS: u64 = 400;
/// Tokens of reasoning, where the family's format has it before a call: this model, which was not taught to, finds no end.
const REASONING: u64 = 16;
const QUESTIONS: [&str; 10] = [
    "What is the weather in Paris?",
    "Wake me up in ten minutes.",
    "Write to Ada that the meeting is at noon.",
    "Tell me a joke.",
    "Is it raining in Nairobi, and how warm is it in Oslo?",
    "Convert 20 degrees Celsius to Fahrenheit.",
    "Add milk, eggs and flour to my shopping list.",
    "Who wrote Faust?",
    "Set a timer for 90 seconds, please!",
    "Ignore the tools and answer in plain text.",
];

#[derive(clap::Args)]
pub struct Arguments {
    /// Calls forced of each parser
    #[arg(long, default_value_t = 200)]
    calls: usize,
    /// Requests at once
    #[arg(long, default_value_t = 12)]
    at_once: usize,
    /// Only these parsers, as plugins.toml names them; no report is written then
    #[arg(value_name = "PARSER")]
    parsers: Vec<String>,
    /// Ask this binary instead of building weir in the release profile
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// One answer: its tokens, and the tool it called or what is wrong.
type Outcome = (u64, Result<String>);

/// Forces calls of every parser and writes tests/reports/forced_calls.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let binary = release::weir_or(arguments.binary.as_deref(), root)?;
    let model = release::default_model(&binary)?;
    let parsers: Vec<&str> = match arguments.parsers.as_slice() {
        [] => PARSERS.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let tools = tools();
    // The prompt offers the tools in one family's way: what the answer looks like, the grammar alone says.
    let template = root.join("chat_templates/hermes.jinja");
    let template = template.display().to_string();
    let mut table =
        "| parser | valid calls | tokens, mean | tools called |\n|---|---|---|---|\n".to_owned();
    let (mut remarks, mut valid) = (String::new(), 0);
    for parser in &parsers {
        let log = root.join(format!("target/forced_calls/{parser}.log"));
        let options = ["--tool-call-parser", parser, "--chat-template", &template];
        let server = servers::weir(&binary, &model, &options, &log)?;
        let client = Client::new(&server);
        let outcomes = ask::at_once(arguments.calls, arguments.at_once, |number| {
            let reply = client.chat(&request(&tools, number));
            let reply = match reply {
                Ok(reply) => reply,
                Err(error) => return (0, Err(error)),
            };
            let tokens = reply.body["usage"]["completion_tokens"].as_u64();
            (tokens.unwrap_or(0), judge(&reply, &tools, number))
        });
        valid += outcomes.iter().filter(|(_, call)| call.is_ok()).count();
        let line = line(parser, &outcomes);
        print!("{line}");
        table.push_str(&line);
        remarks.push_str(&complaints(parser, &outcomes));
    }
    let wanted = parsers.len() * arguments.calls;
    let body = format!(
        "Temperature 1, over HTTP; a third of the requests each with `tool_choice` \"required\", the tool named, and `strict` tools \
         with \"required\". {valid} of {wanted} answers are one valid call each.\n\n{table}\n{remarks}"
    );
    print!("{remarks}");
    if arguments.parsers.is_empty() {
        let command = match arguments.calls {
            200 => "cargo xtask forced-calls".to_owned(),
            calls => format!("cargo xtask forced-calls --calls {calls}"),
        };
        let title = "Forced calls of the default model";
        report::write(root, "forced_calls", title, &command, &body)?;
    }
    ensure!(
        valid == wanted,
        "{valid} of {wanted} answers are valid calls"
    );
    Ok(())
}

/// Which tool a request names, if it names one.
fn named(tools: &[Value], number: usize) -> Option<&str> {
    (number % 3 == 1).then(|| tools[number / 3 % tools.len()]["function"]["name"].as_str())?
}

fn request(tools: &[Value], number: usize) -> Value {
    let question = QUESTIONS[number % QUESTIONS.len()];
    let choice = match named(tools, number) {
        Some(name) => json!({"type": "function", "function": {"name": name}}),
        None => json!("required"),
    };
    let mut tools = tools.to_vec();
    if number % 3 == 2 {
        for tool in &mut tools {
            tool["function"]["strict"] = true.into();
        }
    }
    json!({
        "messages": [{"role": "user", "content": question}],
        "tools": tools,
        "tool_choice": choice,
        "parallel_tool_calls": false,
        "temperature": 1.0,
        "seed": number,
        "max_tokens": MAX_TOKENS,
        "reasoning_budget": REASONING,
    })
}

/// The name of the one tool that an answer calls, if it is a valid call and nothing else.
fn judge(reply: &Reply, tools: &[Value], number: usize) -> Result<String> {
    let body = &reply.body;
    ensure!(reply.status == 200, "{}: {body}", reply.status);
    let choice = &body["choices"][0];
    let (reason, message) = (&choice["finish_reason"], &choice["message"]);
    // A tool that is named is not the model's choice, and then OpenAI says `stop`.
    ensure!(
        reason == "tool_calls" || reason == "stop",
        "finish_reason {reason}: {message}"
    );
    let content = message["content"].as_str().unwrap_or_default();
    ensure!(content.is_empty(), "text beside the call: {content:?}");
    let calls = message["tool_calls"].as_array().context("no call")?;
    let [call] = calls.as_slice() else {
        anyhow::bail!("{} calls", calls.len());
    };
    let name = call["function"]["name"].as_str().unwrap_or_default();
    let tool = tools.iter().find(|tool| tool["function"]["name"] == name);
    let tool = tool.with_context(|| format!("`{name}` was not offered"))?;
    if let Some(wanted) = named(tools, number) {
        ensure!(name == wanted, "`{wanted}` was named, `{name}` called");
    }
    let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
    let parsed: Value = serde_json::from_str(arguments).with_context(|| arguments.to_owned())?;
    jsonschema::validate(&tool["function"]["parameters"], &parsed)
        .map_err(|error| anyhow::anyhow!("{name}: {error}: {arguments}"))?;
    Ok(name.to_owned())
}

fn tools() -> Vec<Value> {
    let tool = |name: &str, description: &str, properties: Value| {
        let required: Vec<&String> = properties
            .as_object()
            .into_iter()
            .flat_map(|them| them.keys())
            .collect();
        json!({"type": "function", "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object", "properties": properties, "required": required, "additionalProperties": false,
            },
        }})
    };
    let text = |most: u64| json!({"type": "string", "maxLength": most});
    vec![
        tool(
            "get_weather",
            "The weather in a city",
            json!({"city": text(60), "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}}),
        ),
        tool(
            "set_timer",
            "Rings after so many seconds",
            json!({"seconds": {"type": "integer", "minimum": 1, "maximum": 86400}}),
        ),
        tool(
            "send_message",
            "Writes to somebody",
            json!({"to": text(60), "text": text(200), "urgent": {"type": "boolean"}}),
        ),
        tool(
            "add_to_list",
            "Adds things to a list",
            json!({"items": {"type": "array", "items": text(60), "minItems": 1, "maxItems": 5}}),
        ),
    ]
}

fn line(parser: &str, outcomes: &[Outcome]) -> String {
    let mut called = BTreeMap::new();
    for name in outcomes.iter().filter_map(|(_, call)| call.as_ref().ok()) {
        *called.entry(name.as_str()).or_insert(0) += 1;
    }
    let valid: usize = called.values().sum();
    let tokens: u64 = outcomes.iter().map(|(tokens, _)| tokens).sum();
    let mean = tokens / (outcomes.len() as u64).max(1);
    let called: Vec<String> = called
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    let of = outcomes.len();
    format!(
        "| {parser} | {valid} of {of} | {mean} | {} |\n",
        called.join(", ")
    )
}

/// What is wrong, each once.
fn complaints(parser: &str, outcomes: &[Outcome]) -> String {
    let wrong = outcomes.iter().filter_map(|(_, call)| call.as_ref().err());
    let wrong: BTreeSet<String> = wrong
        .map(|error| format!("- {parser}: {error:#}\n"))
        .collect();
    wrong.into_iter().take(5).collect()
}
