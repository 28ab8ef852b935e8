//! The OpenAPI document against the router and against what the server says.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    body::{Body, to_bytes},
    http::StatusCode,
};
use serde_json::{Value, json};

use crate::{
    documented_schemas::check,
    server::{Server, Setup, chat_body, chunks, read, request, saying, send},
};

async fn document(server: &Server) -> Value {
    let (status, document) = server.get("/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    document
}

/// Methods of each path of the document.
fn described(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap();
    let methods = |entry: &Value| {
        let methods = entry.as_object().unwrap().keys();
        methods.map(|method| method.to_uppercase()).collect()
    };
    let entries = paths.iter();
    entries
        .map(|(path, entry)| (path.clone(), methods(entry)))
        .collect()
}

/// The paths of a router, as its debug form names them; a part that takes slashes is written as any other.
fn routed(server: &Server) -> BTreeSet<String> {
    let text = format!("{:?}", server.router);
    let (_, paths) = text.split_once("paths: {").expect("axum's debug form");
    let (paths, _) = paths
        .split_once("fallback_router")
        .expect("axum's debug form");
    let quoted = paths.split('"').skip(1).step_by(2);
    quoted.map(|path| path.replace("{*", "{")).collect()
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_a_route() {
    let server = saying(&["a"]);
    let described: BTreeSet<String> = described(&document(&server).await).into_keys().collect();
    let routed = routed(&server);
    assert!(routed.contains("/v1/chat/completions"), "{routed:?}");
    let missing: Vec<_> = routed.difference(&described).collect();
    assert!(
        missing.is_empty(),
        "host/server/src/routes/openapi.rs: describe {missing:?}"
    );
    let gone: Vec<_> = described.difference(&routed).collect();
    assert!(gone.is_empty(), "no route has the path {gone:?}");
}

#[tokio::test]
async fn the_methods_are_those_of_the_routes() {
    let server = saying(&["a"]);
    let mut wrong = Vec::new();
    for (path, methods) in described(&document(&server).await) {
        let uri = path.replace(['{', '}'], "");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let response = send(
                &server.router,
                request(method, &uri).body(Body::empty()).unwrap(),
            )
            .await;
            let taken = response.status() != StatusCode::METHOD_NOT_ALLOWED;
            if taken != methods.contains(method) {
                wrong.push(format!("{method} {path}: taken {taken}"));
            }
            assert!(
                taken || response.headers().contains_key("allow"),
                "{method} {path}"
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "host/server/src/routes/openapi.rs: {wrong:?}"
    );
}

/// All references within a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.insert(reference.clone());
            }
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_has_its_schema() {
    let document = document(&saying(&["a"])).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn answers_are_what_the_document_says() {
    let server = Setup::saying(&[&["a", "b"]]).start();
    let document = document(&server).await;
    check(
        &document,
        "ChatCompletion",
        &server.chat(json!({"n": 2})).await,
    );
    let lines = server
        .stream(json!({"stream_options": {"include_usage": true}}))
        .await;
    for chunk in chunks(&lines) {
        check(&document, "ChatChunk", &chunk);
    }
    let body = json!({"prompt": "x"});
    let (_, completion) = read(server.post("/v1/completions", &body).await).await;
    check(&document, "Completion", &completion);
    for chunk in chunks(&server.stream_of("/v1/completions", &body).await) {
        check(&document, "Completion", &chunk);
    }
    for (path, name) in [
        ("/v1/models", "ModelList"),
        ("/v1/models/fake", "Model"),
        ("/health", "Health"),
        ("/live", "Status"),
        ("/ready", "Status"),
        ("/version", "Version"),
        ("/nowhere", "ErrorEnvelope"),
    ] {
        check(&document, name, &server.get(path).await.1);
    }
    let (_, error) = read(
        server
            .post("/v1/chat/completions", &chat_body(json!({"n": 0})))
            .await,
    )
    .await;
    check(&document, "ErrorEnvelope", &error);
}

#[tokio::test]
async fn the_page_fetches_nothing_from_elsewhere() {
    let server = saying(&["a"]);
    let response = send(
        &server.router,
        request("GET", "/docs").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(
        response.headers()["content-type"],
        "text/html; charset=utf-8"
    );
    let page = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let page = std::str::from_utf8(&page).unwrap();
    assert!(page.len() < 10_000, "{}", page.len());
    for elsewhere in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
}
