//! Requests for a response as clients send them: what is read, and what the model is told of it.

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_protocol::{
    Invalid, ResponsesRequest, ToolCallStreaming, ToolChoice,
    responses::{ContentPart, Item, ItemStatus, OutputItem, conversation},
};

/// A request with `more` fields beside a short input.
fn request(more: Value) -> Result<ResponsesRequest, Invalid> {
    let mut body = json!({"model": "m", "input": "hi"});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    ResponsesRequest::from_json(body)
}

/// The messages of a request's own input.
fn messages(more: Value) -> Result<Vec<Value>, Invalid> {
    let request = request(more)?;
    let instructions = request.settings.instructions.as_deref();
    Ok(conversation(instructions, &request.input))
}

/// Fields, and the messages they become.
fn conversations() -> Vec<(Value, Value)> {
    vec![
        (json!({}), json!([{"role": "user", "content": "hi"}])),
        (
            json!({"instructions": "Be brief."}),
            json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]),
        ),
        // As Codex begins: instructions, a developer message, the user's.
        (
            json!({"instructions": "Be brief.", "input": [
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "No network."}]},
                {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
                {"role": "developer", "content": "Go on."},
            ]}),
            json!([
                {"role": "system", "content": "Be brief.\n\nNo network."},
                {"role": "user", "content": "a\nb"},
                {"role": "developer", "content": "Go on."},
            ]),
        ),
        (
            json!({"input": [
                {"role": "user", "content": "weather?"},
                {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "A tool."}], "encrypted_content": null},
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Looking.", "annotations": []}]},
                {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"a\": 1}", "status": "completed"},
                {"type": "function_call", "call_id": "call_2", "name": "g", "namespace": "crm", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
                {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "none"}]},
            ]}),
            json!([
                {"role": "user", "content": "weather?"},
                {"role": "assistant", "content": "Looking.", "reasoning_content": "A tool.", "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "crm__g", "arguments": "{}"}},
                ]},
                {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
                {"role": "tool", "tool_call_id": "call_2", "content": "none"},
            ]),
        ),
        // A client that keeps reasoning to itself sends its summary; a custom call has its text as an argument.
        (
            json!({"input": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "A patch."}], "encrypted_content": "?"},
                {"type": "custom_tool_call", "call_id": "call_1", "name": "patch", "input": "a \"b\""},
                {"type": "custom_tool_call_output", "call_id": "call_1", "output": "done"},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "No more."}]},
            ]}),
            json!([
                {"role": "assistant", "content": null, "reasoning_content": "A patch.", "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "patch", "arguments": "{\"input\":\"a \\\"b\\\"\"}"}},
                ]},
                {"role": "tool", "tool_call_id": "call_1", "content": "done"},
                {"role": "assistant", "content": "No more."},
            ]),
        ),
    ]
}

#[test]
fn items_become_messages() {
    for (more, expected) in conversations() {
        assert_eq!(
            Value::from(messages(more.clone()).unwrap()),
            expected,
            "{more}"
        );
    }
}

#[test]
fn listed_items_are_complete() {
    let request = request(json!({"input": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "lo", "type": null},
        {"type": "reasoning", "summary": [], "content": null},
        {"type": "function_call_output", "call_id": "c", "output": "o"},
    ]}))
    .unwrap();
    let listed = |mut item: Item| {
        item.give_id(|prefix| format!("{prefix}_new"));
        Value::Object(item.json().clone())
    };
    let items: Vec<Value> = request.input.into_iter().map(listed).collect();
    let expected = json!([
        {"type": "message", "id": "msg_new", "role": "user", "status": "completed", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "message", "id": "msg_new", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "lo", "annotations": []}]},
        {"type": "reasoning", "id": "rs_new", "summary": []},
        {"type": "function_call_output", "id": "fco_new", "call_id": "c", "output": "o", "status": "completed"},
    ]);
    assert_eq!(Value::from(items), expected);
}

#[test]
fn what_an_answer_leaves_behind_reads_like_what_a_client_sends_back() {
    let output = [
        OutputItem::Reasoning {
            id: "rs_1".into(),
            summary: Vec::new(),
            content: vec![ContentPart::ReasoningText { text: "r".into() }],
            encrypted_content: None,
            status: ItemStatus::Completed,
        },
        OutputItem::Message {
            id: "msg_1".into(),
            status: ItemStatus::Completed,
            role: "assistant",
            content: vec![ContentPart::output("t".into())],
        },
        OutputItem::FunctionCall {
            id: "fc_1".into(),
            call_id: "call_1".into(),
            name: "f".into(),
            namespace: Some("n__".into()),
            arguments: "{".into(),
            status: ItemStatus::Incomplete,
        },
        OutputItem::CustomToolCall {
            id: "ctc_1".into(),
            call_id: "call_2".into(),
            name: "c".into(),
            namespace: None,
            input: "text".into(),
            status: ItemStatus::Completed,
        },
    ];
    let kept: Vec<Item> = output.iter().map(Item::of_output).collect();
    let sent = serde_json::to_value(&output).unwrap();
    let request = request(json!({"input": sent})).unwrap();
    assert_eq!(
        conversation(None, &kept),
        conversation(None, &request.input)
    );
    assert_eq!(
        conversation(None, &kept)[0]["tool_calls"][0]["function"]["name"],
        "n__f"
    );
    let ids: Vec<_> = kept.iter().map(|item| item.id().unwrap()).collect();
    assert_eq!(ids, ["rs_1", "msg_1", "fc_1", "ctc_1"]);
}

fn tools() -> Value {
    json!([
        {"type": "function", "name": "f", "description": "Does f.", "parameters": {"type": "object"}, "strict": true},
        {"type": "web_search", "external_web_access": false},
        {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object"}},
            {"type": "custom", "name": "query"},
        ]},
        {"type": "custom", "name": "patch", "description": "Edits.", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
    ])
}

#[test]
fn tools_have_a_name_for_each_side() {
    let request = request(json!({"tools": tools(), "tool_choice": "auto"})).unwrap();
    let offered: Vec<&str> = request
        .chat
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    assert_eq!(offered, ["f", "crm__f", "crm__query", "patch"]);
    assert_eq!(
        request.chat.tools[0].raw,
        json!({"type": "function", "function": {"name": "f", "description": "Does f.", "parameters": {"type": "object"}}})
    );
    let patch = &request.chat.tools[3];
    assert_eq!(patch.parameters["required"], json!(["input"]));
    let description = patch.description.as_deref().unwrap();
    assert!(
        description.starts_with("Edits.") && description.ends_with("start: x"),
        "{description}"
    );
    let query = request.names.of_model("crm__query").unwrap();
    assert_eq!(
        (
            query.name.as_str(),
            query.namespace.as_deref(),
            query.custom
        ),
        ("query", Some("crm"), true)
    );
    assert!(request.names.of_model("g").is_none());
    assert_eq!(request.settings.tools.len(), 4);
    assert_eq!(request.ignored_fields, ["tools[1].web_search"]);
}

#[test]
fn allowed_tools_are_named_as_the_client_knows_them() {
    let allowed = |tools: Value| json!({"type": "allowed_tools", "mode": "auto", "tools": tools});
    let narrowed = |choice: Value| {
        let request = request(json!({"tools": tools(), "tool_choice": choice})).unwrap();
        let names = request.chat.tools.iter().map(|tool| tool.name.clone());
        (names.collect::<Vec<_>>(), request.chat.tool_choice)
    };
    let choice = allowed(
        json!([{"type": "custom", "name": "patch"}, {"type": "web_search"}, {"type": "function", "name": "f", "namespace": "crm"}]),
    );
    assert_eq!(
        narrowed(choice),
        (
            vec!["crm__f".to_owned(), "patch".to_owned()],
            ToolChoice::Auto
        )
    );
    assert_eq!(
        narrowed(allowed(json!([{"type": "web_search"}]))),
        (Vec::new(), ToolChoice::None)
    );
    assert_eq!(narrowed(json!("none")).1, ToolChoice::None);
}

#[test]
fn settings_are_repeated_and_reach_the_generation() {
    let request = request(json!({
        "max_output_tokens": 7, "max_tokens": 9, "temperature": "0.5", "top_p": 0.25, "metadata": {"a": "b"}, "store": false,
        "user": "u", "prompt_cache_key": "k", "safety_identifier": "s", "service_tier": "auto", "truncation": "disabled",
        "reasoning": {"effort": "low", "summary": "auto", "context": "auto", "odd": 1}, "text": {"format": {"type": "text"}, "verbosity": "low"},
        "include": ["reasoning.encrypted_content"], "background": false, "top_logprobs": 0, "stream": true, "stream_options": {"include_obfuscation": false},
        "tool_call_streaming": "complete", "chat_template_kwargs": {"enable_thinking": false}, "parallel_tool_calls": false, "zeta": 1,
    }))
    .unwrap();
    let settings = serde_json::to_value(&request.settings).unwrap();
    assert_eq!(
        settings,
        json!({
            "instructions": null, "max_output_tokens": 7, "max_tool_calls": null, "metadata": {"a": "b"}, "parallel_tool_calls": false,
            "previous_response_id": null, "prompt_cache_key": "k", "prompt_cache_retention": null, "reasoning": {"effort": "low", "summary": "auto"},
            "safety_identifier": "s", "service_tier": "default", "store": false, "temperature": 0.5, "text": {"format": {"type": "text"}, "verbosity": "low"},
            "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 0.25, "truncation": "disabled", "user": "u",
        })
    );
    let chat = &request.chat;
    assert_eq!(chat.sampling.max_tokens, Some(7));
    assert_eq!(
        Value::Object(chat.chat_template_kwargs.clone()),
        json!({"enable_thinking": false, "reasoning_effort": "low", "verbosity": "low"})
    );
    assert_eq!(
        (chat.n, chat.stream, chat.parallel_tool_calls),
        (1, true, false)
    );
    assert_eq!(chat.tool_call_streaming, Some(ToolCallStreaming::Complete));
    assert_eq!(request.ignored_fields, ["reasoning.odd", "zeta"]);
}

/// JSON that looks like requests: known keys with any values.
fn junk() -> impl Strategy<Value = Value> {
    let keys = prop_oneof![
        Just("input"),
        Just("type"),
        Just("role"),
        Just("content"),
        Just("tools"),
        Just("name"),
        Just("tool_choice"),
        Just("summary"),
        Just("text"),
        Just("reasoning"),
        Just("format"),
        Just("metadata"),
        Just("arguments"),
        Just("call_id"),
        Just("output"),
        Just("id"),
        Just("namespace"),
        Just("include"),
        Just("mode"),
    ];
    let words = prop_oneof![
        Just("message"),
        Just("user"),
        Just("function"),
        Just("function_call"),
        Just("custom"),
        Just("namespace"),
        Just("reasoning"),
        Just("grammar"),
        Just("allowed_tools"),
        Just("auto"),
        Just("web_search"),
        Just("é"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..8).prop_map(|pairs| {
                Value::Object(
                    pairs
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(body in junk()) {
        if let Ok(request) = ResponsesRequest::from_json(body) {
            conversation(None, &request.input);
        }
    }
}
