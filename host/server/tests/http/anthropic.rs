//! Anthropic's API over HTTP: whole and streamed answers, one the fold of the other, and its errors.

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use weir_server::{ServedModel, active_plugins::ActivePlugins};

use crate::{
    parsers::marks,
    server::{FAILS, MAX_MODEL_LEN, Server, Setup, post_json, read, request, saying, send},
};

const MESSAGES: &str = "/v1/messages?beta=true";

fn with_parsers(model: &mut ServedModel) {
    // A plugin chosen twice is one session.
    let both = marks(true, true);
    model.plugins.set(ActivePlugins {
        reasoning_parser: Some(both.clone()),
        tool_parser: Some(both),
        ..ActivePlugins::default()
    });
}

/// A request with these fields beside a short message and a tool.
pub fn body(more: Value) -> Value {
    let mut body = json!({"model": "fake", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}]});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

/// A model that thinks up to `</think>` and may call, with this one answer.
pub fn thinking(answer: &[&str]) -> Server {
    Setup::saying(&[answer]).model(with_parsers).start()
}

/// An answer that must succeed.
pub async fn plain(server: &Server, more: Value) -> Value {
    let (status, answer) = read(server.post(MESSAGES, &body(more)).await).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// The stream's events: each named as its data's type says.
pub async fn streamed(server: &Server, more: Value) -> Vec<Value> {
    let lines = server.stream_of(MESSAGES, &body(more)).await;
    let event = |pair: &[String]| {
        let [name, data] = pair else {
            panic!("{lines:?}")
        };
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        data
    };
    lines.chunks(2).map(event).collect()
}

/// The answer that a client makes of a stream, and that the stream keeps its order.
fn fold(events: &[Value]) -> Value {
    let mut answer = events[0]["message"].clone();
    assert_eq!(
        (&answer["content"], &answer["stop_reason"]),
        (&json!([]), &Value::Null)
    );
    let mut open: Option<usize> = None;
    let mut input = String::new();
    for event in &events[1..] {
        let index = event["index"].as_u64().map(|index| index as usize);
        match event["type"].as_str().unwrap() {
            "ping" => {}
            "content_block_start" => {
                let content = answer["content"].as_array_mut().unwrap();
                assert_eq!((open, index), (None, Some(content.len())));
                content.push(event["content_block"].clone());
                open = index;
                input.clear();
            }
            "content_block_delta" => {
                assert_eq!(open, index);
                let delta = &event["delta"];
                let block = &mut answer["content"][index.unwrap()];
                let (field, new) = match delta["type"].as_str().unwrap() {
                    "text_delta" => ("text", &delta["text"]),
                    "thinking_delta" => ("thinking", &delta["thinking"]),
                    "signature_delta" => ("signature", &delta["signature"]),
                    "input_json_delta" => {
                        input.push_str(delta["partial_json"].as_str().unwrap());
                        continue;
                    }
                    other => panic!("{other}"),
                };
                let text = format!(
                    "{}{}",
                    block[field].as_str().unwrap(),
                    new.as_str().unwrap()
                );
                block[field] = text.into();
            }
            "content_block_stop" => {
                assert_eq!(open.take(), index);
                let block = &mut answer["content"][index.unwrap()];
                if block["type"] == "tool_use" {
                    assert_eq!(block["input"], json!({}));
                    block["input"] = serde_json::from_str(&input).unwrap();
                }
            }
            "message_delta" => {
                assert_eq!(open, None);
                for field in ["stop_reason", "stop_sequence"] {
                    answer[field] = event["delta"][field].clone();
                }
                answer["usage"] = event["usage"].clone();
            }
            "message_stop" => assert_eq!(Some(event), events.last()),
            other => panic!("{other}"),
        }
    }
    answer
}

/// Ids are fresh in every answer.
fn without_ids(mut answer: Value) -> Value {
    let id = answer.as_object_mut().unwrap().remove("id").unwrap();
    assert!(id.as_str().unwrap().starts_with("msg_"), "{id}");
    for block in answer["content"].as_array_mut().unwrap() {
        if let Some(id) = block.as_object_mut().unwrap().remove("id") {
            assert!(id.as_str().unwrap().starts_with("toolu_"), "{id}");
        }
    }
    answer
}

#[tokio::test]
async fn a_plain_answer_is_the_fold_of_the_stream() {
    for line in include_str!("data/anthropic.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let says: Vec<&str> = case["says"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| token.as_str().unwrap())
            .collect();
        let whole = plain(&thinking(&says), case["request"].clone()).await;
        let folded = fold(&streamed(&thinking(&says), case["request"].clone()).await);
        let whole = without_ids(whole);
        assert_eq!(whole, without_ids(folded), "{line}");
        for field in ["content", "stop_reason", "stop_sequence"] {
            assert_eq!(whole[field], case[field], "{line}");
        }
    }
}

#[tokio::test]
async fn an_answer_has_anthropics_shape() {
    let server = saying(&["Hel", "lo!"]);
    let response = server.post(MESSAGES, &body(json!({"tools": []}))).await;
    assert!(response.headers().contains_key("request-id"));
    let (_, answer) = read(response).await;
    let expected = json!({
        "type": "message", "role": "assistant", "model": "fake",
        "content": [{"type": "text", "text": "Hello!"}],
        "stop_reason": "end_turn", "stop_sequence": null,
        // The prompt is the template's `user: hi` and its newline, a token a byte; the end token counts.
        "usage": {"input_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 3,
            "output_tokens_details": {"thinking_tokens": 0}},
    });
    assert_eq!(without_ids(answer), expected);
}

#[tokio::test]
async fn a_stream_begins_with_its_input_and_ends_with_all_counts() {
    let events = streamed(&thinking(&["hm", "</think>", "Yes"]), json!({})).await;
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], 11);
    assert_eq!(
        events[9]["usage"],
        json!({"input_tokens": 11, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 4,
            "output_tokens_details": {"thinking_tokens": 1}})
    );
}

#[tokio::test]
async fn cached_tokens_are_no_input_tokens() {
    let server = Setup::saying(&[&["a"], &["b"]]).start();
    let long = json!({"tools": [], "messages": [{"role": "user", "content": "x".repeat(40)}]});
    let first = plain(&server, long.clone()).await;
    assert_eq!(first["usage"]["input_tokens"], 47);
    let events = streamed(&server, long).await;
    for usage in [&events[0]["message"]["usage"], &fold(&events)["usage"]] {
        assert_eq!(
            (&usage["input_tokens"], &usage["cache_read_input_tokens"]),
            (&json!(15), &json!(32))
        );
    }
}

#[tokio::test]
async fn an_eager_tool_has_its_input_as_the_model_writes_it() {
    let answer = ["</think>", "<call>", "f", "{\"a\"", ":1}", "</call>"];
    let tools = json!([{"name": "f", "input_schema": {}, "eager_input_streaming": true}]);
    for (tools, pieces) in [(json!([{"name": "f", "input_schema": {}}]), 1), (tools, 2)] {
        let events = streamed(&thinking(&answer), json!({"tools": tools})).await;
        let deltas = events
            .iter()
            .filter(|event| event["type"] == "content_block_delta");
        assert_eq!(deltas.count(), pieces);
        assert_eq!(
            without_ids(fold(&events))["content"],
            json!([{"type": "tool_use", "name": "f", "input": {"a": 1}}])
        );
    }
}

#[tokio::test]
async fn max_tokens_give_way_to_the_context() {
    let server = saying(&["a", "b"]);
    let answer = plain(&server, json!({"max_tokens": 32_000, "tools": []})).await;
    assert_eq!(answer["stop_reason"], "end_turn");
    let long: Vec<&str> = vec!["x"; MAX_MODEL_LEN];
    let answer = plain(&saying(&long), json!({"max_tokens": 32_000, "tools": []})).await;
    assert_eq!(
        (&answer["stop_reason"], &answer["usage"]["output_tokens"]),
        (
            &json!("model_context_window_exceeded"),
            &json!(MAX_MODEL_LEN - 9)
        )
    );
}

#[tokio::test]
async fn prompts_are_counted_as_they_are_sent() {
    let server = thinking(&["a"]);
    for more in [
        json!({}),
        json!({"tools": []}),
        json!({"system": "S", "tool_choice": {"type": "none"}}),
    ] {
        let mut counted = body(more.clone());
        counted.as_object_mut().unwrap().remove("max_tokens");
        let (status, count) = read(
            server
                .post("/v1/messages/count_tokens?beta=true", &counted)
                .await,
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{count}");
        let usage = &plain(&server, more).await["usage"];
        let sent = usage["input_tokens"].as_u64().unwrap()
            + usage["cache_read_input_tokens"].as_u64().unwrap();
        assert_eq!(count, json!({"input_tokens": sent}));
    }
}

#[tokio::test]
async fn what_claude_code_sends_is_taken() {
    let tools: Vec<Value> = (0..24)
        .map(|number| json!({"name": format!("Tool{number}"), "description": "d".repeat(500), "input_schema": {"type": "object"}}))
        .collect();
    let system = json!([
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.0; cch=00000;"},
        {"type": "text", "text": "s".repeat(900), "cache_control": {"type": "ephemeral"}},
    ]);
    let more = json!({"system": system, "tools": tools, "max_tokens": 32000, "thinking": {"type": "adaptive"},
        "metadata": {"user_id": "user_x_session_y"}, "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"}, "diagnostics": {"previous_message_id": null}});
    let response = thinking(&["</think>", "Yes"])
        .post(MESSAGES, &body(more))
        .await;
    assert_eq!(response.headers()["x-weir-ignored-fields"], "diagnostics");
    let (status, answer) = read(response).await;
    assert_eq!(
        (status, &answer["content"]),
        (StatusCode::OK, &json!([{"type": "text", "text": "Yes"}]))
    );
}

#[tokio::test]
async fn a_call_goes_round() {
    let server = Setup::saying(&[
        &["</think>", "<call>", "f", "{\"a\":1}", "</call>"],
        &["</think>", "12"],
    ])
    .model(with_parsers)
    .start();
    let first = plain(&server, json!({})).await;
    let messages = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": first["content"][0]["id"], "content": "12 degrees"}]},
    ]);
    let second = plain(&server, json!({"messages": messages})).await;
    assert_eq!(second["content"], json!([{"type": "text", "text": "12"}]));
}

/// An error in Anthropic's envelope: its class, and a part of its message.
async fn refused(server: &Server, mut request: Request<Body>, status: u16, kind: &str, part: &str) {
    request
        .headers_mut()
        .insert("x-request-id", "mine".parse().unwrap());
    let response = send(&server.router, request).await;
    assert_eq!(response.headers()["request-id"], "mine");
    assert_eq!(response.headers()["content-type"], "application/json");
    let (got, body) = read(response).await;
    assert_eq!(got.as_u16(), status, "{body}");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains(part), "{body}");
    let envelope =
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "mine"});
    assert_eq!(body, envelope);
}

#[tokio::test]
async fn errors_have_anthropics_envelope() {
    let server = Setup::saying(&[&[FAILS]])
        .settings(|settings| settings.body_limit = 2000)
        .start();
    let post = |more: Value| post_json(MESSAGES, &body(more));
    let get = |path: &str| request("GET", path).body(Body::empty()).unwrap();
    let plain = json!({"tools": []});
    let (wrong, missing) = ("invalid_request_error", "not_found_error");
    let long = json!({"system": "x".repeat(3000)});
    let container = json!({"container": "c"});
    let batches = "/v1/messages/batches";
    for (request, status, kind, part) in [
        (post(json!({"max_tokens": 0})), 400, wrong, "`max_tokens`"),
        (post(json!({"model": "gpt-9"})), 404, missing, "`gpt-9`"),
        (post(container), 501, wrong, "container"),
        (post(long), 413, "request_too_large", "larger than"),
        (get(batches), 404, missing, batches),
        (get("/v1/messages"), 405, wrong, "does not take GET"),
        (post(plain.clone()), 500, "api_error", "internal error"),
    ] {
        refused(&server, request, status, kind, part).await;
    }
    server.state.lifecycle.begin_drain();
    refused(&server, post(plain), 503, "overloaded_error", "down").await;
    // Other paths keep theirs.
    let (_, other) = read(send(&server.router, get("/v1/messagesx")).await).await;
    assert_eq!(other["error"]["type"], "not_found_error");
    assert!(other.get("type").is_none());
}

#[tokio::test]
async fn what_is_not_built_is_not_asked_for_again() {
    let response = saying(&[])
        .post(MESSAGES, &body(json!({"container": "c"})))
        .await;
    assert_eq!(response.headers()["x-should-retry"], "false");
}

#[tokio::test]
async fn a_key_comes_as_anthropics_clients_send_it() {
    let server = Setup::saying(&[&["a"], &["b"]])
        .settings(|settings| settings.keys = vec![weir_server::ApiKey::plain("one", "one")])
        .start();
    let ask = |header: &'static str, value: &'static str| {
        let mut request = post_json(MESSAGES, &body(json!({"tools": []})));
        request.headers_mut().insert(header, value.parse().unwrap());
        request
    };
    for request in [ask("x-api-key", "one"), ask("authorization", "Bearer one")] {
        assert_eq!(send(&server.router, request).await.status(), StatusCode::OK);
    }
    refused(
        &server,
        ask("x-api-key", "two"),
        401,
        "authentication_error",
        "API key",
    )
    .await;
}

#[tokio::test]
async fn an_error_after_the_first_token_is_an_event() {
    let server = saying(&["a", FAILS]);
    let mut request = post_json(MESSAGES, &body(json!({"stream": true, "tools": []})));
    request
        .headers_mut()
        .insert("x-request-id", "mine".parse().unwrap());
    let response = send(&server.router, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let stream = std::str::from_utf8(&bytes).unwrap();
    let (_, last) = stream.trim_end().rsplit_once("\n\n").unwrap();
    let data = last.strip_prefix("event: error\ndata: ").unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (&data["type"], &data["request_id"]),
        (&json!("error"), &json!("mine"))
    );
    assert_eq!(data["error"]["type"], "api_error");
    assert!(!stream.contains("[DONE]") && !stream.contains("message_stop"));
}

#[tokio::test]
async fn silence_is_filled_with_pings() {
    let server = Setup::saying(&[&["a", "b"]])
        .rate(4.0)
        .settings(|settings| settings.keep_alive = std::time::Duration::from_millis(20))
        .start();
    let events = streamed(&server, json!({"tools": []})).await;
    let pings = events
        .iter()
        .filter(|event| event["type"] == "ping")
        .count();
    assert!(pings > 1, "{events:?}");
}
