//! Several models in one server, from one configuration file: whose names are whose, what becomes of a broken one, and
//! what a reload does to all.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::{
    client::{content, tools},
    weir::{Ended, Files, Server, command, finish, run},
};

const QWEN25: &[u8] = include_bytes!("../../../../plugins/dist/qwen25.wasm");
const DEEPSEEK_V3: &[u8] = include_bytes!("../../../../plugins/dist/deepseek_v3.wasm");
const CALL: &str = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";

/// A source that says this text.
fn replay(files: &Files, name: &str, text: &str) -> String {
    let line = json!({"text": text}).to_string();
    format!("replay:{}", files.write(name, line).display())
}

/// A configuration file of these models, with these keys beside.
fn config(files: &Files, models: Value, more: Value) -> String {
    let mut config = json!({"models": models, "port": 0});
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    let path = files.write("weir.json", config.to_string());
    path.to_str().unwrap().to_owned()
}

fn start(config: &str, more: &[&str]) -> Server {
    Server::spawn(&mut command(["-c", config].iter().chain(more)))
}

fn says(server: &Server, model: Value) -> Value {
    server.message("hi", json!({"model": model}))["content"].take()
}

#[test]
fn two_models_answer_by_name_and_end_together() {
    let files = Files::new();
    let (one, other) = (
        replay(&files, "a.jsonl", "from a"),
        replay(&files, "b.jsonl", "from b"),
    );
    let models = json!([
        {"name": "a", "model": one, "max_model_len": 100},
        {"name": ["b", "c"], "model": other, "reasoning_parser": "none"},
    ]);
    let mut server = start(&config(&files, models, json!({})), &[]);
    server.logged("weir serves b");
    assert_eq!(says(&server, json!("a")), "from a");
    assert_eq!(says(&server, json!("b")), "from b");
    assert_eq!(says(&server, json!("c")), "from b");
    assert_eq!(says(&server, Value::Null), "from a");
    let long = json!({"model": "a", "max_tokens": 1000});
    assert_eq!(server.chat("hi", long).0, 400, "a's own limit");
    let stream = server.stream("hi", json!({"model": "b"}));
    assert_eq!(content(&stream.rest()), "from b");
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_broken_model_does_not_take_the_others_down() {
    let files = Files::new();
    let broken = files.write("broken.gguf", "no model");
    let models = json!([
        {"name": "missing", "model": "nowhere.gguf"},
        {"name": "broken", "model": broken},
        {"name": "good", "model": replay(&files, "a.jsonl", "hello")},
    ]);
    let server = start(&config(&files, models, json!({})), &[]);
    assert_eq!(says(&server, json!("good")), "hello");
    for (name, reason) in [("missing", "nowhere.gguf"), ("broken", "broken.gguf")] {
        let line = server.logged(&format!("the model `{name}` could not be loaded"));
        assert!(line.contains("ERROR") && line.contains(reason), "{line}");
        let (status, body) = server.chat("hi", json!({"model": name}));
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!(status, 503);
        assert!(message.contains(reason), "{message}");
    }
    let (status, body) = server.chat("hi", json!({"model": "else"}));
    assert_eq!(status, 404);
    assert!(body.to_string().contains("served: good"), "{body}");
}

#[test]
fn a_model_that_takes_its_time_keeps_neither_requests_nor_the_end() {
    let files = Files::new();
    // Reading it waits for a writer, who never comes.
    let pipe = files.path().join("pipe.jsonl");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let models = json!([
        {"name": "quick", "model": replay(&files, "a.jsonl", "hello")},
        {"name": "slow", "model": format!("replay:{}", pipe.display())},
    ]);
    let mut server = start(&config(&files, models, json!({})), &[]);
    assert_eq!(says(&server, json!("quick")), "hello");
    let (status, body) = server.chat("hi", json!({"model": "slow"}));
    assert_eq!(status, 503);
    assert!(
        body.to_string().contains("`slow` is still loading"),
        "{body}"
    );
    server.hang_up();
    server.logged("plugins reloaded because of SIGHUP");
    assert_eq!(says(&server, json!("quick")), "hello");
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn without_any_model_the_process_ends() {
    let files = Files::new();
    let broken = files.write("broken.gguf", "no model");
    // The one is found out before the server listens, the other when it is loaded.
    let both = json!([{"name": "a", "model": "nowhere.gguf"}, {"name": "b", "model": broken}]);
    let ended = run(["-c", &config(&files, both, json!({}))]);
    let complaint = ended.complaint();
    for part in [
        "none of the models",
        "`a`",
        "nowhere.gguf",
        "`b`",
        "broken.gguf",
    ] {
        assert!(complaint.contains(part), "{complaint}");
    }
    let missing = json!([{"name": "a", "model": "x.gguf"}, {"name": "b", "model": "y.gguf"}]);
    let ended = run(["-c", &config(&files, missing, json!({}))]);
    let complaint = ended.complaint();
    assert!(
        complaint.contains("x.gguf") && complaint.contains("y.gguf"),
        "{complaint}"
    );
    assert!(!ended.stderr.contains("loading"), "{}", ended.stderr);
}

#[test]
fn lists_that_mean_nothing_are_refused_at_once() {
    let files = Files::new();
    let model = replay(&files, "a.jsonl", "hello");
    let refused = |models: Value, more: &[&str], parts: &[&str]| {
        let config = config(&files, models, json!({}));
        let ended: Ended = run(["-c", &config].iter().chain(more));
        let complaint = ended.complaint();
        for part in parts {
            assert!(complaint.contains(part), "no `{part}` in: {complaint}");
        }
    };
    let named = |name: &str| json!({"name": name, "model": model});
    refused(
        json!([named("a"), named("a")]),
        &[],
        &["`a`", "models[0]", "models[1]"],
    );
    refused(
        json!([{"model": model}, {"model": model}]),
        &[],
        &["models[0]", "models[1]"],
    );
    refused(
        json!([named("a"), named("b")]),
        &["--accept-any-model"],
        &["accept_any_model", "`a`", "`b`"],
    );
    refused(
        json!([named("a")]),
        &["--model", "x.gguf"],
        &["model (command line)", "weir.json"],
    );
    refused(
        json!([named("a"), {"name": "b", "model": model, "tool_call_parser": "qwen52"}]),
        &[],
        &["model `b`", "`qwen52`", "qwen25"],
    );
}

/// Whether a model's tool parser finds the call.
fn calls(server: &Server, model: &str) -> bool {
    let mut more = tools();
    more["model"] = model.into();
    let message = server.message("now?", more);
    message["tool_calls"][0]["function"]["name"] == "now"
}

#[test]
fn a_reload_is_for_all_models_or_for_none() {
    let files = Files::new();
    let plugin = files.write("mine.wasm", QWEN25);
    let mine = format!("mine={}", plugin.display());
    let entry = |name: &str| {
        let model = replay(&files, &format!("{name}.jsonl"), CALL);
        json!({"name": name, "model": model, "tool_call_parser": "mine"})
    };
    let models = json!([entry("a"), entry("b"), {"name": "c", "model": replay(&files, "c.jsonl", CALL), "tool_call_parser": "hermes"}]);
    let more = json!({"plugin": [mine]});
    let server = start(&config(&files, models, more), &[]);
    server.logged("weir serves c");
    let found = || ["a", "b", "c"].map(|model| calls(&server, model));
    assert_eq!(found(), [true, true, true]);
    fs::write(&plugin, "no component").unwrap();
    server.hang_up();
    server.logged("plugins not reloaded");
    assert_eq!(found(), [true, true, true]);
    fs::write(&plugin, DEEPSEEK_V3).unwrap();
    server.hang_up();
    let line = server.logged("plugins reloaded because of SIGHUP");
    assert!(line.contains("changed=1"), "{line}");
    assert_eq!(found(), [false, false, true], "a and b have the new one");
}

#[test]
fn the_list_is_printed_with_its_sources_and_strange_keys() {
    let files = Files::new();
    let models = json!([{"name": "a", "model": "x.gguf"}, {"name": "b", "model": "y.gguf", "prot": 1, "max_queue": 3}]);
    let config = config(&files, models, json!({}));
    let ended = run(["config", "-c", &config]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in [
        format!("models[0].name = [\"a\"]  # {config}"),
        format!("models[1].max_queue = 3  # {config}"),
        format!("# unknown: models[1].prot ({config})"),
    ] {
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert!(lines.contains(&line.as_str()), "{line}: {}", ended.stdout);
    }
}

#[test]
fn models_are_listed() {
    let files = Files::new();
    let cached = files.write("cached.gguf", "twelve bytes");
    let folder = files.path().join("models").join("some-model-1.0");
    fs::create_dir_all(&folder).unwrap();
    fs::rename(cached, folder.join("m.gguf")).unwrap();
    let models = json!([{"name": ["a", "b"], "model": "x.gguf"}]);
    let config = config(&files, models, json!({}));
    let list = |more: &[&str]| {
        let mut command = command(["models", "-c", &config].iter().chain(more));
        let ended = finish(command.env("WEIR_CACHE", files.path()).spawn().unwrap());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    let table = list(&[]);
    for part in [
        "known",
        "smollm2",
        "some-model-1.0",
        "m.gguf",
        "1 MB",
        "a, b",
    ] {
        assert!(table.contains(part), "no `{part}` in: {table}");
    }
    let json: Value = serde_json::from_str(&list(&["--json"])).unwrap();
    assert_eq!(json["cached"][0]["bytes"], 12);
    assert_eq!(json["configured"][0]["source"], "x.gguf");
}
