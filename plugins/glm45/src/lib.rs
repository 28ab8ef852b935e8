//! Reasoning and tool parser for the format of GLM-4.5, 4.6, 4.7 and 5: `<think>` around the reasoning, `<tool_call>` around a
//! call's name and its arguments, each an `<arg_key>` and an `<arg_value>`. The older models put every tag on its own
//! line, the newer ones none; both are read alike, and a value has no line breaks but its own in either.
//!
//! Who writes `<think>` the prompt tells: it ends with the marker (4.7), with an empty block or the end marker (thinking
//! switched off), or with neither (4.5 and 4.6: the model writes it or answers at once). These models are known to call
//! a tool without ending the reasoning first, so a call's marker ends it, if it is a token of its own.
//!
//! Only the markers are this crate's; how they are read is the SDK's [`xml_calls`] and [`reasoning`].
//!
//! [`xml_calls`]: weir_plugin_sdk::xml_calls
//! [`reasoning`]: weir_plugin_sdk::reasoning

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{borrow::Cow, string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment, Tool,
    chained::{self, Chained},
    forced_calls::ForcedCalls,
    forced_xml_calls::ForcedParameters,
    reasoning::ReasoningFormat,
    xml_calls::{Names, Tag, TagRole, XmlCalls, XmlFormat},
};

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";
const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";
const KEY: &str = "<arg_key>";
const KEY_END: &str = "</arg_key>";
const VALUE: &str = "<arg_value>";
const VALUE_END: &str = "</arg_value>";

static TOOLS: XmlFormat = XmlFormat {
    tags: &[
        Tag::token(CALL, TagRole::CallStart),
        Tag::token(CALL_END, TagRole::CallEnd),
        Tag::token(KEY, TagRole::ParameterStart),
        Tag::token(KEY_END, TagRole::NameEnd),
        Tag::token(VALUE, TagRole::ValueStart),
        Tag::token(VALUE_END, TagRole::ParameterEnd),
    ],
    names: Names::AfterTag,
    line_breaks: false,
    string_attribute: "",
};

static REASONING: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed("<|assistant|>"),
    start: Cow::Borrowed(THINK),
    end: Cow::Borrowed(THINK_END),
    starts_inside: false,
    tool_marker_ends: true,
};

static FORCED: ForcedCalls = ForcedCalls {
    block: None,
    call: [CALL, CALL_END],
    separator: "",
    body,
};

static PARAMETERS: ForcedParameters = ForcedParameters {
    start,
    end: VALUE_END,
    after: "",
};

fn body(tool: &Tool) -> Segment {
    Segment::sequence([
        Segment::literal(tool.name.as_str()),
        PARAMETERS.of(tool),
        line_break(),
    ])
}

fn start(name: &str, _: bool) -> Segment {
    Segment::sequence([
        line_break(),
        Segment::marker(KEY),
        Segment::literal(name),
        Segment::marker(KEY_END),
        line_break(),
        Segment::marker(VALUE),
    ])
}

/// The line break that the older models write between tags and the newer ones do not.
fn line_break() -> Segment {
    Segment::literal("\n").optional()
}

/// One choice's parsing.
#[derive(Debug)]
pub struct Glm45(Chained<XmlCalls>);

impl Parser for Glm45 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "glm45".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                tools: true,
            },
            markers: [THINK, CALL].map(Into::into).into(),
            special_tokens: [
                THINK, THINK_END, CALL, CALL_END, KEY, KEY_END, VALUE, VALUE_END,
            ]
            .map(Into::into)
            .into(),
            stop_tokens: ["<|observation|>", "<|user|>"].map(Into::into).into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        let tools = XmlCalls::new(&TOOLS, context);
        Self(Chained::new(&REASONING, tools, &[CALL], context))
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }

    fn grammar(_: &str, context: &RequestContext) -> Option<Segment> {
        let tools = FORCED.grammar(context);
        Some(chained::grammar(&REASONING, tools, context))
    }
}

weir_plugin_sdk::export_parser!(Glm45);

#[cfg(test)]
mod tests {
    use alloc::vec;

    use weir_plugin_sdk::testing::{Read, Written, events, required, text, tool};

    use super::*;

    fn context(prompt_tail: &str) -> RequestContext {
        RequestContext {
            prompt_tail: prompt_tail.into(),
            parallel_tool_calls: true,
            ..required([tool(
                "get_weather",
                r#"{"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"},
                "unit": {"enum": ["C", "F"]}}, "required": ["city", "days"]}"#,
            )])
        }
    }

    /// An answer; if `all`, with everything optional in it, and two calls.
    fn written(all: bool) -> Written<'static> {
        Written {
            text: "a \"b\" <",
            json: &["12"],
            optional: all,
            calls: 1 + usize::from(all),
        }
    }

    #[test]
    fn what_is_forced_is_read_back() {
        let context = context("<|assistant|><think>");
        let grammar = Glm45::grammar("{}", &context).expect("a call is forced");
        for (all, rest) in [(false, "}"), (true, ", \"unit\": \"C\"}")] {
            let answer = text(&written(all).all(&grammar));
            let read = Read::of(&events::<Glm45>("{}", &context, &[answer]));
            assert_eq!(read.reasoning, "a \"b\" <");
            let expected = String::from("{\"city\": \"a \\\"b\\\" <\", \"days\": 12") + rest;
            let call = ("get_weather".into(), expected);
            assert_eq!(read.calls, vec![call; 1 + usize::from(all)]);
        }
    }

    #[test]
    fn a_call_is_forced_as_the_template_writes_it() {
        let grammar =
            Glm45::grammar("{}", &context("<|assistant|><think>")).expect("a call is forced");
        assert_eq!(
            written(false).all(&grammar),
            "a \"b\" <</think><tool_call>get_weather<arg_key>city</arg_key><arg_value>a \"b\" <</arg_value>\
             <arg_key>days</arg_key><arg_value>12</arg_value></tool_call>"
        );
    }
}
