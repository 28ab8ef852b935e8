//! Chat answers in one piece, models, health, keys.

use axum::{body::Body, http::StatusCode};
use serde_json::json;

use weir_server::ApiKey;

use crate::server::{Setup, chat_body, post_json, read, request, saying, send};

#[tokio::test]
async fn an_answer_has_openais_shape() {
    let server = saying(&["Hel", "lo", "!"]);
    let mut body = server.chat(json!({})).await;
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(body["created"].as_u64().unwrap() > 1_700_000_000);
    assert!(
        body["system_fingerprint"]
            .as_str()
            .unwrap()
            .starts_with("fp_")
    );
    for key in ["id", "created", "system_fingerprint"] {
        body.as_object_mut().unwrap().remove(key);
    }
    let expected = json!({
        "object": "chat.completion",
        "model": "fake",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!", "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        // The prompt is the template's `user: hi` and its newline, a token a byte; the end token counts.
        "usage": {
            "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
        },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn max_tokens_ends_with_length() {
    let body = saying(&["a", "b", "c"])
        .chat(json!({"max_tokens": 2}))
        .await;
    assert_eq!(
        (
            &body["choices"][0]["message"]["content"],
            &body["choices"][0]["finish_reason"]
        ),
        (&json!("ab"), &json!("length"))
    );
}

#[tokio::test]
async fn the_servers_default_of_max_tokens_gives_way_to_the_context() {
    let server = Setup::saying(&[&["a", "b", "c"]])
        .model(|model| model.defaults.max_tokens = Some(1_000_000))
        .start();
    assert_eq!(
        server.chat(json!({})).await["choices"][0]["finish_reason"],
        "stop"
    );
}

#[tokio::test]
async fn a_stop_string_across_tokens_ends_and_frees() {
    let long: Vec<String> = (0..1500).map(|_| "x".to_owned()).collect();
    let mut setup = Setup::saying(&[&["Hel", "lo wo", "rld"]]);
    setup.answers[0].extend(long);
    let server = setup.start();
    let body = server.chat(json!({"stop": ["nope", "lo world"]})).await;
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("Hel"), &json!("stop"))
    );
    assert_eq!(body["usage"]["completion_tokens"], 3);
    server
        .until(|counters| counters.blocks_used == 0 && counters.running == 0)
        .await;
}

#[tokio::test]
async fn several_answers_are_kept_apart() {
    let server = Setup::saying(&[&["a", "b"], &["c"]]).start();
    let body = server.chat(json!({"n": 2, "seed": 7})).await;
    let contents: Vec<_> = body["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| &choice["message"]["content"])
        .collect();
    assert_eq!(contents, ["ab", "c"]);
    assert_eq!(
        (
            &body["choices"][1]["index"],
            &body["usage"]["prompt_tokens"],
            &body["usage"]["completion_tokens"]
        ),
        (&json!(1), &json!(9), &json!(5))
    );
}

#[tokio::test]
async fn unknown_fields_are_listed_in_a_header() {
    let response = saying(&["a"])
        .post(
            "/v1/chat/completions",
            &chat_body(json!({"zeta": 1, "alpha": 2, "bad,name": 3})),
        )
        .await;
    assert_eq!(response.headers()["x-weir-ignored-fields"], "alpha,zeta");
}

#[tokio::test]
async fn models_answer_under_all_their_names() {
    let server = Setup::saying(&[]).names(&["fake", "org/other"]).start();
    let (status, list) = server.get("/v1/models").await;
    assert_eq!(
        (status, &list["object"], &list["data"][1]["id"]),
        (StatusCode::OK, &json!("list"), &json!("org/other"))
    );
    for path in ["/v1/models/org/other", "/models/org%2Fother"] {
        let (status, model) = server.get(path).await;
        assert_eq!(
            (status, &model["id"], &model["root"]),
            (StatusCode::OK, &json!("org/other"), &json!("fake")),
            "{path}"
        );
    }
    let (status, body) = server.get("/models/else").await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("model_not_found"))
    );
}

#[tokio::test]
async fn readiness_follows_the_lifecycle() {
    let server = saying(&["a"]);
    let (_, health) = server.get("/health").await;
    assert_eq!(
        health,
        json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")})
    );
    assert_eq!(server.get("/ready").await.0, StatusCode::OK);
    server.state.lifecycle.begin_drain();
    for path in ["/ready", "/live"] {
        let expected = if path == "/live" {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        assert_eq!(server.get(path).await.0, expected, "{path}");
    }
    let (status, body) = read(
        server
            .post("/v1/chat/completions", &chat_body(json!({})))
            .await,
    )
    .await;
    assert_eq!(
        (status, &body["error"]["type"]),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &json!("service_unavailable")
        )
    );
    server.state.lifecycle.idle().await;
}

#[tokio::test]
async fn keys_are_asked_for_where_there_are_some() {
    let server = Setup::saying(&[&["a"], &["b"]])
        .settings(|settings| {
            settings.keys = vec![ApiKey::plain("1", "one"), ApiKey::plain("2", "two")]
        })
        .start();
    for (key, expected) in [
        (None, 401),
        (Some("Bearer no"), 401),
        (Some("Bearer two"), 200),
        (Some("bearer one"), 200),
    ] {
        let mut request = post_json("/v1/chat/completions", &chat_body(json!({})));
        if let Some(key) = key {
            request
                .headers_mut()
                .insert("authorization", key.parse().unwrap());
        }
        assert_eq!(
            send(&server.router, request).await.status(),
            expected,
            "{key:?}"
        );
    }
    assert_eq!(server.get("/health").await.0, StatusCode::OK);
}

#[tokio::test]
async fn request_ids_go_in_and_out() {
    let server = saying(&[]);
    let given = request("GET", "/nowhere")
        .header("x-request-id", "mine")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        send(&server.router, given).await.headers()["x-request-id"],
        "mine"
    );
    let fresh = request("GET", "/health").body(Body::empty()).unwrap();
    assert_eq!(
        send(&server.router, fresh).await.headers()["x-request-id"].len(),
        36
    );
}

#[tokio::test]
async fn browsers_of_listed_origins_may_call() {
    let server = Setup::saying(&[])
        .settings(|settings| settings.cors_origins = vec!["https://a.example".into()])
        .start();
    for (origin, allowed) in [("https://a.example", true), ("https://b.example", false)] {
        let request = request("GET", "/health")
            .header("origin", origin)
            .body(Body::empty())
            .unwrap();
        let response = send(&server.router, request).await;
        assert_eq!(
            response
                .headers()
                .contains_key("access-control-allow-origin"),
            allowed,
            "{origin}"
        );
    }
}
