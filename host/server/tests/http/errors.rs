//! What goes wrong, in OpenAI's envelope.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};
use weir_engine::{EngineError, GeneratedStream, Generator, SequenceRequest};

use crate::server::{
    MAX_MODEL_LEN, Setup, chat_body, generating, post_json, read, request, saying, send,
};

const CHAT: &str = "/v1/chat/completions";

/// A chat request's fields, the status, the error's `param` and a part of its message.
const WRONG: &[(&str, u16, Option<&str>, &str)] = &[
    (
        r#"{"messages": []}"#,
        400,
        Some("messages"),
        "at least one message",
    ),
    (
        r#"{"temperature": 3}"#,
        400,
        Some("temperature"),
        "between 0 and 2, got 3",
    ),
    (
        r#"{"model": "gpt-9"}"#,
        404,
        Some("model"),
        "`gpt-9` is not served here; served: fake",
    ),
    (
        r#"{"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "float"}}}}"#,
        400,
        Some("response_format"),
        "cannot be enforced",
    ),
    (
        r#"{"stream_options": {"include_usage": true}}"#,
        400,
        Some("stream_options"),
        "when `stream` is true",
    ),
    (
        r#"{"tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        400,
        Some("tools"),
        "--tool-call-parser",
    ),
    (r#"{"max_tokens": 9000}"#, 400, None, "the limit is 2048"),
    (
        r#"{"messages": [{"role": "user", "content": "refuse me"}]}"#,
        400,
        Some("messages"),
        "I refuse",
    ),
    (
        r#"{"logit_bias": {"99999": 1}}"#,
        400,
        None,
        "outside the vocabulary",
    ),
];

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let server = saying(&["a"]);
    for (more, status, param, part) in WRONG {
        let body = chat_body(serde_json::from_str(more).unwrap());
        let (got, body) = read(server.post(CHAT, &body).await).await;
        let error = &body["error"];
        assert_eq!(
            (got.as_u16(), error["param"].as_str()),
            (*status, *param),
            "{more}: {body}"
        );
        assert!(
            error["message"].as_str().unwrap().contains(part),
            "{more}: {body}"
        );
        assert_eq!(
            error.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["message", "type", "param", "code"]
        );
    }
    assert_eq!(server.state.lifecycle.active(), 0);
}

#[tokio::test]
async fn the_prompt_alone_may_be_too_long() {
    let long = "x".repeat(MAX_MODEL_LEN);
    let (status, body) = read(
        saying(&[])
            .post(
                CHAT,
                &chat_body(json!({"messages": [{"role": "user", "content": long}]})),
            )
            .await,
    )
    .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("context_length_exceeded"))
    );
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_the_envelope() {
    let server = Setup::saying(&[])
        .settings(|settings| settings.body_limit = 100)
        .start();
    let json = |body: &str| {
        request("POST", CHAT)
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    let text = request("POST", CHAT)
        .header("content-type", "text/plain")
        .body(Body::from("{}"))
        .unwrap();
    let cases = [
        (json("{\"model\": }"), 400, "line 1 column 11"),
        (json("[1]"), 400, "JSON object"),
        (
            json(&format!("\"{}\"", "x".repeat(200))),
            413,
            "larger than",
        ),
        (text, 415, "application/json"),
        (
            request("GET", "/v2/nothing").body(Body::empty()).unwrap(),
            404,
            "/v2/nothing",
        ),
        (
            request("GET", CHAT).body(Body::empty()).unwrap(),
            405,
            "does not take GET",
        ),
    ];
    for (request, expected, part) in cases {
        let (status, body) = read(send(&server.router, request).await).await;
        assert_eq!(status.as_u16(), expected, "{body}");
        assert!(
            body["error"]["message"].as_str().unwrap().contains(part),
            "{body}"
        );
    }
}

/// A generator that breaks in a way nobody foresaw.
struct Panics;

impl Generator for Panics {
    fn submit(&self, _request: SequenceRequest) -> Result<GeneratedStream, EngineError> {
        panic!("the secret recipe");
    }
}

/// A generator that never says anything.
struct Refuses(EngineError);

impl Generator for Refuses {
    fn submit(&self, _request: SequenceRequest) -> Result<GeneratedStream, EngineError> {
        Err(self.0.clone())
    }
}

async fn ask(generator: impl Generator + 'static) -> (StatusCode, Value) {
    read(
        send(
            &generating(Arc::new(generator)),
            post_json(CHAT, &chat_body(json!({}))),
        )
        .await,
    )
    .await
}

#[tokio::test]
async fn a_panic_gives_an_id_and_keeps_its_words() {
    let (status, body) = ask(Panics).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::INTERNAL_SERVER_ERROR, &json!("internal_error"))
    );
    assert!(!body.to_string().contains("recipe"), "{body}");
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let router = generating(Arc::new(Refuses(EngineError::QueueFull {
        queued: 8,
        limit: 8,
    })));
    let response = send(&router, post_json(CHAT, &chat_body(json!({})))).await;
    assert_eq!(
        (response.status(), &response.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap())
    );
    assert_eq!(read(response).await.1["error"]["type"], "rate_limit_error");
}

#[tokio::test]
async fn a_request_ends_at_its_deadline_and_frees() {
    let server = Setup::saying(&[&["a", "b", "c"]])
        .rate(5.0)
        .settings(|settings| settings.request_timeout = Some(Duration::from_millis(50)))
        .start();
    let (status, body) = read(server.post(CHAT, &chat_body(json!({}))).await).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::GATEWAY_TIMEOUT, &json!("timeout"))
    );
    server.until(|counters| counters.blocks_used == 0).await;
}

#[tokio::test]
async fn a_base_url_that_leads_nowhere_is_told_where_to_lead() {
    // With the page, `/` is a route that takes no POST.
    let paged = saying(&["hi"]).post("/", &json!({})).await;
    assert_eq!(paged.status(), StatusCode::METHOD_NOT_ALLOWED);
    let server = Setup::saying(&[&["hi"]]).settings(|settings| settings.ui = false);
    let server = server.start();
    let chat = "; `/v1/chat/completions` is, which";
    let cases = [
        ("/chat/completions", chat),
        ("/v1/v1/chat/completions", chat),
        ("/v1/chat/completions/", chat),
        ("/v1/v1/messages", "; `/v1/messages` is, which"),
        ("/v1/threads/1/messages", "; `/docs` lists what is"),
        ("/", "there is no `/` here; `/docs` lists what is"),
    ];
    for (path, hint) in cases {
        let (status, body) = read(server.post(path, &json!({})).await).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(
            body["error"]["message"].as_str().unwrap().contains(hint),
            "{path}: {body}"
        );
    }
}
