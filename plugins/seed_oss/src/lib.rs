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
            special_tokens: [THINK, THINK_END, START, END].map(Into::into).into(),
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
