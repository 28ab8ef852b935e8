//! Requests of Anthropic's API as clients send them: which chat request they become, and with which words they are refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_protocol::{
    ChatRequest, Invalid, InvalidKind, MessagesRequest, ToolCallStreaming, ToolChoice, anthropic,
};

/// A messages request with `more` fields beside one message.
fn read(more: Value) -> Result<MessagesRequest, Invalid> {
    let mut body =
        json!({"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    MessagesRequest::from_json(body)
}

fn chat(more: Value) -> ChatRequest {
    read(more).unwrap().chat
}

fn cases(lines: &str) -> impl Iterator<Item = Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn conversations_are_those_of_chat() {
    for case in cases(include_str!("anthropic/translated.jsonl")) {
        let chat = chat(case["request"].clone());
        assert_eq!(json!(chat.messages), case["messages"], "{}", case["name"]);
        assert!(
            chat.add_generation_prompt && !chat.continue_final_message,
            "{}",
            case["name"]
        );
    }
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    for case in cases(include_str!("anthropic/refused.jsonl")) {
        let error = read(case["request"].clone()).expect_err(&case.to_string());
        assert_eq!(
            (error.param.as_deref(), error.message.as_str()),
            (case["param"].as_str(), case["message"].as_str().unwrap()),
        );
        let not_built = error.kind == InvalidKind::NotImplemented;
        assert_eq!(not_built, case["not_built"] == true, "{case}");
    }
}

#[test]
fn fields_mean_what_they_mean_in_chat() {
    let request = read(json!({"temperature": 0.5, "top_p": 0.9, "top_k": 40, "stream": true, "stop_sequences": ["END"],
        "metadata": {"user_id": "u"}, "service_tier": "auto", "context_management": {"edits": []}, "zeta": 1, "n": 3}))
    .unwrap();
    let chat = request.chat;
    assert_eq!(
        (chat.sampling.temperature, chat.sampling.top_k, chat.n),
        (Some(0.5), Some(40), 1)
    );
    assert_eq!(
        (chat.sampling.max_tokens, request.max_tokens, chat.stream),
        (Some(50), 50, true)
    );
    assert_eq!(chat.sampling.stop, ["END"]);
    assert_eq!(chat.user.as_deref(), Some("u"));
    assert_eq!(chat.ignored_fields, ["n", "zeta"]);
}

#[test]
fn an_answer_that_was_begun_goes_on() {
    let messages = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "The best answer is ("}]);
    let chat = chat(json!({"messages": messages}));
    assert!(chat.continue_final_message && !chat.add_generation_prompt);
}

#[test]
fn thinking_and_effort_reach_the_chat_template() {
    for (more, expected) in [
        (json!({}), json!({})),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
            json!({"enable_thinking": true, "thinking": true}),
        ),
        (
            json!({"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}}),
            json!({"enable_thinking": true, "thinking": true, "reasoning_effort": "high"}),
        ),
        (
            json!({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}),
            json!({"enable_thinking": false, "thinking": false, "reasoning_effort": "low"}),
        ),
        (
            json!({"thinking": {"type": "disabled"}, "chat_template_kwargs": {"enable_thinking": true}}),
            json!({"enable_thinking": true, "thinking": false}),
        ),
    ] {
        assert_eq!(Value::Object(chat(more).chat_template_kwargs), expected);
    }
}

#[test]
fn tools_of_the_callers_own_are_offered_and_anthropics_are_left_out() {
    let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}});
    let tools = json!([
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        {"name": "Read", "description": "reads", "input_schema": schema, "cache_control": {"type": "ephemeral"}},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "custom", "name": "Write", "input_schema": {}, "strict": true},
    ]);
    let request = chat(
        json!({"tools": tools, "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}}),
    );
    let raw: Vec<&Value> = request.tools.iter().map(|tool| &tool.raw).collect();
    assert_eq!(
        json!(raw),
        json!([
            {"type": "function", "function": {"name": "Read", "description": "reads", "parameters": schema}},
            {"type": "function", "function": {"name": "Write", "parameters": {}, "strict": true}},
        ])
    );
    assert!(request.tools[1].strict && !request.parallel_tool_calls);
    assert_eq!(request.ignored_fields, ["tools[0]", "tools[2]"]);
    assert_eq!(
        request.tool_call_streaming,
        Some(ToolCallStreaming::Complete)
    );
    assert_eq!(request.tool_choice, ToolChoice::Auto);
}

#[test]
fn input_is_streamed_as_it_is_written_only_where_a_tool_asks_for_it() {
    let tools = json!([{"name": "Write", "input_schema": {}, "eager_input_streaming": true}]);
    for (stream, streaming) in [
        (true, ToolCallStreaming::Incremental),
        // A plain answer holds the input as an object.
        (false, ToolCallStreaming::Complete),
    ] {
        let more = json!({"tools": tools, "tool_choice": {"type": "none"}, "stream": stream});
        let request = chat(more);
        assert_eq!(
            (request.tool_call_streaming, request.tool_choice),
            (Some(streaming), ToolChoice::None)
        );
    }
}

#[test]
fn counting_needs_no_max_tokens() {
    let body =
        json!({"model": "m", "system": "S", "messages": [{"role": "user", "content": "hi"}]});
    let chat = anthropic::count_tokens(body).unwrap();
    assert_eq!((chat.messages.len(), chat.sampling.max_tokens), (2, None));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(text|tool_use|tool_result|thinking|image|document|user|assistant|system|)"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let key = "(type|role|content|text|id|name|input|tool_use_id|source|messages|system|tools|tool_choice|thinking|stop_sequences|input_schema)";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(body in any_json(), messages in any_json(), tools in any_json()) {
        drop(anthropic::count_tokens(body));
        drop(read(json!({"messages": [{"role": "assistant", "content": messages}], "tools": [tools]})));
    }
}
