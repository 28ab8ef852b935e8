//! Requests as clients send them: what is read, what is refused and with which words, and that no JSON makes it panic.

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_protocol::{
    ChatRequest, CompletionRequest, Invalid, InvalidKind, Prompt, ToolCallStreaming, ToolChoice,
    parse_json,
};

/// A chat request with `more` fields beside one message.
fn chat(more: Value) -> Result<ChatRequest, Invalid> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    ChatRequest::from_json(body)
}

fn weather() -> Value {
    json!({"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}, "strict": true}})
}

#[test]
fn strings_stand_for_numbers_and_booleans() {
    let request = chat(json!({"do_sample": "True", "top_k": "20", "temperature": "0.7", "stream": "false", "seed": "-7"})).unwrap();
    assert_eq!(request.sampling.temperature, Some(0.7));
    assert_eq!(request.sampling.top_k, Some(20));
    assert_eq!(request.sampling.do_sample, Some(true));
    assert_eq!(request.sampling.seed, Some(-7));
    assert!(!request.stream && !request.sampling.is_greedy());
}

#[test]
fn greedy_is_said_in_three_ways() {
    for more in [
        json!({"temperature": 0}),
        json!({"top_k": 1}),
        json!({"do_sample": false, "temperature": 1}),
    ] {
        assert!(chat(more.clone()).unwrap().sampling.is_greedy(), "{more}");
    }
}

#[test]
fn null_is_absent_and_defaults_stand() {
    let request = chat(json!({"temperature": null, "stop": null, "tools": null, "n": null, "response_format": null})).unwrap();
    assert_eq!(request.sampling, weir_protocol::SamplingFields::default());
    assert_eq!(
        (request.n, request.stream, request.parallel_tool_calls),
        (1, false, true)
    );
    assert!(request.add_generation_prompt && !request.continue_final_message);
}

#[test]
fn max_completion_tokens_wins() {
    let request = chat(json!({"max_tokens": 5, "max_completion_tokens": 9})).unwrap();
    assert_eq!(request.sampling.max_tokens, Some(9));
}

#[test]
fn unknown_fields_are_listed_and_labels_are_not() {
    let request = chat(
        json!({"zeta": 1, "alpha": null, "user": "u", "metadata": {"a": "b"}, "store": false}),
    )
    .unwrap();
    assert_eq!(request.ignored_fields, ["alpha", "zeta"]);
    assert_eq!(request.user.as_deref(), Some("u"));
}

/// Fields beside one good message, the field at fault and the error's words.
const BAD_VALUES: &[(&str, &str, &str)] = &[
    (
        r#"{"temperature": 2.5}"#,
        "temperature",
        r#"`temperature` must be a number between 0 and 2, got 2.5"#,
    ),
    (
        r#"{"temperature": "warm"}"#,
        "temperature",
        r#"`temperature` must be a number between 0 and 2, got "warm""#,
    ),
    (
        r#"{"top_p": -0.1}"#,
        "top_p",
        r#"`top_p` must be a number between 0 and 1, got -0.1"#,
    ),
    (
        r#"{"typical_p": 0}"#,
        "typical_p",
        r#"`typical_p` must be a number above 0 and at most 1, got 0"#,
    ),
    (
        r#"{"top_k": -2}"#,
        "top_k",
        r#"`top_k` must be -1 (off) or an integer of at least 0, got -2"#,
    ),
    (
        r#"{"presence_penalty": 3}"#,
        "presence_penalty",
        r#"`presence_penalty` must be a number between -2 and 2, got 3"#,
    ),
    (
        r#"{"max_tokens": 0}"#,
        "max_tokens",
        r#"`max_tokens` must be an integer of at least 1, got 0"#,
    ),
    (
        r#"{"n": 129}"#,
        "n",
        r#"`n` must be an integer between 1 and 128, got 129"#,
    ),
    (
        r#"{"n": 2, "temperature": 0}"#,
        "n",
        r#"`n` must be 1 when `temperature` is 0, got 2"#,
    ),
    (
        r#"{"min_tokens": 9, "max_tokens": 3}"#,
        "min_tokens",
        r#"`min_tokens` must be at most `max_tokens`, got 9 and 3"#,
    ),
    (
        r#"{"stop": ""}"#,
        "stop",
        r#"`stop` must not hold an empty string"#,
    ),
    (
        r#"{"stop": ["a", 1]}"#,
        "stop",
        r#"`stop` must be a string or a list of strings, got 1"#,
    ),
    (
        r#"{"stream": "yes"}"#,
        "stream",
        r#"`stream` must be true or false, got "yes""#,
    ),
    (
        r#"{"stream_options": {}}"#,
        "stream_options",
        r#"`stream_options` is only allowed when `stream` is true"#,
    ),
    (
        r#"{"logit_bias": {"x": 1}}"#,
        "logit_bias",
        r#"`logit_bias` must be an object whose keys are token ids, got "x""#,
    ),
    (
        r#"{"logit_bias": {"5": 101}}"#,
        "logit_bias.5",
        r#"`logit_bias.5` must be a number between -100 and 100, got 101"#,
    ),
    (
        r#"{"messages": []}"#,
        "messages",
        r#"`messages` must hold at least one message"#,
    ),
    (
        r#"{"messages": null}"#,
        "messages",
        r#"`messages` is required: a list of at least one message"#,
    ),
    (
        r#"{"messages": [{"role": "robot"}]}"#,
        "messages[0].role",
        r#"`messages[0].role` must be one of system, developer, user, assistant, tool, function, got "robot""#,
    ),
    (
        r#"{"messages": [{"role": "user", "content": 5}]}"#,
        "messages[0].content",
        r#"`messages[0].content` must be a string, null or a list of parts, got 5"#,
    ),
    (
        r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#,
        "messages[0].content[0]",
        r#"`messages[0].content[0]` is a part of type `image_url`, but this model takes text only"#,
    ),
    (
        r#"{"tools": [{"type": "function"}]}"#,
        "tools[0].function",
        r#"`tools[0].function` must be an object with the function's name, got null"#,
    ),
    (
        r#"{"tool_choice": "required"}"#,
        "tool_choice",
        r#"`tool_choice` "required" needs `tools`"#,
    ),
    (
        r#"{"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": {"type": "function", "function": {"name": "g"}}}"#,
        "tool_choice",
        r#"`tool_choice` names the function `g`, which is not in `tools`"#,
    ),
    (
        r#"{"add_generation_prompt": true, "continue_final_message": true}"#,
        "continue_final_message",
        r#"`continue_final_message` and `add_generation_prompt` exclude each other"#,
    ),
];

#[test]
fn bad_values_name_field_value_and_range() {
    for (more, param, message) in BAD_VALUES {
        let error = chat(parse_json(more.as_bytes()).unwrap()).expect_err(more);
        assert_eq!(
            (error.param.as_deref(), error.message.as_str()),
            (Some(*param), *message),
            "{more}"
        );
        assert_eq!(error.kind, InvalidKind::BadValue, "{more}");
    }
}

#[test]
fn known_but_not_built_is_said() {
    let cases = [
        json!({"guided_whitespace_pattern": " ?"}),
        json!({"structured_outputs": {"json": {}, "whitespace_pattern": " ?"}}),
        json!({"modalities": ["text", "audio"]}),
        json!({"audio": {}}),
        json!({"store": true}),
        json!({"media_io_kwargs": {}}),
        json!({"chat_template": "{{ messages }}"}),
        json!({"nvext": {"token_data": [1]}}),
        json!({"use_beam_search": true}),
        json!({"length_penalty": 1.2}),
        json!({"skip_special_tokens": false, "spaces_between_special_tokens": true}),
        json!({"include_stop_str_in_output": true, "stop_token_ids": [7]}),
        json!({"tools": [{"type": "custom", "custom": {"name": "x"}}]}),
    ];
    for more in cases {
        let error = chat(more.clone()).expect_err(&more.to_string());
        assert_eq!(error.kind, InvalidKind::NotImplemented, "{more}: {error}");
    }
}

#[test]
fn values_that_ask_for_nothing_pass() {
    let more = json!({
        "response_format": {"type": "text"}, "best_of": 1, "logprobs": false, "top_logprobs": 0, "modalities": ["text"],
        "echo": false, "priority": 0, "store": false, "service_tier": "auto", "enable_structured_output": true,
        "skip_special_tokens": true, "spaces_between_special_tokens": true, "use_beam_search": false, "length_penalty": 1,
        "bad_words": [], "return_token_ids": false, "nvext": {}, "function_call": "none",
    });
    assert!(chat(more).unwrap().ignored_fields.is_empty());
}

#[test]
fn content_takes_every_shape() {
    let messages = json!([
        {"role": "system", "content": [{"type": "text", "text": "a"}, "b"]},
        {"role": "developer", "content": "c"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "not json"}}]},
        {"role": "tool", "tool_call_id": "1", "content": null},
        {"role": "assistant", "tool_calls": [], "reasoning": "why"},
        {"role": "user"},
    ]);
    let read = chat(json!({"messages": messages})).unwrap().messages;
    assert_eq!(read[0]["content"], "a\nb");
    assert_eq!(read[2]["content"], Value::Null);
    assert_eq!(
        read[2]["tool_calls"][0]["function"]["arguments"],
        "not json"
    );
    assert_eq!(
        (&read[3]["content"], &read[3]["tool_call_id"]),
        (&json!(""), &json!("1"))
    );
    assert_eq!(
        read[4],
        json!({"role": "assistant", "reasoning": "why", "content": "", "reasoning_content": "why"})
    );
    assert_eq!(read[5]["content"], "");
}

#[test]
fn tools_and_their_choice() {
    let tools = json!([weather(), {"type": "function", "function": {"name": "bare"}}]);
    let request = chat(json!({"tools": tools, "tool_call_streaming": "complete"})).unwrap();
    assert_eq!(request.tool_choice, ToolChoice::Auto);
    assert_eq!(
        request.tool_call_streaming,
        Some(ToolCallStreaming::Complete)
    );
    assert_eq!(request.tools[0].raw, weather());
    assert!(request.tools[0].strict && request.tools[1].parameters == json!({}));

    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "bare"}}]}});
    let request = chat(json!({"tools": tools, "tool_choice": allowed})).unwrap();
    assert_eq!(
        request
            .tools
            .iter()
            .map(|tool| tool.name.as_str())
            .collect::<Vec<_>>(),
        ["bare"]
    );
    assert_eq!(
        chat(json!({"tools": tools, "tool_choice": "none"}))
            .unwrap()
            .tool_choice,
        ToolChoice::None
    );
}

#[test]
fn template_variables_are_gathered() {
    let request = chat(json!({"reasoning_effort": "low", "verbosity": "high", "chat_template_kwargs": {"enable_thinking": false}, "continue_final_message": true})).unwrap();
    assert_eq!(
        Value::Object(request.chat_template_kwargs),
        json!({"reasoning_effort": "low", "verbosity": "high", "enable_thinking": false})
    );
    assert!(!request.add_generation_prompt && request.continue_final_message);
}

#[test]
fn prompts_come_in_four_shapes() {
    let prompts = |prompt: Value| {
        CompletionRequest::from_json(json!({"prompt": prompt})).map(|request| request.prompts)
    };
    assert_eq!(prompts(json!("a")).unwrap(), [Prompt::Text("a".into())]);
    assert_eq!(
        prompts(json!(["a", "b"])).unwrap(),
        [Prompt::Text("a".into()), Prompt::Text("b".into())]
    );
    assert_eq!(
        prompts(json!([1, 2])).unwrap(),
        [Prompt::Tokens(vec![1, 2])]
    );
    assert_eq!(
        prompts(json!([[1], [2, 3]])).unwrap(),
        [Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2, 3])]
    );
    for wrong in [
        json!([]),
        json!([[]]),
        json!([1, "a"]),
        json!([-1]),
        json!([1.5]),
        json!({}),
        json!(null),
    ] {
        assert_eq!(
            prompts(wrong.clone()).expect_err(&wrong.to_string()).kind,
            InvalidKind::BadValue
        );
    }
    let many = CompletionRequest::from_json(json!({"prompt": vec!["a"; 65], "n": 2})).unwrap_err();
    assert_eq!(
        many.message,
        "`n` times the number of prompts must be at most 128, got 2 times 65"
    );
}

#[test]
fn embeddings_may_stand_for_a_prompt() {
    let counts = |body: Value| {
        let request = CompletionRequest::from_json(body)?;
        Ok::<_, weir_protocol::Invalid>((request.prompt_embeds.len(), request.prompts.len()))
    };
    assert_eq!(counts(json!({"prompt_embeds": "AAAA"})), Ok((1, 0)));
    assert_eq!(
        counts(json!({"prompt_embeds": ["AAAA", "?"], "prompt": ""})),
        Ok((2, 0))
    );
    assert_eq!(
        counts(json!({"prompt_embeds": "AAAA", "prompt": "a"})),
        Ok((1, 1))
    );
    assert_eq!(
        counts(json!({"prompt_embeds": null, "prompt": ""})),
        Ok((0, 1))
    );
    let wrong = [
        (json!({"prompt_embeds": []}), "prompt_embeds"),
        (json!({"prompt_embeds": ["AAAA", 1]}), "prompt_embeds[1]"),
        (
            json!({"prompt_embeds": vec!["AAAA"; 64], "prompt": "a", "n": 2}),
            "n",
        ),
        (json!({"prompt_embeds": "AAAA", "echo": true}), "echo"),
        (
            json!({"prompt_embeds": "AAAA", "prompt_logprobs": 0}),
            "prompt_logprobs",
        ),
        (
            json!({"prompt_embeds": "AAAA", "truncate_prompt_tokens": 4}),
            "truncate_prompt_tokens",
        ),
    ];
    for (body, param) in wrong {
        let invalid = counts(body.clone()).unwrap_err();
        assert_eq!(invalid.param.as_deref(), Some(param), "{body}");
        assert_eq!(invalid.kind, InvalidKind::BadValue);
    }
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    for body in [json!([]), json!("x"), json!(null), json!(3)] {
        assert_eq!(
            ChatRequest::from_json(body.clone()).unwrap_err().param,
            None
        );
        assert!(CompletionRequest::from_json(body).is_err());
    }
    assert!(parse_json("[".repeat(100_000).as_bytes()).is_err());
}

/// Any JSON, with the names the reader looks for as likely keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(vec![
            "user",
            "assistant",
            "tool",
            "text",
            "function",
            "auto",
            "required",
            "0.5",
            "True"
        ])
        .prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "messages",
        "role",
        "content",
        "tool_calls",
        "function",
        "name",
        "type",
        "text",
        "tools",
        "tool_choice",
        "allowed_tools",
        "mode",
        "parameters",
        "stop",
        "logit_bias",
        "5",
        "stream",
        "stream_options",
        "include_usage",
        "n",
        "temperature",
        "max_tokens",
        "prompt",
        "chat_template_kwargs",
        "response_format",
        "seed",
        "logprobs",
        "best_of",
        "echo",
        "nvext",
        "functions",
        "function_call",
        "top_k",
        "user",
        "unknown",
    ]);
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..8).prop_map(|pairs| Value::Object(
                pairs
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_json_never_panics(body in any_json()) {
        let _ = ChatRequest::from_json(body.clone());
        let _ = CompletionRequest::from_json(body.clone());
        let _ = chat(body);
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse_json(&body);
    }
}
