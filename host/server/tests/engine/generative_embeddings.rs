//! Vectors of a generative model over the routes: the last token's hidden state, however it is asked for and whatever runs
//! beside it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_engine::Generated;
use weir_protocol::embeddings::{EmbeddingList, EncodingFormat};
use weir_server::{AppState, EngineHandle, ServerSettings, config::Config, router};

use crate::{
    batching,
    tiny_model::{CONTEXT, config, load},
};

const DIMENSIONS: usize = 64;

struct Server {
    router: Router,
    engine: EngineHandle,
}

impl Server {
    fn new(config: &Config, settings: ServerSettings) -> Self {
        let (model, engine) = load(config);
        Self {
            router: router(Arc::new(AppState::ready(model, settings))),
            engine,
        }
    }

    fn usual() -> Self {
        Self::new(&config(), ServerSettings::default())
    }

    async fn send(&self, body: Value) -> (StatusCode, Value) {
        let request = Request::post("/v1/embeddings").body(Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// The vectors of an answer that must succeed, in its order.
    async fn vectors(&self, body: Value) -> Vec<Vec<f32>> {
        let (status, answer) = self.send(body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let data = answer["data"].as_array().unwrap();
        for (number, item) in data.iter().enumerate() {
            assert_eq!(item["index"], number);
        }
        let vector = |item: &Value| serde_json::from_value(item["embedding"].clone()).unwrap();
        data.iter().map(vector).collect()
    }

    async fn vector(&self, input: impl Into<Value>) -> Vec<f32> {
        let input: Value = input.into();
        let mut vectors = self.vectors(json!({"input": input})).await;
        assert_eq!(vectors.len(), 1);
        vectors.remove(0)
    }
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

fn texts(count: usize) -> Vec<String> {
    let text = |number: usize| format!("{number}{}", " of them".repeat(number % 9));
    (0..count).map(text).collect()
}

#[tokio::test]
async fn a_text_and_its_ids_have_one_vector_of_length_one() {
    let server = Server::usual();
    let (_, answer) = server.send(json!({"input": "hello", "user": "ada"})).await;
    let usage = json!({"prompt_tokens": 5, "total_tokens": 5});
    assert_eq!(
        (&answer["object"], &answer["usage"]),
        (&json!("list"), &usage)
    );
    let vector = server.vector("hello").await;
    assert_eq!(vector.len(), DIMENSIONS);
    assert!((length(&vector) - 1.0).abs() < 1e-6);
    // Characters count from the line break, the space and `!` on.
    let ids: Vec<u32> = "hello".bytes().map(|byte| u32::from(byte) - 31).collect();
    assert_eq!(server.vector(ids.clone()).await, vector);
    assert_eq!(server.vector(json!([ids])).await, vector);
    assert_ne!(server.vector("olleh").await, vector);
    assert_ne!(server.vector("hellp").await, vector);
}

#[tokio::test]
async fn fewer_dimensions_are_the_first_ones_at_length_one() {
    let server = Server::usual();
    let whole = server.vector("hello").await;
    for dimensions in [1, 7, DIMENSIONS] {
        let body = json!({"input": "hello", "dimensions": dimensions});
        let cut = server.vectors(body).await.remove(0);
        let scale = length(&whole[..dimensions]);
        for (cut, whole) in cut.iter().zip(&whole[..dimensions]) {
            assert!((cut - whole / scale).abs() < 1e-6);
        }
        assert_eq!(cut.len(), dimensions);
    }
    let (status, answer) = server.send(json!({"input": "a", "dimensions": 65})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"]["param"], "dimensions", "{answer}");
}

#[tokio::test]
async fn base64_holds_the_same_numbers() {
    let server = Server::usual();
    let body = json!({"input": ["hello", "you"], "encoding_format": "base64"});
    let (_, answer) = server.send(body).await;
    let vectors = server.vectors(json!({"input": ["hello", "you"]})).await;
    let name = answer["model"].as_str().unwrap().to_owned();
    let packed = EmbeddingList::new(name, vectors, EncodingFormat::Base64, 8);
    assert_eq!(answer, serde_json::to_value(packed).unwrap());
}

#[tokio::test]
async fn a_batch_is_in_order_and_changes_no_vector() {
    let server = Server::new(
        &Config {
            // More passes than one, and chunks within texts.
            max_queue: 7,
            max_num_batched_tokens: 32,
            ..config()
        },
        ServerSettings::default(),
    );
    let texts = texts(40);
    let together = server.vectors(json!({"input": texts})).await;
    assert_eq!(together.len(), 40);
    for number in [0, 1, 8, 17, 39] {
        assert_eq!(
            together[number],
            server.vector(texts[number].as_str()).await
        );
    }
    let counters = batching::until(&server.engine, |counters| counters.blocks_used == 0).await;
    assert_eq!((counters.waiting, counters.running), (0, 0));
}

#[tokio::test]
async fn a_text_beyond_the_context_is_refused_with_its_length() {
    let server = Server::usual();
    let (status, answer) = server
        .send(json!({"input": ["a", "b".repeat(CONTEXT + 1)]}))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"]["code"], "context_length_exceeded");
    assert_eq!(answer["error"]["param"], "input[1]");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("513 tokens") && message.contains("512"),
        "{message}"
    );
    // Nothing is generated behind it: the whole context is a text's.
    server.vector("b".repeat(CONTEXT)).await;
    let cut = json!({"input": "b".repeat(CONTEXT + 1), "truncate_prompt_tokens": -1});
    let (status, answer) = server.send(cut).await;
    assert_eq!(
        (status, &answer["usage"]["prompt_tokens"]),
        (StatusCode::OK, &json!(CONTEXT))
    );
    let (status, answer) = server.send(json!({"input": [[98]]})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

#[tokio::test]
async fn answers_beside_vectors_say_what_they_say_alone() {
    let server = Server::usual();
    let alone = batching::one_by_one(&server.engine, 40).await;
    let expected = server.vectors(json!({"input": texts(60)})).await;
    let embed = || server.vectors(json!({"input": texts(60)}));
    let (beside, vectors) = tokio::join!(
        batching::together(&server.engine, 40),
        join_all((0..4).map(|_| embed()))
    );
    assert_eq!(beside, alone);
    assert!(vectors.iter().all(|vectors| *vectors == expected));
}

#[tokio::test]
async fn a_running_answer_goes_on_while_texts_are_read() {
    // Texts of fifty steps. The engine's own tests hold that the answer has a token in each.
    let server = Server::new(
        &Config {
            max_num_batched_tokens: 16,
            ..config()
        },
        ServerSettings::default(),
    );
    let mut answer = batching::submit(&server.engine, 0, 400);
    answer.next().await;
    let before = server.engine.counters();
    let input = vec!["b".repeat(100); 8];
    let embedding = server.vectors(json!({"input": input}));
    let mut embedding = Box::pin(embedding);
    let mut tokens = 0;
    loop {
        tokio::select! {
            _ = &mut embedding => break,
            Some(item) = answer.next() => match item.unwrap() {
                Generated::Token { .. } => tokens += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    let steps = server.engine.counters().steps - before.steps;
    assert!(steps >= 50 && tokens > 5, "{tokens} tokens, {steps} steps");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_texts_along() {
    let server = Server::new(
        &Config {
            max_num_batched_tokens: 1,
            ..config()
        },
        ServerSettings::default(),
    );
    let request = server.vectors(json!({"input": vec!["b".repeat(500); 3]}));
    let mut request = Box::pin(request);
    let running = async {
        batching::until(&server.engine, |counters| counters.running > 0).await;
    };
    tokio::select! {
        _ = &mut request => panic!("1,500 steps at once"),
        () = running => {}
    }
    drop(request);
    let counters = batching::until(&server.engine, |counters| counters.blocks_used == 0).await;
    assert!(counters.computed_tokens < 1500, "{counters:?}");
}

#[tokio::test]
async fn a_deadline_gives_the_texts_up() {
    let settings = ServerSettings {
        request_timeout: Some(Duration::from_millis(30)),
        ..ServerSettings::default()
    };
    let slow = Config {
        max_num_batched_tokens: 1,
        max_queue: 1,
        ..config()
    };
    let server = Server::new(&slow, settings);
    let long = json!({"input": vec!["b".repeat(500); 9]});
    let (status, _) = server.send(long).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    batching::until(&server.engine, |counters| counters.blocks_used == 0).await;
}
