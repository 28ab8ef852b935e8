//! Messages as OpenAI's API has them, brought into the shape a chat template expects.
//!
//! Nothing is dropped but what is empty: unknown keys (`reasoning_content`, `name`, ...) reach the template. Bad arguments
//! in past calls are the model's, not the caller's, and never an error.

use serde_json::{Map, Value, json};

use crate::{chat_template::json_text, error::PromptError};

/// What a template expects of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageStyle {
    /// Content is a list of parts, never a string.
    pub(crate) content_as_parts: bool,
    /// An assistant message that only calls tools has `none` for content; otherwise an empty string.
    pub(crate) blank_content_is_none: bool,
    /// Arguments of past calls are JSON text; otherwise an object.
    pub(crate) arguments_as_text: bool,
    /// Where arguments are objects: text that is none goes in as `{"arguments": text}`, for the template cannot take it.
    pub(crate) bad_arguments_in_object: bool,
    /// The template knows the role `developer`; otherwise it is `system`.
    pub(crate) knows_developer: bool,
}

impl Default for MessageStyle {
    fn default() -> Self {
        Self {
            content_as_parts: false,
            blank_content_is_none: true,
            arguments_as_text: false,
            bad_arguments_in_object: false,
            knows_developer: false,
        }
    }
}

/// The messages in the template's shape.
pub(crate) fn normalise(
    messages: &[Value],
    style: &MessageStyle,
) -> Result<Vec<Value>, PromptError> {
    let mut normalised: Vec<Value> = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let Value::Object(message) = message else {
            return Err(PromptError::Conversation(format!(
                "messages[{index}] must be an object"
            )));
        };
        let Some(role) = message.get("role").and_then(Value::as_str) else {
            return Err(PromptError::Conversation(format!(
                "messages[{index}].role must be a string"
            )));
        };
        let mut message = message.clone();
        if role == "developer" && !style.knows_developer {
            message.insert("role".to_owned(), Value::from("system"));
        }
        name_reasoning(&mut message);
        let calls = normalise_calls(&mut message, style);
        let text = content_text(message.get("content"), index)?;
        message.insert("content".to_owned(), content(text, calls, style));
        if role == "tool" && !message.contains_key("name") {
            name_result(&mut message, &normalised);
        }
        normalised.push(Value::Object(message));
    }
    Ok(normalised)
}

/// Appends `mark` to the content of the last message.
pub(crate) fn mark_end(messages: &mut [Value], mark: &str) -> Result<(), PromptError> {
    let content = messages
        .last_mut()
        .and_then(|message| message.get_mut("content"));
    let text = match content {
        Some(Value::Array(parts)) => parts.last_mut().and_then(|part| part.get_mut("text")),
        content => content,
    };
    match text {
        Some(Value::String(text)) => {
            text.push_str(mark);
            Ok(())
        }
        _ => Err(PromptError::Conversation(
            "continue_final_message needs a last message with text to continue".to_owned(),
        )),
    }
}

/// The text of a message's content. Several parts are several lines: glued together, words would run into each other.
fn content_text(content: Option<&Value>, index: usize) -> Result<String, PromptError> {
    match content {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let texts = parts
                .iter()
                .map(|part| part_text(part, index))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(texts.join("\n"))
        }
        Some(_) => Err(PromptError::Conversation(format!(
            "messages[{index}].content must be a string, null or a list of parts"
        ))),
    }
}

fn part_text(part: &Value, index: usize) -> Result<&str, PromptError> {
    if let Value::String(text) = part {
        return Ok(text);
    }
    let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
    let text = match kind {
        "text" | "input_text" | "output_text" => part.get("text"),
        "refusal" => part.get("refusal"),
        _ => {
            return Err(PromptError::Conversation(format!(
                "messages[{index}].content has a part of type `{kind}`; this model takes text only"
            )));
        }
    };
    text.and_then(Value::as_str).ok_or_else(|| {
        PromptError::Conversation(format!(
            "messages[{index}].content has a part of type `{kind}` without its text"
        ))
    })
}

fn content(text: String, calls: bool, style: &MessageStyle) -> Value {
    if text.is_empty() && calls && style.blank_content_is_none {
        Value::Null
    } else if style.content_as_parts {
        json!([{"type": "text", "text": text}])
    } else {
        Value::from(text)
    }
}

/// Brings past calls into shape; tells whether there are any.
fn normalise_calls(message: &mut Map<String, Value>, style: &MessageStyle) -> bool {
    let Some(calls) = message.get_mut("tool_calls") else {
        return false;
    };
    let Some(calls) = calls.as_array_mut().filter(|calls| !calls.is_empty()) else {
        // Templates ask whether the key is there.
        message.shift_remove("tool_calls");
        return false;
    };
    for call in calls.iter_mut().filter_map(Value::as_object_mut) {
        call.entry("type").or_insert(Value::from("function"));
        if let Some(function) = call.get_mut("function").and_then(Value::as_object_mut) {
            let given = function.get("arguments").unwrap_or(&Value::Null);
            let arguments = arguments(given, style);
            function.insert("arguments".to_owned(), arguments);
        }
    }
    true
}

fn arguments(given: &Value, style: &MessageStyle) -> Value {
    let object = match given {
        Value::Null => Some(Value::Object(Map::new())),
        Value::String(text) if text.trim().is_empty() => Some(Value::Object(Map::new())),
        Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_object),
        Value::Object(_) => Some(given.clone()),
        _ => None,
    };
    if style.arguments_as_text {
        return match (given, object) {
            (Value::String(text), _) if !text.trim().is_empty() => Value::from(text.as_str()),
            (_, object) => Value::from(json_text(object.as_ref().unwrap_or(given))),
        };
    }
    match object {
        Some(object) => object,
        None if style.bad_arguments_in_object => json!({"arguments": given}),
        None => given.clone(),
    }
}

/// Families read past reasoning under two names, and clients send it under three: the first that is given goes in under
/// both, as transformers does since version 5.
fn name_reasoning(message: &mut Map<String, Value>) {
    let given = ["reasoning_content", "thinking", "reasoning"]
        .iter()
        .find_map(|name| message.get(*name).filter(|value| !value.is_null()));
    let Some(reasoning) = given.cloned() else {
        return;
    };
    message
        .entry("thinking")
        .or_insert_with(|| reasoning.clone());
    message.insert("reasoning_content".to_owned(), reasoning);
}

/// Some families write the tool's name next to its result, which OpenAI's API names by the call's id alone.
fn name_result(message: &mut Map<String, Value>, earlier: &[Value]) {
    let Some(id) = message.get("tool_call_id") else {
        return;
    };
    let calls = earlier
        .iter()
        .rev()
        .filter_map(|message| message.get("tool_calls")?.as_array())
        .flatten();
    let call = calls.into_iter().find(|call| call.get("id") == Some(id));
    let name = call
        .and_then(|call| call.get("function")?.get("name"))
        .cloned();
    if let Some(name) = name {
        message.insert("name".to_owned(), name);
    }
}

#[cfg(test)]
mod tests;
