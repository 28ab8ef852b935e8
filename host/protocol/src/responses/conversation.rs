//! Input items become the messages of a chat.
//!
//! Reasoning, text and calls that follow each other are one assistant message, as a chat has them, so that a template which
//! wants roles in turn takes them. Instructions and the system and developer messages at the very start are one message for
//! the same reason: many templates refuse a second one.

use std::borrow::Borrow;

use serde_json::{Map, Value, json};

use super::item::{Item, Turn};

/// The messages of a conversation. References must have been resolved: one that is left says nothing.
pub fn conversation<I: Borrow<Item>>(
    instructions: Option<&str>,
    items: impl IntoIterator<Item = I>,
) -> Vec<Value> {
    let mut writer = Writer::default();
    if let Some(instructions) = instructions {
        writer.say("system", instructions);
    }
    for item in items {
        let item: &Item = item.borrow();
        match item.turn() {
            Turn::Message { role, text } if role == "assistant" => {
                join(&mut writer.assistant().content, text);
            }
            Turn::Message { role, text } => writer.say(role, text),
            Turn::Reasoning { text } => join(&mut writer.assistant().reasoning, text),
            Turn::Call {
                id,
                name,
                arguments,
            } => writer.assistant().calls.push(json!({
                "id": id, "type": "function", "function": {"name": name, "arguments": arguments},
            })),
            Turn::Result { id, text } => {
                writer.end_assistant();
                let result = json!({"role": "tool", "tool_call_id": id, "content": text});
                writer.messages.push(result);
            }
            Turn::Reference { .. } => {}
        }
    }
    writer.end_assistant();
    writer.messages
}

/// An assistant message in the making.
#[derive(Default)]
struct Assistant {
    content: String,
    reasoning: String,
    calls: Vec<Value>,
}

#[derive(Default)]
struct Writer {
    messages: Vec<Value>,
    assistant: Option<Assistant>,
}

impl Writer {
    fn assistant(&mut self) -> &mut Assistant {
        self.assistant.get_or_insert_default()
    }

    /// A message of anyone but the assistant.
    fn say(&mut self, role: &str, text: &str) {
        self.end_assistant();
        let instructs = |role: &str| matches!(role, "system" | "developer");
        if let [first] = self.messages.as_mut_slice()
            && instructs(role)
            && first["role"].as_str().is_some_and(instructs)
            && let Some(Value::String(said)) = first.get_mut("content")
        {
            join(said, text);
            return;
        }
        self.messages.push(json!({"role": role, "content": text}));
    }

    fn end_assistant(&mut self) {
        let Some(assistant) = self.assistant.take() else {
            return;
        };
        let mut message = Map::new();
        message.insert("role".to_owned(), "assistant".into());
        let content = match assistant.content {
            text if text.is_empty() && !assistant.calls.is_empty() => Value::Null,
            text => text.into(),
        };
        message.insert("content".to_owned(), content);
        if !assistant.reasoning.is_empty() {
            message.insert("reasoning_content".to_owned(), assistant.reasoning.into());
        }
        if !assistant.calls.is_empty() {
            message.insert("tool_calls".to_owned(), assistant.calls.into());
        }
        self.messages.push(Value::Object(message));
    }
}

/// Puts `text` behind `said`, apart from it.
fn join(said: &mut String, text: &str) {
    if !said.is_empty() && !text.is_empty() {
        said.push_str("\n\n");
    }
    said.push_str(text);
}
