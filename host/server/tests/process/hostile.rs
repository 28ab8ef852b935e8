//! A plugin that misbehaves while a server runs: the request gets an error, the log its name, and the next request its answer.

use serde_json::{Value, json};

use crate::{
    client::tools,
    weir::{Files, Server},
};

const HOSTILE: &[u8] = include_bytes!("../../../../tests/hostile/dist/hostile.wasm");
const ANSWER: &str = "The model's own words.";

/// A server whose tool parser `bad` does this; `more` are further lines of its entry.
fn server(files: &Files, mode: &str, place: &str, more: &str) -> Server {
    files.write("hostile.wasm", HOSTILE);
    let entry = format!(
        "[bad]\nkind = \"parser\"\nwasm = \"hostile.wasm\"\nconfig = {{ mode = \"{mode}\", in = \"{place}\" }}\n{more}\n"
    );
    let manifest = files.write("plugins.toml", entry);
    let model = files.replay(&json!({"text": ANSWER}).to_string());
    Server::start(&[
        "--model",
        &model,
        "--plugins",
        manifest.to_str().unwrap(),
        "--tool-call-parser",
        "bad",
    ])
}

/// The server still answers: a chat that wants no calls, and a completion.
fn answers(server: &Server) {
    assert_eq!(server.message("hi", json!({}))["content"], ANSWER);
    let (mut offered, none) = (tools(), json!("none"));
    offered["tool_choice"] = none;
    assert_eq!(server.message("hi", offered)["content"], ANSWER);
    let (status, answer) = server
        .try_post("/v1/completions", &json!({"prompt": "hi"}))
        .unwrap();
    assert_eq!(
        (status, &answer["choices"][0]["text"]),
        (200, &json!(ANSWER))
    );
}

/// The error names nothing of the inside but an id; the log has the id, the plugin and what it did.
fn is_named(server: &Server, error: &Value, what: &str) {
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("server_error"), &json!("internal_error")),
        "{error}"
    );
    let message = error["message"].as_str().unwrap();
    let id = message
        .split(' ')
        .find(|word| word.len() > 30)
        .unwrap()
        .trim_end_matches(';');
    // An id has letters of its own.
    assert!(!message.replace(id, "").contains("bad"), "{message}");
    let line = server.logged(id);
    assert!(line.contains("`bad`") && line.contains(what), "{line}");
}

/// Both kinds of answer fail, each with its own error, and the server goes on.
fn contained(mode: &str, more: &str, what: &str) {
    let files = Files::new();
    let server = server(&files, mode, "push", more);
    let (status, body) = server.chat("weather?", tools());
    assert_eq!(status, 500, "{body}");
    is_named(&server, &body["error"], what);
    answers(&server);
    let mut streamed = tools();
    streamed["stream"] = true.into();
    let (status, body) = server.chat("weather?", streamed);
    assert_eq!(
        status, 500,
        "nothing was sent yet, so the status tells: {body}"
    );
    answers(&server);
}

#[test]
fn endless_loop() {
    contained("loop", "limits.call_ms = 200", "200 ms");
}

#[test]
fn unbounded_recursion() {
    contained("recurse", "", "push");
}

#[test]
fn memory_bomb() {
    contained("memory", "limits.memory_bytes = 8_000_000", "8000000");
}

#[test]
fn panicking() {
    contained("panic", "", "push");
}

#[test]
fn flood_of_output() {
    contained("many-events", "limits.output_bytes = 100_000", "100000");
    contained("long-text", "limits.output_bytes = 100_000", "100000");
}

#[test]
fn words_against_the_contract() {
    contained("gap", "", "push");
}

#[test]
fn a_failure_in_mid_stream_ends_it_with_an_error() {
    let files = Files::new();
    let server = server(&files, "panic", "finish", "");
    let lines = server.stream("weather?", tools()).rest();
    let Some([before @ .., event, data]) = lines.get(..) else {
        panic!("{lines:?}")
    };
    assert_eq!(crate::client::content(before), ANSWER);
    assert_eq!(event, "event: error", "{lines:?}");
    let error: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    is_named(&server, &error["error"], "finish");
    answers(&server);
}

#[test]
fn passthrough_gives_the_text() {
    let files = Files::new();
    let server = server(&files, "panic", "push", "on_error = \"passthrough\"");
    assert_eq!(server.message("weather?", tools())["content"], ANSWER);
    let lines = server.stream("weather?", tools()).rest();
    assert_eq!(crate::client::content(&lines), ANSWER);
    assert_eq!(lines.last().unwrap(), "data: [DONE]");
    assert!(server.logged("passed over").contains("`bad`"));
}
