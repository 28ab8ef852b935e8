//! Checks the messages of a chat and brings them into the one shape that chat templates read.
//!
//! After it, `content` is a string, or null where an assistant only called tools; everything else a message holds goes on
//! verbatim. OpenAI's older function calls and their results become tool calls and theirs. What a template makes of a role, and of arguments that are no JSON, is not decided here.

use serde_json::{Map, Value, json};

use crate::invalid::Invalid;

/// Checks and normalises `messages`.
pub(crate) fn read_messages(messages: Option<Value>) -> Result<Vec<Value>, Invalid> {
    match messages {
        Some(Value::Array(items)) if !items.is_empty() => {
            let mut last_call = 0;
            let read = |(index, item)| read_message(index, item, &mut last_call);
            items.into_iter().enumerate().map(read).collect()
        }
        Some(Value::Array(_)) => Err(Invalid::bad_value(
            "messages",
            "`messages` must hold at least one message",
        )),
        Some(other) => Err(Invalid::expected("messages", "a list of messages", &other)),
        None => Err(Invalid::bad_value(
            "messages",
            "`messages` is required: a list of at least one message",
        )),
    }
}

/// `last_call` is the index of the last message with an older function call: its id is made of that.
fn read_message(index: usize, message: Value, last_call: &mut usize) -> Result<Value, Invalid> {
    let path = &format!("messages[{index}]");
    let Value::Object(mut message) = message else {
        return Err(Invalid::expected(
            path.as_str(),
            "an object with `role` and `content`",
            &message,
        ));
    };
    let role = match message.get("role") {
        Some(Value::String(role)) => role.clone(),
        other => {
            let value = other.unwrap_or(&Value::Null);
            return Err(Invalid::expected(format!("{path}.role"), "a string", value));
        }
    };
    match role.as_str() {
        "system" | "developer" | "user" | "assistant" | "tool" => {}
        "function" => {
            message.insert("role".to_owned(), "tool".into());
            message.insert("tool_call_id".to_owned(), old_call_id(*last_call).into());
        }
        _ => {
            let expected = "one of system, developer, user, assistant, tool, function";
            return Err(Invalid::expected(
                format!("{path}.role"),
                expected,
                &Value::String(role),
            ));
        }
    }
    if read_function_call(path, index, &mut message)? {
        *last_call = index;
    }
    let has_calls = read_tool_calls(path, &mut message)?;
    let content = read_content(&format!("{path}.content"), message.get("content"))?;
    let content = match content {
        Some(text) => Value::String(text),
        None if has_calls => Value::Null,
        None => Value::String(String::new()),
    };
    message.insert("content".to_owned(), content);
    // Two names are in use for the same field; templates read the first.
    if !message.contains_key("reasoning_content")
        && let Some(Value::String(reasoning)) = message.get("reasoning")
    {
        message.insert(
            "reasoning_content".to_owned(),
            Value::String(reasoning.clone()),
        );
    }
    Ok(Value::Object(message))
}

/// The id of an older function call, which had none.
fn old_call_id(message: usize) -> String {
    format!("call_{message}")
}

/// Makes an older function call a tool call; says whether there was one.
fn read_function_call(
    path: &str,
    index: usize,
    message: &mut Map<String, Value>,
) -> Result<bool, Invalid> {
    let call = match message.remove("function_call") {
        None | Some(Value::Null) => return Ok(false),
        Some(call) => call,
    };
    if !call.get("name").is_some_and(Value::is_string) {
        let path = format!("{path}.function_call");
        return Err(Invalid::expected(path, "an object with `name`", &call));
    }
    let call = json!([{"id": old_call_id(index), "type": "function", "function": call}]);
    message.insert("tool_calls".to_owned(), call);
    Ok(true)
}

/// The content as one string; None when there is none.
pub(crate) fn read_content(path: &str, content: Option<&Value>) -> Result<Option<String>, Invalid> {
    match content {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Array(parts)) => {
            let mut texts = Vec::with_capacity(parts.len());
            for (index, part) in parts.iter().enumerate() {
                texts.push(read_part(&format!("{path}[{index}]"), part)?);
            }
            Ok(Some(texts.join("\n")))
        }
        Some(other) => Err(Invalid::expected(
            path,
            "a string, null or a list of parts",
            other,
        )),
    }
}

fn read_part<'a>(path: &str, part: &'a Value) -> Result<&'a str, Invalid> {
    if let Value::String(text) = part {
        return Ok(text);
    }
    let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
    let field = match kind {
        "text" | "input_text" | "output_text" => "text",
        "refusal" => "refusal",
        "image_url" | "input_image" | "input_audio" | "audio_url" | "video_url" | "file"
        | "input_file" => {
            let message =
                format!("`{path}` is a part of type `{kind}`, but this model takes text only");
            return Err(Invalid::bad_value(path, message));
        }
        _ => {
            return Err(Invalid::expected(
                format!("{path}.type"),
                "\"text\"",
                &Value::String(kind.to_owned()),
            ));
        }
    };
    let value = part.get(field).unwrap_or(&Value::Null);
    value
        .as_str()
        .ok_or_else(|| Invalid::expected(format!("{path}.{field}"), "a string", value))
}

/// Checks the calls of an assistant message; says whether there are any, and drops the key where there are none.
fn read_tool_calls(path: &str, message: &mut Map<String, Value>) -> Result<bool, Invalid> {
    let path = format!("{path}.tool_calls");
    let calls = match message.get("tool_calls") {
        None => return Ok(false),
        Some(Value::Array(calls)) if !calls.is_empty() => calls,
        Some(Value::Null | Value::Array(_)) => {
            message.remove("tool_calls");
            return Ok(false);
        }
        Some(other) => return Err(Invalid::expected(path, "a list of calls", other)),
    };
    for (index, call) in calls.iter().enumerate() {
        let name = call
            .get("function")
            .and_then(|function| function.get("name"));
        if !name.is_some_and(Value::is_string) {
            return Err(Invalid::expected(
                format!("{path}[{index}]"),
                "an object with `function.name`",
                call,
            ));
        }
    }
    Ok(true)
}
