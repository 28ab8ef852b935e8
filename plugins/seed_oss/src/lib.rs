//! Reasoning and tool parser for Seed-OSS: reasoning between `<seed:think>` and `</seed:think>`, then calls as Qwen3 Coder
//! writes them, between `<seed:tool_call>` and `</seed:tool_call>`.
//!
//! Its template writes a value right between its tags, so every line break there is the value's. What the model notes on
//! its thinking budget (`<seed:cot_budget_reflect>`) is reasoning like any other. Only the markers are this crate's; the
//! rest is the SDK's [`reasoning`] and [`xml_calls`].
//!
//! [`reasoning`]: weir_plugin_sdk::reasoning
//! [`xml_calls`]: weir_plugin_sdk::xml_calls

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

const THINK: &str = "<seed:think>";
const THINK_END: &str = "</seed:think>";
/// Around what the model notes on its thinking budget, which is a part of the reasoning.
const REFLECT: &str = "<seed:cot_budget_reflect>";
const REFLECT_END: &str = "</seed:cot_budget_reflect>";
const START: &str = "<seed:tool_call>";
const END: &str = "</seed:tool_call>";

static REASONING: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed("<seed:bos>"),
    start: Cow::Borrowed(THINK),
    end: Cow::Borrowed(THINK_END),
    starts_inside: false,
    tool_marker_ends: false,
};

static FORMAT: XmlFormat = XmlFormat {
    tags: &[
        Tag::token(START, TagRole::BlockStart),
        Tag::token(END, TagRole::BlockEnd),
        Tag::text("<function=", TagRole::CallStart),
        Tag::text("</function>", TagRole::CallEnd),
        Tag::text("<parameter=", TagRole::ParameterStart),
        Tag::text("</parameter>", TagRole::ParameterEnd),
    ],
    names: Names::InTag,
    line_breaks: false,
    string_attribute: "",
};

static FORCED: ForcedCalls = ForcedCalls {
    block: None,
    call: [START, END],
    separator: "\n",
    body,
};

static PARAMETERS: ForcedParameters = ForcedParameters {
    start: |name, _| Segment::Literal(format!("<parameter={name}>")),
    end: "</parameter>",
    after: "\n",
};

fn body(tool: &Tool) -> Segment {
    Segment::sequence([
        Segment::Literal(format!("\n<function={}>\n", tool.name)),
        PARAMETERS.of(tool),
        Segment::literal("</function>\n"),
    ])
}

/// One choice's parsing.
#[derive(Debug)]
pub struct SeedOss(Chained<XmlCalls>);

impl Parser for SeedOss {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "seed_oss".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                tools: true,
            },
            markers: [THINK, START].map(Into::into).into(),
            special_tokens: [THINK, THINK_END, REFLECT, REFLECT_END, START, END]
                .map(Into::into)
                .into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        let calls = XmlCalls::new(&FORMAT, context);
        Self(Chained::new(&REASONING, calls, &[START], context))
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

weir_plugin_sdk::export_parser!(SeedOss);

#[cfg(test)]
mod tests {
    use std::format;

    use weir_plugin_sdk::testing::{Read, Written, events, required, text, tool};

    use super::*;

    fn context() -> RequestContext {
        required([tool(
            "write_file",
            r#"{"type": "object", "properties": {"path": {"type": "string"},
                "mode": {"type": "string", "enum": ["append", "replace"]}, "lines": {"type": "array"},
                "note": {"type": "string"}}, "required": ["path", "lines"]}"#,
        )])
    }

    /// The answer that a grammar allows: everything optional in it if `all`.
    fn written(grammar: &Segment, all: bool) -> String {
        let written = Written {
            text: "a \"b\"\n</p\n",
            json: &["[1e5, \"</parameter>\"]"],
            optional: all,
            calls: 1,
        };
        written.all(grammar)
    }

    #[test]
    fn what_is_forced_is_read_back() {
        let context = context();
        let grammar = SeedOss::grammar("{}", &context).expect("a call is forced");
        let path = r#""path": "a \"b\"\n</p\n""#;
        let json = r#""lines": [1e5, "</parameter>"]"#;
        let note = r#""note": "a \"b\"\n</p\n""#;
        for (all, expected) in [
            (false, format!("{{{path}, {json}}}")),
            (
                true,
                format!("{{{path}, \"mode\": \"append\", {json}, {note}}}"),
            ),
        ] {
            let answer = text(&written(&grammar, all));
            let read = Read::of(&events::<SeedOss>("{}", &context, &[answer]));
            assert_eq!(read.calls, [("write_file".into(), expected)]);
        }
    }

    #[test]
    fn reasoning_stands_before_what_is_forced() {
        let thinking = |prompt: &str| {
            let context = RequestContext {
                prompt_tail: prompt.into(),
                ..context()
            };
            SeedOss::grammar("{}", &context).map(|grammar| written(&grammar, true))
        };
        let call = thinking("<seed:bos>assistant\n<seed:think></seed:think>").expect("a call");
        assert!(call.starts_with("<seed:tool_call>\n<function=write_file>\n<parameter=path>"));
        let reasoned = thinking("<seed:bos>assistant\n").expect("reasoning and a call");
        assert!(reasoned.starts_with(THINK) && reasoned.contains(THINK_END));
        assert!(reasoned.ends_with(&call));
        assert_eq!(
            SeedOss::grammar("{}", &RequestContext::default())
                .map(|grammar| written(&grammar, false)),
            Some(String::new())
        );
    }
}
