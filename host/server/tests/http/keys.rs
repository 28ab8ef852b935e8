//! Who is let in, what it may use, and when it is told to come back.

use axum::{
    body::Body,
    http::{Request, Response, StatusCode},
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use weir_server::{ApiKey, KeyLimits};

use crate::server::{Server, Setup, chat_body, post_json, read, request, send};

const CHAT: &str = "/v1/chat/completions";

/// A server for one key, `secret`, with these limits.
fn server(limits: KeyLimits) -> Server {
    let mut setup = Setup::saying(&[&["a", "b", "c", "d"]]);
    let mut key = ApiKey::plain("alice", "secret");
    key.limits = limits;
    setup.settings.keys = vec![key, ApiKey::admin("root", "admin")];
    setup.start()
}

fn bearing(header: (&'static str, &str), body: &Value) -> Request<Body> {
    let mut request = post_json(CHAT, body);
    request
        .headers_mut()
        .insert(header.0, header.1.parse().unwrap());
    request
}

async fn ask(server: &Server, more: Value) -> Response<Body> {
    let request = bearing(("authorization", "Bearer secret"), &chat_body(more));
    send(&server.router, request).await
}

fn retry_after(response: &Response<Body>) -> u64 {
    let value = response.headers()["retry-after"].to_str().unwrap();
    value.parse().unwrap()
}

/// A 429 of the limit that this code names.
async fn is_over(response: Response<Body>, code: &str) {
    let (status, body) = read(response).await;
    let error = &body["error"];
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{body}");
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("rate_limit_error"), &json!(code))
    );
}

#[tokio::test]
async fn a_key_comes_as_openais_or_as_anthropics_clients_send_it() {
    let server = server(KeyLimits::default());
    let cases = [
        (("authorization", "Bearer secret"), 200),
        (("x-api-key", "secret"), 200),
        (("authorization", "Basic secret"), 401),
        (("authorization", "Bearer secre"), 401),
        (("x-api-key", "secrets"), 401),
        (("x-api-key", ""), 401),
        (("x-api-key", "admin"), 403),
    ];
    for (header, expected) in cases {
        let request = bearing(header, &chat_body(json!({})));
        let response = send(&server.router, request).await;
        assert_eq!(response.status().as_u16(), expected, "{header:?}");
        let asks = response.headers().contains_key("www-authenticate");
        assert_eq!(asks, expected == 401);
    }
}

#[tokio::test]
async fn a_place_is_taken_until_the_last_byte() {
    let server = server(KeyLimits {
        max_concurrency: Some(1),
        ..KeyLimits::default()
    });
    let response = ask(&server, json!({"stream": true})).await;
    let mut stream = response.into_body().into_data_stream();
    assert!(stream.next().await.is_some());
    let second = ask(&server, json!({})).await;
    assert_eq!(retry_after(&second), 1);
    is_over(second, "concurrency_limit_exceeded").await;
    while stream.next().await.is_some() {}
    drop(stream);
    assert_eq!(ask(&server, json!({})).await.status(), StatusCode::OK);
    assert_eq!(
        ask(&server, json!({})).await.status(),
        StatusCode::OK,
        "a whole answer gives its place back"
    );
}

#[tokio::test]
async fn requests_a_minute_have_an_end_and_the_wait_is_told() {
    let server = server(KeyLimits {
        requests_per_minute: Some(2),
        ..KeyLimits::default()
    });
    for _ in 0..2 {
        assert_eq!(ask(&server, json!({})).await.status(), StatusCode::OK);
    }
    let before = server.engine.counters().generated_tokens;
    let third = ask(&server, json!({})).await;
    // One of two a minute flows back in 30 s, less what has passed since.
    assert!(
        (25..=30).contains(&retry_after(&third)),
        "{}",
        retry_after(&third)
    );
    is_over(third, "rate_limit_exceeded").await;
    assert_eq!(
        server.engine.counters().generated_tokens,
        before,
        "nothing was queued"
    );
}

#[tokio::test]
async fn tokens_a_minute_are_of_prompts_and_answers() {
    // `chat_body` makes a prompt of 9 byte tokens, and the answers have 4.
    let server = server(KeyLimits {
        tokens_per_minute: Some(30),
        ..KeyLimits::default()
    });
    for _ in 0..2 {
        assert_eq!(ask(&server, json!({})).await.status(), StatusCode::OK);
    }
    let third = ask(&server, json!({})).await;
    // 26 are taken, 9 more are 5 too many: 10 s at one every two seconds.
    assert!(
        (8..=10).contains(&retry_after(&third)),
        "{}",
        retry_after(&third)
    );
    is_over(third, "rate_limit_exceeded").await;
    let long = "x".repeat(40);
    let never = ask(
        &server,
        json!({"messages": [{"role": "user", "content": long}]}),
    )
    .await;
    let (status, body) = read(never).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("token_limit_exceeded"))
    );
}

#[tokio::test]
async fn models_that_are_not_for_a_key_are_neither_answered_nor_listed() {
    let server = server(KeyLimits {
        models: Some(vec!["other".to_owned()]),
        ..KeyLimits::default()
    });
    let (status, body) = read(ask(&server, json!({})).await).await;
    assert_eq!(
        (status, &body["error"]["code"], &body["error"]["param"]),
        (
            StatusCode::FORBIDDEN,
            &json!("model_not_allowed"),
            &json!("model")
        )
    );
    let list = request("GET", "/v1/models")
        .header("x-api-key", "secret")
        .body(Body::empty())
        .unwrap();
    let (_, body) = read(send(&server.router, list).await).await;
    assert_eq!(body["data"], json!([]));
}

#[tokio::test]
async fn admin_routes_are_there_for_admin_keys_alone() {
    let get = |key: Option<&str>| {
        let mut request = request("GET", "/admin/plugins");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        request.body(Body::empty()).unwrap()
    };
    let guarded = server(KeyLimits::default());
    for (key, expected) in [(None, 401), (Some("no"), 401), (Some("secret"), 403)] {
        let response = send(&guarded.router, get(key)).await;
        assert_eq!(response.status().as_u16(), expected, "{key:?}");
    }
    let open = Setup::saying(&[]).start();
    let (status, body) = read(send(&open.router, get(Some("admin"))).await).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let message = body["error"]["message"].as_str().unwrap();
    // As of any route that is not there.
    assert_eq!(
        message,
        "there is no `/admin/plugins` here; `/docs` lists what is"
    );
}
