//! Finds out what shape of message a template expects, by rendering small conversations and looking for what they said.
//!
//! Families disagree: DeepSeek's own template writes arguments as text and finds calls by `content is none`, Qwen's takes
//! objects, some vision models' templates only loop over content parts. Reading the template's code would guess; trying it
//! does not. A template that refuses every probe keeps the defaults.

use serde_json::{Map, Value, json};

use super::{ChatTemplate, Conversation};
use crate::messages::MessageStyle;

const TEXT: &str = "weirprobetext";
const INSTRUCTION: &str = "weirprobeinstruction";
const NO_ROLE: &str = "weirproberole";
const TOOL: &str = "weirprobetool";
const ARGUMENT: &str = "weirprobeargument";

/// The style whose probes the template renders best; the template's present style is the starting point.
pub(super) fn message_style(template: &ChatTemplate) -> MessageStyle {
    let mut style = template.style.clone();
    style.content_as_parts =
        !shows_text(template, json!(TEXT)) && shows_text(template, text_parts(TEXT));
    style.knows_developer = knows_developer(template, &style);

    // The first of equals wins: objects and none are what Hugging Face's own server hands over.
    let mut best = 0;
    for (blank_content_is_none, arguments_as_text) in
        [(true, false), (false, false), (true, true), (false, true)]
    {
        let candidate = MessageStyle {
            blank_content_is_none,
            arguments_as_text,
            ..style.clone()
        };
        let rank = rank(template, &candidate);
        if rank > best {
            best = rank;
            style = candidate;
        }
    }
    if !style.arguments_as_text {
        let call = call_with(&style, json!("weir probe, not an object"));
        style.bad_arguments_in_object = call_text(template, &style, call).is_none();
    }
    style
}

fn shows_text(template: &ChatTemplate, content: Value) -> bool {
    let messages = vec![json!({"role": "user", "content": content})];
    render(template, messages).is_some_and(|text| text.contains(TEXT))
}

/// Whether the role `developer` means something to the template: it shows the message, and otherwise than it shows one of
/// a role that nobody ever heard of.
fn knows_developer(template: &ChatTemplate, style: &MessageStyle) -> bool {
    let shown = |role: &str| {
        let message = json!({"role": role, "content": content(style, INSTRUCTION)});
        render(template, vec![message, user(style)]).filter(|text| text.contains(INSTRUCTION))
    };
    match (shown("developer"), shown(NO_ROLE)) {
        (Some(known), Some(unknown)) => known != unknown.replace(NO_ROLE, "developer"),
        (known, _) => known.is_some(),
    }
}

/// 0: fails; 1: takes a call but no result; 2: prints a `None` that nobody wrote; 3: renders, 4: shows the call as well.
fn rank(template: &ChatTemplate, style: &MessageStyle) -> u8 {
    let arguments = json!({ARGUMENT: 1});
    let arguments = if style.arguments_as_text {
        Value::from(arguments.to_string())
    } else {
        arguments
    };
    let call = call_with(style, arguments);
    let Some(text) = call_text(template, style, call.clone()) else {
        return u8::from(render(template, vec![user(style), call]).is_some());
    };
    // What the template prints where nothing is blank: its own words may well hold "none".
    let plain = render(template, vec![user(style)]).unwrap_or_default();
    if nones(&text) > nones(&plain) {
        2
    } else if text.contains(TOOL) && text.contains(ARGUMENT) {
        4
    } else {
        3
    }
}

/// An assistant message with one call and blank content.
fn call_with(style: &MessageStyle, arguments: Value) -> Value {
    let content = if style.blank_content_is_none {
        Value::Null
    } else {
        content(style, "")
    };
    // Mistral's templates check that ids have nine characters.
    let call = json!({"id": "weirprobe", "type": "function", "function": {"name": TOOL, "arguments": arguments}});
    json!({"role": "assistant", "content": content, "tool_calls": [call]})
}

fn call_text(template: &ChatTemplate, style: &MessageStyle, call: Value) -> Option<String> {
    let result = json!({"role": "tool", "tool_call_id": "weirprobe", "name": TOOL, "content": content(style, TEXT)});
    render(template, vec![user(style), call, result])
}

fn user(style: &MessageStyle) -> Value {
    json!({"role": "user", "content": content(style, TEXT)})
}

fn content(style: &MessageStyle, text: &str) -> Value {
    if style.content_as_parts {
        text_parts(text)
    } else {
        Value::from(text)
    }
}

fn text_parts(text: &str) -> Value {
    json!([{"type": "text", "text": text}])
}

fn nones(text: &str) -> usize {
    text.matches("None").count() + text.matches("none").count()
}

fn render(template: &ChatTemplate, messages: Vec<Value>) -> Option<String> {
    let conversation = Conversation {
        kwargs: Map::new(),
        ..Conversation::default()
    };
    template.render_normalised(messages, &conversation).ok()
}
