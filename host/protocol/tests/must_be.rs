//! What an answer must be and how long a model may reason, as clients ask for it.

use serde_json::{Value, json};
use weir_protocol::{ChatRequest, Invalid, ToolChoice};

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
fn a_call_may_have_to_come() {
    let named = || ToolChoice::Named("get_weather".to_owned());
    let function = json!({"type": "function", "function": {"name": "get_weather"}});
    let allowed = |mode: &str, tools: Value| {
        let allowed = json!({"mode": mode, "tools": tools});
        json!({"type": "allowed_tools", "allowed_tools": allowed})
    };
    for (choice, expected) in [
        (json!("required"), ToolChoice::Required),
        (function.clone(), named()),
        (json!({"type": "function", "name": "get_weather"}), named()),
        (allowed("required", json!([function])), ToolChoice::Required),
        (allowed("auto", json!([function])), ToolChoice::Auto),
        (allowed("auto", json!([])), ToolChoice::None),
    ] {
        let more = json!({"tools": [weather()], "tool_choice": choice});
        assert_eq!(chat(more.clone()).unwrap().tool_choice, expected, "{more}");
    }
    let older = json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}});
    let request = chat(older).unwrap();
    assert_eq!(request.tool_choice, ToolChoice::Named("f".to_owned()));
    let none = json!({"tools": [weather()], "tool_choice": allowed("required", json!([]))});
    let error = chat(none).expect_err("nothing could be called");
    assert_eq!(error.param.as_deref(), Some("tool_choice.tools"));
}

#[test]
fn a_reasoning_budget_has_many_names() {
    let budget = |more: Value| chat(more).map(|request| request.options.reasoning_budget);
    for more in [
        json!({"reasoning_budget": 9}),
        json!({"thinking_budget": "9"}),
        json!({"thinking_token_budget": 9}),
        json!({"thinking_budget_tokens": 9}),
        json!({"max_thinking_tokens": 9}),
        json!({"reasoning": {"max_tokens": 9}}),
        json!({"nvext": {"max_thinking_tokens": 9}}),
        json!({"thinking_budget": 9, "reasoning": {"max_tokens": 9}}),
    ] {
        assert_eq!(budget(more.clone()), Ok(Some(9)), "{more}");
    }
    assert_eq!(budget(json!({})), Ok(None));
    assert_eq!(budget(json!({"thinking_budget": -1})), Ok(Some(usize::MAX)));
    for (more, param) in [
        (json!({"thinking_budget": -2}), "thinking_budget"),
        (json!({"thinking_budget": "much"}), "thinking_budget"),
        (
            json!({"thinking_budget": 1, "reasoning": {"max_tokens": 2}}),
            "reasoning.max_tokens",
        ),
    ] {
        let error = budget(more.clone()).expect_err("no budget");
        assert_eq!(error.param.as_deref(), Some(param), "{more}");
    }
}
