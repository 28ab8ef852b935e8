//! A model of whose tokenizer nothing is known here: messages go to its engine as they are, and what needs tokens is refused.

use std::sync::Arc;

use axum::{Router, http::StatusCode};
use serde_json::{Value, json};
use weir_server::{AppState, ServerSettings, router};

use crate::{
    remote::{QUICK, served},
    server::{chat_body, chunks, lines, post_json, read, send},
    upstream::{Mode, Speaks, Upstream},
};

async fn one(speaks: Speaks, text: &str) -> (Upstream, Router) {
    let upstream = Upstream::saying(speaks, text);
    let model = served(&[&upstream], QUICK, true).await;
    let state = AppState::ready(model, ServerSettings::default());
    (upstream, router(Arc::new(state)))
}

async fn post(router: &Router, path: &str, body: &Value) -> (StatusCode, Value) {
    read(send(router, post_json(path, body)).await).await
}

async fn chat(router: &Router, more: Value) -> (StatusCode, Value) {
    post(router, "/v1/chat/completions", &chat_body(more)).await
}

#[tokio::test]
async fn answers_are_the_same_in_every_dialect() {
    for speaks in [Speaks::Vllm, Speaks::Sglang, Speaks::Llama, Speaks::Openai] {
        let (_upstream, router) = one(speaks, "Hello").await;
        let (status, body) = chat(&router, json!({"max_tokens": 20})).await;
        assert_eq!(status, StatusCode::OK, "{speaks:?}: {body}");
        let choice = &body["choices"][0];
        assert_eq!(choice["message"]["content"], "Hello", "{speaks:?}");
        assert_eq!(choice["finish_reason"], "stop", "{speaks:?}");
        // As the engine has counted them.
        assert_eq!(body["usage"]["prompt_tokens"], 9, "{speaks:?}: {body}");
        let mut body = chat_body(json!({"stream": true, "max_tokens": 3}));
        body["stream"] = json!(true);
        let response = send(&router, post_json("/v1/chat/completions", &body)).await;
        let text = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        let chunks = chunks(&lines(std::str::from_utf8(&text).unwrap()));
        let content = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
        assert_eq!(content.collect::<String>(), "Hel", "{speaks:?}");
    }
}

#[tokio::test]
async fn what_is_asked_of_the_engine_is_what_the_client_asked() {
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Grüße"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]);
    let asked = json!({"model": "fake", "messages": messages, "max_tokens": 7, "temperature": 0.5, "seed": 3, "stop": ["zz"],
        "chat_template_kwargs": {"enable_thinking": false}});
    let common = json!({"model": "there", "messages": messages, "chat_template_kwargs": {"enable_thinking": false}, "stream": true,
        "stream_options": {"include_usage": true}, "temperature": 0.5, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "seed": 3});
    let cases = [
        (
            Speaks::Vllm,
            json!({"max_tokens": 7, "stop": ["zz"], "include_stop_str_in_output": true, "top_k": 0, "min_p": 0.0,
                "repetition_penalty": 1.0, "min_tokens": 0, "stop_token_ids": [], "ignore_eos": false, "skip_special_tokens": false,
                "spaces_between_special_tokens": false}),
        ),
        (
            Speaks::Sglang,
            json!({"max_tokens": 7, "stop": ["zz"], "no_stop_trim": true, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0,
                "min_tokens": 0, "stop_token_ids": [], "ignore_eos": false, "skip_special_tokens": false, "separate_reasoning": false}),
        ),
        (
            Speaks::Llama,
            json!({"n_predict": 7, "top_k": 0, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "repeat_last_n": null,
                "ignore_eos": false, "reasoning_format": "none"}),
        ),
        (Speaks::Openai, json!({"max_tokens": 7})),
    ];
    for (speaks, own) in cases {
        let (upstream, router) = one(speaks, "Hello").await;
        let (status, body) = post(&router, "/v1/chat/completions", &asked).await;
        assert_eq!(status, StatusCode::OK, "{speaks:?}: {body}");
        let mut got = upstream.fake.asked.lock().unwrap()[0].clone();
        if speaks == Speaks::Llama {
            // All that there may be.
            assert!(got["repeat_last_n"].take().as_u64() > Some(7));
        }
        let mut expected = common.clone();
        let fields = expected.as_object_mut().unwrap();
        fields.extend(own.as_object().unwrap().clone());
        assert_eq!(got, expected, "{speaks:?}");
    }
}

#[tokio::test]
async fn what_needs_tokens_is_refused_by_name() {
    let (_upstream, router) = one(Speaks::Vllm, "Hello").await;
    let cases = [
        ("/v1/completions", json!({"prompt": "x"}), "completions"),
        ("/tokenize", json!({"prompt": "x"}), "tokens"),
        ("/detokenize", json!({"tokens": [1]}), "tokens"),
        (
            "/v1/messages/count_tokens",
            json!({"messages": [{"role": "user", "content": "x"}]}),
            "token counts",
        ),
        ("/generate", json!({"prompt": "x"}), "/generate"),
        (
            "/v1/chat/completions",
            chat_body(json!({"return_token_ids": true})),
            "token ids",
        ),
        (
            "/v1/chat/completions",
            chat_body(json!({"truncate_prompt_tokens": 5})),
            "cut by tokens",
        ),
        (
            "/v1/chat/completions",
            chat_body(json!({"nvext": {"use_raw_prompt": true}})),
            "without a template",
        ),
    ];
    for (path, mut body, words) in cases {
        body["model"] = json!("fake");
        let (status, answer) = post(&router, path, &body).await;
        assert_eq!(
            status,
            StatusCode::NOT_IMPLEMENTED,
            "{path} {body}: {answer}"
        );
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(words) && message.contains("--tokenizer"),
            "{path}: {message}"
        );
    }
    for (speaks, more, words) in [
        (Speaks::Vllm, json!({"logprobs": true}), "logprobs"),
        (
            Speaks::Llama,
            json!({"stop_token_ids": [5]}),
            "stop_token_ids",
        ),
        (
            Speaks::Llama,
            json!({"continue_final_message": true, "add_generation_prompt": false}),
            "continue_final_message",
        ),
    ] {
        let (_upstream, router) = one(speaks, "Hello").await;
        let (status, answer) = chat(&router, more).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(
            answer["error"]["message"].as_str().unwrap().contains(words),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_reads_its_text_itself_is_no_engine() {
    let (upstream, router) = one(Speaks::Vllm, "Hello").await;
    upstream.becomes(Mode::Splitting);
    let (status, answer) = chat(&router, json!({})).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer}");
    assert_eq!(answer["error"]["code"], "upstream_error", "{answer}");
}

#[tokio::test]
async fn a_form_goes_to_the_engine_in_its_own_field() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": true}});
    for (speaks, field, expected) in [
        (Speaks::Vllm, "structured_outputs", json!({"json": schema})),
        (
            Speaks::Openai,
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": true}}),
        ),
        (
            Speaks::Sglang,
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": true}}),
        ),
    ] {
        let (upstream, router) = one(speaks, r#"{"a": true}"#).await;
        let (status, body) = chat(&router, json!({"response_format": format})).await;
        assert_eq!(status, StatusCode::OK, "{speaks:?}: {body}");
        let asked = upstream.fake.asked.lock().unwrap()[0].clone();
        assert_eq!(asked[field], expected, "{speaks:?}");
    }
}
