//! Answers of the APIs beside chat and completions against the OpenAPI document: whole ones, and every event of streams.

use axum::{
    body::{Body, to_bytes},
    http::StatusCode,
};
use serde_json::{Value, json};

use crate::{
    anthropic,
    documented_schemas::check,
    responses,
    server::{FAILS, Server, Setup, chunks, read, request, saying, send},
};

const REASONING_AND_CALLS: &[&str] = &[
    "hm",
    "</think>",
    "So",
    "<call>",
    "f",
    "{\"a\":1}",
    "</call>",
    "<call>",
    "patch",
    "{\"input\":\"x\"}",
    "</call>",
];

async fn document(server: &Server) -> Value {
    server.get("/openapi.json").await.1
}

#[tokio::test]
async fn every_json_answer_has_a_schema() {
    let document = document(&saying(&["a"])).await;
    let mut without = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let content = operation["responses"]["200"]["content"]
                .as_object()
                .unwrap();
            let described = |(media_type, answer): (&String, &Value)| {
                let described = answer["schema"]["$ref"].is_string()
                    || answer["x-itemSchema"]["$ref"].is_string();
                described || media_type.starts_with("text/") && media_type != "text/event-stream"
            };
            if !content.iter().all(described) {
                without.push(format!("{method} {path}"));
            }
        }
    }
    assert_eq!(without, ["get /openapi.json"]);
}

#[tokio::test]
async fn responses_and_what_is_stored_of_them() {
    let server = Setup::saying(&[REASONING_AND_CALLS])
        .model(responses::with_both)
        .start();
    let document = document(&server).await;
    let more = json!({"tools": responses::tools(), "reasoning": {"summary": "auto"}, "metadata": {"a": "b"}});
    for event in responses::events(&server, more.clone()).await {
        check(&document, "ResponseStreamEvent", &event);
    }
    let response = responses::respond(&server, more).await;
    check(&document, "ResponseObject", &response);
    let path = format!("/v1/responses/{}", response["id"].as_str().unwrap());
    check(&document, "ResponseObject", &server.get(&path).await.1);
    let items = server.get(&format!("{path}/input_items")).await.1;
    check(&document, "InputItemList", &items);
    let delete = request("DELETE", &path).body(Body::empty()).unwrap();
    let (_, deleted) = read(send(&server.router, delete).await).await;
    check(&document, "DeletedResponse", &deleted);
    let failing = saying(&["a", FAILS]);
    for event in responses::events(&failing, json!({})).await {
        check(&document, "ResponseStreamEvent", &event);
    }
}

#[tokio::test]
async fn messages_and_their_tokens() {
    let server = anthropic::thinking(REASONING_AND_CALLS);
    let document = document(&server).await;
    for event in anthropic::streamed(&server, json!({})).await {
        check(&document, "AnthropicStreamEvent", &event);
    }
    let message = anthropic::plain(&server, json!({})).await;
    check(&document, "AnthropicMessage", &message);
    let body = anthropic::body(json!({}));
    let (_, count) = read(server.post("/v1/messages/count_tokens", &body).await).await;
    check(&document, "AnthropicTokenCount", &count);
    let (status, error) = read(server.post("/v1/messages", &json!({})).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    check(&document, "AnthropicErrorEnvelope", &error);
}

#[tokio::test]
async fn tokens_texts_and_generations() {
    let server = saying(&["Hel", "lo"]);
    let document = document(&server).await;
    let ask = async |path: &str, body: Value| {
        let (status, answer) = read(server.post(path, &body).await).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    };
    for strings in [true, false] {
        let body = json!({"prompt": "hé", "return_token_strs": strings});
        check(&document, "Tokens", &ask("/tokenize", body).await);
    }
    let text = ask("/detokenize", json!({"tokens": [104]})).await;
    check(&document, "DetokenizedText", &text);
    let whole = ask("/generate", json!({"prompt": "hi", "stream": false})).await;
    check(&document, "Generation", &whole);
    let response = server.post("/generate", &json!({"prompt": "hi"})).await;
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let records: Vec<&[u8]> = bytes
        .split(|byte| *byte == 0)
        .filter(|record| !record.is_empty())
        .collect();
    assert_eq!(records.len(), 2);
    for record in records {
        check(
            &document,
            "Generation",
            &serde_json::from_slice(record).unwrap(),
        );
    }
}

#[tokio::test]
async fn chat_with_all_that_an_answer_can_hold() {
    let server = Setup::saying(&[REASONING_AND_CALLS])
        .model(responses::with_both)
        .start();
    let document = document(&server).await;
    let tools = json!([{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "patch"}}]);
    let more = json!({"tools": tools, "logprobs": true, "top_logprobs": 2, "nvext": {"extra_fields": ["token_ids", "timing"]}});
    check(
        &document,
        "ChatCompletion",
        &server.chat(more.clone()).await,
    );
    for chunk in chunks(
        &server
            .stream(json!({"tools": tools, "logprobs": true}))
            .await,
    ) {
        check(&document, "ChatChunk", &chunk);
    }
    let body = json!({"prompt": "x", "logprobs": 2, "echo": true});
    let (_, completion) = read(server.post("/v1/completions", &body).await).await;
    check(&document, "Completion", &completion);
}
