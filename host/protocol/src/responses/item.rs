//! Input items: what a client sends, and what was said before, each with its place in the conversation.
//!
//! An item keeps its JSON, completed to what a list of input items holds, beside what the model is told of it. Items of
//! OpenAI's hosted tools are refused as not built: there is nothing a chat template could make of them.

use serde_json::{Map, Value, json};

use super::{response::OutputItem, tools::model_name};
use crate::{invalid::Invalid, messages::read_content};

/// One item of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    json: Map<String, Value>,
    turn: Turn,
}

/// What an item says to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Text of system, developer, user or assistant.
    Message { role: String, text: String },
    /// Reasoning of the assistant.
    Reasoning { text: String },
    /// A call by the assistant, named as the model knows the tool.
    Call {
        id: String,
        name: String,
        arguments: String,
    },
    /// What a call gave.
    Result { id: String, text: String },
    /// Stands for a stored item.
    Reference { id: String },
}

/// Items of tools that run on OpenAI's servers or are not built.
const NOT_BUILT: &[&str] = &[
    "file_search_call",
    "web_search_call",
    "computer_call",
    "computer_call_output",
    "image_generation_call",
    "code_interpreter_call",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "configuration_update",
    "compaction",
    "compaction_trigger",
    "program",
    "program_output",
];

impl Item {
    /// The user message that a string stands for.
    pub(super) fn user(text: &str) -> Self {
        let mut json = Map::new();
        json.insert("type".to_owned(), "message".into());
        json.insert("role".to_owned(), "user".into());
        json.insert("content".to_owned(), parts("user", text));
        json.insert("status".to_owned(), "completed".into());
        let turn = Turn::Message {
            role: "user".to_owned(),
            text: text.to_owned(),
        };
        Self { json, turn }
    }

    /// Reads an item at `path`.
    pub(super) fn read(path: &str, item: Value) -> Result<Self, Invalid> {
        let Value::Object(mut json) = item else {
            return Err(Invalid::expected(path, "an input item", &item));
        };
        let kind = match json.get("type") {
            Some(Value::String(kind)) => kind.clone(),
            None | Some(Value::Null) if json.contains_key("role") => "message".to_owned(),
            None | Some(Value::Null) if json.contains_key("id") => "item_reference".to_owned(),
            other => {
                let value = other.unwrap_or(&Value::Null);
                return Err(Invalid::expected(format!("{path}.type"), "a string", value));
            }
        };
        json.retain(|_, value| !value.is_null());
        let turn = read_turn(path, &kind, &mut json)?;
        json.insert("type".to_owned(), kind.into());
        if !matches!(turn, Turn::Reasoning { .. }) {
            json.entry("status").or_insert_with(|| "completed".into());
        }
        Ok(Self { json, turn })
    }

    /// The item that an answer leaves behind.
    pub fn of_output(item: &OutputItem) -> Self {
        let turn = match item {
            OutputItem::Message { content, .. } => Turn::Message {
                role: "assistant".to_owned(),
                text: content.iter().map(|part| part.text()).collect(),
            },
            OutputItem::Reasoning { content, .. } => Turn::Reasoning {
                text: content.iter().map(|part| part.text()).collect(),
            },
            OutputItem::FunctionCall {
                call_id,
                name,
                namespace,
                arguments,
                ..
            } => Turn::Call {
                id: call_id.clone(),
                name: model_name(namespace.as_deref(), name),
                arguments: arguments.clone(),
            },
            OutputItem::CustomToolCall {
                call_id,
                name,
                namespace,
                input,
                ..
            } => Turn::Call {
                id: call_id.clone(),
                name: model_name(namespace.as_deref(), name),
                arguments: json!({"input": input}).to_string(),
            },
        };
        let json = match serde_json::to_value(item) {
            Ok(Value::Object(json)) => json,
            other => unreachable!("an output item is an object with string keys: {other:?}"),
        };
        Self { json, turn }
    }

    /// Its id, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.json.get("id").and_then(Value::as_str)
    }

    /// Gives it the id that `make` makes of OpenAI's prefix for its kind, unless it has one.
    pub fn give_id(&mut self, make: impl FnOnce(&'static str) -> String) {
        if self.id().is_some() {
            return;
        }
        let prefix = match self.json.get("type").and_then(Value::as_str) {
            Some("reasoning") => "rs",
            Some("function_call") => "fc",
            Some("function_call_output") => "fco",
            Some("custom_tool_call") => "ctc",
            Some("custom_tool_call_output") => "ctco",
            _ => "msg",
        };
        self.json.insert("id".to_owned(), make(prefix).into());
    }

    /// The id of the stored item it stands for, if it is a reference.
    pub fn reference(&self) -> Option<&str> {
        match &self.turn {
            Turn::Reference { id } => Some(id),
            _ => None,
        }
    }

    /// The item as a list of input items holds it.
    pub fn json(&self) -> &Map<String, Value> {
        &self.json
    }

    /// What the model is told of it.
    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Roughly the memory it takes: its texts stand in it twice.
    pub fn bytes(&self) -> usize {
        let written: usize = self
            .json
            .iter()
            .map(|(key, value)| key.len() + length(value))
            .sum();
        2 * written + size_of::<Self>()
    }
}

/// Roughly the length of the value's JSON, without writing it.
fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(length).sum::<usize>() + 2,
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| key.len() + length(value) + 4)
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// What the item says, and its fields brought into the shape of a listed item.
fn read_turn(path: &str, kind: &str, json: &mut Map<String, Value>) -> Result<Turn, Invalid> {
    match kind {
        "message" => read_message(path, json),
        "reasoning" => read_reasoning(path, json),
        "function_call" | "custom_tool_call" => read_call(path, kind, json),
        "function_call_output" | "custom_tool_call_output" => Ok(Turn::Result {
            id: string(path, json, "call_id")?,
            text: content(path, json, "output")?,
        }),
        "item_reference" => Ok(Turn::Reference {
            id: string(path, json, "id")?,
        }),
        known if NOT_BUILT.contains(&known) => Err(Invalid::not_implemented(
            format!("{path}.type"),
            &format!("an item of type `{known}`"),
        )),
        _ => {
            let expected = "one of message, reasoning, function_call, function_call_output, custom_tool_call, custom_tool_call_output, item_reference";
            let value = Value::String(kind.to_owned());
            Err(Invalid::expected(format!("{path}.type"), expected, &value))
        }
    }
}

fn read_message(path: &str, json: &mut Map<String, Value>) -> Result<Turn, Invalid> {
    let role = string(path, json, "role")?;
    if !matches!(role.as_str(), "system" | "developer" | "user" | "assistant") {
        let expected = "one of system, developer, user, assistant";
        let value = Value::String(role);
        return Err(Invalid::expected(format!("{path}.role"), expected, &value));
    }
    let text = content(path, json, "content")?;
    if let Some(Value::String(text)) = json.get("content") {
        let listed = parts(&role, text);
        json.insert("content".to_owned(), listed);
    }
    Ok(Turn::Message { role, text })
}

/// The content that a string stands for.
fn parts(role: &str, text: &str) -> Value {
    match role {
        "assistant" => json!([{"type": "output_text", "text": text, "annotations": []}]),
        _ => json!([{"type": "input_text", "text": text}]),
    }
}

/// The reasoning itself where it came back, else its summary: clients that keep reasoning to themselves send only that.
fn read_reasoning(path: &str, json: &mut Map<String, Value>) -> Result<Turn, Invalid> {
    let content = texts(path, json, "content")?;
    let summary = texts(path, json, "summary")?;
    json.entry("summary").or_insert_with(|| json!([]));
    Ok(Turn::Reasoning {
        text: if content.is_empty() { summary } else { content },
    })
}

/// The texts of a list of parts, joined; empty without the list.
fn texts(path: &str, json: &Map<String, Value>, name: &str) -> Result<String, Invalid> {
    let path = format!("{path}.{name}");
    let parts = match json.get(name) {
        None | Some(Value::Null) => return Ok(String::new()),
        Some(Value::Array(parts)) => parts,
        Some(other) => return Err(Invalid::expected(path, "a list of parts", other)),
    };
    let text = |(index, part): (usize, &Value)| match part.get("text") {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => {
            let path = format!("{path}[{index}]");
            Err(Invalid::expected(path, "an object with `text`", part))
        }
    };
    let texts = parts.iter().enumerate().map(text);
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n\n"))
}

fn read_call(path: &str, kind: &str, json: &Map<String, Value>) -> Result<Turn, Invalid> {
    let namespace = match json.get("namespace") {
        None | Some(Value::Null) => None,
        Some(Value::String(namespace)) => Some(namespace.as_str()),
        Some(other) => {
            return Err(Invalid::expected(
                format!("{path}.namespace"),
                "a string",
                other,
            ));
        }
    };
    let arguments = match kind {
        "custom_tool_call" => json!({"input": string(path, json, "input")?}).to_string(),
        _ => string(path, json, "arguments")?,
    };
    Ok(Turn::Call {
        id: string(path, json, "call_id")?,
        name: model_name(namespace, &string(path, json, "name")?),
        arguments,
    })
}

fn string(path: &str, json: &Map<String, Value>, name: &str) -> Result<String, Invalid> {
    match json.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => {
            let value = other.unwrap_or(&Value::Null);
            Err(Invalid::expected(
                format!("{path}.{name}"),
                "a string",
                value,
            ))
        }
    }
}

/// A string or the text of a list of parts; required.
fn content(path: &str, json: &Map<String, Value>, name: &str) -> Result<String, Invalid> {
    let path = format!("{path}.{name}");
    let text = read_content(&path, json.get(name))?;
    text.ok_or_else(|| Invalid::expected(path, "a string or a list of parts", &Value::Null))
}
