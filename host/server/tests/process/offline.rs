//! The commands that serve nothing: `parse`, `plugin`, `config`, `version`.

use std::{io::Write, process::Stdio};

use serde_json::{Value, json};

use crate::weir::{Ended, Files, command, finish, run};

const CALL: &str = "Hi.<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";

fn parse(arguments: &[&str], input: &str) -> Ended {
    let mut child = command(["parse"].iter().chain(arguments))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    finish(child)
}

#[test]
fn parse_answers_line_by_line() {
    let input = format!(
        "{}\n\n{}\n",
        json!({"id": "a", "text": CALL, "chunking": "chars:3"}),
        json!({"id": 2, "text": "plain"})
    );
    let ended = parse(&["--tool-call-parser", "hermes"], &input);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let answers: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [first, second] = answers.as_slice() else {
        panic!("{}", ended.stdout)
    };
    assert_eq!(
        (&first["id"], &first["finish_reason"], &first["error"]),
        (&json!("a"), &json!("tool_calls"), &Value::Null)
    );
    assert_eq!(first["message"]["content"], "Hi.");
    assert_eq!(
        first["message"]["tool_calls"][0]["function"],
        json!({"name": "f", "arguments": "{\"a\": 1}"})
    );
    assert_eq!(
        (&second["id"], &second["message"]["content"]),
        (&json!(2), &json!("plain"))
    );
}

#[test]
fn parse_names_the_unusable_line() {
    for bad in [
        "no JSON",
        "{\"id\": 1}",
        "{\"text\": \"a\", \"chunking\": \"chars:0\"}",
    ] {
        let ended = parse(
            &["--tool-call-parser", "qwen25"],
            &format!("{}\n{bad}\n", json!({"text": "a"})),
        );
        assert_eq!(ended.code, Some(2), "{bad}");
        assert_eq!(
            ended.stdout.lines().count(),
            1,
            "the case before it is answered: {bad}"
        );
        let complaint = ended.stderr.lines().next().unwrap();
        assert!(complaint.starts_with("weir: line 2: "), "{complaint}");
    }
}

#[test]
fn plugins_are_listed_with_all_that_is_known() {
    let files = Files::new();
    let manifest = files.write(
        "plugins.toml",
        "[mine]\nkind = \"post-processor\"\nwasm = \"mine.wasm\"\naliases = [\"my\"]\n",
    );
    let ended = run(["plugin", "list", "--plugins", manifest.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = |name: &str| {
        ended
            .stdout
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{}", ended.stdout))
    };
    let holds = |name: &str, parts: &[&str]| {
        let line = line(name);
        let missing = parts.iter().find(|part| !line.contains(**part));
        assert_eq!(missing, None, "{line}");
    };
    let built_in = [" 0.1.0 ", " KiB ", " built in ", "ok"];
    holds("qwen25", &built_in);
    holds("qwen25", &["(hermes, qwen)", " tool calls "]);
    holds("qwen3", &[" reasoning "]);
    holds("gpt_oss", &["tool calls, reasoning"]);
    holds(
        "mine",
        &["(my)", "post-processor", "mine.wasm", "cannot read"],
    );
}

#[test]
fn a_parser_is_benched_and_a_post_processor_is_not() {
    let ended = run(["plugin", "bench", "mistral"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for row in ["start of a session", "push of plain text", "push in 32000"] {
        assert!(ended.stdout.contains(row), "{}", ended.stdout);
    }
    let refused = run(["plugin", "bench", "redact"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("redact"), "{}", refused.stderr);
}

#[test]
fn plugins_are_inspected_and_checked() {
    let ended = run(["plugin", "inspect", "hermes"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("name: qwen25") && ended.stdout.contains("roles: tools"),
        "{}",
        ended.stdout
    );
    let files = Files::new();
    let broken = files.write("broken.wasm", "(component)");
    let ended = run(["plugin".as_ref(), "check".as_ref(), broken.as_os_str()]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stdout.starts_with("wrong  contract"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("not WebAssembly"), "{}", ended.stdout);
}

#[test]
fn configuration_shows_where_values_come_from() {
    let files = Files::new();
    let path = files.write(
        "weir.toml",
        "max_queue = 9\nport = 1\nmodle = 'x'\napi_key = 'secret'\n",
    );
    let mut command = command([
        "config".as_ref(),
        "-c".as_ref(),
        path.as_os_str(),
        "--max-num-seqs".as_ref(),
        "3".as_ref(),
    ]);
    let ended = finish(command.env("WEIR_PORT", "8123").spawn().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = |start: &str| {
        ended
            .stdout
            .lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{}", ended.stdout))
    };
    assert_eq!(line("port = "), "port = 8123  # environment");
    assert_eq!(line("max_num_seqs = "), "max_num_seqs = 3  # command line");
    assert_eq!(line("tp = "), "tp = 1  # default");
    assert!(line("max_queue = 9").ends_with("weir.toml"));
    assert!(line("# unknown: modle").contains("weir.toml"));
    assert!(!ended.stdout.contains("secret"), "keys are not shown");
}

#[test]
fn version_and_help() {
    for arguments in [["version"], ["--version"]] {
        let ended = run(arguments);
        assert_eq!(
            (ended.code, ended.stdout),
            (Some(0), format!("weir {}\n", env!("CARGO_PKG_VERSION")))
        );
    }
    let help = run(["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(
        help.stdout.contains("serve") && help.stdout.contains("parse"),
        "{}",
        help.stdout
    );
}
