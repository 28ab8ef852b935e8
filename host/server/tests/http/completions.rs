//! Completions: prompts in all shapes, echo, streams.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::server::{Server, Setup, chunks, read};

async fn complete(server: &Server, body: Value) -> Value {
    let (status, body) = read(server.post("/v1/completions", &body).await).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

#[tokio::test]
async fn each_prompt_has_its_answers() {
    let server = Setup::saying(&[&["a", "1"], &["b", "2"], &["c"], &["d"]]).start();
    let body = complete(
        &server,
        json!({"model": "fake", "prompt": ["x", "yz"], "n": 2, "echo": true}),
    )
    .await;
    assert!(body["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(body["object"], "text_completion");
    let texts: Vec<&str> = body["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["xa1", "xb2", "yzc", "yzd"]);
    let last = &body["choices"][3];
    assert_eq!(
        (&last["index"], &last["finish_reason"], &last["logprobs"]),
        (&json!(3), &json!("stop"), &Value::Null)
    );
    assert_eq!(
        (
            &body["usage"]["prompt_tokens"],
            &body["usage"]["completion_tokens"]
        ),
        (&json!(3), &json!(10))
    );
}

#[tokio::test]
async fn token_ids_are_prompts_too() {
    let server = Setup::saying(&[&["!"]]).start();
    let body = complete(
        &server,
        json!({"prompt": [104, 105], "echo": true, "max_tokens": 1}),
    )
    .await;
    assert_eq!(
        (
            &body["choices"][0]["text"],
            &body["choices"][0]["finish_reason"]
        ),
        (&json!("hi!"), &json!("length"))
    );
}

#[tokio::test]
async fn chunks_hold_text_and_end_with_the_reason() {
    let server = Setup::saying(&[&["a", "b"]]).start();
    let request = json!({"prompt": "x", "echo": true, "stream_options": {"include_usage": true}});
    let chunks = chunks(&server.stream_of("/v1/completions", &request).await);
    let pieces: Vec<(&Value, &Value)> = chunks
        .iter()
        .map(|chunk| {
            (
                &chunk["choices"][0]["text"],
                &chunk["choices"][0]["finish_reason"],
            )
        })
        .collect();
    let expected = [
        (json!("xa"), Value::Null),
        (json!("b"), Value::Null),
        (json!(""), json!("stop")),
        (Value::Null, Value::Null),
    ];
    assert_eq!(
        pieces,
        expected
            .iter()
            .map(|(text, reason)| (text, reason))
            .collect::<Vec<_>>()
    );
    assert_eq!(
        (&chunks[3]["choices"], &chunks[3]["usage"]["total_tokens"]),
        (&json!([]), &json!(4))
    );
}

#[tokio::test]
async fn wrong_token_ids_are_the_callers_mistake() {
    let server = Setup::saying(&[]).start();
    let (status, body) = read(
        server
            .post("/v1/completions", &json!({"prompt": [999_999]}))
            .await,
    )
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}
