//! What each parser of plugins.toml forces, and what it is refused by name.

use serde_json::json;
use weir_output::{Configured, OnError, Tool, ToolChoice};
use weir_protocol::AnswerForm;

use super::*;
use crate::wiring::{PluginSources, registry};

fn tool(name: &str) -> Tool {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
        "required": ["a"], "additionalProperties": false});
    Tool {
        name: name.to_owned(),
        description: None,
        parameters: schema.to_string(),
        strict: false,
    }
}

fn context(choice: ToolChoice, strict: bool) -> RequestContext {
    let mut tools = vec![tool("first"), tool("second")];
    tools[0].strict = strict;
    RequestContext {
        tools,
        tool_choice: choice,
        parallel_tool_calls: true,
        ..RequestContext::default()
    }
}

fn json_object() -> AnswerFormat {
    AnswerFormat {
        param: "response_format".to_owned(),
        form: AnswerForm::JsonObject,
    }
}

/// A byte a token: every marker is text.
fn constraints() -> Arc<ModelConstraints> {
    let tokenizer = Arc::new(Tokenizer::from_pieces(Vec::new()));
    ModelConstraints::new(tokenizer, Arc::default())
}

/// The parsers that read calls, or reasoning, by their names.
fn parsers(wanted: fn(weir_output::Roles) -> bool) -> Vec<(String, ActivePlugins)> {
    let registry = registry(&PluginSources::default()).expect("the built-in plugins");
    let names = registry.status().into_iter().map(|status| status.name);
    let parsers = names.filter_map(|name| {
        let parser = registry.parser(&name).ok()?;
        let roles = parser.info().roles;
        let parser = || Configured::new(Arc::clone(&parser), OnError::Fail);
        let plugins = ActivePlugins {
            reasoning_parser: roles.reasoning.then(parser),
            tool_parser: roles.tools.then(parser),
            ..ActivePlugins::default()
        };
        wanted(roles).then_some((name, plugins))
    });
    let parsers: Vec<_> = parsers.collect();
    assert!(parsers.len() > 5);
    parsers
}

/// Those that refuse, by name; each must say its name and the field.
fn refusing(
    parsers: &[(String, ActivePlugins)],
    context: &RequestContext,
    format: Option<&AnswerFormat>,
    param: &str,
) -> Vec<String> {
    let constraints = constraints();
    let refuses = |(name, plugins): &(String, ActivePlugins)| match constraints
        .of_chat(plugins, context, format)
    {
        Ok(made) => {
            assert!(made.is_some(), "{name} forces nothing");
            None
        }
        Err(error) => {
            let own = plugins.tool_parser.as_ref()?.plugin.info().name.clone();
            assert_eq!(error.status(), 400, "{name}: {error:?}");
            let body = error.into_body();
            assert!(
                body.message.contains(&format!("`{own}`")),
                "{name}: {}",
                body.message
            );
            assert_eq!(
                body.param.as_deref(),
                Some(param),
                "{name}: {}",
                body.message
            );
            Some(name.clone())
        }
    };
    parsers.iter().filter_map(refuses).collect()
}

/// Calls of these begin as an answer in JSON may: nothing tells them apart where the model chooses.
const WITHOUT_MARKER: [&str; 3] = ["llama3", "pythonic", "xlam"];

#[test]
fn every_parser_forces_calls() {
    let parsers = parsers(|roles| roles.tools);
    for choice in [ToolChoice::Required, ToolChoice::Named("second".to_owned())] {
        let context = context(choice, false);
        assert_eq!(refusing(&parsers, &context, None, "tool_choice"), [""; 0]);
    }
}

#[test]
fn every_parser_holds_calls_that_the_model_starts() {
    let parsers = parsers(|roles| roles.tools);
    let strict = context(ToolChoice::Auto, true);
    assert_eq!(refusing(&parsers, &strict, None, "tools"), [""; 0]);
    let free = context(ToolChoice::Auto, false);
    let format = json_object();
    let refused = refusing(&parsers, &free, Some(&format), "response_format");
    assert_eq!(refused, WITHOUT_MARKER);
}

#[test]
fn every_parser_lets_the_model_reason_before_its_answer() {
    let parsers = parsers(|roles| roles.reasoning);
    let plain = RequestContext {
        tool_choice: ToolChoice::None,
        ..RequestContext::default()
    };
    let format = json_object();
    assert_eq!(
        refusing(&parsers, &plain, Some(&format), "response_format"),
        [""; 0]
    );
    let constraints = constraints();
    for (name, plugins) in &parsers {
        let budget = constraints
            .reasoning_budget(plugins, &plain, Some(3))
            .expect("no failure");
        assert!(budget.is_some(), "{name} has no end of reasoning");
    }
}

#[test]
fn nothing_is_forced_unasked() {
    let constraints = constraints();
    for (name, plugins) in parsers(|roles| roles.tools) {
        let free = context(ToolChoice::Auto, false);
        let made = constraints
            .of_chat(&plugins, &free, None)
            .expect("nothing to refuse");
        assert!(made.is_none(), "{name}");
    }
}
