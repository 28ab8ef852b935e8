//! Log-probabilities over a real decoder: those of an echoed prompt are what the model says of each token by itself, and
//! nothing that is done to sampling changes them.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_server::{AppState, ServerSettings, router};

use crate::tiny_model::{config, load};

async fn complete(router: &Router, body: Value) -> Value {
    let request = Request::post("/v1/completions").header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(body.to_string())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

fn numbers(list: &Value) -> Vec<f64> {
    let list = list.as_array().unwrap().iter();
    list.map(|number| number.as_f64().unwrap()).collect()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-3
}

#[tokio::test]
async fn an_echoed_prompt_is_scored_as_its_tokens_are_one_by_one() {
    let (model, engine) = load(&config());
    let router = router(Arc::new(AppState::ready(model, ServerSettings::default())));
    let prompt = "Once upon a time.";
    let request = json!({"prompt": prompt, "echo": true, "logprobs": 20, "max_tokens": 1, "temperature": 0, "ignore_eos": true});
    let whole = complete(&router, request.clone()).await;
    let scored = &whole["choices"][0]["logprobs"];
    assert_eq!(scored["tokens"].as_array().unwrap().len(), prompt.len() + 1);
    assert_eq!(scored["token_logprobs"][0], Value::Null);
    let own = numbers(&Value::Array(
        scored["token_logprobs"].as_array().unwrap()[1..].to_vec(),
    ));
    for (index, letter) in prompt.char_indices().skip(1) {
        let before = json!({"prompt": &prompt[..index], "logprobs": 20, "max_tokens": 1, "ignore_eos": true,
            "logit_bias": {"7": 90}, "repetition_penalty": 1.7, "temperature": 0.3, "seed": 1});
        let alone = complete(&router, before).await;
        let alone = &alone["choices"][0]["logprobs"];
        let top = &alone["top_logprobs"][0];
        // Bias, penalty and temperature choose another token; the model's opinion of this one stays.
        if let Some(logprob) = top[letter.to_string()].as_f64() {
            assert!(
                near(own[index - 1], logprob),
                "{letter}: {} {logprob}",
                own[index - 1]
            );
        }
        for (token, logprob) in top.as_object().unwrap() {
            let there = &scored["top_logprobs"][index][token];
            if let Some(there) = there.as_f64() {
                assert!(
                    near(there, logprob.as_f64().unwrap()),
                    "{token} behind {}",
                    &prompt[..index]
                );
            }
        }
    }
    // A prompt that is cached is scored all the same, and to the bit.
    assert_eq!(
        complete(&router, request).await["choices"],
        whole["choices"]
    );
    assert_eq!(engine.counters().blocks_used, 0);
    engine.shutdown();
}

#[tokio::test]
async fn the_likeliest_answers_are_chosen_by_the_mean_of_their_tokens() {
    let (model, engine) = load(&config());
    let router = router(Arc::new(AppState::ready(model, ServerSettings::default())));
    let mut request = json!({"prompt": "Hello", "seed": 3, "n": 6, "logprobs": 0, "max_tokens": 12, "ignore_eos": true});
    let all = complete(&router, request.clone()).await;
    let mut ranked: Vec<(f64, Value)> = all["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| {
            let own = numbers(&choice["logprobs"]["token_logprobs"]);
            (
                own.iter().sum::<f64>() / own.len() as f64,
                choice["text"].clone(),
            )
        })
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    (request["n"], request["best_of"]) = (json!(2), json!(6));
    let best = complete(&router, request).await;
    let texts: Vec<&Value> = best["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| &choice["text"])
        .collect();
    assert_eq!(texts, [&ranked[0].1, &ranked[1].1]);
    assert_eq!(best["usage"]["completion_tokens"], 72);
    engine.shutdown();
}
