//! Several models in one server: who answers to which name, and what is said of those that do not.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};
use weir_server::{AppState, ModelNames, ModelSet, ServerSettings, model_set::NamesError, router};

use crate::server::{Server, Setup, chat_body, chunks, read};

const CHAT: &str = "/v1/chat/completions";

fn names(names: &[&str], accept_any: bool) -> ModelNames {
    ModelNames {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        accept_any,
    }
}

/// A server of these models, none of which is loaded.
fn loading(models: Vec<ModelNames>) -> Server {
    let models = ModelSet::loading(models).unwrap();
    let state = Arc::new(AppState::new(models, ServerSettings::default()));
    let (_, engine) = Setup::saying(&[]).load();
    Server {
        router: router(Arc::clone(&state)),
        state,
        engine,
    }
}

/// Serves a model that says one thing.
fn serve(server: &Server, index: usize, id: &str, answer: &str) {
    let (model, _) = Setup::saying(&[&[answer]]).names(&[id]).load();
    server.state.models.serve(index, model);
}

/// Status, and content or the error's message.
async fn ask(server: &Server, model: Option<&str>) -> (u16, String) {
    let (status, body) = read(
        server
            .post(CHAT, &chat_body(json!({"model": model, "max_tokens": 9})))
            .await,
    )
    .await;
    let text = match status {
        StatusCode::OK => &body["choices"][0]["message"]["content"],
        _ => &body["error"]["message"],
    };
    (status.as_u16(), text.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn two_models_answer_by_name() {
    let server = loading(vec![names(&["a", "alias"], false), names(&["b"], false)]);
    serve(&server, 0, "a", "from a");
    serve(&server, 1, "b", "from b");
    for (model, content) in [
        (Some("a"), "from a"),
        (Some("alias"), "from a"),
        (Some("b"), "from b"),
        (None, "from a"),
    ] {
        assert_eq!(ask(&server, model).await, (200, content.to_owned()));
        let lines = server.stream(json!({"model": model})).await;
        let chunks = chunks(&lines);
        let said =
            |chunk: &Value| chunk["choices"][0]["delta"]["content"].as_str() == Some(content);
        assert!(chunks.iter().any(said), "{lines:?}");
        let id = if content == "from a" { "a" } else { "b" };
        assert!(chunks.iter().all(|chunk| chunk["model"] == id), "{lines:?}");
        let body = json!({"model": model, "prompt": "x"});
        let (_, completion) = read(server.post("/v1/completions", &body).await).await;
        assert_eq!(completion["choices"][0]["text"], content);
    }
    let (status, message) = ask(&server, Some("c")).await;
    assert_eq!(status, 404);
    assert!(message.ends_with("served: a, alias, b"), "{message}");
}

#[tokio::test]
async fn each_model_is_served_once_it_is_there() {
    let server = loading(vec![names(&["a"], false), names(&["b"], false)]);
    assert_eq!(server.get("/ready").await.0, 503);
    assert_eq!(server.get("/v1/models").await.0, 503);
    assert_eq!(ask(&server, None).await.0, 503);
    assert_eq!(ask(&server, Some("c")).await.0, 404);
    serve(&server, 0, "a", "from a");
    assert_eq!(ask(&server, None).await.0, 200);
    let (status, message) = ask(&server, Some("b")).await;
    assert_eq!(status, 503);
    assert!(message.contains("`b` is still loading"), "{message}");
    assert_eq!(server.get("/ready").await.0, 503, "b is still loading");
    let (_, list) = server.get("/v1/models").await;
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
    serve(&server, 1, "b", "from b");
    assert_eq!(server.get("/ready").await.0, 200);
    let (_, b) = server.get("/v1/models/b").await;
    assert_eq!((&b["id"], &b["max_model_len"]), (&json!("b"), &json!(2048)));
}

#[tokio::test]
async fn a_model_that_failed_says_why_and_the_other_answers() {
    let server = loading(vec![names(&["a"], false), names(&["b"], false)]);
    server
        .state
        .models
        .fail(0, "tensor x is missing".to_owned());
    serve(&server, 1, "b", "from b");
    for model in [None, Some("a")] {
        let (status, message) = ask(&server, model).await;
        assert_eq!(status, 503);
        assert!(
            message.contains("`a`") && message.contains("tensor x is missing"),
            "{message}"
        );
    }
    assert_eq!(ask(&server, Some("b")).await, (200, "from b".to_owned()));
    assert_eq!(server.get("/ready").await.0, 200);
    let (_, list) = server.get("/v1/models").await;
    assert_eq!(
        (
            list["data"].as_array().map(Vec::len),
            &list["data"][0]["id"]
        ),
        (Some(1), &json!("b"))
    );
    let (status, message) = ask(&server, Some("c")).await;
    assert_eq!(status, 404);
    assert!(message.ends_with("served: b"), "{message}");
}

#[tokio::test]
async fn without_any_model_nothing_is_ready() {
    let server = loading(vec!["a".into()]);
    server.state.models.fail(0, "no such file".to_owned());
    let (status, body) = server.get("/ready").await;
    assert_eq!(status, 503);
    assert!(body.to_string().contains("no such file"), "{body}");
}

#[tokio::test]
async fn one_model_may_take_the_names_that_are_nobodys() {
    let server = loading(vec![names(&["a"], false), names(&["b"], true)]);
    serve(&server, 0, "a", "from a");
    serve(&server, 1, "b", "from b");
    assert_eq!(ask(&server, Some("a")).await.1, "from a");
    assert_eq!(ask(&server, Some("gpt-4")).await.1, "from b");
    assert_eq!(server.get("/v1/models/gpt-4").await.1["root"], "b");
}

#[test]
fn names_must_say_which_model_is_meant() {
    let twice = ModelSet::loading(vec![
        names(&["a", "a"], false),
        "b".into(),
        names(&["c", "a"], false),
    ]);
    assert_eq!(
        twice.err(),
        Some(NamesError::Twice {
            name: "a".to_owned(),
            first: 0,
            second: 2
        })
    );
    let any = ModelSet::loading(vec![names(&["a"], true), "b".into(), names(&["c"], true)]);
    let message = any.err().unwrap().to_string();
    assert!(message.contains("`a` and for `c`"), "{message}");
}
