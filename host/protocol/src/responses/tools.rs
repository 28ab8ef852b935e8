//! The tools of a responses request: functions, groups of them, freeform tools; and which may be called.
//!
//! A model knows one flat list of functions. So a function of a namespace is offered as `NAMESPACE__NAME`, and a custom tool,
//! whose input is any text, as a function with the one string argument `input`; [`ToolNames`] finds the way back. Tools that
//! run on OpenAI's servers, or that a client must be able to run without their definition being sent, are left out.

use serde_json::{Map, Value, json};

use crate::{
    invalid::{Invalid, cut},
    tools::{self, ToolChoice, ToolDefinition, read_function},
};

/// What client and model call a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolName {
    /// The model's name for it.
    pub model: String,
    /// The client's name for it.
    pub name: String,
    /// The group the client has it in.
    pub namespace: Option<String>,
    /// Whether it takes any text instead of arguments.
    pub custom: bool,
}

/// The names of all offered tools; no two have the same name for the model and stand for different tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolNames(Vec<ToolName>);

impl ToolNames {
    /// The tool that the model calls so.
    pub fn of_model(&self, name: &str) -> Option<&ToolName> {
        self.0.iter().find(|tool| tool.model == name)
    }

    /// The model's name for what the client calls so.
    fn to_model(&self, name: &str, namespace: Option<&str>) -> Option<&str> {
        let named = |tool: &&ToolName| {
            tool.name == name && (namespace.is_none() || tool.namespace.as_deref() == namespace)
        };
        self.0.iter().find(named).map(|tool| tool.model.as_str())
    }
}

/// Tools as a request offers them.
#[derive(Debug, Default)]
pub(super) struct OfferedTools {
    /// As the model is offered them.
    pub(super) definitions: Vec<ToolDefinition>,
    /// Both sides' names.
    pub(super) names: ToolNames,
    /// As they came.
    pub(super) given: Vec<Value>,
    /// The paths of those that are left out, with their type.
    pub(super) left_out: Vec<String>,
}

/// Tools that do not run here. OpenAI's dated names are those of previews.
const HOSTED: &[&str] = &[
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "file_search",
    "computer",
    "computer_use",
    "computer_use_preview",
    "code_interpreter",
    "image_generation",
    "mcp",
    "local_shell",
    "shell",
    "apply_patch",
    "tool_search",
    "programmatic_tool_calling",
];

/// The model's name for a tool: client and replayed calls say the same.
pub(super) fn model_name(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        // Some groups' names bring the separator.
        Some(namespace) if namespace.ends_with("__") => format!("{namespace}{name}"),
        Some(namespace) => format!("{namespace}__{name}"),
        None => name.to_owned(),
    }
}

impl OfferedTools {
    /// Reads `tools`.
    pub(super) fn read(tools: Option<Value>) -> Result<Self, Invalid> {
        let given = match tools {
            None => Vec::new(),
            Some(Value::Array(tools)) => tools,
            Some(other) => return Err(Invalid::expected("tools", "a list of tools", &other)),
        };
        let mut offered = Self::default();
        for (index, tool) in given.iter().enumerate() {
            offered.add(&format!("tools[{index}]"), tool, None)?;
        }
        Ok(Self { given, ..offered })
    }

    fn add(&mut self, path: &str, tool: &Value, namespace: Option<&str>) -> Result<(), Invalid> {
        let Value::Object(fields) = tool else {
            return Err(Invalid::expected(path, "an object", tool));
        };
        match fields.get("type").and_then(Value::as_str) {
            Some("function") => self.offer(path, read_function(path, fields)?, namespace, false),
            Some("custom") => self.offer(path, read_custom(path, fields)?, namespace, true),
            Some("namespace") if namespace.is_none() => self.add_namespace(path, fields),
            Some(hosted) if HOSTED.contains(&hosted) => {
                self.left_out.push(format!("{path}.{hosted}"));
                Ok(())
            }
            _ => {
                let value = fields.get("type").unwrap_or(&Value::Null);
                let expected = "\"function\", \"custom\", \"namespace\" or a hosted tool";
                Err(Invalid::expected(format!("{path}.type"), expected, value))
            }
        }
    }

    fn add_namespace(&mut self, path: &str, fields: &Map<String, Value>) -> Result<(), Invalid> {
        let name = match fields.get("name") {
            Some(Value::String(name)) if !name.is_empty() => name,
            other => {
                let value = other.unwrap_or(&Value::Null);
                let expected = "a string that is not empty";
                return Err(Invalid::expected(format!("{path}.name"), expected, value));
            }
        };
        let path = format!("{path}.tools");
        let Some(Value::Array(tools)) = fields.get("tools") else {
            let value = fields.get("tools").unwrap_or(&Value::Null);
            return Err(Invalid::expected(path, "a list of tools", value));
        };
        for (index, tool) in tools.iter().enumerate() {
            self.add(&format!("{path}[{index}]"), tool, Some(name))?;
        }
        Ok(())
    }

    fn offer(
        &mut self,
        path: &str,
        definition: ToolDefinition,
        namespace: Option<&str>,
        custom: bool,
    ) -> Result<(), Invalid> {
        let name = ToolName {
            model: model_name(namespace, &definition.name),
            name: definition.name,
            namespace: namespace.map(str::to_owned),
            custom,
        };
        if let Some(other) = self.names.of_model(&name.model)
            && *other != name
        {
            let message = format!(
                "`{path}.name`: the model would know two different tools as `{}`; rename one",
                cut(&name.model)
            );
            return Err(Invalid::bad_value(format!("{path}.name"), message));
        }
        let mut function = Map::new();
        function.insert("name".to_owned(), name.model.as_str().into());
        if let Some(description) = &definition.description {
            function.insert("description".to_owned(), description.as_str().into());
        }
        function.insert("parameters".to_owned(), definition.parameters.clone());
        self.definitions.push(ToolDefinition {
            name: name.model.clone(),
            raw: json!({"type": "function", "function": function}),
            ..definition
        });
        self.names.0.push(name);
        Ok(())
    }
}

/// A custom tool as a function; a grammar for its input is told in the description, nothing holds the model to it.
fn read_custom(path: &str, fields: &Map<String, Value>) -> Result<ToolDefinition, Invalid> {
    let mut definition = read_function(path, fields)?;
    let mut description = definition.description.unwrap_or_default();
    let format = fields.get("format").unwrap_or(&Value::Null);
    match (format["type"].as_str(), format["definition"].as_str()) {
        (Some("text"), _) => {}
        (None, _) if format.is_null() => {}
        (Some("grammar"), Some(grammar)) => {
            let syntax = format["syntax"].as_str().unwrap_or("lark");
            description.push_str(&format!(
                "\n\nThe input must follow this {syntax} grammar:\n{grammar}"
            ));
        }
        _ => {
            let expected = "`{\"type\": \"text\"}` or a grammar with its `definition`";
            return Err(Invalid::expected(
                format!("{path}.format"),
                expected,
                format,
            ));
        }
    }
    definition.description = Some(description).filter(|text| !text.is_empty());
    definition.parameters = json!({
        "type": "object",
        "properties": {"input": {"type": "string", "description": "The tool's whole input, as plain text"}},
        "required": ["input"],
        "additionalProperties": false,
    });
    Ok(definition)
}

/// Reads `tool_choice` as chat does, by the client's names; a list of allowed tools narrows what is offered.
pub(super) fn read_choice(
    choice: &Value,
    offered: &mut OfferedTools,
) -> Result<ToolChoice, Invalid> {
    const PARAM: &str = "tool_choice";
    match choice.get("type").and_then(Value::as_str) {
        Some(hosted) if HOSTED.contains(&hosted) => {
            let what = format!("the forced choice of the hosted tool `{hosted}`");
            Err(Invalid::not_implemented(PARAM, &what))
        }
        Some("allowed_tools") => {
            let Some(Value::Array(allowed)) = choice.get("tools") else {
                return tools::read_choice("tool_choice", choice, &mut offered.definitions);
            };
            let is_hosted = |tool: &&Value| {
                let kind = tool.get("type").and_then(Value::as_str);
                kind.is_some_and(|kind| HOSTED.contains(&kind))
            };
            let own = allowed.iter().filter(|tool| !is_hosted(tool));
            let own: Vec<Value> = own.map(|tool| renamed(tool, &offered.names)).collect();
            let choice = json!({"type": "allowed_tools", "mode": choice.get("mode"), "tools": own});
            tools::read_choice("tool_choice", &choice, &mut offered.definitions)
        }
        Some("function" | "custom") => {
            let choice = renamed(choice, &offered.names);
            tools::read_choice("tool_choice", &choice, &mut offered.definitions)
        }
        _ => tools::read_choice("tool_choice", choice, &mut offered.definitions),
    }
}

/// The tool as a function under the model's name, if it is offered.
fn renamed(tool: &Value, names: &ToolNames) -> Value {
    let namespace = tool.get("namespace").and_then(Value::as_str);
    let Some(name) = tool.get("name").and_then(Value::as_str) else {
        return tool.clone();
    };
    let name = names.to_model(name, namespace).unwrap_or(name);
    json!({"type": "function", "name": name})
}
