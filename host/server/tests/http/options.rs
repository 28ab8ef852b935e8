//! Options beside the prompt: what is told around an answer, how the prompt is cut, the older shape of calls, the queue.

use axum::http::StatusCode;
use futures_util::StreamExt;
use serde_json::{Value, json};
use weir_engine::{
    EngineConfig, EngineError, Generator, SamplingParams, SequenceRequest, StopConditions,
};

use crate::{
    parsers::{marking, tools},
    server::{Setup, chat_body, chunks, read, saying},
};

#[tokio::test]
async fn usage_is_told_with_every_chunk() {
    let server = Setup::saying(&[&["a", "b"]]).start();
    let more = json!({"stream_options": {"include_usage": true, "continuous_usage_stats": true}});
    let chunks = chunks(&server.stream(more).await);
    let counts: Vec<u64> = chunks
        .iter()
        .map(|chunk| {
            let usage = &chunk["usage"];
            assert_eq!(usage["prompt_tokens"], 9);
            usage["completion_tokens"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(counts, [1, 1, 2, 3, 3], "role, a, b, end, usage");
    let request = json!({"prompt": "x", "stream_options": {"continuous_usage_stats": true}});
    let lines = server.stream_of("/v1/completions", &request).await;
    let chunks = crate::server::chunks(&lines);
    assert_eq!(chunks.len(), 3, "no usage chunk was asked for");
    assert_eq!(chunks[1]["usage"]["total_tokens"], 3);
}

#[tokio::test]
async fn older_functions_are_answered_in_their_shape() {
    let server = marking(&["</think>", "<call>", "f", "{\"a\":", "1}", "</call>"]);
    let more = json!({"functions": [{"name": "f", "parameters": {}}], "function_call": "auto"});
    let body = server.chat(more.clone()).await;
    let choice = &body["choices"][0];
    assert_eq!(
        choice["message"]["function_call"],
        json!({"name": "f", "arguments": "{\"a\":1}"})
    );
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["tool_calls"]),
        (&json!("function_call"), &Value::Null)
    );
    let chunks = chunks(&server.stream(more).await);
    let pieces: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["function_call"])
        .filter(|piece| !piece.is_null())
        .collect();
    assert_eq!(pieces[0], &json!({"name": "f", "arguments": ""}));
    let arguments: String = pieces
        .iter()
        .map(|piece| piece["arguments"].as_str().unwrap())
        .collect();
    assert_eq!(arguments, "{\"a\":1}");
    let last = &chunks.last().unwrap()["choices"][0];
    assert_eq!(last["finish_reason"], "function_call");
    // The same model with tools answers as it does today.
    let body = server.chat(json!({"tools": tools()})).await;
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn a_continued_message_is_repeated_on_demand() {
    let messages =
        json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "So "}]);
    let server = saying(&["be", " it"]);
    for (more, expected) in [
        (
            json!({"echo": true, "continue_final_message": true}),
            "So be it",
        ),
        (json!({"continue_final_message": true}), "be it"),
        (json!({"echo": true}), "be it"),
    ] {
        let mut more = more;
        more["messages"] = messages.clone();
        let body = server.chat(more.clone()).await;
        assert_eq!(body["choices"][0]["message"]["content"], expected, "{more}");
        let chunks = chunks(&server.stream(more).await);
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        let text: String = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert_eq!(text, expected);
    }
}

#[tokio::test]
async fn annotations_stand_around_the_chunks() {
    let server = saying(&["a", "b"]);
    let nvext = json!({"annotations": ["formatted_prompt", "token_ids", "llm_metrics", "timing"]});
    let lines = server.stream(json!({"nvext": nvext})).await;
    let names: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    assert_eq!(
        names,
        ["formatted_prompt", "token_ids", "llm_metrics", "timing"]
    );
    let data = |line: &String| -> Value {
        serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap()
    };
    assert_eq!(lines[0], "event: formatted_prompt");
    assert_eq!(data(&lines[1]), "user: hi\n");
    assert_eq!(data(&lines[3]).as_array().unwrap().len(), 9);
    assert_eq!(data(&lines[4])["object"], "chat.completion.chunk");
    let end = lines.len();
    assert_eq!(
        (lines[end - 1].as_str(), lines[end - 3].as_str()),
        ("data: [DONE]", "event: timing")
    );
    assert!(
        data(&lines[end - 2])["total_time_ms"].as_f64()
            >= data(&lines[end - 2])["ttft_ms"].as_f64()
    );
    let metrics = json!({"input_tokens": 9, "output_tokens": 3, "cached_tokens": 0});
    assert_eq!(data(&lines[end - 4]), metrics);

    let body = server.chat(json!({"nvext": nvext})).await;
    assert_eq!(body["nvext"]["formatted_prompt"], "user: hi\n");
    assert_eq!(body["nvext"]["llm_metrics"]["output_tokens"], 3);
    assert_eq!(
        server.chat(json!({"nvext": {}})).await["nvext"],
        Value::Null
    );
    let request = json!({"prompt": ["x", "yz"], "nvext": {"annotations": ["formatted_prompt"]}});
    let (_, body) = read(server.post("/v1/completions", &request).await).await;
    assert_eq!(body["nvext"], json!({"formatted_prompt": ["x", "yz"]}));
}

/// What the model reads, by the annotation that tells it.
async fn read_by(server: &crate::server::Server, more: Value) -> String {
    let mut more = more;
    more["nvext"]["annotations"] = json!(["formatted_prompt"]);
    let body = server.chat(more).await;
    body["nvext"]["formatted_prompt"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_prompt_can_be_cut_and_given_raw() {
    let server = saying(&["a"]);
    assert_eq!(read_by(&server, json!({})).await, "user: hi\n");
    assert_eq!(
        read_by(&server, json!({"truncate_prompt_tokens": 3})).await,
        "hi\n"
    );
    assert_eq!(
        read_by(&server, json!({"truncate_prompt_tokens": 100})).await,
        "user: hi\n"
    );
    let messages =
        json!([{"role": "system", "content": "one"}, {"role": "user", "content": "two"}]);
    let raw = json!({"messages": messages, "nvext": {"use_raw_prompt": true}});
    assert_eq!(read_by(&server, raw).await, "one\ntwo");
    // As many tokens as leave room for the answer.
    let long = "x".repeat(crate::server::MAX_MODEL_LEN * 2);
    let fitted = json!({"prompt": long, "truncate_prompt_tokens": -1, "max_tokens": 8});
    let (status, body) = read(server.post("/v1/completions", &fitted).await).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        body["usage"]["prompt_tokens"],
        crate::server::MAX_MODEL_LEN - 8
    );
}

#[tokio::test]
async fn a_stop_string_can_stay() {
    let server = saying(&["Hel", "lo", " you"]);
    let body = server
        .chat(json!({"stop": "lo", "include_stop_str_in_output": true}))
        .await;
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("Hello"), &json!("stop"))
    );
}

#[tokio::test]
async fn stopping_options_are_honoured() {
    // Pieces are numbered from 257 in the order in which they first occur.
    let server = saying(&["a", "b", "c"]);
    let content = |body: &Value| body["choices"][0]["message"]["content"].clone();
    let body = server.chat(json!({"stop_token_ids": [259]})).await;
    assert_eq!(
        (content(&body), &body["choices"][0]["finish_reason"]),
        (json!("ab"), &json!("stop"))
    );
    let body = server.chat(json!({"stop_token_ids": ["257"]})).await;
    assert_eq!(content(&body), "");
    // The end token comes again and again and is no text.
    let body = server
        .chat(json!({"ignore_eos": "True", "max_tokens": 6}))
        .await;
    assert_eq!(
        (content(&body), &body["usage"]["completion_tokens"]),
        (json!("abc"), &json!(6))
    );
    let body = server
        .chat(json!({"min_tokens": 5, "max_tokens": 5, "temperature": 0}))
        .await;
    assert_eq!(body["usage"]["completion_tokens"], 5);
    let body = server.chat(json!({"logit_bias": {"65": -100}})).await;
    assert_eq!(content(&body), "abc");
    let (status, body) = read(
        server
            .post(
                "/v1/chat/completions",
                &chat_body(json!({"logit_bias": {"999999": 1}})),
            )
            .await,
    )
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

pub fn sequence(priority: i64) -> SequenceRequest {
    SequenceRequest {
        prompt: vec![1],
        sampling: SamplingParams::default(),
        stop: StopConditions::default(),
        constraint: None,
        embeddings: None,
        pooling: None,
        priority,
    }
}

#[tokio::test]
async fn the_lowest_priority_starts_first() {
    let mut setup = Setup::saying(&[&["1"; 60], &["2"], &["3"]]).rate(100.0);
    setup.engine = EngineConfig {
        max_num_seqs: 1,
        ..EngineConfig::default()
    };
    let server = setup.start();
    let mut running = server.engine.submit(sequence(0)).unwrap();
    assert!(running.next().await.is_some());
    // Answers are given in turn: who starts first says "2".
    let late = server.chat(json!({"priority": 7}));
    let early = async {
        server.until(|counters| counters.waiting == 1).await;
        server.chat(json!({"priority": "-1"})).await
    };
    let (late, early) = futures_util::future::join(late, early).await;
    drop(running);
    let content = |body: &Value| body["choices"][0]["message"]["content"].clone();
    assert_eq!((content(&early), content(&late)), (json!("2"), json!("3")));
}

#[tokio::test]
async fn several_answers_are_queued_together_or_not_at_all() {
    let mut setup = Setup::saying(&[&["a"; 60]]).rate(50.0);
    setup.engine = EngineConfig {
        max_num_seqs: 1,
        max_queue: 3,
        ..EngineConfig::default()
    };
    let server = setup.start();
    let occupied = server.occupied().await;
    for stream in [false, true] {
        let body = chat_body(json!({"n": 3, "stream": stream}));
        let (status, body) = read(server.post("/v1/chat/completions", &body).await).await;
        let code = &body["error"]["code"];
        assert_eq!(
            (status, code),
            (StatusCode::TOO_MANY_REQUESTS, &json!("queue_full"))
        );
        // None of the three was left behind, though there was room for two.
        assert_eq!(server.engine.counters().waiting, 1);
    }
    let (status, body) = read(
        server
            .post("/v1/chat/completions", &chat_body(json!({"n": 4})))
            .await,
    )
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    drop(occupied);
    server
        .until(|counters| counters.waiting + counters.running == 0)
        .await;
    let body = server.chat(json!({"n": 3, "max_tokens": 2})).await;
    assert_eq!(body["choices"].as_array().unwrap().len(), 3);
    server.until(|counters| counters.blocks_used == 0).await;
    assert_eq!(server.state.lifecycle.active(), 0);
}

#[tokio::test]
async fn a_stopped_engine_takes_none_of_several() {
    let server = saying(&["a"]);
    server.engine.shutdown();
    let outcome = server.engine.submit_all(vec![sequence(0); 3]);
    assert_eq!(outcome.err(), Some(EngineError::Stopped));
    let body = json!({"prompt": "x", "n": 2});
    let (status, _) = read(server.post("/v1/completions", &body).await).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
