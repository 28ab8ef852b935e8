//! The documents that users brought: every example request and way of starting in them (`tests/seeds`), as they spell it.
//!
//! What an issue still has to build stands there too, with its number and what is answered until then; building it flips the
//! record.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    client::{Answer, tools},
    weir::{Files, Server, command, finish},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// One request of a document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// Where it stands.
    line: usize,
    name: String,
    /// What sends it there; a claim of the document's text without one.
    #[serde(rename = "client")]
    _client: Option<String>,
    /// How the server was started: a key of `servers.json`.
    server: String,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    /// A body that is no JSON.
    raw: Option<String>,
    /// Who has yet to build it; status and shape are those of the refusal.
    issue: Option<u32>,
    status: u16,
    #[serde(default)]
    stream: bool,
    /// A key of `shapes.json`.
    shape: String,
    /// Named events that stand among a stream's chunks.
    #[serde(default)]
    events: Vec<String>,
    /// Every delta of a call repeats the key of the function's name.
    #[serde(default)]
    name_in_every_delta: bool,
    /// Values of the answer by their JSON pointers; of a stream's, once its chunks are added up.
    expect: Map<String, Value>,
}

/// How a server is started.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Setup {
    /// Whose answers are replayed, if not those of the document of its name.
    answers: Option<String>,
    /// A model of this repository in their place.
    model: Option<String>,
    flags: Vec<String>,
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{ROOT}/tests/seeds/{name}");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read_lines<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let path = format!("{ROOT}/tests/seeds/{name}");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let read = |(index, line): (usize, &str)| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{path}:{}: {error}", index + 1))
    };
    text.lines().enumerate().map(read).collect()
}

fn start(name: &str, setup: &Setup) -> Server {
    let model = match (&setup.model, &setup.answers) {
        (Some(model), _) => format!("{ROOT}/{model}"),
        (None, Some(other)) => format!("replay:{ROOT}/tests/seeds/{other}/answers.jsonl"),
        (None, None) => format!("replay:{ROOT}/tests/seeds/{name}/answers.jsonl"),
    };
    let flags = setup.flags.iter().map(String::as_str);
    Server::start(
        &["--model", &model]
            .into_iter()
            .chain(flags)
            .collect::<Vec<_>>(),
    )
}

/// Sends every example of a document; names those that are answered otherwise than it says.
fn replay(document: &str, examples: usize) {
    let records: Vec<Example> = read_lines(&format!("{document}/examples.jsonl"));
    assert_eq!(
        records.len(),
        examples,
        "a record of {document} is gone or new"
    );
    let setups: BTreeMap<String, Setup> = read("servers.json");
    let shapes: Value = read("shapes.json");
    let mut servers: BTreeMap<&str, Server> = BTreeMap::new();
    let mut failed = Vec::new();
    for example in &records {
        let server = servers
            .entry(&example.server)
            .or_insert_with(|| start(&example.server, &setups[&example.server]));
        let body = example.body.as_ref().map(Value::to_string);
        let answer = server.send(
            &example.method,
            &example.path,
            &example.headers,
            body.or_else(|| example.raw.clone()),
        );
        if let Err(why) = judge(example, &answer, &shapes) {
            let Example { line, name, .. } = example;
            failed.push(format!("{document}, line {line}, {name}: {why}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn judge(example: &Example, answer: &Answer, shapes: &Value) -> Result<(), String> {
    if answer.status != example.status {
        return Err(format!("status {}, {}", answer.status, answer.text));
    }
    if let Some(issue) = example.issue
        && answer.status != 501
    {
        return Err(format!("issue {issue} is named, but this is no 501"));
    }
    let media_type = match example.stream {
        true => "text/event-stream",
        false => "application/json",
    };
    if answer.media_type != media_type {
        return Err(format!("the media type {}", answer.media_type));
    }
    if let Some(ignored) = &answer.ignored {
        return Err(format!("the server does not know {ignored}"));
    }
    let value = match example.stream {
        true => stream(example, &answer.text, shapes)?,
        false => {
            let value = serde_json::from_str(&answer.text).map_err(|error| error.to_string())?;
            check_shape(&value, &example.shape, shapes)?;
            value
        }
    };
    for (pointer, expected) in &example.expect {
        let found = value.pointer(pointer).unwrap_or(&Value::Null);
        if found != expected {
            return Err(format!("{pointer} is {found} and not {expected}: {value}"));
        }
    }
    Ok(())
}

fn check_shape(value: &Value, name: &str, shapes: &Value) -> Result<(), String> {
    let mut schema = shapes.clone();
    assert!(schema.get(name).is_some(), "no shape {name}");
    schema["$ref"] = format!("#/{}", name.replace(' ', "%20")).into();
    let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
    match validator.iter_errors(value).next() {
        Some(error) => Err(format!("{}: {error} in {value}", error.instance_path())),
        None => Ok(()),
    }
}

/// Checks the events of a stream; answers what its chunks add up to.
fn stream(example: &Example, text: &str, shapes: &Value) -> Result<Value, String> {
    let mut chunks = Vec::new();
    let mut events = Vec::new();
    let mut done = false;
    for event in text.split_terminator("\n\n") {
        if done {
            return Err(format!("behind [DONE]: {event}"));
        }
        if let Some((name, _)) = event
            .strip_prefix("event: ")
            .and_then(|rest| rest.split_once('\n'))
        {
            events.push(name);
        } else if event == "data: [DONE]" {
            done = true;
        } else if let Some(data) = event.strip_prefix("data: ") {
            let chunk: Value =
                serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))?;
            check_shape(&chunk, &format!("{} chunk", example.shape), shapes)?;
            chunks.push(chunk);
        } else if !event.starts_with(':') {
            return Err(format!("no event: {event}"));
        }
    }
    if !done {
        return Err(format!("no [DONE]: {text}"));
    }
    if events != example.events {
        return Err(format!("the events {events:?}"));
    }
    if let Some(other) = chunks.iter().find(|chunk| chunk["id"] != chunks[0]["id"]) {
        return Err(format!("another id: {other}"));
    }
    check_deltas(example, &chunks)?;
    Ok(added_up(&chunks))
}

fn check_deltas(example: &Example, chunks: &[Value]) -> Result<(), String> {
    if example.shape == "chat" && chunks[0]["choices"][0]["delta"]["role"] != "assistant" {
        return Err(format!("the first chunk is {}", chunks[0]));
    }
    let of_calls = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array());
    let calls: Vec<&Value> = of_calls.flatten().collect();
    let named = calls
        .iter()
        .all(|call| call["function"]["name"].is_string());
    if !calls.is_empty() && named != example.name_in_every_delta {
        return Err(format!("the name is in every delta: {named}"));
    }
    Ok(())
}

/// The answer that chunks add up to, shaped as a whole one.
fn added_up(chunks: &[Value]) -> Value {
    let mut answer = json!({"choices": []});
    for chunk in chunks {
        if !chunk["usage"].is_null() {
            answer["usage"] = chunk["usage"].clone();
        }
        for piece in chunk["choices"].as_array().into_iter().flatten() {
            let choice = element(&mut answer["choices"], &piece["index"]);
            append(&mut choice["text"], &piece["text"]);
            if !piece["finish_reason"].is_null() {
                choice["finish_reason"] = piece["finish_reason"].clone();
            }
            for name in ["role", "content", "reasoning_content"] {
                append(&mut choice["message"][name], &piece["delta"][name]);
            }
            for call in piece["delta"]["tool_calls"]
                .as_array()
                .into_iter()
                .flatten()
            {
                if choice["message"]["tool_calls"].is_null() {
                    choice["message"]["tool_calls"] = json!([]);
                }
                let whole = element(&mut choice["message"]["tool_calls"], &call["index"]);
                for name in ["name", "arguments"] {
                    append(&mut whole["function"][name], &call["function"][name]);
                }
            }
        }
    }
    answer
}

/// The element of a list at `index`, which may be one behind its end.
fn element<'a>(list: &'a mut Value, index: &Value) -> &'a mut Value {
    let index = usize::try_from(index.as_u64().unwrap()).unwrap();
    let list = list.as_array_mut().unwrap();
    if list.len() == index {
        list.push(json!({}));
    }
    &mut list[index]
}

fn append(whole: &mut Value, piece: &Value) {
    if let Some(piece) = piece.as_str() {
        *whole = format!("{}{piece}", whole.as_str().unwrap_or_default()).into();
    }
}

#[test]
fn ksana_llms_examples_work() {
    replay("ksanallm", 15);
}

#[test]
fn light_llms_examples_work() {
    replay("lightllm", 5);
}

#[test]
fn open_kimis_examples_work() {
    replay("openkimi", 11);
}

#[test]
fn dynamos_examples_work() {
    replay("dynamo", 37);
}

#[test]
fn the_vllm_guides_examples_work() {
    replay("vllm", 25);
}

/// A command that a document starts its server with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    document: String,
    line: usize,
    name: String,
    flags: Vec<String>,
    /// Lines of `weir config`.
    #[serde(default)]
    config: Vec<String>,
    /// What the model says.
    says: Option<String>,
    /// Values of the message that this is, by their JSON pointers.
    #[serde(default)]
    message: Map<String, Value>,
    /// A text said so many times over, as the first system message.
    system: Option<(String, usize)>,
    /// Other fields of the request, in place of a tool.
    more: Option<Value>,
    /// Who has yet to build it.
    issue: Option<u32>,
    /// What the complaint names until then.
    refused: Option<String>,
}

impl Start {
    /// As its document has it, then a model that is here, at an address that tests may use: the last of a flag counts.
    fn judge(&self, files: &Files) -> Result<(), String> {
        let root = Path::new(ROOT);
        let mut config = command(
            ["config"]
                .into_iter()
                .chain(self.flags.iter().map(String::as_str)),
        );
        let config = finish(config.current_dir(root).spawn().unwrap());
        if let (Some(part), Some(_)) = (&self.refused, self.issue) {
            return match config.code == Some(2) && config.stderr.contains(part.as_str()) {
                true => Ok(()),
                false => Err(format!("not refused: {}{}", config.stdout, config.stderr)),
            };
        }
        for value in &self.config {
            let set = format!("{value}  # ");
            if !config.stdout.lines().any(|line| line.starts_with(&set)) {
                return Err(format!(
                    "no `{value}` in {}{}",
                    config.stdout, config.stderr
                ));
            }
        }
        let model = files.replay(&json!({"text": self.says}).to_string());
        let here = ["--model", &model, "--host", "127.0.0.1", "--port", "0"];
        let mut serve = command(self.flags.iter().map(String::as_str).chain(here));
        let server = Server::spawn(serve.current_dir(root));
        let mut more = self.more.clone().unwrap_or_else(tools);
        if let Some((text, times)) = &self.system {
            let system = json!({"role": "system", "content": text.repeat(*times)});
            more["messages"] = json!([system, {"role": "user", "content": "weather?"}]);
        }
        let message = server.message("weather?", more);
        for (pointer, expected) in &self.message {
            let found = message.pointer(pointer).unwrap_or(&Value::Null);
            if found != expected {
                return Err(format!(
                    "{pointer} is {found} and not {expected}: {message}"
                ));
            }
        }
        Ok(())
    }
}

#[test]
fn every_documented_start_works() {
    let starts: Vec<Start> = read_lines("starts.jsonl");
    assert_eq!(starts.len(), 18);
    let files = Files::new();
    let failed: Vec<String> = starts
        .iter()
        .filter_map(|start| {
            let why = start.judge(&files).err()?;
            let Start {
                document,
                line,
                name,
                ..
            } = start;
            Some(format!("{document}, line {line}, {name}: {why}"))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
