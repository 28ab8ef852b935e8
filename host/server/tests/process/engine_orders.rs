//! `weir engine`: orders on standard input, answers on standard output, for scripts.

use std::{io::Write, process::Stdio};

use serde_json::{Value, json};

use crate::weir::{Files, command, finish, run};

#[test]
fn orders_are_answered_line_by_line_until_the_input_ends() {
    let files = Files::new();
    let model = files.replay(r#"{"text": "abcdefgh"}"#);
    let mut child = command(["engine", "--model", &model, "--max-model-len", "64"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let orders = [
        r#"{"order": "info"}"#,
        "what?",
        r#"{"order": "generate", "requests": [{"prompt": [1, 2], "max_tokens": 2}], "tokens": true}"#,
    ];
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(orders.join("\n").as_bytes()).unwrap();
    drop(stdin);
    let ended = finish(child);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let answers = ended.stdout.lines().map(serde_json::from_str::<Value>);
    let answers: Vec<Value> = answers.collect::<Result<_, _>>().unwrap();
    assert_eq!(answers.len(), 3, "{}", ended.stdout);
    assert_eq!(answers[0]["max_model_len"], 64);
    let error = answers[1]["error"].as_str().unwrap();
    assert!(error.starts_with("no order: "), "{error}");
    assert_eq!(answers[2]["generated_tokens"], json!(2));
    assert_eq!(answers[2]["tokens"][0].as_array().unwrap().len(), 2);
}

#[test]
fn a_model_that_cannot_be_loaded_is_said_in_one_line() {
    let ended = run(["engine", "--model", "replay:nowhere.jsonl"]);
    let complaint = ended.complaint();
    assert!(complaint.contains("nowhere.jsonl"), "{complaint}");
}
