//! The engine's thread under readers that leave, lag or come in crowds.

use axum::{body::to_bytes, http::StatusCode};
use futures_util::{StreamExt, future::join_all};
use serde_json::json;
use std::sync::Arc;

use weir_engine::{
    Batch, Engine, EngineConfig, EngineError, FinishReason, Generated, Generator, Logits,
    ModelRunner, RunnerInfo, SamplingParams, SequenceRequest, StopConditions,
};
use weir_server::EngineThread;

use crate::server::{Server, Setup, chat_body, chunks, lines, read};

const LONG: usize = 1000;

/// A model whose every answer is `LONG` different tokens.
fn talkative() -> Setup {
    let mut setup = Setup::saying(&[&[]]);
    setup.answers[0] = (0..LONG).map(|number| format!("{number} ")).collect();
    setup
}

fn long_text() -> String {
    (0..LONG).map(|number| format!("{number} ")).collect()
}

fn sequence() -> SequenceRequest {
    SequenceRequest {
        prompt: vec![1],
        sampling: SamplingParams::default(),
        stop: StopConditions::default(),
        constraint: None,
        embeddings: None,
        pooling: None,
        priority: 0,
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_blocks() {
    let server = talkative().rate(200.0).start();
    let response = server
        .post("/v1/chat/completions", &chat_body(json!({"stream": true})))
        .await;
    let mut body = response.into_body().into_data_stream();
    assert!(body.next().await.is_some());
    assert!(server.engine.counters().blocks_used > 0);
    drop(body);
    server
        .until(|counters| counters.blocks_used == 0 && counters.running == 0)
        .await;
    assert_eq!(server.state.lifecycle.active(), 0);
    assert!(server.engine.counters().generated_tokens < LONG as u64);
}

#[tokio::test]
async fn a_request_given_up_before_its_answer_frees_its_blocks() {
    let server = talkative().rate(200.0).start();
    let body = chat_body(json!({}));
    let answer = server.post("/v1/chat/completions", &body);
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(60), answer)
            .await
            .is_err()
    );
    server
        .until(|counters| counters.blocks_used == 0 && counters.running == 0)
        .await;
}

#[tokio::test]
async fn a_slow_reader_is_paused_and_loses_nothing() {
    let server = talkative().start();
    let response = server
        .post("/v1/chat/completions", &chat_body(json!({"stream": true})))
        .await;
    server.until(|counters| counters.paused == 1).await;
    assert!(server.engine.counters().generated_tokens < 200);
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text: String = chunks(&lines(std::str::from_utf8(&body).unwrap()))
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, long_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_gets_whole_answers() {
    let server = talkative().start();
    let answers = join_all((0..16).map(|_| server.chat(json!({})))).await;
    for answer in answers {
        assert_eq!(answer["choices"][0]["message"]["content"], long_text());
    }
    server.until(|counters| counters.blocks_used == 0).await;
}

#[tokio::test]
async fn the_queue_has_an_end() {
    let mut setup = talkative().rate(50.0);
    setup.engine = EngineConfig {
        max_num_seqs: 1,
        max_queue: 1,
        ..EngineConfig::default()
    };
    let server = setup.start();
    let first = server
        .post("/v1/chat/completions", &chat_body(json!({"stream": true})))
        .await;
    let mut second = server.engine.submit(sequence()).unwrap();
    server.until(|counters| counters.waiting == 1).await;
    let (status, body) = read(
        server
            .post("/v1/chat/completions", &chat_body(json!({})))
            .await,
    )
    .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::TOO_MANY_REQUESTS, &json!("queue_full"))
    );
    drop(first);
    assert!(matches!(
        second.next().await,
        Some(Ok(Generated::Token { .. }))
    ));
}

#[tokio::test]
async fn shutdown_ends_what_runs_and_takes_no_more() {
    let server = talkative().rate(50.0).start();
    let mut stream = server.engine.submit(sequence()).unwrap();
    assert!(stream.next().await.is_some_and(|item| item.is_ok()));
    server.engine.shutdown();
    let rest: Vec<_> = stream.collect().await;
    assert_eq!(rest.last(), Some(&Err(EngineError::Stopped)));
    assert_eq!(
        server.engine.submit(sequence()).err(),
        Some(EngineError::Stopped)
    );
    assert_eq!(server.engine.counters().blocks_used, 0);
}

#[tokio::test]
async fn a_stream_ends_once_with_its_counts() {
    let Server { engine, .. } = crate::server::saying(&["a", "b"]);
    let items: Vec<_> = engine
        .submit(sequence())
        .unwrap()
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(items.len(), 3);
    let Some(Generated::Finished { reason, usage }) = items.last() else {
        panic!("{items:?}")
    };
    assert_eq!(
        (*reason, usage.prompt_tokens, usage.completion_tokens),
        (FinishReason::Stop, 1, 3)
    );
}

/// Has no threads for a prompt of one token, panics over a longer one, and computes none.
struct Unsound(RunnerInfo);

impl ModelRunner for Unsound {
    fn info(&self) -> &RunnerInfo {
        &self.0
    }

    fn execute_into(&mut self, batch: &Batch, _logits: &mut Logits) -> Result<(), EngineError> {
        match batch.tokens.len() {
            1 => Err(EngineError::Lost("secret".to_owned())),
            _ => panic!("a runner's own mistake"),
        }
    }
}

#[tokio::test]
async fn an_engine_that_has_failed_makes_the_server_unhealthy() {
    let info = RunnerInfo {
        vocab_size: 300,
        max_model_len: 64,
        block_size: 16,
        num_blocks: 8,
        eos_token_ids: vec![256],
    };
    let engine = Engine::new(Box::new(Unsound(info)), EngineConfig::default());
    let handle = EngineThread::spawn(engine).unwrap();
    let generator = Arc::new(handle.clone());
    let server = Setup::saying(&[&["a"]])
        .model(|model| model.generator = Some(generator))
        .start();
    assert_eq!(server.get("/health").await.0, StatusCode::OK);
    for prompt in [json!([1]), json!([1, 2]), json!([1, 2])] {
        let body = json!({"prompt": prompt});
        let (status, answer) = read(server.post("/v1/completions", &body).await).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        assert!(message.contains("engine has failed"), "{message}");
        assert!(!message.contains("secret"), "{message}");
        for path in ["/health", "/ready"] {
            let (status, answer) = server.get(path).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer}");
        }
        assert_eq!(server.get("/live").await.0, StatusCode::OK);
    }
}
