//! Tool parser for DSML, the markup of DeepSeek V3.2, V4 and V4.1: a block of invokes, each with its parameters, whose
//! flag says whether a value is text or JSON.
//!
//! Only the tags are this crate's; what a call is, and every tolerance, is the SDK's [`xml_calls`]. The versions differ in
//! the name of the block and, from V4.1 on, in a space before every tag's name. The models slip into each other's tags and
//! a few misspelled ones, so all of them are read whatever the configuration says; it says which ones are forced.
//!
//! [`xml_calls`]: weir_plugin_sdk::xml_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
    xml_calls::{Names, Tag, TagRole, XmlCalls, XmlFormat},
};

mod config;
mod forced;

/// The added token in every tag.
const DSML: &str = "｜DSML｜";

const fn tag(text: &'static str, role: TagRole) -> Tag {
    Tag::around(DSML, text, role)
}

static FORMAT: XmlFormat = XmlFormat {
    tags: &[
        tag("<｜DSML｜function_calls>", TagRole::BlockStart),
        tag("<｜DSML｜tool_calls>", TagRole::BlockStart),
        tag("<｜DSML｜toolcalls>", TagRole::BlockStart),
        tag("<｜DSML｜tool>", TagRole::BlockStart),
        tag("<｜DSML｜ calls>", TagRole::BlockStart),
        tag("</｜DSML｜function_calls>", TagRole::BlockEnd),
        tag("</｜DSML｜tool_calls>", TagRole::BlockEnd),
        tag("</｜DSML｜toolcalls>", TagRole::BlockEnd),
        tag("</｜DSML｜tool>", TagRole::BlockEnd),
        tag("</｜DSML｜ calls>", TagRole::BlockEnd),
        tag("<｜DSML｜invoke name=", TagRole::CallStart),
        tag("<｜DSML｜ invoke name=", TagRole::CallStart),
        tag("</｜DSML｜invoke>", TagRole::CallEnd),
        tag("</｜DSML｜ invoke>", TagRole::CallEnd),
        tag("<｜DSML｜parameter name=", TagRole::ParameterStart),
        tag("<｜DSML｜ parameter name=", TagRole::ParameterStart),
        tag("</｜DSML｜parameter>", TagRole::ParameterEnd),
        tag("</｜DSML｜ parameter>", TagRole::ParameterEnd),
    ],
    names: Names::InTag,
    line_breaks: false,
    string_attribute: "string",
};

/// One choice's parsing.
#[derive(Debug)]
pub struct DeepseekDsml(XmlCalls);

impl Parser for DeepseekDsml {
    fn describe(config: &str) -> Result<ParserInfo, String> {
        let forced = forced::calls(config::read(config)?);
        let block = forced.block.map(|[start, _]| start.trim_end());
        Ok(ParserInfo {
            name: "deepseek_dsml".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            markers: block
                .into_iter()
                .chain([forced.call[0]])
                .map(Into::into)
                .collect(),
            special_tokens: [DSML].map(Into::into).into(),
            default_config: config::DEFAULT.into(),
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

    fn grammar(config: &str, context: &RequestContext) -> Option<Segment> {
        // A configuration that cannot be read was refused at load.
        let version = config::read(config).ok()?;
        forced::calls(version).grammar(context)
    }
}

weir_plugin_sdk::export_parser!(DeepseekDsml);
