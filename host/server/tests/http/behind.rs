//! What request processors do behind an answer, and how they choose among answers that were made without them.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use serde_json::json;
use weir_output::{OnError, PlannedRequest, ProcessorAction, ProcessorOutcome, ProcessorStep};

use crate::{
    planning::{Seen, generation, one, says, server},
    server::{Server, chat_body, read},
};

fn put(key: &str) -> ProcessorAction {
    ProcessorAction::StorePut {
        document: "d".to_owned(),
        entries: vec![(key.to_owned(), vec![7])],
    }
}

/// Goes on with other messages, and keeps two entries behind the answer.
fn keeping() -> (Server, Arc<Seen>) {
    let steps = vec![
        ProcessorStep::ContinueAndPerform(says("short"), vec![put("a")]),
        ProcessorStep::Perform(vec![put("b")]),
        ProcessorStep::Done,
    ];
    one(&[&["fine"]], steps)
}

/// Waits until it has done all of it; ten seconds are a failure.
async fn until_kept(server: &Server) {
    let keys = ["a".to_owned(), "b".to_owned()];
    let kept = || {
        let found = server.state.documents.get("scripted", "d", &keys);
        found.iter().all(Option::is_some)
    };
    for _ in 0..2000 {
        if kept() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nothing was kept");
}

#[tokio::test]
async fn the_answer_comes_first_and_the_rest_behind_it() {
    let (server, seen) = keeping();
    let answer = server.chat(json!({})).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "fine");
    until_kept(&server).await;
    assert_eq!(
        seen.outcomes.lock().unwrap()[0],
        ProcessorOutcome::Kept(true)
    );
    assert_eq!(server.state.lifecycle.active(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_its_answer_takes_nothing_from_the_next() {
    let (server, _) = keeping();
    let body = chat_body(json!({"stream": true}));
    let response = server.post("/v1/chat/completions", &body).await;
    let before = server
        .state
        .documents
        .get("scripted", "d", &["a".to_owned()]);
    assert_eq!(before, [None], "not while it is answered");
    drop(response);
    until_kept(&server).await;
}

/// Two of three answers are given, as a plugin with these steps chooses.
async fn chosen(
    on_error: OnError,
    steps: Vec<ProcessorStep>,
) -> (StatusCode, serde_json::Value, Arc<Seen>) {
    let steps = steps.into_iter().map(Ok).collect();
    let continued = vec![Ok(ProcessorStep::ContinueWith(says("planned")))];
    let (server, seen) = server(
        &[&["a"], &["b"], &["c"], &["2"]],
        on_error,
        vec![continued, steps],
    );
    // The first plans the request; the second would, but for its name.
    let plugins = server
        .state
        .models
        .served()
        .next()
        .map(|(_, model)| model.plugins.get());
    let mut own = plugins.unwrap().request_processors.clone();
    let chooser = own.pop().unwrap();
    let model = server.state.models.served().next().unwrap().1;
    model
        .plugins
        .set(weir_server::active_plugins::ActivePlugins {
            request_processors: own,
            on_request: Some(Arc::new(move |name| match name {
                "chooser" => Ok(chooser.clone()),
                other => Err(format!("no plugin `{other}`")),
            })),
            ..Default::default()
        });
    let body = chat_body(json!({"best_of": 3, "n": 2, "selector": "chooser"}));
    let (status, body) = read(server.post("/v1/chat/completions", &body).await).await;
    (status, body, seen)
}

#[tokio::test]
async fn a_plugin_chooses_by_asking_the_model() {
    let steps = vec![
        ProcessorStep::Perform(vec![ProcessorAction::Generate(vec![generation(
            "which?", None,
        )])]),
        ProcessorStep::Choose(vec![2]),
    ];
    let (status, body, seen) = chosen(OnError::Fail, steps).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let content = |index: usize| body["choices"][index]["message"]["content"].as_str();
    assert_eq!(content(0), Some("c"), "{body}");
    assert!(
        matches!(content(1), Some("a" | "b")),
        "the likeliest of the others: {body}"
    );
    let (request, _) = seen.request.lock().unwrap().clone().unwrap();
    let PlannedRequest {
        candidates,
        messages,
        ..
    } = request;
    let texts: Vec<&str> = candidates.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts, ["a", "b", "c"]);
    assert!(candidates[0].mean_logprob.is_some());
    assert_eq!(messages, says("planned"), "what the answers are to");
    let usage = &body["usage"];
    assert_eq!(usage["processing_details"]["generations"], 1, "{usage}");
    let prompts = "user: planned\n".len() + "user: which?\n".len();
    assert_eq!(usage["prompt_tokens"], prompts, "{usage}");
}

#[tokio::test]
async fn what_a_chooser_says_may_be_words_for_the_client() {
    let steps = vec![ProcessorStep::Refuse("they are all wrong".to_owned())];
    let (status, body, _) = chosen(OnError::Fail, steps).await;
    assert_eq!(
        (status, &body["error"]["message"]),
        (StatusCode::BAD_REQUEST, &json!("they are all wrong"))
    );
}

#[tokio::test]
async fn a_name_that_is_nobodys_is_refused_before_anything_is_generated() {
    let (server, _) = one(&[&["a"]], vec![ProcessorStep::ContinueWith(says("x"))]);
    for body in [
        json!({"best_of": 2, "selector": "nobody"}),
        json!({"selector": "nobody", "best_of": 1}),
    ] {
        let body = chat_body(body);
        let (status, body) = read(server.post("/v1/chat/completions", &body).await).await;
        assert_eq!(
            (status, &body["error"]["param"]),
            (StatusCode::BAD_REQUEST, &json!("selector")),
            "{body}"
        );
    }
    let body = json!({"prompt": "x", "best_of": 2, "selector": "scripted"});
    let (status, body) = read(server.post("/v1/completions", &body).await).await;
    assert_eq!(
        (status, &body["error"]["param"]),
        (StatusCode::BAD_REQUEST, &json!("selector"))
    );
}
