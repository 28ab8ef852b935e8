//! `system` and `messages` as the messages of a chat request.
//!
//! Invariants: turns of the same role in a row are one, as Anthropic's API has it and many chat templates demand; a tool's
//! result is a message of its own, in its place; texts of one turn are lines of one text, as in chat.

use serde_json::{Map, Value, json};

use super::blocks::{self, Block, Role};
use crate::{fields::Fields, invalid::Invalid};

/// Begins a line that Claude Code puts first in a system prompt. It differs in every request and says nothing to a model: left
/// in, no prompt would begin as the one before it, and nothing would be found in the prefix cache.
const BILLING_LINE: &str = "x-anthropic-billing-header:";

/// Reads both fields.
pub(super) fn read(system: Option<Value>, messages: Option<Value>) -> Result<Vec<Value>, Invalid> {
    let mut history = History::default();
    history.system.extend(
        blocks::read_texts("system", system)?
            .into_iter()
            .filter_map(without_billing_line),
    );
    for (index, message) in list(messages)?.into_iter().enumerate() {
        history.read_message(&format!("messages[{index}]"), message)?;
    }
    history.end_turn();
    if !history.system.is_empty() {
        let system = json!({"role": "system", "content": history.system.join("\n")});
        history.messages.insert(0, system);
    }
    Ok(history.messages)
}

fn list(messages: Option<Value>) -> Result<Vec<Value>, Invalid> {
    match messages {
        Some(Value::Array(items)) if !items.is_empty() => Ok(items),
        Some(Value::Array(_)) | None => Err(Invalid::bad_value(
            "messages",
            "`messages` is required: a list of at least one message",
        )),
        Some(other) => Err(Invalid::expected("messages", "a list of messages", &other)),
    }
}

fn without_billing_line(text: String) -> Option<String> {
    if !text.starts_with(BILLING_LINE) {
        return Some(text);
    }
    text.split_once('\n').map(|(_, rest)| rest.to_owned())
}

/// The conversation so far.
#[derive(Default)]
struct History {
    system: Vec<String>,
    messages: Vec<Value>,
    turn: Option<Turn>,
}

/// The turn that is being read.
enum Turn {
    User(Vec<String>),
    Assistant(Assistant),
}

#[derive(Default)]
struct Assistant {
    texts: Vec<String>,
    reasoning: Vec<String>,
    calls: Vec<Value>,
}

impl History {
    fn read_message(&mut self, path: &str, message: Value) -> Result<(), Invalid> {
        let mut fields = Fields::at(path, message)?;
        let role = fields.required_string("role")?;
        let role = match role.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => {
                let expected = "\"user\", \"assistant\" or \"system\"";
                return Err(Invalid::expected(
                    fields.path("role"),
                    expected,
                    &role.into(),
                ));
            }
        };
        let content = fields.take("content").unwrap_or_default();
        for block in blocks::read(&fields.path("content"), content, role)? {
            match block {
                Block::Text(text) if role == Role::System => self.system_text(text),
                Block::Text(text) if role == Role::User => self.user_text(text),
                Block::Text(text) => self.assistant().texts.push(text),
                Block::Thinking(text) => self.assistant().reasoning.push(text),
                Block::Call(call) => self.assistant().calls.push(call),
                Block::System(text) => self.system_text(text),
                Block::Result { call_id, text } => {
                    self.end_turn();
                    let result = json!({"role": "tool", "tool_call_id": call_id, "content": text});
                    self.messages.push(result);
                }
                Block::Nothing => {}
            }
        }
        Ok(())
    }

    /// Most chat templates take a system message at the beginning only. A later one is a part of the user's turn, in the tag that
    /// Claude Code gives to reminders of its own.
    fn system_text(&mut self, text: String) {
        if self.messages.is_empty() && self.turn.is_none() {
            self.system.push(text);
        } else {
            self.user_text(format!("<system-reminder>\n{text}\n</system-reminder>"));
        }
    }

    fn user_text(&mut self, text: String) {
        if let Some(Turn::User(texts)) = &mut self.turn {
            texts.push(text);
            return;
        }
        self.end_turn();
        self.turn = Some(Turn::User(vec![text]));
    }

    fn assistant(&mut self) -> &mut Assistant {
        if !matches!(self.turn, Some(Turn::Assistant(_))) {
            self.end_turn();
        }
        match self
            .turn
            .get_or_insert_with(|| Turn::Assistant(Assistant::default()))
        {
            Turn::Assistant(assistant) => assistant,
            Turn::User(_) => unreachable!("the user's turn has just ended"),
        }
    }

    fn end_turn(&mut self) {
        self.messages.extend(match self.turn.take() {
            None => None,
            Some(Turn::User(texts)) => Some(json!({"role": "user", "content": texts.join("\n")})),
            Some(Turn::Assistant(assistant)) => Some(assistant.into_message()),
        });
    }
}

impl Assistant {
    fn into_message(self) -> Value {
        let mut message = Map::new();
        message.insert("role".to_owned(), "assistant".into());
        let content = (!self.texts.is_empty()).then(|| self.texts.join("\n"));
        message.insert("content".to_owned(), content.into());
        if !self.reasoning.is_empty() {
            let reasoning = self.reasoning.join("\n");
            message.insert("reasoning_content".to_owned(), reasoning.into());
        }
        if !self.calls.is_empty() {
            message.insert("tool_calls".to_owned(), self.calls.into());
        }
        Value::Object(message)
    }
}
