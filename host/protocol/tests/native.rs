//! Requests of /tokenize, /detokenize and KsanaLLM's /generate.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use serde_json::{Value, json};
use weir_protocol::{
    DetokenizeRequest, GenerateRequest, Invalid, InvalidKind, Prompt, TokenizeRequest,
    generate::GenerateInput, tokenize::TokenizeInput,
};

#[test]
fn a_text_gets_special_tokens_and_a_conversation_none() {
    let text = TokenizeRequest::from_json(json!({"prompt": "a"})).unwrap();
    assert_eq!(text.input, TokenizeInput::Text("a".to_owned()));
    assert!(text.add_special_tokens && !text.return_token_strs);
    let body = json!({"messages": [{"role": "user", "content": "a"}], "return_token_strs": true,
        "chat_template_kwargs": {"enable_thinking": false}, "add_generation_prompt": false, "zeta": 1});
    let request = TokenizeRequest::from_json(body).unwrap();
    assert!(!request.add_special_tokens && request.return_token_strs);
    assert_eq!(request.ignored_fields, ["zeta"]);
    let TokenizeInput::Chat(chat) = request.input else {
        panic!("a conversation");
    };
    assert!(!chat.add_generation_prompt);
    assert_eq!(chat.chat_template_kwargs["enable_thinking"], false);
}

#[test]
fn wrong_tokenizer_requests_are_told_what_is_wrong() {
    for (body, param) in [
        (json!({}), "prompt"),
        (
            json!({"prompt": "a", "messages": [{"role": "user", "content": "a"}]}),
            "prompt",
        ),
        (json!({"prompt": ["a"]}), "prompt"),
        (json!({"messages": []}), "messages"),
        (
            json!({"prompt": "a", "add_special_tokens": 3}),
            "add_special_tokens",
        ),
    ] {
        let error = TokenizeRequest::from_json(body).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{error}");
    }
    for tokens in [
        json!(null),
        json!("a"),
        json!([1, -1]),
        json!([4294967296u64]),
    ] {
        let error = DetokenizeRequest::from_json(json!({"tokens": tokens})).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("tokens"), "{error}");
    }
    let request = DetokenizeRequest::from_json(json!({"model": "m", "tokens": [1, 2]})).unwrap();
    assert_eq!(request.tokens, [1, 2]);
}

/// A generate request with this sampling.
fn generate(config: Value) -> Result<GenerateRequest, Invalid> {
    GenerateRequest::from_json(json!({"prompt": "a", "sampling_config": config}))
}

fn sampling(config: Value) -> weir_protocol::SamplingFields {
    match generate(config).unwrap().input {
        GenerateInput::Prompt(completion) => completion.sampling,
        GenerateInput::Chat(_) => panic!("a prompt"),
    }
}

#[test]
fn ksanallms_names_and_defaults() {
    assert!(sampling(json!({})).is_greedy());
    assert!(sampling(json!({"topk": 20, "do_sample": false})).is_greedy());
    let own = sampling(
        json!({"topk": 20, "topp": 0.8, "temperature": "0.7", "max_new_tokens": 28, "repetition_penalty": 1.1,
        "stop_strings": ["x"], "stop_token_ids": [3], "ignore_eos": true, "num_beams": 1, "logprobs": 0, "json_schema": "",
        "enable_structured_output": false, "length_penalty": 1.0}),
    );
    assert_eq!(
        (own.top_k, own.top_p, own.temperature, own.max_tokens),
        (Some(20), Some(0.8), Some(0.7), Some(28))
    );
    assert_eq!(
        (own.stop, own.stop_token_ids),
        (vec!["x".to_owned()], vec![3])
    );
    assert!(own.ignore_eos);
    assert_eq!(sampling(json!({"max_new_tokens": -1})).max_tokens, None);
}

#[test]
fn what_is_generated_from() {
    let body = json!({"input_tokens": [1, 2], "model_name": "m", "stream": false, "sampling_config": {"num_return_sequences": 2}});
    let request = GenerateRequest::from_json(body).unwrap();
    let GenerateInput::Prompt(completion) = request.input else {
        panic!("a prompt");
    };
    assert_eq!(completion.prompts, [Prompt::Tokens(vec![1, 2])]);
    assert_eq!(
        (completion.n, completion.model.as_deref(), request.stream),
        (2, Some("m"), false)
    );
    let body = json!({"prompt": "a", "use_chat_template": true, "model_name": ""});
    let request = GenerateRequest::from_json(body).unwrap();
    let GenerateInput::Chat(chat) = request.input else {
        panic!("a conversation");
    };
    assert_eq!(
        json!(chat.messages),
        json!([{"role": "user", "content": "a"}])
    );
    assert!(chat.sampling.is_greedy() && chat.model.is_none() && request.stream);
}

#[test]
fn wrong_generate_requests_name_the_field_as_it_was_written() {
    let wrong = [
        (json!({"topp": 2}), "sampling_config.topp", false),
        (
            json!({"max_new_tokens": 0}),
            "sampling_config.max_new_tokens",
            false,
        ),
        (json!({"num_beams": 4}), "sampling_config.num_beams", true),
        (
            json!({"json_schema": "{"}),
            "sampling_config.json_schema",
            false,
        ),
    ];
    for (config, param, not_built) in wrong {
        let error = generate(config).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param));
        assert!(error.message.starts_with(&format!("`{param}`")), "{error}");
        assert_eq!(error.kind == InvalidKind::NotImplemented, not_built);
    }
    for (body, param) in [
        (json!({}), "prompt"),
        (json!({"input_tokens": []}), "input_tokens"),
        (json!({"input_tokens": ["a"]}), "input_tokens"),
        (
            json!({"prompt": "a", "structured_output_regex": 1}),
            "structured_output_regex",
        ),
    ] {
        let error = GenerateRequest::from_json(body).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{error}");
    }
}
