//! Reasoning and tool parser for the format of Step3: the reasoning, `</think>`, the answer, and calls between
//! `<｜tool_calls_begin｜>` and `<｜tool_calls_end｜>` (U+FF5C bars), each `<｜tool_call_begin｜>function<｜tool_sep｜>`, a
//! `<steptml:invoke name="NAME">` that holds a `<steptml:parameter name="KEY">` for each argument, and
//! `<｜tool_call_end｜>`. The type before the separator may be missing.
//!
//! The prompt ends with `<think>`, so the model writes the end marker alone, and an output starts inside whatever the
//! template says. Step3.5 and its successors write another format, that of `qwen3_coder`.
//!
//! Only the markers are this crate's; how they are read is the SDK's [`xml_calls`] and [`reasoning`].
//!
//! [`xml_calls`]: weir_plugin_sdk::xml_calls
//! [`reasoning`]: weir_plugin_sdk::reasoning

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{borrow::Cow, format, string::String, vec::Vec};

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
const CALLS: &str = "<｜tool_calls_begin｜>";
const CALLS_END: &str = "<｜tool_calls_end｜>";
const CALL: &str = "<｜tool_call_begin｜>";
const CALL_END: &str = "<｜tool_call_end｜>";
const SEPARATOR: &str = "<｜tool_sep｜>";

static TOOLS: XmlFormat = XmlFormat {
    tags: &[
        Tag::token(CALLS, TagRole::BlockStart),
        Tag::token(CALLS_END, TagRole::BlockEnd),
        Tag::token(CALL, TagRole::BlockStart),
        Tag::token(CALL_END, TagRole::BlockEnd),
        Tag::token(SEPARATOR, TagRole::Separator),
        Tag::text("<steptml:invoke name=", TagRole::CallStart),
        Tag::text("</steptml:invoke>", TagRole::CallEnd),
        Tag::text("<steptml:parameter name=", TagRole::ParameterStart),
        Tag::text("</steptml:parameter>", TagRole::ParameterEnd),
    ],
    names: Names::InTag,
    line_breaks: false,
    string_attribute: "",
};

static REASONING: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed("<|BOT|>"),
    start: Cow::Borrowed(THINK),
    end: Cow::Borrowed(THINK_END),
    starts_inside: true,
    tool_marker_ends: false,
};

static FORCED: ForcedCalls = ForcedCalls {
    block: Some([CALLS, CALLS_END]),
    call: [CALL, CALL_END],
    separator: "",
    body,
};

static PARAMETERS: ForcedParameters = ForcedParameters {
    start: |name, _| Segment::Literal(format!("<steptml:parameter name=\"{name}\">")),
    end: "</steptml:parameter>",
    after: "",
};

fn body(tool: &Tool) -> Segment {
    Segment::sequence([
        Segment::literal("function"),
        Segment::marker(SEPARATOR),
        Segment::Literal(format!("<steptml:invoke name=\"{}\">", tool.name)),
        PARAMETERS.of(tool),
        Segment::literal("</steptml:invoke>"),
    ])
}

/// One choice's parsing.
#[derive(Debug)]
pub struct Step3(Chained<XmlCalls>);

impl Parser for Step3 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "step3".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                tools: true,
            },
            markers: [THINK, CALLS, CALL].map(Into::into).into(),
            special_tokens: [
                THINK, THINK_END, CALLS, CALLS_END, CALL, CALL_END, SEPARATOR,
            ]
            .map(Into::into)
            .into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        let tools = XmlCalls::new(&TOOLS, context);
        Self(Chained::new(&REASONING, tools, &[CALLS, CALL], context))
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

weir_plugin_sdk::export_parser!(Step3);

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
        let context = context("");
        let grammar = Step3::grammar("{}", &context).expect("a call is forced");
        for (all, rest) in [(false, "}"), (true, ", \"unit\": \"C\"}")] {
            let answer = text(&written(all).all(&grammar));
            let read = Read::of(&events::<Step3>("{}", &context, &[answer]));
            assert_eq!(read.reasoning, "a \"b\" <");
            let expected = String::from("{\"city\": \"a \\\"b\\\" <\", \"days\": 12") + rest;
            let call = ("get_weather".into(), expected);
            assert_eq!(read.calls, vec![call; 1 + usize::from(all)]);
        }
    }

    #[test]
    fn a_call_is_forced_as_the_template_writes_it() {
        let grammar = Step3::grammar("{}", &context("")).expect("a call is forced");
        assert_eq!(
            written(false).all(&grammar),
            "a \"b\" <</think><｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name=\"get_weather\">\
             <steptml:parameter name=\"city\">a \"b\" <</steptml:parameter>\
             <steptml:parameter name=\"days\">12</steptml:parameter>\
             </steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>"
        );
    }
}
