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

use alloc::{borrow::Cow, string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles,
    chained::Chained,
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
}

weir_plugin_sdk::export_parser!(Step3);
