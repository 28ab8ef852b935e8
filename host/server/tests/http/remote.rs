//! A model whose engine is elsewhere: what is asked of the engine, what becomes of its answers, and of its failures.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use axum::{Router, body::to_bytes, http::StatusCode};
use futures_util::StreamExt;
use serde_json::{Value, json};
use weir_engine::TokenTexts;
use weir_prompt::{Tokenizer, Vocabulary};
use weir_remote::{RemoteConfig, RemoteEngine, Timeouts, UpstreamConfig};
use weir_server::{AppState, ServedModel, ServerSettings, router};

use crate::{
    server::{TEMPLATE, chat_body, lines, post_json, read, send, template},
    upstream::{EOS, Mode, Speaks, Upstream},
};

/// A check may take twice the first, which is long for an engine in the same process even on a busy machine; nothing waits for
/// the others.
pub const QUICK: Timeouts = Timeouts {
    health: Duration::from_millis(400),
    first_token: Duration::from_secs(60),
    stall: Duration::from_secs(60),
};

#[derive(Debug)]
struct Texts(Arc<Vocabulary>);

impl TokenTexts for Texts {
    fn bytes(&self, token: u32) -> &[u8] {
        self.0.bytes(token).unwrap_or_default()
    }
}

/// A server in front of these; it waits for the first that answers.
pub async fn in_front_of(upstreams: &[&Upstream], timeouts: Timeouts) -> (Router, Arc<AppState>) {
    let mut model = served(upstreams, timeouts, false).await;
    model.chat_template = Some(template(TEMPLATE));
    let state = Arc::new(AppState::ready(model, ServerSettings::default()));
    (router(Arc::clone(&state)), state)
}

/// A model of these engines, which are asked by messages or by the tokens of bytes.
pub async fn served(upstreams: &[&Upstream], timeouts: Timeouts, messages: bool) -> ServedModel {
    let tokenizer = Arc::new(Tokenizer::from_pieces(Vec::new()));
    let upstreams = upstreams.iter().map(|upstream| UpstreamConfig {
        url: upstream.url(),
        api_key: Some("secret".to_owned()),
        ..UpstreamConfig::default()
    });
    let engine = RemoteEngine::start(RemoteConfig {
        upstreams: upstreams.collect(),
        max_model_len: Some(2048),
        timeouts,
        end_tokens: vec![EOS],
        texts: Arc::new(Texts(Arc::clone(tokenizer.vocabulary()))),
        messages,
    })
    .unwrap();
    let max_model_len = engine.ready().await.unwrap();
    let mut model = ServedModel::new("fake".into(), Arc::new(engine), tokenizer, max_model_len);
    model.passes_messages = messages;
    model
}

async fn one(speaks: Speaks, text: &str) -> (Upstream, Router) {
    let upstream = Upstream::saying(speaks, text);
    let (router, _) = in_front_of(&[&upstream], QUICK).await;
    (upstream, router)
}

async fn chat(router: &Router, more: Value) -> (StatusCode, Value) {
    read(send(router, post_json("/v1/chat/completions", &chat_body(more))).await).await
}

/// The lines of a stream.
pub async fn stream(router: &Router, more: Value) -> Vec<String> {
    let mut body = chat_body(more);
    body["stream"] = json!(true);
    let response = send(router, post_json("/v1/chat/completions", &body)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    lines(std::str::from_utf8(&body).unwrap())
}

/// Waits for something that another thread does.
pub async fn until(what: &str, reached: impl Fn() -> bool) {
    for _ in 0..6000 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to this: {what}");
}

#[tokio::test]
async fn answers_are_the_same_in_every_dialect() {
    for speaks in [Speaks::Vllm, Speaks::Sglang, Speaks::Llama, Speaks::Openai] {
        let (_upstream, router) = one(speaks, "Hello").await;
        let (status, body) = chat(&router, json!({})).await;
        assert_eq!(status, StatusCode::OK, "{speaks:?}: {body}");
        let choice = &body["choices"][0];
        assert_eq!(choice["message"]["content"], "Hello", "{speaks:?}");
        assert_eq!(choice["finish_reason"], "stop", "{speaks:?}");
        let usage = &body["usage"];
        assert_eq!(usage["completion_tokens"], 6, "{speaks:?}: {usage}");
        assert_eq!(usage["prompt_tokens"], 9, "{speaks:?}: {usage}");
        let cached = &usage["prompt_tokens_details"]["cached_tokens"];
        assert_eq!(cached, 2, "{speaks:?}");
        let (_, cut) = chat(&router, json!({"max_tokens": 3})).await;
        let choice = &cut["choices"][0];
        assert_eq!(choice["message"]["content"], "Hel", "{speaks:?}");
        assert_eq!(choice["finish_reason"], "length", "{speaks:?}");
    }
}

#[tokio::test]
async fn what_is_asked_of_the_engine_is_what_the_client_asked() {
    let (upstream, router) = one(Speaks::Vllm, "Hello").await;
    let asked = json!({"max_tokens": 7, "temperature": 0.5, "top_p": 0.25, "top_k": 5, "min_p": 0.125, "seed": -3,
        "presence_penalty": 1, "frequency_penalty": 0.5, "repetition_penalty": 1.5, "logit_bias": {"65": -100},
        "stop": ["zz"], "stop_token_ids": [7], "min_tokens": 2, "n": 2, "priority": 4, "allowed_token_ids": [72, 101, 108, 111, 256],
        "bad_words": ["no"]});
    let (status, body) = chat(&router, asked).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let bodies = upstream.fake.asked.lock().unwrap().clone();
    let prompt: Vec<u32> = "user: hi\n".bytes().map(u32::from).collect();
    let expected = json!({
        "model": "there", "prompt": prompt, "stream": true, "stream_options": {"include_usage": true},
        "max_tokens": 7, "temperature": 0.5, "top_p": 0.25, "top_k": 5, "min_p": 0.125, "seed": -3,
        "presence_penalty": 1.0, "frequency_penalty": 0.5, "repetition_penalty": 1.5, "logit_bias": {"65": -100.0},
        "stop": ["zz"], "stop_token_ids": [7], "min_tokens": 2, "ignore_eos": false, "priority": 4,
        "allowed_token_ids": [72, 101, 108, 111, 256], "bad_words": ["no"], "include_stop_str_in_output": true,
        "skip_special_tokens": false, "spaces_between_special_tokens": false, "add_special_tokens": false, "return_token_ids": true,
    });
    let mut seeds: Vec<i64> = bodies
        .iter()
        .map(|body| body["seed"].as_i64().unwrap())
        .collect();
    seeds.sort_unstable();
    assert_eq!(seeds, [-3, -2], "each answer has its own");
    let mut first = bodies[0].clone();
    first["seed"] = json!(-3);
    assert_eq!(first, expected);
}

#[tokio::test]
async fn a_stop_string_and_a_client_that_leaves_stop_the_engine() {
    let (upstream, router) = one(Speaks::Vllm, &"one two ".repeat(200)).await;
    *upstream.fake.pace.lock().unwrap() = Duration::from_millis(2);
    let (_, body) = chat(&router, json!({"stop": ["two"]})).await;
    assert_eq!(body["choices"][0]["message"]["content"], "one ");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let fake = &upstream.fake;
    until("the stop string ends the stream", || {
        fake.cancelled.load(Ordering::SeqCst) == 1
    })
    .await;
    let mut body = chat_body(json!({"stream": true}));
    body["stream"] = json!(true);
    let response = send(&router, post_json("/v1/chat/completions", &body)).await;
    let mut pieces = response.into_body().into_data_stream();
    assert!(pieces.next().await.is_some());
    drop(pieces);
    until("leaving ends the stream", || {
        fake.cancelled.load(Ordering::SeqCst) == 2 && fake.running.load(Ordering::SeqCst) == 0
    })
    .await;
}

#[tokio::test]
async fn refusals_become_what_the_client_can_do_about_them() {
    let cases: [(u16, Value, u16, &str); 9] = [
        (
            400,
            json!({"error": {"message": "bad top_k"}}),
            400,
            "bad top_k",
        ),
        // vLLM's older form and SGLang's.
        (
            400,
            json!({"object": "error", "message": "bad seed", "code": 400}),
            400,
            "bad seed",
        ),
        (
            422,
            json!({"detail": "no such field"}),
            400,
            "no such field",
        ),
        (
            401,
            json!({"error": "secret key"}),
            502,
            "does not accept the server's key",
        ),
        (
            404,
            json!({"error": {"message": "no model secret"}}),
            502,
            "does not know the model",
        ),
        (
            500,
            json!({"error": {"message": "secret traceback"}}),
            502,
            "failed",
        ),
        (503, json!({}), 429, "too much to do"),
        (429, json!({}), 429, "too much to do"),
        (504, json!({}), 504, "nothing for too long"),
    ];
    for (said, answer, status, words) in cases {
        let (upstream, router) = one(Speaks::Vllm, "Hello").await;
        upstream.becomes(Mode::Refusing(said, answer));
        let (got, body) = chat(&router, json!({})).await;
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!(got.as_u16(), status, "{said}: {body}");
        assert!(message.contains(words), "{said}: {body}");
        assert!(!message.contains("secret"), "{said}: {body}");
    }
}

#[tokio::test]
async fn what_the_engine_cannot_do_is_refused_by_name() {
    let cases = [
        (
            Speaks::Vllm,
            json!({"prompt_logprobs": 1}),
            "prompt_logprobs",
        ),
        (Speaks::Sglang, json!({"bad_words": ["x"]}), "bad_words"),
        (
            Speaks::Sglang,
            json!({"logprobs": true, "top_logprobs": 2}),
            "logprobs above 0",
        ),
        (Speaks::Llama, json!({"min_tokens": 3}), "min_tokens"),
        (Speaks::Openai, json!({"logprobs": true}), "logprobs"),
        (
            Speaks::Openai,
            json!({"allowed_token_ids": [1]}),
            "allowed_token_ids",
        ),
        (Speaks::Vllm, json!({"max_tokens": 4000}), "2048"),
    ];
    for (speaks, more, words) in cases {
        let (_upstream, router) = one(speaks, "Hello").await;
        let (status, body) = chat(&router, more.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{speaks:?} {more}: {body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{speaks:?} {more}: {message}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_with_an_error_event() {
    for mode in [Mode::Breaking(3), Mode::Erring(3)] {
        let (upstream, router) = one(Speaks::Vllm, "Hello").await;
        upstream.becomes(mode.clone());
        // Its tokens are not in the client's hands before they come one by one.
        *upstream.fake.pace.lock().unwrap() = Duration::from_millis(50);
        let lines = stream(&router, json!({})).await;
        let text = lines.join("\n");
        assert!(text.contains("\"H\""), "{mode:?}: {text}");
        let (last, before) = lines.split_last().unwrap();
        assert_eq!(before.last().unwrap(), "event: error", "{mode:?}: {text}");
        assert!(last.contains("upstream_error"), "{mode:?}: {last}");
        assert!(!last.contains("10.0.0.7"), "{mode:?}: {last}");
        let (status, body) = chat(&router, json!({})).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{mode:?}: {body}");
    }
}

#[tokio::test]
async fn a_silent_engine_is_not_waited_for_for_ever() {
    let upstream = Upstream::saying(Speaks::Vllm, "Hello");
    let timeouts = Timeouts {
        health: Duration::from_secs(60),
        first_token: Duration::from_millis(300),
        stall: Duration::from_millis(300),
    };
    let (router, _) = in_front_of(&[&upstream], timeouts).await;
    upstream.becomes(Mode::Hung);
    let (status, body) = chat(&router, json!({})).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{body}");
    assert_eq!(body["error"]["code"], "upstream_error");
}

#[tokio::test]
async fn readiness_is_the_engines() {
    let mut upstream = Upstream::saying(Speaks::Vllm, "Hello");
    let (router, state) = in_front_of(&[&upstream], QUICK).await;
    assert!(state.check_ready().is_ok());
    upstream.kill();
    until("it is not ready", || state.check_ready().is_err()).await;
    let (status, body) = chat(&router, json!({})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    upstream.listen();
    until("it is ready again", || state.check_ready().is_ok()).await;
    let (status, _) = chat(&router, json!({})).await;
    assert_eq!(status, StatusCode::OK);
    upstream.becomes(Mode::Draining);
    until("a draining engine takes nothing", || {
        state.check_ready().is_err()
    })
    .await;
}

#[tokio::test]
async fn token_ids_are_told_where_the_engine_tells_them() {
    let (_upstream, router) = one(Speaks::Sglang, "Hi").await;
    let body = json!({"model": "fake", "prompt": "x", "return_token_ids": true, "logprobs": null});
    let (status, body) = read(send(&router, post_json("/v1/completions", &body)).await).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["choices"][0]["text"], "Hi");
}
