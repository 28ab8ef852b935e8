//! Log-probabilities in answers: whose tokens are told, in which shape and with which chunk.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    parsers::{marking, tools},
    server::{Server, Setup, chat_body, chunks, read, saying},
};

/// Texts of the tokens in a chat choice's or chunk's log-probabilities.
fn told(logprobs: &Value) -> Vec<&str> {
    let content = logprobs["content"].as_array().unwrap().iter();
    content
        .map(|entry| entry["token"].as_str().unwrap())
        .collect()
}

async fn complete(server: &Server, body: Value) -> Value {
    let (status, body) = read(server.post("/v1/completions", &body).await).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// The four lists of a completion's log-probabilities, joined over its chunks; each has as many entries as the others.
fn lists(all: &[&Value]) -> (Vec<String>, Vec<Value>, Vec<Value>, Vec<u64>) {
    let joined = |name: &str| -> Vec<Value> {
        let parts = all.iter().filter(|part| !part.is_null());
        let lists = parts.map(|part| part[name].as_array().unwrap().clone());
        lists.flatten().collect()
    };
    let tokens: Vec<String> = joined("tokens")
        .iter()
        .map(|token| token.as_str().unwrap().to_owned())
        .collect();
    let offsets: Vec<u64> = joined("text_offset")
        .iter()
        .map(|offset| offset.as_u64().unwrap())
        .collect();
    let (own, top) = (joined("token_logprobs"), joined("top_logprobs"));
    assert_eq!(
        (own.len(), top.len(), offsets.len()),
        (tokens.len(), tokens.len(), tokens.len())
    );
    (tokens, own, top, offsets)
}

#[tokio::test]
async fn chat_tells_content_in_openais_shape() {
    let server = saying(&["Hé", "llo"]);
    let body = server
        .chat(json!({"logprobs": true, "top_logprobs": 2}))
        .await;
    let logprobs = &body["choices"][0]["logprobs"];
    assert_eq!(logprobs["refusal"], Value::Null);
    let first = &logprobs["content"][0];
    let mut keys: Vec<&String> = first.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["bytes", "logprob", "token", "top_logprobs"]);
    assert_eq!(
        (&first["token"], &first["bytes"], &first["logprob"]),
        (&json!("Hé"), &json!([72, 195, 169]), &json!(0.0))
    );
    let top = first["top_logprobs"].as_array().unwrap();
    assert_eq!((top.len(), &top[0]["token"]), (2, &json!("Hé")));
    // What the replaying model does not say is as good as impossible; JSON has no infinity.
    assert_eq!(top[1]["logprob"], json!(-9999.0));
    assert_eq!(
        told(logprobs),
        ["Hé", "llo"],
        "the end token is none of the content"
    );

    for more in [json!({}), json!({"logprobs": false})] {
        assert_eq!(
            server.chat(more).await["choices"][0]["logprobs"],
            Value::Null
        );
    }
    let bare = server.chat(json!({"logprobs": true})).await;
    let first = &bare["choices"][0]["logprobs"]["content"][0];
    assert_eq!(first["top_logprobs"], json!([]));
}

#[tokio::test]
async fn chunks_carry_the_tokens_of_their_text() {
    let server = saying(&["Hel", "lo ", "wo", "rld", "!", "stop"]);
    let more = json!({"logprobs": true, "stop": ["lo x", "stop"]});
    let chunks = chunks(&server.stream(more).await);
    let mut seen = Vec::new();
    for chunk in &chunks {
        let choice = &chunk["choices"][0];
        let content = choice["delta"]["content"].as_str().unwrap_or_default();
        if content.is_empty() {
            assert_eq!(choice["logprobs"], Value::Null, "{chunk}");
            continue;
        }
        let tokens: String = told(&choice["logprobs"]).concat();
        seen.push((content.to_owned(), tokens));
    }
    let pair = |content: &str, tokens: &str| (content.to_owned(), tokens.to_owned());
    let expected = [
        // What the stop string may begin with waits; its token was told with its first letters.
        pair("He", "Hel"),
        pair("l", ""),
        pair("lo ", "lo "),
        pair("wo", "wo"),
        pair("rld", "rld"),
        pair("!", "!"),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn reasoning_and_calls_are_not_told() {
    let answer = [
        "why", "</think>", "so", "<call>", "f", "{}", "</call>", "then",
    ];
    let server = marking(&answer);
    let more = json!({"logprobs": true, "tools": tools()});
    let body = server.chat(more.clone()).await;
    let choice = &body["choices"][0];
    assert_eq!(choice["message"]["content"], "sothen");
    assert_eq!(choice["message"]["tool_calls"].as_array().unwrap().len(), 1);
    assert_eq!(told(&choice["logprobs"]), ["so", "then"]);

    let chunks = chunks(&server.stream(more).await);
    let all = chunks.iter().map(|chunk| &chunk["choices"][0]["logprobs"]);
    let all: Vec<&str> = all.filter(|told| !told.is_null()).flat_map(told).collect();
    assert_eq!(all, ["so", "then"]);
}

#[tokio::test]
async fn a_completion_tells_four_lists_and_its_end_token() {
    let server = saying(&["a", "éb", "c"]);
    let request = json!({"prompt": "x", "logprobs": 1});
    let body = complete(&server, request.clone()).await;
    let (tokens, own, top, offsets) = lists(&[&body["choices"][0]["logprobs"]]);
    // The end token's own text is empty here.
    assert_eq!(tokens, ["a", "éb", "c", ""]);
    assert_eq!(own, vec![json!(0.0); 4]);
    assert_eq!(top[1], json!({"éb": 0.0}));
    assert_eq!(offsets, [0, 1, 3, 4], "in characters");
    assert_eq!(body["usage"]["completion_tokens"], 4);

    let chunks = chunks(&server.stream_of("/v1/completions", &request).await);
    let all: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["logprobs"])
        .collect();
    assert_eq!(lists(&all).0, tokens);
    assert_eq!(lists(&all).3, offsets);
    assert_eq!(all[0]["tokens"], json!(["a"]));

    let plain = complete(&server, json!({"prompt": "x"})).await;
    assert_eq!(plain["choices"][0]["logprobs"], Value::Null);
    let cut = complete(&server, json!({"prompt": "x", "logprobs": 0, "stop": "b"})).await;
    assert_eq!(cut["choices"][0]["text"], "aé");
    // The token that the stop string cuts is told whole, what is behind it is not told.
    assert_eq!(cut["choices"][0]["logprobs"]["tokens"], json!(["a", "éb"]));
}

#[tokio::test]
async fn echo_tells_the_prompt_too() {
    let server = saying(&["!", "?"]);
    let uniform = -(f64::from(257 + 2)).ln();
    let near = |value: &Value| (value.as_f64().unwrap() - uniform).abs() < 1e-4;
    let request = json!({"prompt": "hi x", "echo": true, "logprobs": 1, "max_tokens": 1});
    let body = complete(&server, request.clone()).await;
    let choice = &body["choices"][0];
    let (tokens, own, top, offsets) = lists(&[&choice["logprobs"]]);
    assert_eq!(
        (&choice["text"], &choice["finish_reason"]),
        (&json!("hi x!"), &json!("length"))
    );
    assert_eq!(tokens, ["h", "i", " ", "x", "!"]);
    assert_eq!((&own[0], &top[0]), (&Value::Null, &Value::Null));
    assert!(own[1..4].iter().all(near), "{own:?}");
    // Of equally likely tokens the first is the likeliest; the prompt's own is told beside it.
    assert!(top[1].as_object().unwrap().contains_key("i"), "{top:?}");
    assert_eq!(own[4], json!(0.0));
    assert_eq!(offsets, [0, 1, 2, 3, 4]);

    let chunks = chunks(&server.stream_of("/v1/completions", &request).await);
    let all: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["logprobs"])
        .collect();
    assert_eq!(lists(&all).0, tokens);
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(text, "hi x!");
}

#[tokio::test]
async fn a_prompt_can_be_scored_alone() {
    let server = saying(&["never said"]);
    for (logprobs, told) in [(json!(5), Some(3)), (Value::Null, None)] {
        let request =
            json!({"prompt": [104, 105, 33], "echo": true, "logprobs": logprobs, "max_tokens": 0});
        let body = complete(&server, request.clone()).await;
        let choice = &body["choices"][0];
        assert_eq!(
            (&choice["text"], &choice["finish_reason"]),
            (&json!("hi!"), &json!("length"))
        );
        let tokens = choice["logprobs"]["tokens"].as_array().map(Vec::len);
        assert_eq!(
            (tokens, &body["usage"]["completion_tokens"]),
            (told, &json!(0))
        );
        let chunks = chunks(&server.stream_of("/v1/completions", &request).await);
        assert_eq!(
            chunks
                .iter()
                .map(|chunk| chunk["choices"][0]["text"].as_str().unwrap())
                .collect::<String>(),
            "hi!"
        );
    }
    server.until(|counters| counters.blocks_used == 0).await;
}

#[tokio::test]
async fn the_likeliest_of_several_are_given_and_all_are_counted() {
    // In turn: the second is cut by its length, the others end. All their tokens are certain, so the first n are the best.
    let server = Setup::saying(&[&["a"], &["b", "b"], &["c"]]).start();
    let request = json!({"prompt": "x", "n": 2, "best_of": 3});
    let body = complete(&server, request).await;
    let choices = body["choices"].as_array().unwrap();
    assert_eq!((choices.len(), &choices[1]["index"]), (2, &json!(1)));
    assert_eq!(choices[0]["logprobs"], Value::Null, "nobody asked for them");
    assert_eq!(body["usage"]["completion_tokens"], 2 + 3 + 2);
    let body = server.chat(json!({"best_of": 3})).await;
    assert_eq!(body["choices"].as_array().unwrap().len(), 1);
    assert_eq!(body["usage"]["completion_tokens"], 7);
    let (status, body) = read(
        server
            .post(
                "/v1/chat/completions",
                &chat_body(json!({"best_of": 3, "stream": true})),
            )
            .await,
    )
    .await;
    assert_eq!(
        (status, &body["error"]["param"]),
        (StatusCode::BAD_REQUEST, &json!("best_of"))
    );
}

#[tokio::test]
async fn what_most_answers_say_is_given() {
    let server = Setup::saying(&[&["No"], &["Yes"], &["yes", "."]]).start();
    let request = json!({"best_of": 3, "selector": "majority"});
    let body = server.chat(request.clone()).await;
    assert_eq!(body["choices"][0]["message"]["content"], "Yes");
    assert_eq!(body["usage"]["completion_tokens"], 2 + 2 + 3);
    let mut request = request;
    request["prompt"] = "x".into();
    let body = complete(&server, request).await;
    assert_eq!(body["choices"][0]["text"], "Yes");
}

#[tokio::test]
async fn a_prompts_tokens_are_told_as_vllm_does() {
    let server = saying(&["!", "?"]);
    let uniform = -(f64::from(257 + 2)).ln();
    let near = |value: &Value| (value.as_f64().unwrap() - uniform).abs() < 1e-4;
    let request = json!({"prompt": "hi", "prompt_logprobs": 2, "logprobs": 0});
    let body = complete(&server, request).await;
    let choice = &body["choices"][0];
    let told = choice["prompt_logprobs"].as_array().unwrap();
    assert_eq!((told.len(), &told[0]), (2, &Value::Null));
    // Its own first, then the likeliest: of equals the lowest ids.
    let keys: Vec<&String> = told[1].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["105", "0", "1"]);
    let own = &told[1]["105"];
    assert_eq!(
        (&own["decoded_token"], &own["rank"]),
        (&json!("i"), &json!(1))
    );
    assert!(near(&own["logprob"]), "{own}");
    // The prompt is no part of the answer that is not to repeat it.
    assert_eq!(choice["logprobs"]["tokens"], json!(["!", "?", ""]));
    assert_eq!(choice["text"], "!?");

    let both =
        json!({"prompt": "hi", "prompt_logprobs": 0, "logprobs": 2, "echo": true, "max_tokens": 1});
    let body = complete(&server, both).await;
    let choice = &body["choices"][0];
    assert_eq!(
        choice["prompt_logprobs"][1]
            .as_object()
            .map(|told| told.len()),
        Some(1)
    );
    let (tokens, _, top, _) = lists(&[&choice["logprobs"]]);
    assert_eq!(tokens, ["h", "i", "!"]);
    assert_eq!(top[1].as_object().map(|told| told.len()), Some(3));

    let chat = server.chat(json!({"prompt_logprobs": 0, "n": 2})).await;
    let prompt = chat["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(
        chat["prompt_logprobs"]
            .as_array()
            .map(|told| told.len() as u64),
        Some(prompt)
    );
    assert_eq!(chat["choices"][0]["logprobs"], Value::Null);
    assert!(
        server
            .chat(json!({}))
            .await
            .get("prompt_logprobs")
            .is_none()
    );
    server.until(|counters| counters.blocks_used == 0).await;
}

#[tokio::test]
async fn tokens_are_told_by_their_ids_where_asked_for() {
    let server = saying(&["ab"]);
    let by_id = json!({"logprobs": true, "top_logprobs": 1, "return_tokens_as_token_ids": true});
    let body = server.chat(by_id).await;
    let first = &body["choices"][0]["logprobs"]["content"][0];
    assert_eq!(first["token"], "token_id:257");
    assert_eq!(first["bytes"], json!([97, 98]));
    assert_eq!(first["top_logprobs"][0]["token"], "token_id:257");
    let body = complete(
        &server,
        json!({"prompt": "h", "logprobs": 1, "echo": true, "return_tokens_as_token_ids": true}),
    )
    .await;
    let (tokens, _, top, _) = lists(&[&body["choices"][0]["logprobs"]]);
    assert_eq!(tokens[..2], ["token_id:104", "token_id:257"]);
    assert_eq!(top[1], json!({"token_id:257": 0.0}));
    assert_eq!(body["choices"][0]["text"], "hab");
}
