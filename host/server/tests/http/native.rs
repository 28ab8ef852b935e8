//! /tokenize, /detokenize and KsanaLLM's /generate.

use axum::{body::to_bytes, http::StatusCode};
use serde_json::{Value, json};

use crate::server::{FAILS, MAX_MODEL_LEN, Server, Setup, read, saying};

async fn ask(server: &Server, path: &str, body: Value) -> (StatusCode, Value) {
    read(server.post(path, &body).await).await
}

#[tokio::test]
async fn texts_and_conversations_become_tokens_and_texts_again() {
    let server = saying(&["word"]);
    for prefix in ["", "/v1"] {
        let (_, answer) = ask(
            &server,
            &format!("{prefix}/tokenize"),
            json!({"prompt": "hé", "return_token_strs": true}),
        )
        .await;
        let expected = json!({"count": 3, "max_model_len": MAX_MODEL_LEN, "tokens": [104, 195, 169],
            "token_strs": ["h", "\u{fffd}", "\u{fffd}"]});
        assert_eq!(answer, expected);
        let (_, answer) = ask(
            &server,
            &format!("{prefix}/detokenize"),
            json!({"tokens": [104, 195, 169, 257]}),
        )
        .await;
        assert_eq!(answer, json!({"prompt": "héword"}));
    }
    let chat = json!({"model": "fake", "messages": [{"role": "user", "content": "hi"}]});
    let (_, answer) = ask(&server, "/tokenize", chat).await;
    let text: Vec<u8> = "user: hi\n".bytes().collect();
    assert_eq!(
        answer,
        json!({"count": 9, "max_model_len": MAX_MODEL_LEN, "tokens": text, "token_strs": null})
    );
}

#[tokio::test]
async fn wrong_tokenizer_requests_are_refused() {
    let server = saying(&["word"]);
    for (path, body, status, part) in [
        (
            "/tokenize",
            json!({"prompt": "a", "model": "gpt-9"}),
            404,
            "`gpt-9`",
        ),
        ("/tokenize", json!({}), 400, "`messages`"),
        (
            "/detokenize",
            json!({"tokens": [258]}),
            400,
            "the id 258, this model's ids are 0 to 257",
        ),
    ] {
        let (got, answer) = ask(&server, path, body).await;
        assert_eq!(got.as_u16(), status, "{answer}");
        assert!(
            answer["error"]["message"].as_str().unwrap().contains(part),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn ksanallms_answer_has_texts_and_ids() {
    let server = Setup::saying(&[&["Hel", "lo"], &["b"]]).start();
    let body = json!({"prompt": "hi", "stream": false, "sampling_config": {"num_return_sequences": 2, "max_new_tokens": 28}});
    let (status, answer) = ask(&server, "/generate", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let expected = json!({"texts": ["Hello", "b"], "output_token_ids": [[257, 258], [259]], "logprobs": [],
        "input_token_ids": [104, 105]});
    assert_eq!(answer, expected);
    let body = json!({"input_tokens": [104, 105], "stream": false, "sampling_config": {"stop_strings": ["lo"]}});
    let (_, answer) = ask(&server, "/generate", body).await;
    assert_eq!(answer["texts"], json!(["Hel"]));
}

/// The records of a streamed answer.
async fn records(server: &Server, body: Value) -> Vec<Value> {
    let response = server.post("/generate", &body).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let mut records: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    assert_eq!(records.pop(), Some(&[][..]));
    records
        .into_iter()
        .map(|record| serde_json::from_slice(record).unwrap())
        .collect()
}

#[tokio::test]
async fn ksanallms_stream_is_the_whole_answer_again_and_again() {
    let server = Setup::saying(&[&["Hel", "lo"]]).start();
    let prompt = json!({"prompt": "hi", "use_chat_template": true});
    let texts: Vec<Value> = records(&server, prompt)
        .await
        .into_iter()
        .map(|record| record["texts"].clone())
        .collect();
    assert_eq!(texts, [json!(["Hel"]), json!(["Hello"])]);
    let last = records(&saying(&["a", FAILS]), json!({"prompt": "hi"})).await;
    assert_eq!(last[1]["error"]["type"], "server_error");
}
