//! The fields beside messages and sampling: how they are read, in both spellings of numbers and booleans, and the words of
//! every mistake.

use serde_json::{Value, json};
use weir_protocol::{
    Annotations, ChatRequest, CompletionRequest, Invalid, InvalidKind, Selector, ToolChoice,
    parse_json,
};

fn with(body: Value, more: Value) -> Value {
    let (Value::Object(mut body), Value::Object(more)) = (body, more) else {
        panic!("two objects")
    };
    body.extend(more);
    Value::Object(body)
}

fn chat(more: Value) -> Result<ChatRequest, Invalid> {
    let body = json!({"messages": [{"role": "user", "content": "hi"}]});
    ChatRequest::from_json(with(body, more))
}

fn completion(more: Value) -> Result<CompletionRequest, Invalid> {
    CompletionRequest::from_json(with(json!({"prompt": "hi"}), more))
}

#[test]
fn logprobs_have_a_shape_for_each_api() {
    let told = |more| chat(more).unwrap().sampling.logprobs;
    assert_eq!(told(json!({})), None);
    assert_eq!(told(json!({"logprobs": false, "top_logprobs": 0})), None);
    assert_eq!(told(json!({"logprobs": true})), Some(0));
    assert_eq!(
        told(json!({"logprobs": "True", "top_logprobs": "20"})),
        Some(20)
    );

    let told = |more| {
        let sampling = completion(more).unwrap().sampling;
        (sampling.logprobs, sampling.prompt_logprobs)
    };
    assert_eq!(told(json!({"logprobs": null, "echo": true})), (None, None));
    assert_eq!(told(json!({"logprobs": 0})), (Some(0), None));
    assert_eq!(
        told(json!({"logprobs": "5", "echo": "true"})),
        (Some(5), Some(5))
    );
    assert_eq!(
        told(json!({"logprobs": 5, "prompt_logprobs": "2"})),
        (Some(5), Some(2))
    );
    let both = completion(json!({"logprobs": 5, "echo": true, "prompt_logprobs": 2})).unwrap();
    assert_eq!(both.sampling.prompt_logprobs, Some(5));
    assert_eq!(both.options.prompt_logprobs, Some(2));
    let alone = chat(json!({"prompt_logprobs": 0, "return_tokens_as_token_ids": "True"})).unwrap();
    assert_eq!(alone.sampling.prompt_logprobs, Some(0));
    assert!(alone.options.tokens_as_ids);
    let streamed = chat(json!({"prompt_logprobs": 0, "stream": true})).unwrap_err();
    assert_eq!(streamed.param.as_deref(), Some("prompt_logprobs"));
}

#[test]
fn nothing_is_generated_only_with_echo() {
    let max_tokens = |more| completion(more).map(|request| request.sampling.max_tokens);
    assert_eq!(
        max_tokens(json!({"max_tokens": 0, "echo": true})),
        Ok(Some(0))
    );
    assert_eq!(
        max_tokens(json!({"max_tokens": "0", "echo": "True"})),
        Ok(Some(0))
    );
    assert_eq!(
        max_tokens(json!({"max_tokens": 3, "echo": true})),
        Ok(Some(3))
    );
    for more in [
        json!({"max_tokens": 0}),
        json!({"max_tokens": 0, "echo": false}),
        json!({"max_completion_tokens": 0, "echo": true}),
    ] {
        assert!(max_tokens(more.clone()).is_err(), "{more}");
    }
    let error = max_tokens(json!({"max_tokens": 0, "min_tokens": 1, "echo": true}));
    assert_eq!(error.unwrap_err().param.as_deref(), Some("min_tokens"));
}

#[test]
fn options_are_read_in_both_spellings() {
    let more = json!({
        "best_of": "4", "n": "2", "priority": "-3", "min_tokens": "2", "max_tokens": "9", "ignore_eos": "True",
        "stop_token_ids": [7, "8"], "logit_bias": {"5": "-100", "6": 1.5}, "truncate_prompt_tokens": "16",
        "add_special_tokens": "false", "skip_special_tokens": "False", "include_stop_str_in_output": true,
        "echo": "True", "stop": "x",
    });
    // A stop token cannot be shown yet.
    assert!(chat(more.clone()).is_err());
    let request = chat(with(more, json!({"stop_token_ids": null}))).unwrap();
    let (sampling, options) = (&request.sampling, &request.options);
    assert_eq!((request.n, options.best_of, request.made()), (2, 4, 4));
    assert_eq!(
        (sampling.priority, sampling.min_tokens, sampling.ignore_eos),
        (-3, 2, true)
    );
    let mut bias = sampling.logit_bias.clone();
    bias.sort_by_key(|(id, _)| *id);
    assert_eq!(bias, [(5, -100.0), (6, 1.5)]);
    assert_eq!(options.truncate_prompt_tokens, Some(16));
    assert_eq!(options.add_special_tokens, Some(false));
    assert!(sampling.show_special_tokens && sampling.include_stop_string && options.echo);
    assert!(request.ignored_fields.is_empty());
    let stop_tokens = chat(json!({"stop_token_ids": [7, "8"]})).unwrap().sampling;
    assert_eq!(stop_tokens.stop_token_ids, [7, 8]);
    let more = json!({"allowed_token_ids": ["3", 4], "bad_words": ["x", " y"], "return_token_ids": "True"});
    let sampling = chat(more).unwrap().sampling;
    assert_eq!(sampling.allowed_token_ids, Some(vec![3, 4]));
    assert_eq!(sampling.bad_words, ["x", " y"]);
    assert!(sampling.return_token_ids);
    let nothing = json!({"allowed_token_ids": null, "bad_words": null, "return_token_ids": null});
    let sampling = chat(nothing).unwrap().sampling;
    assert_eq!(
        (sampling.allowed_token_ids, sampling.bad_words.len()),
        (None, 0)
    );
    let all = chat(json!({"truncate_prompt_tokens": -1})).unwrap().options;
    assert_eq!(all.truncate_prompt_tokens, Some(0));
    let usage = json!({"stream": "true", "stream_options": {"include_usage": "True", "continuous_usage_stats": true}});
    let request = chat(usage).unwrap();
    assert!(request.include_usage && request.options.continuous_usage);
    assert_eq!(chat(json!({"n": 3})).unwrap().made(), 3);
    for (word, selector) in [
        ("majority", Selector::Majority),
        ("mean_logprob", Selector::MeanLogprob),
        ("mpr", Selector::Plugin("mpr".to_owned())),
    ] {
        let request = chat(json!({"best_of": 3, "selector": word})).unwrap();
        assert_eq!(request.options.selector, selector);
    }
    let long = completion(json!({"best_of": 3, "selector": "mpr ".repeat(1000)})).unwrap_err();
    assert!(long.message.contains("of a chat), got \"mpr mpr"), "{long}");
    assert!(long.message.len() < 250, "{long}");
}

#[test]
fn nvext_says_what_dynamos_clients_mean() {
    let request = chat(json!({"nvext": {
        "annotations": ["formatted_prompt", "token_ids", "remote_prefill"], "extra_fields": ["timing", "worker_id"],
        "greed_sampling": true, "use_raw_prompt": "true", "ignore_eos": true, "agent_hints": {"osl": 9},
    }}))
    .unwrap();
    assert!(request.sampling.is_greedy() && request.sampling.ignore_eos);
    assert!(request.options.use_raw_prompt);
    let expected = Annotations {
        formatted_prompt: true,
        token_ids: true,
        timing: true,
        llm_metrics: false,
    };
    assert_eq!(request.options.annotations, expected);
    assert_eq!(
        request.ignored_fields,
        [
            "nvext.agent_hints",
            "nvext.annotations.remote_prefill",
            "nvext.extra_fields.worker_id"
        ]
    );
    assert!(
        !chat(json!({"nvext": {}}))
            .unwrap()
            .options
            .annotations
            .any()
    );
}

#[test]
fn older_functions_become_tools() {
    let functions =
        json!([{"name": "f", "parameters": {"type": "object"}}, {"name": "g", "description": "d"}]);
    let request = chat(json!({"functions": functions, "function_call": "auto"})).unwrap();
    assert!(request.options.functions && !request.parallel_tool_calls);
    assert_eq!(request.tool_choice, ToolChoice::Auto);
    let wrapped = json!({"type": "function", "function": {"name": "g", "description": "d"}});
    assert_eq!((request.tools.len(), &request.tools[1].raw), (2, &wrapped));
    let none = chat(json!({"functions": functions, "function_call": "none"})).unwrap();
    assert_eq!(none.tool_choice, ToolChoice::None);

    let messages = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "7"},
        {"role": "assistant", "content": "seven", "function_call": null},
    ]);
    let read = chat(json!({"messages": messages})).unwrap().messages;
    let call = json!({"role": "assistant", "content": null, "tool_calls":
        [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let result = json!({"role": "tool", "name": "f", "content": "7", "tool_call_id": "call_1"});
    assert_eq!((&read[1], &read[2]), (&call, &result));
    assert_eq!(read[3], json!({"role": "assistant", "content": "seven"}));
}

/// Fields of a chat request, the field at fault and the error's words.
const BAD_CHATS: &[(&str, &str, &str)] = &[
    (
        r#"{"logprobs": 5}"#,
        "logprobs",
        "`logprobs` must be true or false, got 5",
    ),
    (
        r#"{"logprobs": true, "top_logprobs": 21}"#,
        "top_logprobs",
        "`top_logprobs` must be an integer between 0 and 20, got 21",
    ),
    (
        r#"{"top_logprobs": 3}"#,
        "top_logprobs",
        "`top_logprobs` needs `logprobs` true, got 3 without it",
    ),
    (
        r#"{"n": 3, "best_of": 2}"#,
        "best_of",
        "`best_of` must be at least `n`, got 2 and 3",
    ),
    (
        r#"{"best_of": 2, "stream": true}"#,
        "best_of",
        "`best_of` must be `n` when `stream` is true, got 2 and 1: which answer is best is known at the end",
    ),
    (
        r#"{"best_of": 2, "temperature": 0}"#,
        "best_of",
        "`best_of` must be 1 when `temperature` is 0, got 2",
    ),
    (
        r#"{"selector": "majority"}"#,
        "selector",
        "`selector` chooses among the answers of `best_of`, which is not given",
    ),
    (
        r#"{"selector": "", "best_of": 2}"#,
        "selector",
        r#"`selector` must be "mean_logprob", "majority" or the name of a plugin that chooses, got """#,
    ),
    (
        r#"{"best_of": 129}"#,
        "best_of",
        "`best_of` must be an integer between 1 and 128, got 129",
    ),
    (
        r#"{"priority": "high"}"#,
        "priority",
        r#"`priority` must be an integer, got "high""#,
    ),
    (
        r#"{"min_tokens": -1}"#,
        "min_tokens",
        "`min_tokens` must be an integer of at least 0, got -1",
    ),
    (
        r#"{"ignore_eos": 1}"#,
        "ignore_eos",
        "`ignore_eos` must be true or false, got 1",
    ),
    (
        r#"{"stop_token_ids": [-1]}"#,
        "stop_token_ids",
        "`stop_token_ids` must be a list of token ids, got -1",
    ),
    (
        r#"{"allowed_token_ids": []}"#,
        "allowed_token_ids",
        "`allowed_token_ids` must be a list of at least one token id, got []",
    ),
    (
        r#"{"bad_words": ["a", " "]}"#,
        "bad_words",
        "`bad_words` must be a list of at most 128 strings of 1 to 256 characters, got \" \"",
    ),
    (
        r#"{"logit_bias": [1]}"#,
        "logit_bias",
        "`logit_bias` must be an object from token id to bias, got [1]",
    ),
    (
        r#"{"truncate_prompt_tokens": 0}"#,
        "truncate_prompt_tokens",
        "`truncate_prompt_tokens` must be -1 (what the model takes) or an integer of at least 1, got 0",
    ),
    (
        r#"{"verbosity": 3}"#,
        "verbosity",
        "`verbosity` must be a string, got 3",
    ),
    (
        r#"{"stream": true, "stream_options": {"continuous_usage_stats": 1}}"#,
        "stream_options.continuous_usage_stats",
        "`stream_options.continuous_usage_stats` must be true or false, got 1",
    ),
    (
        r#"{"nvext": {"annotations": "token_ids"}}"#,
        "nvext.annotations",
        r#"`nvext.annotations` must be a list of names, got "token_ids""#,
    ),
    (
        r#"{"nvext": 3}"#,
        "nvext",
        "`nvext` must be an object, got 3",
    ),
    (
        r#"{"functions": [{"name": "f"}], "tools": []}"#,
        "functions",
        "`functions` is the older form of `tools`: only one of them can be given",
    ),
    (
        r#"{"functions": [{"name": ""}]}"#,
        "functions[0].name",
        r#"`functions[0].name` must be a string that is not empty, got """#,
    ),
    (
        r#"{"functions": [{"name": "f"}], "function_call": {"name": "g"}}"#,
        "function_call",
        "`function_call` names the function `g`, which is not in `functions`",
    ),
    (
        r#"{"function_call": "auto"}"#,
        "function_call",
        "`function_call` is only allowed beside `functions`",
    ),
    (
        r#"{"messages": [{"role": "assistant", "function_call": {}}]}"#,
        "messages[0].function_call",
        "`messages[0].function_call` must be an object with `name`, got {}",
    ),
];

/// The same of a completion request.
const BAD_COMPLETIONS: &[(&str, &str, &str)] = &[
    (
        r#"{"logprobs": 21}"#,
        "logprobs",
        "`logprobs` must be an integer between 0 and 20, got 21",
    ),
    (
        r#"{"logprobs": true}"#,
        "logprobs",
        "`logprobs` must be an integer between 0 and 20, got true",
    ),
    (
        r#"{"prompt": ["a", "b", "c"], "best_of": 50}"#,
        "best_of",
        "`best_of` times the number of prompts must be at most 128, got 50 times 3",
    ),
    (
        r#"{"max_tokens": 0}"#,
        "max_tokens",
        "`max_tokens` must be an integer of at least 1, got 0",
    ),
    (
        r#"{"echo": 2}"#,
        "echo",
        "`echo` must be true or false, got 2",
    ),
];

#[test]
fn mistakes_name_field_value_and_what_would_be_right() {
    let cases = BAD_CHATS.iter().map(|case| (case, true));
    for ((more, param, message), is_chat) in
        cases.chain(BAD_COMPLETIONS.iter().map(|case| (case, false)))
    {
        let more_json = parse_json(more.as_bytes()).unwrap();
        let error = match is_chat {
            true => chat(more_json).err(),
            false => completion(more_json).err(),
        };
        let error = error.unwrap_or_else(|| panic!("{more} passes"));
        let expected = (Some(*param), *message, InvalidKind::BadValue);
        assert_eq!(
            (error.param.as_deref(), error.message.as_str(), error.kind),
            expected,
            "{more}"
        );
    }
    let suffix = completion(json!({"suffix": "x"})).unwrap_err();
    assert_eq!(suffix.kind, InvalidKind::NotImplemented);
}
