//! The blocks of a message's content, checked and reduced to what a text model reads of them.

use serde_json::{Map, Value};

use super::tool_id;
use crate::{fields::Fields, invalid::Invalid};

/// What is read of a block.
pub(super) enum Block {
    /// Text.
    Text(String),
    /// Reasoning that the model is given back.
    Thinking(String),
    /// Text that stands for a system message.
    System(String),
    /// A past call, as a chat request has it.
    Call(Value),
    /// What a tool said.
    Result {
        /// Which call's.
        call_id: String,
        /// The text.
        text: String,
    },
    /// Nothing that could be read.
    Nothing,
}

/// Who says a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Assistant,
    System,
}

/// Reads a message's content: a string, or blocks.
pub(super) fn read(path: &str, content: Value, role: Role) -> Result<Vec<Block>, Invalid> {
    match content {
        Value::String(text) => Ok(vec![Block::Text(text)]),
        Value::Array(blocks) => blocks
            .into_iter()
            .enumerate()
            .map(|(index, block)| read_block(&format!("{path}[{index}]"), block, role))
            .collect(),
        other => Err(Invalid::expected(
            path,
            "a string or a list of blocks",
            &other,
        )),
    }
}

/// Reads content that may hold text only: a system prompt's or a tool result's. Several blocks are several lines, as in chat.
pub(super) fn read_texts(path: &str, content: Option<Value>) -> Result<Vec<String>, Invalid> {
    let Some(content) = content else {
        return Ok(Vec::new());
    };
    let texts = read(path, content, Role::System)?.into_iter();
    Ok(texts
        .filter_map(|block| match block {
            Block::Text(text) => Some(text),
            _ => None,
        })
        .collect())
}

fn read_block(path: &str, block: Value, role: Role) -> Result<Block, Invalid> {
    let mut fields = Fields::at(path, block)?;
    let kind = fields.required_string("type")?;
    match (kind.as_str(), role) {
        ("text", _) => fields.required_string("text").map(Block::Text),
        ("image" | "document", _) => read_medium(path, &kind, &mut fields),
        ("tool_reference", Role::System) => fields.required_string("tool_name").map(Block::Text),
        ("thinking", Role::Assistant) => match fields.required_string("thinking")? {
            // Kept from the caller, it is kept from us.
            text if text.is_empty() => Ok(Block::Nothing),
            text => Ok(Block::Thinking(text)),
        },
        ("redacted_thinking", Role::Assistant) => Ok(Block::Nothing),
        ("tool_use", Role::Assistant) => read_call(&mut fields),
        ("tool_result", Role::User) => read_result(&mut fields),
        ("mid_conv_system", Role::User) => {
            let content = fields.take("content");
            let texts = read_texts(&fields.path("content"), content)?;
            Ok(Block::System(texts.join("\n")))
        }
        _ => {
            let expected = match role {
                Role::User => "\"text\" or \"tool_result\"",
                Role::Assistant => "one of text, thinking, redacted_thinking, tool_use",
                Role::System => "\"text\"",
            };
            Err(Invalid::expected(
                fields.path("type"),
                expected,
                &kind.into(),
            ))
        }
    }
}

/// A document may be plain text; all else is nothing for a text model.
fn read_medium(path: &str, kind: &str, fields: &mut Fields) -> Result<Block, Invalid> {
    let source = fields.object("source")?;
    if kind == "document"
        && let Some(mut source) = source
        && source.string("type")?.as_deref() == Some("text")
    {
        return source.required_string("data").map(Block::Text);
    }
    let message = format!("`{path}` is a block of type `{kind}`, but this model takes text only");
    Err(Invalid::bad_value(path, message))
}

fn read_call(fields: &mut Fields) -> Result<Block, Invalid> {
    let id = fields.required_string("id")?;
    let name = fields.required_string("name")?;
    let input = fields
        .take("input")
        .unwrap_or_else(|| Value::Object(Map::new()));
    if !input.is_object() {
        return Err(Invalid::expected(fields.path("input"), "an object", &input));
    }
    Ok(Block::Call(serde_json::json!({
        "id": tool_id::from_wire(&id),
        "type": "function",
        "function": {"name": name, "arguments": input},
    })))
}

fn read_result(fields: &mut Fields) -> Result<Block, Invalid> {
    let id = fields.required_string("tool_use_id")?;
    let content = fields.take("content");
    let mut text = read_texts(&fields.path("content"), content)?.join("\n");
    // Chat templates have no place for the mark.
    if fields.boolean("is_error")? == Some(true) {
        text.insert_str(0, "Error: ");
    }
    let call_id = tool_id::from_wire(&id).to_owned();
    Ok(Block::Result { call_id, text })
}
