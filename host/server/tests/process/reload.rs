//! Plugins exchanged while a server runs: who began on the old ones ends on them, and a bad file changes nothing.

use std::{fs, path::PathBuf};

use serde_json::json;

use crate::{
    client::{content, tools},
    weir::{Files, Server},
};

const QWEN25: &[u8] = include_bytes!("../../../../plugins/dist/qwen25.wasm");
const DEEPSEEK_V3: &[u8] = include_bytes!("../../../../plugins/dist/deepseek_v3.wasm");
const CALL: &str = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";

/// A server whose tool parser `mine` is read from a file, and that file. Its slow answer and its quick one are the same.
fn server(files: &Files, more: &[&str]) -> (Server, PathBuf) {
    let file = files.write("mine.wasm", QWEN25);
    let chunks: Vec<String> = CALL.chars().map(String::from).collect();
    let slow = json!({"match": "slow", "chunks": chunks, "tokens_per_second": 25.0});
    let model = files.replay(&format!("{slow}\n{}\n", json!({"text": CALL})));
    let plugin = format!("mine={}", file.display());
    let arguments = [
        "--model",
        &model,
        "--plugin",
        &plugin,
        "--tool-call-parser",
        "mine",
    ];
    (Server::start(&[&arguments, more].concat()), file)
}

/// Whether the server's tool parser finds the call; one of another format leaves it as content.
fn calls(server: &Server) -> bool {
    let message = server.message("quick", tools());
    let found = message["tool_calls"][0]["function"]["name"] == "now";
    assert!(found || message["content"] == CALL, "{message}");
    found
}

/// Puts another file in its place in one step, as an installer does.
fn replace(file: &PathBuf, content: &[u8]) {
    let new = file.with_extension("new");
    fs::write(&new, content).expect("a file");
    fs::rename(new, file).expect("its place");
}

#[test]
fn sighup_reloads_and_what_runs_ends_as_it_began() {
    let files = Files::new();
    let (server, file) = server(&files, &[]);
    let mut old = server.stream("slow", tools());
    let mut lines = vec![old.next_line().expect("a first chunk")];
    replace(&file, DEEPSEEK_V3);
    assert!(calls(&server), "nobody asked for a reload yet");
    server.hang_up();
    let line = server.logged("plugin reloaded");
    assert!(line.contains("mine"), "{line}");
    assert!(!calls(&server), "the new plugin reads another format");
    lines.extend(old.rest());
    assert_eq!(content(&lines), "", "the old one read the call");
    let finished = lines.iter().any(|line| line.contains("\"tool_calls\""));
    assert!(finished, "{lines:?}");
}

#[test]
fn a_watched_file_is_reloaded_and_a_bad_one_is_not() {
    let files = Files::new();
    let (server, file) = server(&files, &["--reload"]);
    assert!(calls(&server));
    replace(&file, b"no component");
    let line = server.logged("plugins not reloaded");
    assert!(
        line.contains("mine") && line.contains("not WebAssembly"),
        "{line}"
    );
    assert!(calls(&server), "what was there stays");
    replace(&file, DEEPSEEK_V3);
    server.logged("plugins reloaded because of a file that changed");
    assert!(!calls(&server));
}

#[test]
fn a_reload_without_a_change_says_so() {
    let files = Files::new();
    let (server, _) = server(&files, &[]);
    server.hang_up();
    let line = server.logged("plugins reloaded because of SIGHUP");
    assert!(line.contains("changed=0"), "{line}");
    assert!(calls(&server));
}
