//! What the user got wrong ends the process with 2 and one line that says what to do.

use std::{net::TcpListener, path::Path, process::Stdio};

use crate::weir::{Ended, Files, command, finish, run};

const HOSTILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/hostile/dist/hostile.wasm"
);
const REDACT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../plugins/dist/redact.wasm"
);

/// Starts a server that has a model and a free port, with these arguments, and expects it to complain with all these words.
fn complains(files: &Files, arguments: &[&str], words: &[&str]) {
    let model = files.replay(r#"{"text": "hi"}"#);
    let mut command = command(["--model", &model].iter().chain(arguments));
    expect(
        &finish(command.env("WEIR_PORT", "0").spawn().unwrap()),
        words,
    );
}

fn expect(ended: &Ended, words: &[&str]) {
    let complaint = ended.complaint();
    for word in words {
        assert!(complaint.contains(word), "no `{word}` in: {complaint}");
    }
    let mut parts: Vec<&str> = complaint.split(": ").collect();
    parts.dedup();
    assert_eq!(parts.join(": "), complaint, "nothing is said twice");
}

#[test]
fn unknown_names_are_listed_with_the_known() {
    let files = Files::new();
    complains(
        &files,
        &["--tool-call-parser", "qwen52"],
        &["`qwen52`", "did you mean", "deepseek_v3", "qwen25"],
    );
    complains(
        &files,
        &["--reasoning-parser", "deepseek_r2"],
        &["`deepseek_r2`", "deepseek_r1"],
    );
    complains(
        &files,
        &["--post-processor", "redcat"],
        &["`redcat`", "redact"],
    );
    complains(
        &files,
        &["--tool-call-parser", "redact"],
        &["`redact`", "post-processor"],
    );
    complains(
        &files,
        &["--tool-call-parser", "deepseek_r1"],
        &["`deepseek_r1`", "tool calls"],
    );
}

#[test]
fn missing_files_are_named() {
    let files = Files::new();
    expect(
        &run(["--port", "0", "--model", "nowhere/model.gguf"]),
        &["nowhere/model.gguf"],
    );
    expect(
        &run(["--port", "0", "--model", "replay:nowhere.jsonl"]),
        &["nowhere.jsonl"],
    );
    complains(
        &files,
        &["-c", "nowhere.toml"],
        &["nowhere.toml", "no such file"],
    );
    complains(
        &files,
        &["--plugins", "nowhere/plugins.toml"],
        &["nowhere/plugins.toml"],
    );
    complains(
        &files,
        &["--chat-template", "nowhere.jinja"],
        &["nowhere.jinja"],
    );
    complains(
        &files,
        &[
            "--plugin",
            "mine=nowhere.wasm",
            "--tool-call-parser",
            "mine",
        ],
        &["nowhere.wasm"],
    );
    complains(
        &files,
        &["--plugin", "nowhere.wasm"],
        &["`nowhere.wasm`", "NAME=FILE"],
    );
}

#[test]
fn values_out_of_place_name_their_key() {
    let files = Files::new();
    let config = files.write("weir.toml", "max_queue = 'many'\n");
    complains(
        &files,
        &["-c", config.to_str().unwrap()],
        &["max_queue", "weir.toml"],
    );
    complains(&files, &["--tp", "2"], &["tp is 2", "--tp 1"]);
    complains(&files, &["--device", "cuda"], &["device", "cpu"]);
    complains(&files, &["--threads", "0"], &["threads must be at least 1"]);
    complains(
        &files,
        &["--threads", "9999999"],
        &["threads", "at most 4096"],
    );
    complains(
        &files,
        &["--mpr-candidates", "17"],
        &["mpr_candidates is 17", "at most 16"],
    );
    complains(
        &files,
        &["--request-processor", "mprr"],
        &["`mprr`", "did you mean `mpr`"],
    );
    complains(&files, &["--body-limit", "much"], &["`much`"]);
    complains(
        &files,
        &["--default-temperature", "3"],
        &["default_temperature"],
    );
    let broken = files.replay("{\"text\": \"a\"}\n{\"words\": 1}\n");
    expect(&run(["--port", "0", "--model", &broken]), &[":2:"]);
}

#[test]
fn a_bad_environment_names_its_key() {
    let ended = finish(
        command(["--model", "replay:x"])
            .env("WEIR_MAX_NUM_SEQS", "lots")
            .spawn()
            .unwrap(),
    );
    expect(&ended, &["MAX_NUM_SEQS", "environment"]);
}

#[test]
fn an_unknown_flag() {
    let ended = run(["--tool-call-praser", "qwen25"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("--tool-call-praser") && ended.stderr.contains("--tool-call-parser"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_port_that_is_taken() {
    let files = Files::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    complains(
        &files,
        &["--port", &port],
        &[&address.to_string(), "--port"],
    );
}

/// Starts a server with a plugin `bad` of these bytes and expects it to be refused with its name and these words.
fn refuses(kind: &str, bytes: &[u8], more: &str, words: &[&str]) {
    let files = Files::new();
    files.write("bad.wasm", bytes);
    let manifest = files.write(
        "plugins.toml",
        format!("[bad]\nkind = \"{kind}\"\nwasm = \"bad.wasm\"\n{more}\n"),
    );
    let role = if kind == "parser" {
        "--tool-call-parser"
    } else {
        "--post-processor"
    };
    let words: Vec<&str> = ["`bad`"].iter().chain(words).copied().collect();
    complains(
        &files,
        &["--plugins", manifest.to_str().unwrap(), role, "bad"],
        &words,
    );
}

fn read(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(file)).unwrap()
}

#[test]
fn plugins_that_are_none() {
    let hostile = read(HOSTILE);
    refuses(
        "parser",
        &hostile[..hostile.len() / 2],
        "",
        &["not a valid component"],
    );
    refuses("parser", b"\0asm\x01\0\0\0", "", &["a core module"]);
    refuses("parser", b"", "", &["not WebAssembly"]);
}

#[test]
fn a_plugin_that_wants_something_of_the_host() {
    // A component of a function type without parameters and results, and an import of that type.
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    bytes.extend(b"\x07\x05\x01\x40\x00\x01\x00");
    bytes.extend(b"\x0a\x11\x01\x00\x0cread-secrets\x01\x00");
    refuses("parser", &bytes, "", &["imports read-secrets"]);
}

#[test]
fn a_plugin_with_another_pin() {
    let pin = format!("sha256 = \"{}\"", "0".repeat(64));
    refuses("parser", &read(HOSTILE), &pin, &["sha256", "pin"]);
}

#[test]
fn a_plugin_of_the_other_world() {
    refuses(
        "parser",
        &read(REDACT),
        "",
        &["exports no weir:plugin/parser"],
    );
    refuses(
        "post-processor",
        &read(HOSTILE),
        "",
        &["exports no weir:plugin/post-processor"],
    );
}

#[test]
fn a_plugin_that_refuses_its_configuration() {
    refuses(
        "parser",
        &read(HOSTILE),
        "config = { mode = \"refuse\" }",
        &["likes no configuration"],
    );
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let mut child = command(["config"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = finish(child);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
