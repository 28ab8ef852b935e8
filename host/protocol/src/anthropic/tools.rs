//! Tools and the choice among them, in the spelling of chat requests.

use serde_json::{Map, Value, json};

use crate::{fields::Fields, invalid::Invalid};

/// The tools of a request.
#[derive(Default)]
pub(super) struct Tools {
    /// Those the model may call, as a chat request has them.
    pub(super) offered: Vec<Value>,
    /// Where those stood that are left out: tools of a type of Anthropic's, which a model must have been trained for or a server
    /// of theirs runs.
    pub(super) left_out: Vec<String>,
    /// Whether any asks for its input as the model writes it, checked by nobody.
    pub(super) eager: bool,
}

/// Reads `tools`.
pub(super) fn read(value: Option<Value>) -> Result<Tools, Invalid> {
    let items = match value {
        None => return Ok(Tools::default()),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(Invalid::expected("tools", "a list of tools", &other)),
    };
    let mut tools = Tools::default();
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("tools[{index}]");
        let mut fields = Fields::at(&path, item)?;
        match fields.string("type")?.as_deref() {
            None | Some("custom") => {}
            Some(_) => {
                tools.left_out.push(path);
                continue;
            }
        }
        tools.eager |= fields.boolean("eager_input_streaming")?.unwrap_or(false);
        tools.offered.push(read_tool(&mut fields)?);
    }
    Ok(tools)
}

fn read_tool(fields: &mut Fields) -> Result<Value, Invalid> {
    let name = fields.required_string("name")?;
    if name.is_empty() {
        let path = fields.path("name");
        return Err(Invalid::expected(
            path,
            "a string that is not empty",
            &name.into(),
        ));
    }
    let mut function = Map::new();
    function.insert("name".to_owned(), name.into());
    if let Some(description) = fields.string("description")? {
        function.insert("description".to_owned(), description.into());
    }
    let schema = fields.take("input_schema").unwrap_or_default();
    if !schema.is_object() {
        let path = fields.path("input_schema");
        return Err(Invalid::expected(path, "a JSON Schema object", &schema));
    }
    function.insert("parameters".to_owned(), schema);
    if fields.boolean("strict")? == Some(true) {
        function.insert("strict".to_owned(), true.into());
    }
    Ok(json!({"type": "function", "function": function}))
}

/// Reads `tool_choice` into the two fields of a chat request that say the same.
pub(super) fn read_choice(
    mut fields: Fields,
    chat: &mut Map<String, Value>,
) -> Result<(), Invalid> {
    if fields.boolean("disable_parallel_tool_use")? == Some(true) {
        chat.insert("parallel_tool_calls".to_owned(), false.into());
    }
    let kind = fields.required_string("type")?;
    let choice = match kind.as_str() {
        "auto" | "none" => kind.into(),
        "any" => "required".into(),
        "tool" => {
            let name = fields.required_string("name")?;
            json!({"type": "function", "function": {"name": name}})
        }
        _ => {
            let path = fields.path("type");
            let expected = "one of auto, any, tool, none";
            return Err(Invalid::expected(path, expected, &kind.into()));
        }
    };
    chat.insert("tool_choice".to_owned(), choice);
    Ok(())
}
