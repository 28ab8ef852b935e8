//! Answers that are held to a form or to a call, over random weights: whatever they say, it is that.

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::{Value, json};
use weir_server::config::Config;

use crate::{http::Server, tiny_model::config};

/// An object whose every value is short: random weights come to its end.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 6},
            "size": {"enum": ["S", "M", "L"]},
            "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
            "inner": {"type": "object", "properties": {"x": {"type": "integer", "minimum": -9, "maximum": 9}},
                "required": ["x"], "additionalProperties": false},
        },
        "required": ["name", "size", "tags", "inner"],
        "additionalProperties": false,
    })
}

fn tool(name: &str, strict: bool) -> Value {
    json!({"type": "function", "function": {"name": name, "strict": strict, "parameters": schema()}})
}

/// A request's fields with the seed and without what would run on past the end.
fn seeded(seed: u64, more: Value) -> Value {
    // Without the template, whose tools would not fit.
    let raw = json!({"use_raw_prompt": true});
    let mut fields = json!({"seed": seed, "max_tokens": 300, "ignore_eos": false, "nvext": raw});
    let all = fields.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    fields
}

fn assert_valid(text: &str, schema: &Value) {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    jsonschema::validate(schema, &value).unwrap_or_else(|error| panic!("{text}: {error}"));
}

#[tokio::test]
async fn every_form_is_held() {
    let server = Server::new(&config());
    let bound = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema()}});
    let is_schema = |text: &str| assert_valid(text, &schema());
    let is_regex = |text: &str| {
        let (letters, digits) = text.split_once('-').unwrap();
        assert!(
            letters.bytes().all(|byte| byte.is_ascii_lowercase()),
            "{text}"
        );
        assert!(
            (1..4).contains(&letters.len()) && digits.len() == 2,
            "{text}"
        );
    };
    let is_choice = |text: &str| assert!(["yes", "no", "yes and no"].contains(&text), "{text}");
    let is_grammar = |text: &str| assert!(["aXb", "aYYb"].contains(&text), "{text}");
    let is_tagged = |text: &str| {
        let inner = text
            .strip_prefix("<size>")
            .unwrap()
            .strip_suffix("</size>")
            .unwrap();
        assert_valid(inner, &json!({"enum": ["S", "M"]}));
    };
    let tag = json!({"type": "tag", "begin": "<size>", "end": "</size>",
        "content": {"type": "json_schema", "json_schema": {"enum": ["S", "M"]}}});
    type Judge<'a> = &'a dyn Fn(&str);
    let cases: Vec<(Value, Judge<'_>)> = vec![
        (json!({"response_format": bound}), &is_schema),
        (json!({"guided_json": schema().to_string()}), &is_schema),
        (
            json!({"structured_outputs": {"regex": "[a-z]{1,3}-[0-9]{2}"}}),
            &is_regex,
        ),
        (
            json!({"guided_choice": ["yes", "no", "yes and no"]}),
            &is_choice,
        ),
        (
            json!({"guided_grammar": "start: \"a\" (\"X\" | y) \"b\"\ny: \"Y\"{2}"}),
            &is_grammar,
        ),
        (
            json!({"response_format": {"type": "structural_tag", "format": tag}}),
            &is_tagged,
        ),
    ];
    for (fields, check) in cases {
        for seed in 0..3 {
            for (text, finish) in server.choices(seeded(seed, fields.clone())).await {
                assert_eq!(finish, "stop", "{fields}: {text}");
                check(&text);
            }
        }
    }
}

#[tokio::test]
async fn seeds_choices_logprobs_and_penalties_go_with_a_form() {
    let server = Server::new(&config());
    let fields = json!({"guided_json": schema(), "n": 3, "logprobs": true, "top_logprobs": 2,
        "repetition_penalty": 1.2, "presence_penalty": 0.5, "temperature": 0.9});
    let (status, answer) = server.chat(seeded(5, fields.clone())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let texts: Vec<&str> = answer["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["message"]["content"].as_str().unwrap())
        .collect();
    texts.iter().for_each(|text| assert_valid(text, &schema()));
    assert!(texts[0] != texts[1] || texts[1] != texts[2], "{texts:?}");
    for (choice, text) in answer["choices"].as_array().unwrap().iter().zip(&texts) {
        let tokens = choice["logprobs"]["content"].as_array().unwrap();
        let told: String = tokens
            .iter()
            .map(|token| token["token"].as_str().unwrap())
            .collect();
        assert_eq!(told, **text);
        assert!(
            tokens
                .iter()
                .all(|token| token["logprob"].as_f64().unwrap() <= 0.0)
        );
    }
    let (_, again) = server.chat(seeded(5, fields)).await;
    assert_eq!(
        again["choices"], answer["choices"],
        "the same seeds say the same"
    );
}

#[tokio::test]
async fn free_and_forced_requests_share_a_batch() {
    let server = Server::new(&config());
    let forced = json!({"guided_json": schema()});
    let fields = [forced.clone(), json!({}), forced, json!({})];
    let ask = |seed: usize| seeded(seed as u64, fields[seed].clone());
    let mut alone = Vec::new();
    for seed in 0..fields.len() {
        alone.push(server.choices(ask(seed)).await);
    }
    let steps = server.engine.counters().steps;
    let together = join_all((0..fields.len()).map(|seed| server.choices(ask(seed)))).await;
    assert_eq!(together, alone, "company changes nothing");
    for held in [&together[0], &together[2]] {
        assert_valid(&held[0].0, &schema());
    }
    let batched = server.engine.counters().steps - steps;
    assert!(batched < steps, "{batched} steps, {steps} alone");
}

fn with_parser(name: &str) -> Config {
    Config {
        tool_call_parser: Some(name.to_owned()),
        ..config()
    }
}

/// The calls of an answer: names and arguments.
fn calls(answer: &Value) -> Vec<(String, String)> {
    let calls = answer["choices"][0]["message"]["tool_calls"].as_array();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    calls
        .into_iter()
        .flatten()
        .map(|call| {
            (
                text(&call["function"]["name"]),
                text(&call["function"]["arguments"]),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_call_that_must_come_comes() {
    for parser in ["hermes", "llama3", "mistral", "xlam", "pythonic", "granite"] {
        let server = Server::new(&with_parser(parser));
        let named = json!({"type": "function", "function": {"name": "second"}});
        let only_first = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required",
            "tools": [{"type": "function", "function": {"name": "first"}}]}});
        for (choice, names, finish) in [
            (json!("required"), &["first", "second"][..], "tool_calls"),
            (named, &["second"], "stop"),
            (only_first, &["first"], "tool_calls"),
        ] {
            let fields = json!({"tools": [tool("first", false), tool("second", true)],
                "tool_choice": choice, "parallel_tool_calls": false, "thinking_budget": 4});
            let (status, answer) = server.chat(seeded(3, fields)).await;
            assert_eq!(status, StatusCode::OK, "{parser}: {answer}");
            let calls = calls(&answer);
            let [(name, arguments)] = calls.as_slice() else {
                panic!("{parser}: one call: {answer}");
            };
            assert!(names.contains(&name.as_str()), "{parser}: {answer}");
            assert_valid(arguments, &schema());
            assert_eq!(
                answer["choices"][0]["finish_reason"], finish,
                "{parser}: {answer}"
            );
            assert_eq!(answer["choices"][0]["message"]["content"], Value::Null);
        }
    }
}

#[tokio::test]
async fn what_a_parser_cannot_tell_apart_is_refused_by_its_name() {
    let server = Server::new(&with_parser("llama3"));
    let fields = json!({"tools": [tool("f", false)], "response_format": {"type": "json_object"}});
    let (status, answer) = server.chat(seeded(1, fields)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(answer["error"]["param"], "response_format", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("`llama3`") && message.contains("tool_choice"),
        "{message}"
    );
}

#[tokio::test]
async fn a_bad_schema_is_named_before_anything_is_queued() {
    let server = Server::new(&with_parser("hermes"));
    let bad = json!({"type": "object", "properties": {"a": {"type": "float"}}});
    let format = json!({"type": "json_schema", "json_schema": {"schema": bad}});
    let wrong = json!({"type": "function", "function": {"name": "g", "parameters": bad}});
    for (fields, param) in [
        (json!({"response_format": format}), "response_format"),
        (
            json!({"tools": [tool("f", true), wrong], "tool_choice": "required"}),
            "tools[1].function.parameters",
        ),
        (json!({"guided_regex": "("}), "guided_regex"),
        (
            json!({"guided_grammar": "root ::= \"x\""}),
            "guided_grammar",
        ),
    ] {
        let (status, answer) = server.chat(seeded(1, fields)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(answer["error"]["param"], param, "{answer}");
    }
    assert_eq!(server.engine.counters().steps, 0);
}

#[tokio::test]
async fn an_answer_or_a_call() {
    let server = Server::new(&with_parser("hermes"));
    let mut seen = [0, 0];
    for seed in 0..12 {
        let fields = json!({"tools": [tool("f", true)], "guided_json": schema()});
        let (status, answer) = server.chat(seeded(seed, fields)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let message = &answer["choices"][0]["message"];
        match message["content"].as_str() {
            Some(text) => {
                assert_valid(text, &schema());
                seen[0] += 1;
            }
            None => {
                let calls = calls(&answer);
                calls
                    .iter()
                    .for_each(|(_, arguments)| assert_valid(arguments, &schema()));
                seen[1] += usize::from(!calls.is_empty());
            }
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[tokio::test]
async fn reasoning_comes_first_and_ends_in_time() {
    let server = Server::new(&Config {
        reasoning_parser: Some("deepseek_r1".to_owned()),
        ..config()
    });
    for (seed, budget) in [(0, 5), (1, 20), (2, 0)] {
        let fields = json!({"guided_json": schema(), "thinking_budget": budget});
        let (status, answer) = server.chat(seeded(seed, fields)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let message = &answer["choices"][0]["message"];
        assert_valid(message["content"].as_str().unwrap(), &schema());
        let reasoning = message["reasoning_content"].as_str().unwrap_or_default();
        assert!(reasoning.len() <= budget, "a token a character: {answer}");
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    }
    let free = json!({"thinking_budget": 7, "max_tokens": 60, "ignore_eos": true});
    let (_, answer) = server.chat(seeded(4, free)).await;
    let message = &answer["choices"][0]["message"];
    assert!(
        message["reasoning_content"].as_str().unwrap().len() <= 7,
        "{answer}"
    );
    assert!(message["content"].as_str().unwrap().len() > 30, "{answer}");
}
