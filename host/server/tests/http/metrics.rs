//! GET /metrics: what requests leave behind in it, and what they must not.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    body::{Body, to_bytes},
    http::StatusCode,
};
use futures_util::StreamExt;
use serde_json::json;

use crate::server::{FAILS, Server, Setup, chat_body, read, request, saying, send};

const CHAT: &str = "/v1/chat/completions";

async fn text(server: &Server) -> String {
    let response = send(
        &server.router,
        request("GET", "/metrics").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Every sample by its name and labels as written.
async fn samples(server: &Server) -> BTreeMap<String, f64> {
    let text = text(server).await;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

#[tokio::test]
async fn a_request_leaves_its_counts() {
    let server = Setup::saying(&[&["a", "b"]]).start();
    server.chat(json!({})).await;
    server.stream(json!({"n": 2})).await;
    let samples = samples(&server).await;
    let expected = [
        (
            r#"weir_http_requests_total{route="/v1/chat/completions",status="200"}"#,
            2.0,
        ),
        (
            r#"weir_http_requests_aborted_total{route="/v1/chat/completions"}"#,
            0.0,
        ),
        (
            r#"weir_http_request_duration_seconds_count{route="/v1/chat/completions"}"#,
            2.0,
        ),
        // The request for the metrics itself.
        ("weir_http_requests_in_flight", 1.0),
        (r#"weir_model_loaded{model="fake"}"#, 1.0),
        // `user: hi` and a line break, for each request.
        (r#"weir_prompt_tokens_total{model="fake"}"#, 18.0),
        // Two tokens and the end, three times.
        (r#"weir_generated_tokens_total{model="fake"}"#, 9.0),
        (
            r#"weir_answers_total{model="fake",finish_reason="stop"}"#,
            3.0,
        ),
        (
            r#"weir_answers_total{model="fake",finish_reason="length"}"#,
            0.0,
        ),
        (
            r#"weir_time_to_first_token_seconds_count{model="fake"}"#,
            2.0,
        ),
        (
            r#"weir_inter_token_latency_seconds_count{model="fake"}"#,
            6.0,
        ),
        (r#"weir_sequences_running{model="fake"}"#, 0.0),
        (r#"weir_sequences_waiting{model="fake"}"#, 0.0),
        (r#"weir_kv_blocks{model="fake"}"#, 512.0),
        (r#"weir_kv_blocks_used{model="fake"}"#, 0.0),
        (r#"weir_preemptions_total{model="fake"}"#, 0.0),
        (r#"weir_forced_tokens_total{model="fake"}"#, 0.0),
    ];
    for (name, value) in expected {
        assert_eq!(samples.get(name), Some(&value), "{name} in {samples:#?}");
    }
    let steps = samples[r#"weir_step_seconds_count{model="fake"}"#];
    assert!(steps >= 6.0, "{steps}");
    assert_eq!(steps, samples[r#"weir_step_sequences_count{model="fake"}"#]);
}

#[tokio::test]
async fn nothing_that_a_client_writes_makes_a_series() {
    let server = saying(&["a"]);
    let before: BTreeSet<String> = samples(&server).await.into_keys().collect();
    for name in ["gpt-9", "gpt-10\"x"] {
        let (status, _) = read(server.post(CHAT, &chat_body(json!({"model": name}))).await).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    for path in ["/v2/nothing", "/v2/else", "/v1/models/gpt-11"] {
        assert_eq!(server.get(path).await.0, StatusCode::NOT_FOUND);
    }
    let samples = samples(&server).await;
    let added: BTreeSet<&str> = samples
        .keys()
        .filter(|name| !before.contains(*name))
        .map(|name| {
            let (family, labels) = name.split_once('{').unwrap();
            assert!(
                ["route=", "kind="]
                    .iter()
                    .any(|label| labels.starts_with(label)),
                "{name}"
            );
            family
        })
        .collect();
    assert!(added.contains("weir_errors_total"), "{added:?}");
    let text = text(&server).await;
    for written in ["gpt-", "v2", "nothing"] {
        assert!(!text.contains(written), "{text}");
    }
    assert_eq!(
        samples[r#"weir_http_requests_total{route="other",status="404"}"#],
        2.0
    );
    assert_eq!(samples[r#"weir_errors_total{kind="model_not_found"}"#], 3.0);
    assert_eq!(samples[r#"weir_errors_total{kind="not_found_error"}"#], 2.0);
}

#[tokio::test]
async fn families_are_whole_and_documented() {
    let server = saying(&["a"]);
    server.chat(json!({})).await;
    let text = text(&server).await;
    let mut seen = BTreeSet::new();
    let mut family = "";
    let mut kind = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(seen.insert(name), "{name} twice");
            assert!(help.ends_with('.'), "{line}");
            family = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, word) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert_eq!(word == "counter", name.ends_with("_total"), "{line}");
            kind = word;
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let suffix = name
                .strip_prefix(family)
                .unwrap_or_else(|| panic!("{line}"));
            let suffixes: &[&str] = match kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line}");
        }
    }
    assert!(
        seen.iter().all(|name| name.starts_with("weir_")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn two_servers_share_nothing() {
    let (busy, idle) = (saying(&["a"]), saying(&["a"]));
    busy.chat(json!({})).await;
    let name = r#"weir_generated_tokens_total{model="fake"}"#;
    assert_eq!(samples(&busy).await[name], 2.0);
    assert_eq!(samples(&idle).await[name], 0.0);
}

fn endless() -> Server {
    let mut setup = Setup::saying(&[&[]]).rate(200.0);
    setup.answers[0] = (0..1000).map(|number| format!("{number} ")).collect();
    setup.start()
}

#[tokio::test]
async fn clients_that_leave_are_counted_once_and_no_longer_in_flight() {
    let server = endless();
    let response = server.post(CHAT, &chat_body(json!({"stream": true}))).await;
    let mut body = response.into_body().into_data_stream();
    assert!(body.next().await.is_some());
    assert_eq!(samples(&server).await["weir_http_requests_in_flight"], 2.0);
    drop(body);
    let body = chat_body(json!({}));
    let answer = server.post(CHAT, &body);
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(50), answer)
            .await
            .is_err()
    );
    let samples = samples(&server).await;
    assert_eq!(samples["weir_http_requests_in_flight"], 1.0);
    let of = |status: &str| {
        samples[&format!(r#"weir_http_requests_total{{route="{CHAT}",status="{status}"}}"#)]
    };
    assert_eq!((of("200"), of("499")), (1.0, 1.0));
    assert_eq!(
        samples[&format!(r#"weir_http_requests_aborted_total{{route="{CHAT}"}}"#)],
        2.0
    );
    assert!(samples[r#"weir_generated_tokens_total{model="fake"}"#] >= 1.0);
}

#[tokio::test]
async fn whole_answers_are_not_aborted_and_errors_in_streams_count() {
    let server = saying(&["a", FAILS]);
    let lines = server.stream(json!({})).await;
    assert!(lines.contains(&"event: error".to_owned()), "{lines:?}");
    let head = request("HEAD", "/health").body(Body::empty()).unwrap();
    drop(send(&server.router, head).await);
    server.get("/v1/models").await;
    let samples = samples(&server).await;
    assert_eq!(samples[r#"weir_errors_total{kind="internal_error"}"#], 1.0);
    let aborted = samples.iter().filter(|(name, _)| name.contains("aborted"));
    assert_eq!(aborted.map(|(_, count)| count).sum::<f64>(), 0.0);
    assert_eq!(
        samples[r#"weir_http_requests_total{route="/health",status="200"}"#],
        1.0
    );
}

#[tokio::test]
async fn metrics_need_no_key_and_can_be_off() {
    let server = Setup::saying(&[&["a"]])
        .settings(|settings| settings.keys = vec![weir_server::ApiKey::plain("one", "secret")])
        .start();
    assert_eq!(server.get("/v1/models").await.0, StatusCode::UNAUTHORIZED);
    // Another envelope, the same word.
    let refused = server.post("/v1/messages", &serde_json::json!({})).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    drop(refused);
    assert_eq!(
        samples(&server).await[r#"weir_errors_total{kind="invalid_api_key"}"#],
        2.0
    );
    let off = Setup::saying(&[&["a"]])
        .settings(|settings| settings.metrics = false)
        .start();
    assert_eq!(off.get("/metrics").await.0, StatusCode::NOT_FOUND);
}
