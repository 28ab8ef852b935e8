//! Tools on offer, which may be called, and how calls are streamed.

use serde_json::{Map, Value, json};

use crate::{
    fields::Fields,
    invalid::{Invalid, cut},
    lenient,
};

/// A function the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDefinition {
    /// Its name; never empty.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of its arguments; an object.
    pub parameters: Value,
    /// Whether arguments must match the schema.
    pub strict: bool,
    /// The definition as it came, for the chat template.
    pub raw: Value,
}

/// Which tools may be called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// None.
    None,
    /// The model decides.
    #[default]
    Auto,
    /// At least one must be called.
    Required,
    /// This one must be called, and no other.
    Named(String),
}

/// When the deltas of a streamed call are sent. Our extension: `tool_call_streaming`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolCallStreaming {
    /// As the model writes them.
    #[default]
    Incremental,
    /// When the call closed and its arguments are a JSON object.
    Complete,
}

/// Tools and choice together, because each checks the other.
pub(crate) struct ToolFields {
    pub(crate) tools: Vec<ToolDefinition>,
    pub(crate) choice: ToolChoice,
    pub(crate) parallel: bool,
    pub(crate) streaming: Option<ToolCallStreaming>,
    /// They came as OpenAI's older `functions`.
    pub(crate) functions: bool,
}

impl ToolFields {
    /// Takes the tool fields out of `fields`.
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, Invalid> {
        if fields.is("functions", |value| !value.is_null()) {
            return Self::take_functions(fields);
        }
        if fields
            .take("function_call")
            .is_some_and(|choice| choice != "none")
        {
            let message = "`function_call` is only allowed beside `functions`";
            return Err(Invalid::bad_value("function_call", message));
        }
        let mut tools = match fields.take("tools") {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| read_tool(index, item))
                .collect::<Result<Vec<_>, _>>()?,
            Some(other) => return Err(Invalid::expected("tools", "a list of tools", &other)),
        };
        let choice = match fields.take("tool_choice") {
            None => ToolChoice::Auto,
            Some(choice) => read_choice("tool_choice", &choice, &mut tools)?,
        };
        let parallel = fields.boolean("parallel_tool_calls")?.unwrap_or(true);
        Ok(Self {
            tools,
            choice,
            parallel,
            streaming: take_streaming(fields)?,
            functions: false,
        })
    }

    /// OpenAI's older spelling: functions without a wrapper, and room for one call in an answer.
    fn take_functions(fields: &mut Fields) -> Result<Self, Invalid> {
        if fields.is("tools", |value| !value.is_null()) {
            let message = "`functions` is the older form of `tools`: only one of them can be given";
            return Err(Invalid::bad_value("functions", message));
        }
        let mut tools = match fields.take("functions") {
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(index, function)| read_bare_function(index, function))
                .collect::<Result<Vec<_>, _>>()?,
            other => {
                let value = other.unwrap_or_default();
                return Err(Invalid::expected(
                    "functions",
                    "a list of functions",
                    &value,
                ));
            }
        };
        let choice = match fields.take("function_call") {
            None => ToolChoice::Auto,
            Some(Value::Object(function)) => {
                let choice = json!({"type": "function", "function": function});
                read_choice("function_call", &choice, &mut tools)?
            }
            Some(word) => read_choice("function_call", &word, &mut tools)?,
        };
        Ok(Self {
            tools,
            choice,
            parallel: false,
            streaming: take_streaming(fields)?,
            functions: true,
        })
    }
}

fn read_bare_function(index: usize, function: Value) -> Result<ToolDefinition, Invalid> {
    let path = format!("functions[{index}]");
    let Value::Object(fields) = &function else {
        return Err(Invalid::expected(path, "an object", &function));
    };
    let definition = read_function(&path, fields)?;
    // Templates know tools only.
    Ok(ToolDefinition {
        raw: json!({"type": "function", "function": function}),
        ..definition
    })
}

/// Takes `tool_call_streaming`.
pub(crate) fn take_streaming(fields: &mut Fields) -> Result<Option<ToolCallStreaming>, Invalid> {
    let word = fields.word("tool_call_streaming", &["incremental", "complete"])?;
    Ok(word.map(|word| match word {
        "complete" => ToolCallStreaming::Complete,
        _ => ToolCallStreaming::Incremental,
    }))
}

fn read_tool(index: usize, tool: Value) -> Result<ToolDefinition, Invalid> {
    let path = format!("tools[{index}]");
    let Value::Object(fields) = &tool else {
        return Err(Invalid::expected(path, "an object", &tool));
    };
    match fields.get("type") {
        None => {}
        Some(Value::String(kind)) if kind == "function" => {}
        Some(Value::String(kind)) if kind == "custom" => {
            return Err(Invalid::not_implemented(
                format!("{path}.type"),
                "a tool of type `custom`",
            ));
        }
        Some(other) => {
            return Err(Invalid::expected(
                format!("{path}.type"),
                "\"function\"",
                other,
            ));
        }
    }
    let Some(Value::Object(function)) = fields.get("function") else {
        let value = fields.get("function").unwrap_or(&Value::Null);
        return Err(Invalid::expected(
            format!("{path}.function"),
            "an object with the function's name",
            value,
        ));
    };
    let definition = read_function(&format!("{path}.function"), function)?;
    Ok(ToolDefinition {
        raw: tool,
        ..definition
    })
}

/// Reads a function's name, description, parameters and strictness.
pub(crate) fn read_function(
    path: &str,
    function: &Map<String, Value>,
) -> Result<ToolDefinition, Invalid> {
    let name = match function.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        other => {
            let value = other.unwrap_or(&Value::Null);
            return Err(Invalid::expected(
                format!("{path}.name"),
                "a string that is not empty",
                value,
            ));
        }
    };
    let description = match function.get("description") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => {
            return Err(Invalid::expected(
                format!("{path}.description"),
                "a string",
                other,
            ));
        }
    };
    let parameters = match function.get("parameters") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(Value::Object(schema)) => Value::Object(schema.clone()),
        Some(other) => {
            return Err(Invalid::expected(
                format!("{path}.parameters"),
                "a JSON Schema object",
                other,
            ));
        }
    };
    let strict = match function.get("strict") {
        None | Some(Value::Null) => false,
        Some(value) => lenient::boolean(value)
            .ok_or_else(|| Invalid::expected(format!("{path}.strict"), "true or false", value))?,
    };
    Ok(ToolDefinition {
        name,
        description,
        parameters,
        strict,
        raw: Value::Null,
    })
}

/// Reads `tool_choice`; a list of allowed tools narrows `tools` to them, in the order of `tools`.
pub(crate) fn read_choice(
    param: &str,
    choice: &Value,
    tools: &mut Vec<ToolDefinition>,
) -> Result<ToolChoice, Invalid> {
    const EXPECTED: &str = "\"none\", \"auto\", \"required\", a named function or allowed tools";
    match choice {
        Value::String(word) => match word.as_str() {
            "none" => Ok(ToolChoice::None),
            "auto" => Ok(ToolChoice::Auto),
            "required" if tools.is_empty() => Err(Invalid::bad_value(
                param,
                format!("`{param}` \"required\" needs `tools`"),
            )),
            "required" => Ok(ToolChoice::Required),
            _ => Err(Invalid::expected(param, EXPECTED, choice)),
        },
        Value::Object(fields) => match fields.get("type").and_then(Value::as_str) {
            Some("function") => {
                let name = function_name(choice).ok_or_else(|| {
                    Invalid::expected(param, "an object with `function.name`", choice)
                })?;
                check_offered(param, name, tools)?;
                Ok(ToolChoice::Named(name.to_owned()))
            }
            Some("allowed_tools") => read_allowed_tools(choice, tools),
            Some("custom") => Err(Invalid::not_implemented(param, "a choice of type `custom`")),
            _ => Err(Invalid::expected(param, EXPECTED, choice)),
        },
        _ => Err(Invalid::expected(param, EXPECTED, choice)),
    }
}

fn read_allowed_tools(
    choice: &Value,
    tools: &mut Vec<ToolDefinition>,
) -> Result<ToolChoice, Invalid> {
    // OpenAI's chat API nests the list one level deeper than its responses API does; both come.
    let allowed = choice.get("allowed_tools").unwrap_or(choice);
    let choice = match allowed.get("mode").and_then(Value::as_str) {
        Some("auto") => ToolChoice::Auto,
        Some("required") => ToolChoice::Required,
        _ => {
            let value = allowed.get("mode").unwrap_or(&Value::Null);
            return Err(Invalid::expected(
                "tool_choice.mode",
                "\"auto\" or \"required\"",
                value,
            ));
        }
    };
    let Some(Value::Array(items)) = allowed.get("tools") else {
        let value = allowed.get("tools").unwrap_or(&Value::Null);
        return Err(Invalid::expected(
            "tool_choice.tools",
            "a list of functions",
            value,
        ));
    };
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        let name = function_name(item)
            .ok_or_else(|| Invalid::expected("tool_choice.tools", "a list of functions", item))?;
        check_offered("tool_choice", name, tools)?;
        names.push(name);
    }
    tools.retain(|tool| names.contains(&tool.name.as_str()));
    match choice {
        ToolChoice::Required if tools.is_empty() => Err(Invalid::bad_value(
            "tool_choice.tools",
            "`tool_choice.tools` must name a function where the mode is \"required\", got none",
        )),
        _ if tools.is_empty() => Ok(ToolChoice::None),
        choice => Ok(choice),
    }
}

fn function_name(value: &Value) -> Option<&str> {
    value
        .get("function")
        .unwrap_or(value)
        .get("name")
        .and_then(Value::as_str)
}

fn check_offered(param: &str, name: &str, tools: &[ToolDefinition]) -> Result<(), Invalid> {
    if tools.iter().any(|tool| tool.name == name) {
        return Ok(());
    }
    let list = match param {
        "function_call" => "functions",
        _ => "tools",
    };
    Err(Invalid::bad_value(
        param,
        format!(
            "`{param}` names the function `{}`, which is not in `{list}`",
            cut(name)
        ),
    ))
}
