//! Embeddings over a runner that makes up its vectors: shapes of requests and answers, limits, and what is refused.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use axum::{Router, http::StatusCode};
use serde_json::{Value, json};
use weir_engine::{EmbeddingInfo, EmbeddingRunner, EngineConfig, EngineError, Pooling};
use weir_prompt::Tokenizer;
use weir_server::{
    AppState, Embedder, EmbeddingHandle, PooledEmbedder, ServedModel, ServerSettings, router,
};

use crate::server::{Setup, chat_body, post_json, read, saying, send};

const PATH: &str = "/v1/embeddings";

/// A text's vector holds its length and its first token. Waits for `gate` before each pass, if there is one.
struct MadeUp {
    gate: Option<mpsc::Receiver<()>>,
}

const INFO: EmbeddingInfo = EmbeddingInfo {
    dimensions: 3,
    max_tokens: 8,
    vocab_size: 256,
};

impl EmbeddingRunner for MadeUp {
    fn info(&self) -> &EmbeddingInfo {
        &INFO
    }

    fn embed(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, EngineError> {
        if let Some(gate) = &self.gate {
            gate.recv().unwrap();
        }
        let vector = |text: &&[u32]| vec![text.len() as f32, text[0] as f32, 0.5];
        Ok(texts.iter().map(vector).collect())
    }
}

fn serving(gate: Option<mpsc::Receiver<()>>, settings: ServerSettings) -> Router {
    let handle = EmbeddingHandle::spawn(Box::new(MadeUp { gate }), 1).unwrap();
    let tokenizer = Arc::new(Tokenizer::from_pieces(Vec::new()));
    let model = ServedModel::embedding("vectors".to_owned(), handle, tokenizer);
    router(Arc::new(AppState::ready(model, settings)))
}

fn server() -> Router {
    serving(None, ServerSettings::default())
}

async fn embed(body: Value) -> (StatusCode, Value) {
    read(send(&server(), post_json(PATH, &body)).await).await
}

#[tokio::test]
async fn every_shape_of_input_has_its_vectors() {
    let cases = [
        (json!("abc"), json!([[3.0, 97.0, 0.5]]), 3),
        (
            json!(["b", "ca"]),
            json!([[1.0, 98.0, 0.5], [2.0, 99.0, 0.5]]),
            3,
        ),
        (json!([7, 8]), json!([[2.0, 7.0, 0.5]]), 2),
        (
            json!([[7, 8], [9]]),
            json!([[2.0, 7.0, 0.5], [1.0, 9.0, 0.5]]),
            3,
        ),
    ];
    for (input, vectors, tokens) in cases {
        let (status, body) = embed(json!({"model": "vectors", "input": input, "user": "u"})).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let data = vectors.as_array().unwrap().iter().enumerate();
        let data: Vec<Value> = data
            .map(|(index, vector)| {
                json!({"object": "embedding", "index": index, "embedding": vector})
            })
            .collect();
        let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
        let whole = json!({"object": "list", "data": data, "model": "vectors", "usage": usage});
        assert_eq!(body, whole);
    }
}

#[tokio::test]
async fn base64_is_little_endian() {
    let (_, body) = embed(json!({"input": "abc", "encoding_format": "base64"})).await;
    // 3.0, 97.0 and 0.5: 00004040 0000c242 0000003f.
    assert_eq!(body["data"][0]["embedding"], "AABAQAAAwkIAAAA/");
}

#[tokio::test]
async fn fewer_dimensions_have_length_one() {
    let (_, body) = embed(json!({"input": [[4, 0, 0], [0, 1]], "dimensions": 2})).await;
    assert_eq!(body["data"][0]["embedding"], json!([0.6, 0.8]));
    assert_eq!(body["data"][1]["embedding"], json!([1.0, 0.0]));
}

#[tokio::test]
async fn long_texts_are_cut_where_asked() {
    for (truncate, tokens) in [(json!(-1), 8), (json!(3), 3), (json!(8), 8)] {
        for input in [json!("abcdefghij"), json!([1, 2, 3, 4, 5, 6, 7, 8, 9])] {
            let (status, body) =
                embed(json!({"input": input, "truncate_prompt_tokens": truncate})).await;
            assert_eq!(status, StatusCode::OK, "{body}");
            assert_eq!(body["usage"]["prompt_tokens"], tokens);
        }
    }
}

#[tokio::test]
async fn unknown_fields_are_listed() {
    let body = json!({"input": "a", "zeta": 1});
    let response = send(&server(), post_json(PATH, &body)).await;
    assert_eq!(response.headers()["x-weir-ignored-fields"], "zeta");
}

/// A request's fields, the status, the error's `param` and a part of its message.
const WRONG: &[(&str, u16, &str, &str)] = &[
    (r#"{}"#, 400, "input", "`input` is required"),
    (
        r#"{"input": []}"#,
        400,
        "input",
        "must not be an empty list",
    ),
    (
        r#"{"input": ""}"#,
        400,
        "input",
        "must not be an empty string",
    ),
    (
        r#"{"input": ["a", ""]}"#,
        400,
        "input[1]",
        "`input[1]` must not be an empty string",
    ),
    (
        r#"{"input": ["a", []]}"#,
        400,
        "input[1]",
        "a string or a list of token ids, got []",
    ),
    (
        r#"{"input": {"a": 1}}"#,
        400,
        "input",
        "a list of lists of token ids, got {",
    ),
    (
        r#"{"input": [1, "a"]}"#,
        400,
        "input",
        r#"a list of token ids, got "a""#,
    ),
    (r#"{"input": [-1]}"#, 400, "input", "got -1"),
    (
        r#"{"input": [[1], [256]]}"#,
        400,
        "input[1]",
        "the token id 256, this model's ids are 0 to 255",
    ),
    (
        r#"{"input": ["a", "abcdefghi"]}"#,
        400,
        "input[1]",
        "`input[1]` has 9 tokens, this model's window is 8",
    ),
    (
        r#"{"input": "a", "model": "other"}"#,
        404,
        "model",
        "`other` is not served here",
    ),
    (
        r#"{"input": "a", "dimensions": 4}"#,
        400,
        "dimensions",
        "between 1 and 3, the size of this model's vectors, got 4",
    ),
    (
        r#"{"input": "a", "dimensions": 0}"#,
        400,
        "dimensions",
        "at least 1, got 0",
    ),
    (
        r#"{"input": "a", "encoding_format": "hex"}"#,
        400,
        "encoding_format",
        r#"float or base64, got "hex""#,
    ),
    (
        r#"{"input": "a", "truncate_prompt_tokens": 0}"#,
        400,
        "truncate_prompt_tokens",
        "at least 1, got 0",
    ),
    (
        r#"{"input": "a", "truncate_prompt_tokens": 9}"#,
        400,
        "truncate_prompt_tokens",
        "between 1 and 8, this model's window, got 9",
    ),
    (r#"{"messages": []}"#, 501, "messages", "not supported"),
    (
        r#"{"input": "a", "normalize": false}"#,
        501,
        "normalize",
        "not supported",
    ),
];

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    for (request, status, param, part) in WRONG {
        let (got, body) = embed(serde_json::from_str(request).unwrap()).await;
        let error = &body["error"];
        assert_eq!(
            (got.as_u16(), error["param"].as_str()),
            (*status, Some(*param)),
            "{request}: {body}"
        );
        assert!(
            error["message"].as_str().unwrap().contains(part),
            "{request}: {body}"
        );
    }
}

#[tokio::test]
async fn a_request_holds_at_most_2048_texts() {
    let (status, _) = embed(json!({"input": vec!["a"; 2048]})).await;
    assert_eq!(status, StatusCode::OK);
    let (status, body) = embed(json!({"input": vec!["a"; 2049]})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = "`input` must hold at most 2048 texts, got 2049";
    assert_eq!(body["error"]["message"], message);
}

#[tokio::test]
async fn each_model_does_what_it_can() {
    let mut body = chat_body(json!({}));
    body["model"] = json!("vectors");
    for (path, body) in [
        ("/v1/chat/completions", body),
        ("/v1/completions", json!({"prompt": "a"})),
    ] {
        let (status, body) = read(send(&server(), post_json(path, &body)).await).await;
        let message = "model vectors makes embeddings, it does not generate";
        assert_eq!(
            (status, &body["error"]["message"]),
            (StatusCode::BAD_REQUEST, &json!(message))
        );
    }
    let (status, body) = read(saying(&[]).post(PATH, &json!({"input": "a"})).await).await;
    assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("embeddings of the model fake (it was set up without)"),
        "{message}"
    );
}

#[tokio::test]
async fn texts_wait_in_a_generative_models_queue() {
    let mut setup = Setup::saying(&[&["a"; 60]]).rate(50.0).model(|model| {
        let generator = Arc::clone(model.generator().unwrap());
        model.embedder = Ok(Embedder::Decoder(PooledEmbedder {
            generator,
            info: INFO,
            pooling: Pooling::Mean,
            normalize: false,
            max_queue: 1,
        }));
    });
    setup.engine = EngineConfig {
        max_num_seqs: 1,
        max_queue: 1,
        ..EngineConfig::default()
    };
    let server = setup.start();
    let occupied = server.occupied().await;
    let body = json!({"input": [[16, 1, 17], [2]]});
    let (status, answer) = read(server.post(PATH, &body).await).await;
    let code = &answer["error"]["code"];
    assert_eq!(
        (status, code),
        (StatusCode::TOO_MANY_REQUESTS, &json!("queue_full"))
    );
    drop(occupied);
    server.until(|counters| counters.waiting == 0).await;
    // One text at a time has room. The fake runner counts ids modulo 16: 0 stands in the first place and stays.
    let (status, answer) = read(server.post(PATH, &body).await).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let vector: Vec<f32> = serde_json::from_value(answer["data"][0]["embedding"].clone()).unwrap();
    assert_eq!((vector[0], vector[2]), (1.0, 0.0));
    assert_eq!(answer["usage"]["prompt_tokens"], 4);
}

#[tokio::test]
async fn a_full_queue_and_a_late_answer_have_their_statuses() {
    let (open, gate) = mpsc::channel();
    let settings = ServerSettings {
        request_timeout: Some(Duration::from_millis(200)),
        ..ServerSettings::default()
    };
    let server = serving(Some(gate), settings);
    let body = json!({"input": "a"});
    let request = || async { read(send(&server, post_json(PATH, &body)).await).await };
    // Whoever comes second finds the queue full; the first waits in vain.
    let (first, second) = tokio::join!(request(), request());
    let mut statuses = [first.0.as_u16(), second.0.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [429, 504]);
    open.send(()).unwrap();
    // The request that was given up makes room once its pass is over.
    loop {
        open.send(()).unwrap();
        match request().await.0 {
            // A loaded machine may take longer than the limit.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::GATEWAY_TIMEOUT => {}
            status => break assert_eq!(status, StatusCode::OK),
        }
    }
}
