//! Tool parser for the format of Qwen3 Coder and Qwen 3.5: `<tool_call>` around `<function=NAME>`, which holds a
//! `<parameter=KEY>` for each argument, every tag on its own line.
//!
//! Only the tags are this crate's; what a call is, and every tolerance, is the SDK's [`xml_calls`].
//!
//! [`xml_calls`]: weir_plugin_sdk::xml_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles,
    xml_calls::{Names, Tag, TagRole, XmlCalls, XmlFormat},
};

const START: &str = "<tool_call>";
const END: &str = "</tool_call>";

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
    line_breaks: true,
    string_attribute: "",
};

/// One choice's parsing.
#[derive(Debug)]
pub struct Qwen3Coder(XmlCalls);

impl Parser for Qwen3Coder {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "qwen3_coder".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            markers: [START].map(Into::into).into(),
            special_tokens: [START, END].map(Into::into).into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        Self(XmlCalls::new(&FORMAT, context))
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }
}

weir_plugin_sdk::export_parser!(Qwen3Coder);
