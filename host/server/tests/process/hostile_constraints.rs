//! Schemas, regular expressions and grammars that mean harm, beside streams of somebody who does not: each is refused with what
//! is wrong with it, or answered; the streams go on, nothing is stuck, and the process ends as it should.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    hostile_cases::{Asked, Case, cases},
    weir::{Files, Server},
};

/// Tokens of an answer: enough for the small ones.
const TOKENS: u64 = 60;
/// A second of computing for the grammar, an answer, and what a busy machine adds: longer is stuck.
const PATIENCE: Duration = Duration::from_secs(45);
/// Clients that mean harm.
const CLIENTS: usize = 3;

/// A tiny random model that writes printable ASCII, with one control token, as a checkpoint folder.
fn model(files: &Files) -> String {
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models/qwen2");
    let weights = fs::read(checkpoint.join("model.safetensors")).unwrap();
    files.write("model.safetensors", weights);
    let characters = ["Ċ".to_owned(), "Ġ".to_owned()]
        .into_iter()
        .chain(('!'..='}').map(String::from));
    let vocabulary: serde_json::Map<_, _> = (0..)
        .zip(characters)
        .map(|(id, character): (u32, String)| (character, json!(id)))
        .collect();
    let end = vocabulary.len();
    let config = fs::read(checkpoint.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["eos_token_id"] = end.into();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [{"id": end, "content": "<s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false}],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    });
    let template = "{% for message in messages %}<s>{{ message.content }}{% endfor %}<s>";
    let tokenizer_config = json!({"chat_template": template, "eos_token": "<s>"});
    for (name, content) in [
        ("config.json", &config),
        ("tokenizer.json", &tokenizer),
        ("tokenizer_config.json", &tokenizer_config),
    ] {
        files.write(name, content.to_string());
    }
    files.path().to_str().unwrap().to_owned()
}

/// The body of a request; a schema's text goes into it as it is, so that it may be no JSON.
fn body(case: &Case, number: usize) -> String {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": TOKENS, "seed": number});
    match case.asked() {
        Asked::Schema(schema) => {
            let body = body.to_string();
            let open = body.strip_suffix('}').unwrap();
            // A field that is null is a field that is not there.
            if number.is_multiple_of(2) && schema != "null" {
                return format!("{open}, \"guided_json\": {schema}}}");
            }
            return format!(
                "{open}, \"response_format\": {{\"type\": \"json_schema\", \"json_schema\": {{\"name\": \"answer\", \"schema\": \
                 {schema}}}}}}}"
            );
        }
        Asked::Regex(regex) if number.is_multiple_of(2) => body["guided_regex"] = regex.into(),
        Asked::Regex(regex) => {
            body["response_format"] = json!({"type": "regex", "pattern": regex});
        }
        Asked::Lark(lark) if number.is_multiple_of(2) => body["guided_grammar"] = lark.into(),
        Asked::Lark(lark) => {
            body["response_format"] = json!({"type": "grammar", "grammar": lark});
        }
        Asked::Fields(fields) => body.as_object_mut().unwrap().extend(fields),
    }
    body.to_string()
}

/// What is wrong with how a case was answered.
fn complaint(server: &Server, case: &Case, number: usize) -> Option<String> {
    let begun = Instant::now();
    let headers = [("content-type".to_owned(), "application/json".to_owned())].into();
    let answer = loop {
        let sent = Some(body(case, number));
        let answer = server.send("POST", "/v1/chat/completions", &headers, sent);
        // Others' grammars are being compiled: that passes, or is a stuck slot.
        let busy = [429, 503].contains(&answer.status) && begun.elapsed() < PATIENCE;
        if !busy {
            break answer;
        }
        thread::sleep(Duration::from_millis(50));
    };
    let took = begun.elapsed();
    if took > PATIENCE {
        return Some(format!("took {took:?}"));
    }
    let body: Value = serde_json::from_str(&answer.text).ok()?;
    let message = body["error"]["message"].as_str().unwrap_or_default();
    let expected = match answer.status {
        400 => case.status != 200 && says(case, message),
        200 => case.status != 400,
        _ => false,
    };
    if !expected {
        let wanted = match case.says.as_slice() {
            [] => String::new(),
            says => format!(" with one of {says:?}"),
        };
        return Some(format!(
            "wanted {}{wanted}, got {}: {:.300}",
            case.status, answer.status, answer.text
        ));
    }
    let choice = &body["choices"][0];
    match case.asked() {
        Asked::Schema(schema) if choice["finish_reason"] == "stop" => {
            invalid(&schema, choice["message"]["content"].as_str()?)
        }
        _ => None,
    }
}

fn says(case: &Case, message: &str) -> bool {
    let told = |word: &String| message.contains(word.as_str());
    !message.is_empty() && (case.says.is_empty() || case.says.iter().any(told))
}

/// What is wrong with an answer that came to its end.
fn invalid(schema: &str, text: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(schema).ok()?;
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .ok()?;
    match serde_json::from_str(text) {
        Ok(answer) => {
            let error = validator.validate(&answer).err()?;
            Some(format!("answered {text}: {error}"))
        }
        Err(error) => Some(format!("answered {text}: {error}")),
    }
}

#[test]
fn whoever_means_harm_is_told_so_and_nobody_else_notices() {
    let files = Files::new();
    let model = model(&files);
    let mut server = Server::start(&["--model", &model, "--tool-call-parser", "qwen25"]);
    let (cases, next, over) = (cases(), AtomicUsize::new(0), AtomicBool::new(false));
    let serving = &server;
    let (complaints, streams) = thread::scope(|scope| {
        let healthy = scope.spawn(|| {
            let mut streams = 0;
            while !over.load(Ordering::Relaxed) {
                let lines = serving.stream("hi", json!({"max_tokens": 100, "ignore_eos": true}));
                let lines = lines.rest();
                assert_eq!(lines.last().unwrap(), "data: [DONE]", "{lines:?}");
                streams += 1;
            }
            streams
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut complaints = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(number) else {
                            return complaints;
                        };
                        let complaint = complaint(serving, case, number);
                        complaints.extend(complaint.map(|it| format!("{}: {it}", case.name)));
                    }
                })
            })
            .collect();
        let complaints: Vec<String> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        over.store(true, Ordering::Relaxed);
        (complaints, healthy.join().unwrap())
    });
    assert!(
        complaints.is_empty(),
        "{} of {}:\n{}",
        complaints.len(),
        cases.len(),
        complaints.join("\n")
    );
    assert!(streams > 0);
    let schema = json!({"guided_json": {"enum": ["yes", "no"]}, "max_tokens": 20});
    let answer = server.message("hi", schema)["content"].take();
    assert!(answer == "\"yes\"" || answer == "\"no\"", "{answer}");
    server.terminate();
    assert!(server.ended().success());
}
