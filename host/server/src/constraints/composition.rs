//! How the trees of a request's parsers and the form of its answer go together: reasoning outside, then calls, then the answer.

use std::sync::Arc;

use weir_constrain::{Answer, ConstrainError};
use weir_output::{Configured, Parser, RequestContext, ResponseFormat, Segment, Tool, ToolChoice};
use weir_protocol::{AnswerForm, AnswerFormat};

use super::forms;
use crate::{active_plugins::ActivePlugins, error::ApiError};

/// What must be written, and what stands where the tree leaves its place to the answer.
pub(super) struct Forced {
    pub(super) tree: Segment,
    pub(super) answer: Answer,
}

/// What a chat's answer must be; None if that is the model's to decide.
///
/// # Errors
/// When a parser cannot force what is asked for: 400; when it fails: 500.
pub(super) fn of_chat(
    plugins: &ActivePlugins,
    context: &RequestContext,
    format: Option<&AnswerFormat>,
) -> Result<Option<Forced>, ApiError> {
    let answer = format.map_or(Ok(Answer::Free), forms::answer_of)?;
    let calls = asks_for_calls(context, format.is_some());
    if calls == Calls::Free && format.is_none() {
        return Ok(None);
    }
    let context = forcing_context(plugins, context, format)?;
    let tools = plugins.tool_parser.as_ref();
    let tools = tools.filter(|_| calls != Calls::Free);
    let inner = match tools {
        None => Segment::Answer,
        Some(tools) => call_tree(tools, calls, &context, format)?,
    };
    let is_tools = |parser: &&Configured<dyn Parser>| {
        tools.is_some_and(|tools| Arc::ptr_eq(&parser.plugin, &tools.plugin))
    };
    let reasoning = plugins.reasoning_parser.as_ref();
    let tree = match reasoning.filter(|parser| !is_tools(parser)) {
        Some(reasoning) => filled(reasoning_tree(reasoning, &context)?, &inner),
        None => inner,
    };
    Ok(Some(Forced { tree, answer }))
}

/// What a request says of calls, as far as something is to be forced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    /// Nothing.
    Free,
    /// A call must come.
    Forced,
    /// A call that the model starts is held to its schema.
    Strict,
    /// A call may stand in the place of the answer whose form is given.
    InPlaceOfAnswer,
}

fn asks_for_calls(context: &RequestContext, formatted: bool) -> Calls {
    match context.tool_choice {
        _ if context.tools.is_empty() => Calls::Free,
        ToolChoice::None => Calls::Free,
        ToolChoice::Required | ToolChoice::Named(_) => Calls::Forced,
        ToolChoice::Auto if formatted => Calls::InPlaceOfAnswer,
        ToolChoice::Auto if context.tools.iter().any(|tool| tool.strict) => Calls::Strict,
        ToolChoice::Auto => Calls::Free,
    }
}

/// What the parsers are told when they are asked for their trees: schemas that can be held to, as a format that is no JSON makes
/// its own of them. A parser forces the calls of all tools or of none: where the choice is the model's, those that are not strict
/// are held to an object, as their caller expects no more.
fn forcing_context(
    plugins: &ActivePlugins,
    context: &RequestContext,
    format: Option<&AnswerFormat>,
) -> Result<RequestContext, ApiError> {
    let mut context = context.clone();
    let choice = context.tool_choice.clone();
    let is_held = |tool: &Tool| match &choice {
        ToolChoice::None => false,
        ToolChoice::Auto => tool.strict,
        ToolChoice::Required => true,
        ToolChoice::Named(name) => tool.name == *name,
    };
    for (index, tool) in context.tools.iter_mut().enumerate() {
        tool.parameters = match is_held(tool) {
            true => weir_constrain::arguments_schema(&tool.parameters)
                .map_err(|error| unenforceable(index, tool, &error))?,
            false => r#"{"type": "object"}"#.to_owned(),
        };
        tool.strict = true;
    }
    if matches!(context.tool_choice, ToolChoice::Named(_)) {
        // As OpenAI's: the one call and no more of it.
        context.parallel_tool_calls = false;
    }
    context.response_format = response_format(format);
    let tools = plugins.tool_parser.iter();
    context.tool_markers = tools
        .flat_map(|parser| parser.plugin.info().markers.iter().cloned())
        .collect();
    Ok(context)
}

/// The 400 of a tool whose arguments cannot be held to their schema.
fn unenforceable(index: usize, tool: &Tool, error: &ConstrainError) -> ApiError {
    let message = format!("the arguments of `{}` cannot be forced: {error}", tool.name);
    let param = format!("tools[{index}].function.parameters");
    ApiError::bad_request(message).with_param(param)
}

/// What a plugin may know of the form of the answer.
pub fn response_format(format: Option<&AnswerFormat>) -> ResponseFormat {
    match format.map(|format| &format.form) {
        None => ResponseFormat::Text,
        Some(AnswerForm::JsonSchema(schema)) => ResponseFormat::JsonSchema(schema.to_string()),
        // The contract knows JSON alone. Any other form bears as little beside it, and that a tree leaves it its place is checked.
        Some(_) => ResponseFormat::JsonObject,
    }
}

/// How the tool parser writes calls, its reasoning in front if it reads that too.
fn call_tree(
    parser: &Configured<dyn Parser>,
    calls: Calls,
    context: &RequestContext,
    format: Option<&AnswerFormat>,
) -> Result<Segment, ApiError> {
    let tree = parser.plugin.grammar(context)?;
    let tree = tree.filter(|tree| match calls {
        // Where the answer may be anything, no call is forced.
        Calls::Forced => !holds_answer(tree),
        Calls::InPlaceOfAnswer => holds_answer(tree),
        Calls::Free | Calls::Strict => true,
    });
    tree.ok_or_else(|| {
        let name = &parser.plugin.info().name;
        let (why, param) = match (calls, format) {
            (Calls::InPlaceOfAnswer, Some(format)) => (
                format!(
                    "the tool-call parser `{name}` cannot tell a call from the answer that `{}` asks for: set `tool_choice` to \"none\" or \"required\", or leave one of `tools` and `{0}` out",
                    format.param
                ),
                format.param.clone(),
            ),
            (Calls::Strict, _) => (
                format!(
                    "the tool-call parser `{name}` cannot hold a call to its schema where the model chooses whether to call: set `tool_choice` to \"required\" or to a function, leave `strict` out, or start the server with another --tool-call-parser"
                ),
                "tools".to_owned(),
            ),
            _ => (
                format!(
                    "the tool-call parser `{name}` cannot force this call: set `tool_choice` to \"auto\", or start the server with another --tool-call-parser"
                ),
                "tool_choice".to_owned(),
            ),
        };
        ApiError::bad_request(why).with_param(param)
    })
}

/// How the reasoning parser lets the model reason in front of what is forced.
fn reasoning_tree(
    parser: &Configured<dyn Parser>,
    context: &RequestContext,
) -> Result<Segment, ApiError> {
    let tree = parser.plugin.grammar(context)?;
    tree.filter(holds_answer).ok_or_else(|| {
        let message = format!(
            "the reasoning parser `{}` does not say where an answer begins, so none can be forced: start the server with another --reasoning-parser or `none`",
            parser.plugin.info().name
        );
        ApiError::bad_request(message)
    })
}

/// What reasoning stands between.
pub(super) struct ReasoningMarkers {
    /// Empty where the prompt ends within the reasoning.
    pub(super) start: String,
    pub(super) end: String,
}

/// The markers of the reasoning that an answer to this request may begin with: a reasoning parser's tree says them.
///
/// # Errors
/// When the plugin fails.
pub(super) fn reasoning_markers(
    parser: &Configured<dyn Parser>,
    context: &RequestContext,
) -> Result<Option<ReasoningMarkers>, ApiError> {
    let context = RequestContext {
        tools: Vec::new(),
        tool_choice: ToolChoice::None,
        ..context.clone()
    };
    let tree = parser.plugin.grammar(&context)?;
    let mut start = String::new();
    let end = tree.and_then(|tree| first_end(&tree, &mut start).ok()?);
    Ok(end.map(|end| ReasoningMarkers { start, end }))
}

/// The marker that ends the free text at a tree's beginning, and what is written before that text. `Err` where something else
/// comes first.
fn first_end(tree: &Segment, start: &mut String) -> Result<Option<String>, NotReasoning> {
    match tree {
        Segment::Until(end) if !end.is_empty() => Ok(Some(end.clone())),
        Segment::Marker(text) | Segment::Literal(text) => {
            start.push_str(text);
            Ok(None)
        }
        Segment::Sequence(parts) => {
            for (at, part) in parts.iter().enumerate() {
                if let (Segment::TextWithout(_), Some(Segment::Marker(end))) =
                    (part, parts.get(at + 1))
                {
                    return Ok(Some(end.clone()));
                }
                if let Some(end) = first_end(part, start)? {
                    return Ok(Some(end));
                }
            }
            Ok(None)
        }
        Segment::Repeat { segment, .. } => first_end(segment, start),
        _ => Err(NotReasoning),
    }
}

/// A tree that does not begin with reasoning.
struct NotReasoning;

fn holds_answer(tree: &Segment) -> bool {
    match tree {
        Segment::Answer => true,
        Segment::Sequence(parts) | Segment::Alternative(parts) => parts.iter().any(holds_answer),
        Segment::Repeat {
            segment, separator, ..
        } => holds_answer(segment) || separator.as_deref().is_some_and(holds_answer),
        _ => false,
    }
}

/// The tree with another in the place of the answer.
fn filled(tree: Segment, inner: &Segment) -> Segment {
    let all = |parts: Vec<Segment>| parts.into_iter().map(|part| filled(part, inner)).collect();
    match tree {
        Segment::Answer => inner.clone(),
        Segment::Sequence(parts) => Segment::Sequence(all(parts)),
        Segment::Alternative(parts) => Segment::Alternative(all(parts)),
        Segment::Repeat {
            segment,
            separator,
            min,
            max,
        } => Segment::Repeat {
            segment: Box::new(filled(*segment, inner)),
            separator,
            min,
            max,
        },
        other => other,
    }
}
