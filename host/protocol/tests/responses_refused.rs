//! Requests for a response that are refused, and with which words.

use serde_json::{Value, json};
use weir_protocol::{Invalid, InvalidKind, ResponsesRequest, ToolChoice};

/// A request with `more` fields beside a short input.
fn request(more: Value) -> Result<ResponsesRequest, Invalid> {
    let mut body = json!({"model": "m", "input": "hi"});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    ResponsesRequest::from_json(body)
}

/// Fields beside a good input, the field at fault and the error's words.
const BAD_VALUES: &[(&str, &str, &str)] = &[
    (
        r#"{"input": null}"#,
        "input",
        "`input` is required: a string or a list of input items",
    ),
    (
        r#"{"input": []}"#,
        "input",
        "`input` must hold at least one item",
    ),
    (
        r#"{"input": 3}"#,
        "input",
        "`input` must be a string or a list of input items, got 3",
    ),
    (
        r#"{"input": ["hi"]}"#,
        "input[0]",
        "`input[0]` must be an input item, got \"hi\"",
    ),
    (
        r#"{"input": [{}]}"#,
        "input[0].type",
        "`input[0].type` must be a string, got null",
    ),
    (
        r#"{"input": [{"type": "thought"}]}"#,
        "input[0].type",
        "`input[0].type` must be one of message, reasoning, function_call, function_call_output, custom_tool_call, custom_tool_call_output, item_reference, got \"thought\"",
    ),
    (
        r#"{"input": [{"role": "tool", "content": "x"}]}"#,
        "input[0].role",
        "`input[0].role` must be one of system, developer, user, assistant, got \"tool\"",
    ),
    (
        r#"{"input": [{"role": "user"}]}"#,
        "input[0].content",
        "`input[0].content` must be a string or a list of parts, got null",
    ),
    (
        r#"{"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}"#,
        "input[0].content[0]",
        "`input[0].content[0]` is a part of type `input_image`, but this model takes text only",
    ),
    (
        r#"{"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}"#,
        "input[0].content[0]",
        "`input[0].content[0]` is a part of type `input_file`, but this model takes text only",
    ),
    (
        r#"{"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}"#,
        "input[0].arguments",
        "`input[0].arguments` must be a string, got {}",
    ),
    (
        r#"{"input": [{"type": "function_call_output", "output": "x"}]}"#,
        "input[0].call_id",
        "`input[0].call_id` must be a string, got null",
    ),
    (
        r#"{"input": [{"type": "reasoning", "content": "x"}]}"#,
        "input[0].content",
        "`input[0].content` must be a list of parts, got \"x\"",
    ),
    (
        r#"{"max_output_tokens": 0}"#,
        "max_output_tokens",
        "`max_output_tokens` must be an integer of at least 1, got 0",
    ),
    (
        r#"{"temperature": 3}"#,
        "temperature",
        "`temperature` must be a number between 0 and 2, got 3",
    ),
    (
        r#"{"stream_options": {"include_obfuscation": false}}"#,
        "stream_options",
        "`stream_options` is only allowed when `stream` is true",
    ),
    (
        r#"{"reasoning": {"summary": "long"}}"#,
        "reasoning.summary",
        "`reasoning.summary` must be \"auto\" or \"concise\" or \"detailed\", got \"long\"",
    ),
    (
        r#"{"text": {"verbosity": 3}}"#,
        "text.verbosity",
        "`text.verbosity` must be \"low\" or \"medium\" or \"high\", got 3",
    ),
    (
        r#"{"metadata": {"a": 1}}"#,
        "metadata.a",
        "`metadata.a` must be a string of up to 512 characters under a key of up to 64, got 1",
    ),
    (
        r#"{"include": ["everything"]}"#,
        "include",
        "`include` must be a list of file_search_call.results, web_search_call.results, web_search_call.action.sources, message.input_image.image_url, computer_call_output.output.image_url, code_interpreter_call.outputs, reasoning.encrypted_content, got \"everything\"",
    ),
    (
        r#"{"tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        "tools[0].name",
        "`tools[0].name` must be a string that is not empty, got null",
    ),
    (
        r#"{"tools": [{"type": "telepathy"}]}"#,
        "tools[0].type",
        "`tools[0].type` must be \"function\", \"custom\", \"namespace\" or a hosted tool, got \"telepathy\"",
    ),
    (
        r#"{"tools": [{"type": "namespace", "name": "a", "tools": [{"type": "namespace", "name": "b", "tools": []}]}]}"#,
        "tools[0].tools[0].type",
        "`tools[0].tools[0].type` must be \"function\", \"custom\", \"namespace\" or a hosted tool, got \"namespace\"",
    ),
    (
        r#"{"tools": [{"type": "function", "name": "a__b"}, {"type": "namespace", "name": "a", "tools": [{"type": "function", "name": "b"}]}]}"#,
        "tools[1].tools[0].name",
        "`tools[1].tools[0].name`: the model would know two different tools as `a__b`; rename one",
    ),
    (
        r#"{"tool_choice": {"type": "function", "name": "f"}}"#,
        "tool_choice",
        "`tool_choice` names the function `f`, which is not in `tools`",
    ),
];

#[test]
fn wrong_values_are_named() {
    for (more, param, message) in BAD_VALUES {
        let error = request(serde_json::from_str(more).unwrap()).unwrap_err();
        assert_eq!(
            (error.kind, error.param.as_deref(), error.message.as_str()),
            (InvalidKind::BadValue, Some(*param), *message),
            "{more}"
        );
    }
    let many: serde_json::Map<String, Value> =
        (0..17).map(|key| (key.to_string(), "v".into())).collect();
    assert!(request(json!({"metadata": many})).is_err());
}

/// Fields that are known and not built, and the field that is named.
const NOT_BUILT: &[(&str, &str)] = &[
    (r#"{"background": true}"#, "background"),
    (r#"{"conversation": "conv_1"}"#, "conversation"),
    (r#"{"prompt": {"id": "p"}}"#, "prompt"),
    (
        r#"{"context_management": [{"type": "compaction"}]}"#,
        "context_management",
    ),
    (r#"{"moderation": {"model": "m"}}"#, "moderation"),
    (r#"{"truncation": "auto"}"#, "truncation"),
    (r#"{"top_logprobs": 2}"#, "top_logprobs"),
    (
        r#"{"include": ["message.output_text.logprobs"]}"#,
        "include",
    ),
    (
        r#"{"stream": true, "stream_options": {"include_obfuscation": true}}"#,
        "stream_options.include_obfuscation",
    ),
    (
        r#"{"tool_choice": {"type": "web_search_preview"}}"#,
        "tool_choice",
    ),
    (
        r#"{"input": [{"type": "web_search_call", "id": "ws_1"}]}"#,
        "input[0].type",
    ),
    (
        r#"{"input": [{"type": "compaction", "encrypted_content": "x"}]}"#,
        "input[0].type",
    ),
];

#[test]
fn a_call_may_have_to_come() {
    let named = |name: &str| ToolChoice::Named(name.to_owned());
    for (more, expected) in [
        (
            r#"{"tools": [{"type": "function", "name": "f"}], "tool_choice": "required"}"#,
            ToolChoice::Required,
        ),
        (
            r#"{"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}], "tool_choice": {"type": "function", "name": "f"}}"#,
            named("n__f"),
        ),
        (
            r#"{"tools": [{"type": "custom", "name": "c"}], "tool_choice": {"type": "custom", "name": "c"}}"#,
            named("c"),
        ),
    ] {
        let request = request(serde_json::from_str(more).unwrap()).unwrap();
        assert_eq!(request.chat.tool_choice, expected, "{more}");
    }
}

#[test]
fn what_is_not_built_is_named() {
    for (more, param) in NOT_BUILT {
        let error = request(serde_json::from_str(more).unwrap()).unwrap_err();
        assert_eq!(
            (error.kind, error.param.as_deref()),
            (InvalidKind::NotImplemented, Some(*param)),
            "{more}: {error}"
        );
    }
}
