//! Streamed chat answers, chunk by chunk.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::server::{FAILS, Setup, chunks, read, saying};

#[tokio::test]
async fn chunks_come_as_openai_sends_them() {
    let lines = saying(&["Hel", "lo"])
        .stream(json!({"stream_options": {"include_usage": true}}))
        .await;
    let chunks = chunks(&lines);
    let choices: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"]).collect();
    let piece = |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    let expected = [
        piece(json!({"role": "assistant", "content": ""}), Value::Null),
        piece(json!({"content": "Hel"}), Value::Null),
        piece(json!({"content": "lo"}), Value::Null),
        piece(json!({}), json!("stop")),
        json!([]),
    ];
    assert_eq!(choices, expected.iter().collect::<Vec<_>>());
    assert_eq!(chunks[4]["usage"]["total_tokens"], 12);
    for chunk in &chunks {
        assert_eq!(
            (&chunk["id"], &chunk["object"]),
            (&chunks[0]["id"], &json!("chat.completion.chunk"))
        );
        assert_eq!(chunk.get("usage").is_some(), chunk["choices"] == json!([]));
    }
}

#[tokio::test]
async fn usage_comes_only_when_asked() {
    let lines = saying(&["a"]).stream(json!({})).await;
    assert!(
        lines.iter().all(|line| !line.contains("usage")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn each_of_several_answers_begins_and_ends_once() {
    let server = Setup::saying(&[&["a", "b"], &["c"]]).start();
    let chunks = chunks(&server.stream(json!({"n": 2})).await);
    for (index, content) in [(0, "ab"), (1, "c")] {
        let own: Vec<&Value> = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0])
            .filter(|choice| choice["index"] == index)
            .collect();
        assert_eq!(own[0]["delta"]["role"], "assistant");
        let text: String = own
            .iter()
            .filter_map(|choice| choice["delta"]["content"].as_str())
            .collect();
        assert_eq!(text, content);
        assert_eq!(
            own.iter()
                .filter(|choice| choice["finish_reason"] == "stop")
                .count(),
            1
        );
        assert_eq!(own.last().unwrap()["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn a_failure_before_the_first_token_has_its_status() {
    let server = saying(&[FAILS]);
    let body = crate::server::chat_body(json!({"stream": true}));
    let (status, body) = read(server.post("/v1/chat/completions", &body).await).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("internal error ") && !message.contains("vocabulary"),
        "{message}"
    );
}

#[tokio::test]
async fn a_failure_after_the_first_token_ends_the_stream_with_an_error_event() {
    let lines = saying(&["a", FAILS]).stream(json!({})).await;
    let [.., event, data] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert_eq!(event, "event: error");
    let body: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(body["error"]["type"], "server_error");
    assert!(!lines.iter().any(|line| line.contains("[DONE]")));
}

#[tokio::test]
async fn silence_is_filled_with_comments() {
    let server = Setup::saying(&[&["a", "b"]])
        .rate(4.0)
        .settings(|settings| settings.keep_alive = std::time::Duration::from_millis(20))
        .start();
    let lines = server.stream(json!({})).await;
    assert!(lines.iter().any(|line| line.starts_with(':')), "{lines:?}");
}

/// A long prompt must not look like a dead server.
#[tokio::test]
async fn a_stream_begins_when_its_first_token_is_late() {
    let server = Setup::saying(&[&["a", "b"]])
        .rate(2.0)
        .settings(|settings| settings.keep_alive = std::time::Duration::from_millis(10))
        .start();
    let lines = server.stream(json!({})).await;
    assert!(lines[0].starts_with(':'), "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("data: [DONE]"));
}
