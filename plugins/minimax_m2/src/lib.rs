//! Reasoning and tool parser for the format of MiniMax-M2: the reasoning, `</think>`, the answer, and calls in
//! `<minimax:tool_call>`, each an `<invoke name="NAME">` that holds a `<parameter name="KEY">` for each argument.
//!
//! The prompt ends with `<think>`, so the model writes the end marker alone, and an output starts inside whatever the
//! template says. These models are known to call a tool without ending the reasoning first, so a block's marker ends it,
//! if it is a token of its own. A value stands between its tags as it is, without line breaks of the template's.
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
const CALLS: &str = "<minimax:tool_call>";
const CALLS_END: &str = "</minimax:tool_call>";

static TOOLS: XmlFormat = XmlFormat {
    tags: &[
        Tag::token(CALLS, TagRole::BlockStart),
        Tag::token(CALLS_END, TagRole::BlockEnd),
        Tag::text("<invoke name=", TagRole::CallStart),
        Tag::text("</invoke>", TagRole::CallEnd),
        Tag::text("<parameter name=", TagRole::ParameterStart),
        Tag::text("</parameter>", TagRole::ParameterEnd),
    ],
    names: Names::InTag,
    line_breaks: false,
    string_attribute: "",
};

static REASONING: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed("]~b]ai"),
    start: Cow::Borrowed(THINK),
    end: Cow::Borrowed(THINK_END),
    starts_inside: true,
    tool_marker_ends: true,
};

static FORCED: ForcedCalls = ForcedCalls {
    block: Some(["<minimax:tool_call>\n", CALLS_END]),
    call: ["<invoke name=\"", "</invoke>\n"],
    separator: "",
    body,
};

static PARAMETERS: ForcedParameters = ForcedParameters {
    start: |name, _| Segment::Literal(format!("<parameter name=\"{name}\">")),
    end: "</parameter>",
    after: "\n",
};

fn body(tool: &Tool) -> Segment {
    Segment::sequence([
        Segment::Literal(format!("{}\">\n", tool.name)),
        PARAMETERS.of(tool),
    ])
}

/// One choice's parsing.
#[derive(Debug)]
pub struct MinimaxM2(Chained<XmlCalls>);

impl Parser for MinimaxM2 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "minimax_m2".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                tools: true,
            },
            markers: [THINK, CALLS].map(Into::into).into(),
            special_tokens: [THINK, THINK_END, CALLS, CALLS_END].map(Into::into).into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        let tools = XmlCalls::new(&TOOLS, context);
        Self(Chained::new(&REASONING, tools, &[CALLS], context))
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

weir_plugin_sdk::export_parser!(MinimaxM2);

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
        let context = context("]~b]ai\n<think>\n");
        let grammar = MinimaxM2::grammar("{}", &context).expect("a call is forced");
        for (all, rest) in [(false, "}"), (true, ", \"unit\": \"C\"}")] {
            let answer = text(&written(all).all(&grammar));
            let read = Read::of(&events::<MinimaxM2>("{}", &context, &[answer]));
            assert_eq!(read.reasoning, "a \"b\" <");
            let expected = String::from("{\"city\": \"a \\\"b\\\" <\", \"days\": 12") + rest;
            let call = ("get_weather".into(), expected);
            assert_eq!(read.calls, vec![call; 1 + usize::from(all)]);
        }
    }

    #[test]
    fn a_call_is_forced_as_the_template_writes_it() {
        let grammar =
            MinimaxM2::grammar("{}", &context("]~b]ai\n<think>\n")).expect("a call is forced");
        assert_eq!(
            written(false).all(&grammar),
            "a \"b\" <</think><minimax:tool_call>\n<invoke name=\"get_weather\">\n\
             <parameter name=\"city\">a \"b\" <</parameter>\n<parameter name=\"days\">12</parameter>\n</invoke>\n\
             </minimax:tool_call>"
        );
        let two = written(true).all(&grammar);
        assert!(two.contains("</invoke>\n<invoke name="), "{two}");
    }
}
