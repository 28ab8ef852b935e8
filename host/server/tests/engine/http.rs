//! The routes over the real decoder: what requests may ask of sampling and stopping, and what a full queue says.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header},
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_engine::EngineCounters;
use weir_server::{
    AppState, EngineHandle, ServerSettings,
    config::{Config, Switch},
    router,
};

use crate::{
    batching,
    tiny_model::{BLOCK, CONTEXT, config, load},
};

pub struct Server {
    router: Router,
    pub engine: EngineHandle,
}

impl Server {
    pub fn new(config: &Config) -> Self {
        let (model, engine) = load(config);
        let state = Arc::new(AppState::ready(model, ServerSettings::default()));
        Self {
            router: router(state),
            engine,
        }
    }

    /// The answer to a chat request with one user message and these fields.
    async fn send(&self, more: Value) -> Response<Body> {
        let mut body = json!({"messages": [{"role": "user", "content": "hi"}], "ignore_eos": true});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let request =
            Request::post("/v1/chat/completions").header(header::CONTENT_TYPE, "application/json");
        self.router
            .clone()
            .oneshot(request.body(Body::from(body.to_string())).unwrap())
            .await
            .unwrap()
    }

    /// Waits until the engine's counters are as wanted.
    async fn until(&self, wanted: impl Fn(&EngineCounters) -> bool) {
        batching::until(&self.engine, wanted).await;
    }

    pub async fn chat(&self, more: Value) -> (StatusCode, Value) {
        let response = self.send(more).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// The choices of an answer that must succeed: their texts and finish reasons.
    pub async fn choices(&self, more: Value) -> Vec<(String, String)> {
        let (status, answer) = self.chat(more).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let choices = answer["choices"].as_array().unwrap().iter();
        choices
            .map(|choice| {
                (
                    text(&choice["message"]["content"]),
                    text(&choice["finish_reason"]),
                )
            })
            .collect()
    }
}

#[tokio::test]
async fn max_tokens_and_seed() {
    let server = Server::new(&config());
    let (_, answer) = server.chat(json!({"max_tokens": 30, "seed": 5})).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 30);
    let again = server.choices(json!({"max_tokens": 30, "seed": 5})).await;
    assert_eq!(
        again[0].0,
        answer["choices"][0]["message"]["content"].as_str().unwrap()
    );
    assert_ne!(
        server.choices(json!({"max_tokens": 30, "seed": 6})).await,
        again
    );
    let (_, greedy) = server.chat(json!({"temperature": 0})).await;
    let usage = &greedy["usage"];
    assert_eq!(
        usage["total_tokens"], CONTEXT,
        "without a limit the context is it: {usage}"
    );
}

#[tokio::test]
async fn a_prompt_asked_again_is_not_computed_again() {
    let ask = json!({"max_tokens": 40, "seed": 5, "messages": [
        {"role": "system", "content": "You are a model of random weights. Whatever is asked, say something."},
        {"role": "user", "content": "Say something that is longer than one block of the KV cache."},
    ]});
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for (switch, answers) in [(true, &mut on), (false, &mut off)] {
        let server = Server::new(&Config {
            prefix_cache: Switch(switch),
            ..config()
        });
        for _ in 0..2 {
            let (status, answer) = server.chat(ask.clone()).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            let prompt = answer["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
            assert!(prompt > 2 * BLOCK, "{prompt}");
            let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].clone();
            answers.push((answer["choices"][0]["message"]["content"].clone(), cached));
            if switch && answers.len() == 2 {
                // Every full block, and never the last token.
                assert_eq!(answers[1].1, (prompt - 1) / BLOCK * BLOCK);
                let counters = server.engine.counters();
                assert_eq!(counters.prefix_query_tokens as usize, 2 * prompt);
                assert_eq!(counters.prefix_hit_tokens, answers[1].1.as_u64().unwrap());
            }
        }
    }
    assert_eq!(on[0].1, 0);
    assert_eq!(off, [on[0].clone(), on[0].clone()]);
    assert_eq!(on[1].0, on[0].0);
}

#[tokio::test]
async fn answers_of_one_request_differ() {
    let server = Server::new(&config());
    let choices = server
        .choices(json!({"n": 4, "max_tokens": 20, "seed": 9}))
        .await;
    assert_eq!(choices.len(), 4);
    for (number, choice) in choices.iter().enumerate() {
        assert!(!choices[..number].contains(choice), "{choices:?}");
        assert_eq!(choice.1, "length");
    }
    assert_eq!(
        server
            .choices(json!({"n": 4, "max_tokens": 20, "seed": 9}))
            .await,
        choices
    );
    let alone = server.choices(json!({"max_tokens": 20, "seed": 9})).await;
    assert_eq!(alone[0], choices[0], "n changes nothing for the first");
}

#[tokio::test]
async fn stop_strings_cut_before_them() {
    let server = Server::new(&config());
    let (whole, _) = server
        .choices(json!({"max_tokens": 60, "seed": 3}))
        .await
        .remove(0);
    let visible: Vec<char> = whole.chars().collect();
    for (from, len) in [(0, 1), (5, 1), (17, 3), (40, 6)] {
        let stop: String = visible[from..from + len].iter().collect();
        let expected = whole.split(stop.as_str()).next().unwrap();
        let (text, reason) = server
            .choices(json!({"max_tokens": 60, "seed": 3, "stop": [stop, "never said, that one"]}))
            .await
            .remove(0);
        assert_eq!(
            (text.as_str(), reason.as_str()),
            (expected, "stop"),
            "stop {stop:?} in {whole:?}"
        );
    }
    // A sequence that was cut by its text is given up in the engine too.
    server.until(|counters| counters.blocks_used == 0).await;
}

#[tokio::test]
async fn an_answer_cut_by_its_text_tells_what_was_cached() {
    let server = Server::new(&config());
    let long = "Something that is longer than one block.";
    let mut ask =
        json!({"max_tokens": 60, "seed": 3, "messages": [{"role": "user", "content": long}]});
    let (_, whole) = server.chat(ask.clone()).await;
    let content = whole["choices"][0]["message"]["content"].as_str().unwrap();
    ask["stop"] = content.chars().nth(20).unwrap().to_string().into();
    let (_, cut) = server.chat(ask).await;
    assert_eq!(cut["choices"][0]["finish_reason"], "stop");
    let cached = &cut["usage"]["prompt_tokens_details"]["cached_tokens"];
    assert_eq!(*cached, BLOCK);
}

#[tokio::test]
async fn end_tokens_end_unless_they_are_ignored() {
    let server = Server::new(&config());
    let end = json!({(97).to_string(): 100});
    let (_, answer) = server
        .chat(json!({"ignore_eos": false, "logit_bias": end, "max_tokens": 9}))
        .await;
    assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{answer}");
    assert_eq!(answer["usage"]["completion_tokens"], 1);
    let (_, answer) = server
        .chat(json!({"logit_bias": end, "max_tokens": 9}))
        .await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length", "{answer}");
}

#[tokio::test]
async fn a_full_queue_is_429_and_opens_again() {
    let server = Server::new(&Config {
        max_num_seqs: 1,
        max_queue: 2,
        ..config()
    });
    let ask = || server.send(json!({"max_tokens": 200, "n": 2}));
    let deadline = Instant::now() + Duration::from_secs(30);
    // The one's two answers run or wait: there is no room for two more. On a busy machine the one may be answered before the other comes.
    let response = loop {
        let (one, other) = futures_util::future::join(ask(), ask()).await;
        match (one.status(), other.status()) {
            (StatusCode::OK, StatusCode::OK) => {
                assert!(Instant::now() < deadline, "they never met")
            }
            (StatusCode::OK, _) => break other,
            _ => {
                assert_eq!(other.status(), StatusCode::OK);
                break one;
            }
        }
    };
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let error: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&error["error"]["type"], &error["error"]["code"]),
        (&json!("rate_limit_error"), &json!("queue_full"))
    );
    // The refused request holds nothing.
    server
        .until(|counters| counters.waiting == 0 && counters.running == 0)
        .await;
    assert_eq!(
        server.choices(json!({"max_tokens": 2, "seed": 1})).await[0].1,
        "length"
    );
}

#[tokio::test]
async fn what_never_fits_is_400_with_the_numbers() {
    let server = Server::new(&config());
    let (status, answer) = server.chat(json!({"max_tokens": 5000})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains(&CONTEXT.to_string()), "{message}");
}

#[tokio::test]
async fn a_dropped_response_frees_its_blocks() {
    let server = Server::new(&config());
    let mut body = server
        .send(json!({"max_tokens": 400, "stream": true}))
        .await
        .into_body()
        .into_data_stream();
    assert!(body.next().await.unwrap().is_ok());
    drop(body);
    server.until(|counters| counters.blocks_used == 0).await;
    assert!(
        server.engine.counters().generated_tokens < 400,
        "it was given up, not finished"
    );
}
