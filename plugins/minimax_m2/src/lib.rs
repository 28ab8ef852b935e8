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

use alloc::{borrow::Cow, string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles,
    chained::Chained,
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
}

weir_plugin_sdk::export_parser!(MinimaxM2);
