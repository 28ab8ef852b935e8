//! What requests may ask of tokens: which may be written, which texts may not, and the ids of all of them.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_server::{AppState, EngineHandle, ServerSettings, router};

use crate::tiny_model::{config, load};

/// The control token that ends a message.
const END: u32 = 97;

pub fn serve() -> (Router, EngineHandle) {
    let (model, engine) = load(&config());
    let state = Arc::new(AppState::ready(model, ServerSettings::default()));
    (router(state), engine)
}

pub async fn send(router: &Router, path: &str, body: &Value) -> (StatusCode, String) {
    let request = Request::post(path).body(Body::from(body.to_string()));
    let response = router.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

pub async fn ask(router: &Router, path: &str, body: &Value) -> Value {
    let (status, body) = send(router, path, body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// The chunks of a stream.
pub async fn chunks(router: &Router, path: &str, body: &Value) -> Vec<Value> {
    let mut body = body.clone();
    body["stream"] = true.into();
    let (_, text) = send(router, path, &body).await;
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let chunks = data.filter(|data| *data != "[DONE]");
    chunks
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// Characters count from the line break, the space and `!` on.
pub fn id(character: char) -> u32 {
    u32::from(character) - 31
}

fn text(ids: &[u64]) -> String {
    let character = |id: &u64| match u8::try_from(*id).unwrap() {
        0 => '\n',
        id => char::from(id + 31),
    };
    ids.iter().map(character).collect()
}

fn ids(value: &Value) -> Vec<u64> {
    serde_json::from_value(value.clone()).unwrap()
}

#[tokio::test]
async fn only_allowed_tokens_are_written() {
    let (router, _engine) = serve();
    let body = json!({"prompt": "hi", "max_tokens": 40, "seed": 1, "allowed_token_ids": [id('a'), id('b'), id('c')]});
    let answer = ask(&router, "/v1/completions", &body).await;
    let choice = &answer["choices"][0];
    let written = choice["text"].as_str().unwrap();
    assert_eq!(
        (written.len(), &choice["finish_reason"]),
        (40, &json!("length"))
    );
    assert!(
        written.chars().all(|written| "abc".contains(written)),
        "{written}"
    );
    for other in ["a", "b", "c"] {
        assert!(written.contains(other), "{written}");
    }
    let (status, error) = send(
        &router,
        "/v1/completions",
        &json!({"prompt": "hi", "allowed_token_ids": [id('a'), 98]}),
    )
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{error}");
}

#[tokio::test]
async fn bad_words_are_not_written() {
    let (router, _engine) = serve();
    let with = |bad_words: Value| json!({"prompt": "hi", "max_tokens": 60, "temperature": 0, "ignore_eos": true, "bad_words": bad_words});
    let path = "/v1/completions";
    let before = ask(&router, path, &with(json!([]))).await;
    let before = before["choices"][0]["text"].as_str().unwrap();
    // Whatever it says: three characters of it, and one.
    let bad = [&before[7..10], &before[20..21]];
    let after = ask(&router, path, &with(json!(bad))).await;
    let after = after["choices"][0]["text"].as_str().unwrap();
    assert_eq!(after.len(), 60);
    for bad in bad {
        assert!(!after.contains(bad), "{after:?} holds {bad:?}");
    }
}

#[tokio::test]
async fn token_ids_are_told_of_prompt_and_answer() {
    let (router, _engine) = serve();
    let mut body = json!({"prompt": ["hi", [40, 41]], "n": 2, "max_tokens": 9, "seed": 3, "return_token_ids": true});
    let path = "/v1/completions";
    let answer = ask(&router, path, &body).await;
    let choices = answer["choices"].as_array().unwrap();
    let mut generated = 0;
    for (number, choice) in choices.iter().enumerate() {
        let prompt = [vec![u64::from(id('h')), u64::from(id('i'))], vec![40, 41]];
        assert_eq!(ids(&choice["prompt_token_ids"]), prompt[number / 2]);
        let mut told = ids(&choice["token_ids"]);
        generated += told.len();
        // Control tokens are told and no part of the text.
        told.retain(|id| *id < 96);
        assert_eq!(text(&told), choice["text"].as_str().unwrap());
        assert_eq!(choice["logprobs"], Value::Null);
    }
    assert_eq!(answer["usage"]["completion_tokens"], generated);
    let mut streamed = vec![(Vec::new(), Vec::new()); 4];
    for chunk in chunks(&router, path, &body).await {
        let choice = &chunk["choices"][0];
        let (prompt, told) = &mut streamed[choice["index"].as_u64().unwrap() as usize];
        told.extend(ids(&choice["token_ids"]));
        if !choice["prompt_token_ids"].is_null() {
            prompt.push(choice["prompt_token_ids"].clone());
        }
    }
    for (choice, (prompt, told)) in choices.iter().zip(streamed) {
        assert_eq!(ids(&choice["token_ids"]), told);
        assert_eq!(prompt, [choice["prompt_token_ids"].clone()]);
    }
    body["return_token_ids"] = false.into();
    let answer = ask(&router, path, &body).await;
    assert!(answer["choices"][0].get("token_ids").is_none());
}

#[tokio::test]
async fn a_chat_tells_its_token_ids_the_end_token_too() {
    let (router, _engine) = serve();
    let path = "/v1/chat/completions";
    let messages = json!([{"role": "user", "content": "hi"}]);
    // The end token is the likeliest after a few others.
    let body = json!({"messages": messages, "seed": 4, "max_tokens": 200, "logit_bias": {END.to_string(): 4}, "return_token_ids": true});
    let answer = ask(&router, path, &body).await;
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "stop", "{answer}");
    let told = ids(&choice["token_ids"]);
    assert_eq!(told.last(), Some(&u64::from(END)));
    assert_eq!(answer["usage"]["completion_tokens"], told.len());
    let prompt = ids(&answer["prompt_token_ids"]);
    assert_eq!(answer["usage"]["prompt_tokens"], prompt.len());
    assert_eq!(choice["logprobs"], Value::Null);
    let chunks = chunks(&router, path, &body).await;
    assert_eq!(ids(&chunks[0]["prompt_token_ids"]), prompt);
    let later = chunks[1..]
        .iter()
        .find(|chunk| !chunk["prompt_token_ids"].is_null());
    assert!(later.is_none());
    let streamed: Vec<u64> = chunks
        .iter()
        .filter(|chunk| !chunk["choices"][0]["token_ids"].is_null())
        .flat_map(|chunk| ids(&chunk["choices"][0]["token_ids"]))
        .collect();
    assert_eq!(streamed, told);
}

#[tokio::test]
async fn a_request_that_forbids_every_token_is_wrong() {
    let (router, _engine) = serve();
    let cases = [
        (
            json!({"allowed_token_ids": [END], "min_tokens": 1}),
            "`min_tokens` 1",
        ),
        (
            json!({"allowed_token_ids": [id('a'), END], "stop_token_ids": [id('a')], "min_tokens": 3}),
            "`min_tokens` 3",
        ),
        (
            json!({"allowed_token_ids": [id('a')], "bad_words": ["a"]}),
            "bad_words",
        ),
        // Only behind the first.
        (
            json!({"allowed_token_ids": [id('a')], "bad_words": ["aa"], "max_tokens": 4}),
            "bad_words",
        ),
    ];
    for (fields, named) in cases {
        for path in ["/v1/completions", "/v1/chat/completions"] {
            let mut body = fields.clone();
            match path {
                "/v1/completions" => body["prompt"] = "hi".into(),
                _ => body["messages"] = json!([{"role": "user", "content": "hi"}]),
            }
            let (status, answer) = send(&router, path, &body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
            assert!(answer.contains("allowed_token_ids"), "{answer}");
            assert!(answer.contains(named), "{answer}");
        }
    }
    let body = json!({"prompt": "hi", "allowed_token_ids": [END]});
    let answer = ask(&router, "/v1/completions", &body).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}
