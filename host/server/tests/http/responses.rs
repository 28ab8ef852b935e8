//! POST /v1/responses: answers, and their events in order.

use axum::http::StatusCode;
use serde_json::{Value, json};
use weir_server::{ServedModel, active_plugins::ActivePlugins};

use crate::{
    parsers::{marks, with_tools},
    server::{FAILS, Server, Setup, read, saying},
};

/// A request with these fields beside a short input.
pub fn body(more: Value) -> Value {
    let mut body = json!({"model": "fake", "input": "hi"});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

/// A response that must succeed.
pub async fn respond(server: &Server, more: Value) -> Value {
    let (status, response) = read(server.post("/v1/responses", &body(more)).await).await;
    assert_eq!(status, StatusCode::OK, "{response}");
    response
}

/// The events of a streamed response; each stands behind a line with its name, and they are counted.
pub async fn events(server: &Server, more: Value) -> Vec<Value> {
    let lines = server.stream_of("/v1/responses", &body(more)).await;
    let events = lines.chunks(2).enumerate().map(|(number, lines)| {
        let event: Value = serde_json::from_str(lines[1].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(
            lines[0],
            format!("event: {}", event["type"].as_str().unwrap())
        );
        assert_eq!(event["sequence_number"], number);
        event
    });
    events.collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect()
}

pub fn tools() -> Value {
    json!([
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": false},
        {"type": "web_search"},
        {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [{"type": "function", "name": "f"}]},
        {"type": "custom", "name": "patch"},
    ])
}

/// Reasoning up to `</think>`, calls behind it.
pub fn with_both(model: &mut ServedModel) {
    model.plugins.set(ActivePlugins {
        reasoning_parser: Some(marks(true, true)),
        tool_parser: Some(marks(true, true)),
        ..ActivePlugins::default()
    });
}

#[tokio::test]
async fn an_answer_has_openais_shape() {
    let server = saying(&["Hel", "lo", "!"]);
    let mut response = respond(&server, json!({"metadata": {"a": "b"}, "temperature": 0.7})).await;
    let id = response["id"].as_str().unwrap();
    assert!(id.starts_with("resp_") && id.len() == 37, "{id}");
    let message = response["output"][0]["id"].as_str().unwrap();
    assert!(message.starts_with("msg_"), "{message}");
    for time in ["created_at", "completed_at"] {
        assert!(response[time].as_u64().unwrap() > 1_700_000_000);
        response[time] = Value::Null;
    }
    response["id"] = Value::Null;
    response["output"][0]["id"] = Value::Null;
    let expected = json!({
        "id": null, "object": "response", "created_at": null, "status": "completed", "background": false, "completed_at": null,
        "error": null, "incomplete_details": null, "model": "fake",
        "output": [{
            "type": "message", "id": null, "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello!", "annotations": [], "logprobs": []}],
        }],
        "usage": {
            "input_tokens": 9, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 13,
        },
        "instructions": null, "max_output_tokens": null, "max_tool_calls": null, "metadata": {"a": "b"}, "parallel_tool_calls": true,
        "previous_response_id": null, "prompt_cache_key": null, "prompt_cache_retention": null,
        "reasoning": {"effort": null, "summary": null}, "safety_identifier": null, "service_tier": "default", "store": true,
        "temperature": 0.7, "text": {"format": {"type": "text"}, "verbosity": "medium"}, "tool_choice": "auto", "tools": [],
        "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "user": null,
    });
    assert_eq!(response, expected);
}

#[tokio::test]
async fn the_events_of_a_text_come_in_openais_order() {
    let events = events(&saying(&["Hel", "lo"]), json!({})).await;
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names(&events), expected);
    assert_eq!(
        (
            &events[0]["response"]["status"],
            &events[0]["response"]["usage"],
            &events[1]["response"]["output"]
        ),
        (&json!("in_progress"), &Value::Null, &json!([]))
    );
    let id = &events[2]["item"]["id"];
    assert_eq!(
        events[2]["item"],
        json!({"type": "message", "id": id, "status": "in_progress", "role": "assistant", "content": []})
    );
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let place = |number: usize, more: Value| {
        let mut event = json!({"type": expected[number], "sequence_number": number, "item_id": id, "output_index": 0, "content_index": 0});
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        event
    };
    assert_eq!(events[3], place(3, json!({"part": part("")})));
    assert_eq!(events[4], place(4, json!({"delta": "Hel", "logprobs": []})));
    assert_eq!(
        events[6],
        place(6, json!({"text": "Hello", "logprobs": []}))
    );
    assert_eq!(events[7], place(7, json!({"part": part("Hello")})));
    assert_eq!(events[8]["item"], events[9]["response"]["output"][0]);
}

#[tokio::test]
async fn the_events_of_reasoning_and_calls_come_in_openais_order() {
    let answer = [
        "hm",
        "</think>",
        "<call>",
        "f",
        "{\"a\"",
        ":1}",
        "</call>",
        "<call>",
        "patch",
        "{\"input\":\"x\\ny\"}",
        "</call>",
    ];
    let server = Setup::saying(&[&answer]).model(with_both).start();
    let events = events(
        &server,
        json!({"tools": tools(), "reasoning": {"summary": "auto"}}),
    )
    .await;
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names(&events), expected);
    let output = &events[21]["response"]["output"];
    let (reasoning, call, custom) = (&output[0], &output[1], &output[2]);
    let texts = json!({
        "type": "reasoning", "id": reasoning["id"], "summary": [{"type": "summary_text", "text": "hm"}],
        "content": [{"type": "reasoning_text", "text": "hm"}], "encrypted_content": null, "status": "completed",
    });
    assert_eq!(*reasoning, texts);
    assert!(call["call_id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(
        *call,
        json!({"type": "function_call", "id": call["id"], "call_id": call["call_id"], "name": "f", "arguments": "{\"a\":1}", "status": "completed"})
    );
    assert_eq!(
        *custom,
        json!({"type": "custom_tool_call", "id": custom["id"], "call_id": custom["call_id"], "name": "patch", "input": "x\ny", "status": "completed"})
    );
    assert_eq!(events[8]["summary_index"], 0);
    assert_eq!(events[8].get("content_index"), None);
    assert_eq!(
        events[15],
        json!({
            "type": expected[15], "sequence_number": 15, "item_id": call["id"], "output_index": 1,
            "name": "f", "arguments": "{\"a\":1}",
        })
    );
}

#[tokio::test]
async fn a_cut_answer_says_so() {
    let server = Setup::saying(&[&["a", "b", "c"]]).start();
    let response = respond(&server, json!({"max_output_tokens": 2})).await;
    assert_eq!(
        (
            &response["status"],
            &response["incomplete_details"],
            &response["completed_at"]
        ),
        (
            &json!("incomplete"),
            &json!({"reason": "max_output_tokens"}),
            &Value::Null
        )
    );
    let message = &response["output"][0];
    assert_eq!(
        (&message["status"], &message["content"][0]["text"]),
        (&json!("incomplete"), &json!("ab"))
    );
}

#[tokio::test]
async fn a_call_that_is_cut_is_incomplete_streamed_or_not() {
    let answer = ["<call>", "f", "{\"a\"", ":1}", "</call>"];
    let server = Setup::saying(&[&answer]).model(with_tools).start();
    let events = events(&server, json!({"tools": tools(), "max_output_tokens": 3})).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    let call = &last["response"]["output"][0];
    assert_eq!(
        (&call["status"], &call["arguments"]),
        (&json!("incomplete"), &json!("{\"a\""))
    );
    let server = Setup::saying(&[&answer]).model(with_tools).start();
    let plain = respond(&server, json!({"tools": tools(), "max_output_tokens": 3})).await;
    assert_eq!(plain["status"], "incomplete");
    for field in ["type", "status", "name", "arguments"] {
        assert_eq!(plain["output"][0][field], call[field], "{field}");
    }
}

#[tokio::test]
async fn an_ended_answer_has_a_message_even_if_it_is_empty() {
    let response = respond(&saying(&[]), json!({})).await;
    assert_eq!(
        (
            &response["status"],
            &response["output"][0]["content"][0]["text"]
        ),
        (&json!("completed"), &json!(""))
    );
}

#[tokio::test]
async fn calls_come_back_under_the_clients_names() {
    let answer = ["<call>", "crm__f", "{}", "</call>"];
    let server = Setup::saying(&[&answer]).model(with_tools).start();
    let response = server
        .post("/v1/responses", &body(json!({"tools": tools()})))
        .await;
    assert_eq!(
        response.headers()["x-weir-ignored-fields"],
        "tools[1].web_search"
    );
    let (_, response) = read(response).await;
    let call = &response["output"][0];
    assert_eq!(
        (&call["name"], &call["namespace"]),
        (&json!("f"), &json!("crm"))
    );
    assert_eq!(response["tools"], tools());
}

#[tokio::test]
async fn a_failure_before_the_first_token_has_its_status() {
    for stream in [false, true] {
        let (status, error) = read(
            saying(&[FAILS])
                .post("/v1/responses", &body(json!({"stream": stream})))
                .await,
        )
        .await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{error}");
    }
}

#[tokio::test]
async fn a_failure_after_the_first_token_fails_the_response() {
    let server = saying(&["a", FAILS]);
    let events = events(&server, json!({})).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.failed");
    let response = &last["response"];
    assert_eq!(
        (&response["status"], &response["error"]["code"]),
        (&json!("failed"), &json!("server_error"))
    );
    assert!(
        response["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("internal error ")
    );
    assert_eq!(response["output"][0]["status"], "incomplete");
    let path = format!("/v1/responses/{}", response["id"].as_str().unwrap());
    assert_eq!(server.get(&path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn errors_name_the_fields_of_this_api() {
    let cases = [
        (
            json!({"background": true}),
            StatusCode::NOT_IMPLEMENTED,
            "background",
        ),
        (
            json!({"input": "refuse me"}),
            StatusCode::BAD_REQUEST,
            "input",
        ),
        (json!({"model": "other"}), StatusCode::NOT_FOUND, "model"),
        (json!({"tools": tools()}), StatusCode::BAD_REQUEST, "tools"),
    ];
    for (more, expected, param) in cases {
        let (status, error) = read(saying(&["a"]).post("/v1/responses", &body(more)).await).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (expected, &json!(param)),
            "{error}"
        );
    }
}
