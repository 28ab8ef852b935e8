//! Messages in, messages in the template's shape out.

use super::*;

fn one(message: Value, style: &MessageStyle) -> Result<Value, PromptError> {
    normalise(&[message], style).map(|mut messages| messages.remove(0))
}

#[test]
fn keeps_what_it_does_not_know() {
    let message = json!({"role": "assistant", "content": "a", "audio": {"id": "r"}, "name": "n"});
    assert_eq!(
        one(message.clone(), &MessageStyle::default()).unwrap(),
        message
    );
}

#[test]
fn reasoning_goes_by_every_name_that_templates_read() {
    for given in [
        json!({"role": "assistant", "content": "a", "reasoning_content": "r"}),
        json!({"role": "assistant", "content": "a", "thinking": "r"}),
        json!({"role": "assistant", "content": "a", "reasoning": "r", "reasoning_content": null}),
    ] {
        let message = one(given, &MessageStyle::default()).unwrap();
        assert_eq!(message["reasoning_content"], "r");
        assert_eq!(message["thinking"], "r");
    }
    let message = json!({"role": "assistant", "content": "a"});
    assert_eq!(
        one(message.clone(), &MessageStyle::default()).unwrap(),
        message
    );
}

#[test]
fn absent_and_null_content_is_empty() {
    let style = MessageStyle::default();
    for message in [
        json!({"role": "user"}),
        json!({"role": "user", "content": null}),
    ] {
        assert_eq!(one(message, &style).unwrap()["content"], json!(""));
    }
    let call =
        json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]});
    assert_eq!(one(call.clone(), &style).unwrap()["content"], Value::Null);
    let style = MessageStyle {
        blank_content_is_none: false,
        ..style
    };
    assert_eq!(one(call, &style).unwrap()["content"], json!(""));
}

#[test]
fn developer_is_system_unless_the_template_knows_it() {
    let message = json!({"role": "developer", "content": "x"});
    assert_eq!(
        one(message.clone(), &MessageStyle::default()).unwrap()["role"],
        "system"
    );
    let style = MessageStyle {
        knows_developer: true,
        ..MessageStyle::default()
    };
    assert_eq!(one(message, &style).unwrap()["role"], "developer");
}

#[test]
fn empty_call_lists_are_no_calls() {
    for calls in [json!([]), Value::Null, json!("x")] {
        let message = one(
            json!({"role": "assistant", "content": "", "tool_calls": calls}),
            &MessageStyle::default(),
        );
        assert_eq!(
            message.unwrap(),
            json!({"role": "assistant", "content": ""})
        );
    }
}

#[test]
fn results_get_their_tools_name() {
    let messages = [
        json!({"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}, {"id": "2", "function": {"name": "g"}}]}),
        json!({"role": "tool", "tool_call_id": "2", "content": "x"}),
        json!({"role": "tool", "tool_call_id": "1", "content": "x", "name": "own"}),
        json!({"role": "tool", "tool_call_id": "3", "content": "x"}),
    ];
    let messages = normalise(&messages, &MessageStyle::default()).unwrap();
    assert_eq!(messages[1]["name"], "g");
    assert_eq!(messages[2]["name"], "own");
    assert_eq!(messages[3].get("name"), None);
}

#[test]
fn other_shapes_are_refused_by_name() {
    for (message, named) in [
        (json!("x"), "messages[0] "),
        (json!({"content": "x"}), "role"),
        (json!({"role": "user", "content": 1}), "content"),
        (
            json!({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}),
            "`image_url`",
        ),
        (
            json!({"role": "user", "content": [{"type": "text"}]}),
            "`text`",
        ),
    ] {
        let error = one(message, &MessageStyle::default()).unwrap_err();
        assert!(matches!(error, PromptError::Conversation(_)));
        assert!(error.to_string().contains(named), "{error}");
    }
}
