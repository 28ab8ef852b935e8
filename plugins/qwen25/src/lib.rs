//! Tool parser for the format of Hermes, Qwen 2.5 and Qwen 3: `<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>`,
//! repeated.
//!
//! Only the markers are this crate's; what a call is, and every tolerance, is the SDK's [`marked_calls`].
//!
//! [`marked_calls`]: weir_plugin_sdk::marked_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles,
    marked_calls::{CallFormat, MarkedCalls, MarkerRole, NamePlace},
};

const START: &str = "<tool_call>";
const END: &str = "</tool_call>";

static FORMAT: CallFormat = CallFormat {
    markers: &[START, END],
    roles: &[MarkerRole::CallStart, MarkerRole::CallEnd],
    name: NamePlace::Body,
};

/// One choice's parsing.
#[derive(Debug)]
pub struct Qwen25(MarkedCalls);

impl Parser for Qwen25 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "qwen25".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            aliases: ["hermes", "qwen"].map(Into::into).into(),
            markers: [START].map(Into::into).into(),
            special_tokens: [START, END].map(Into::into).into(),
            chat_template: Some(include_str!("../../../chat_templates/hermes.jinja").into()),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        Self(MarkedCalls::new(&FORMAT, context.strict_markers))
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }
}

weir_plugin_sdk::export_parser!(Qwen25);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::FragmentKind;

    use super::*;

    #[test]
    fn a_call_streams_its_arguments() {
        let mut parser = Qwen25::new("{}", &RequestContext::default());
        let mut events = Vec::new();
        for text in [
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a",
            "\": 1}}\n</tool_call>",
        ] {
            parser.push(&Fragment::new(text, FragmentKind::Text), &mut events);
        }
        parser.finish(FinishReason::Stop, &mut events);
        let delta = |delta: &str| Event::CallArguments {
            index: 0,
            delta: delta.into(),
        };
        let begin = Event::CallBegin {
            index: 0,
            id: None,
            name: "f".into(),
        };
        let end = Event::CallEnd { index: 0 };
        assert_eq!(events, [begin, delta("{\"a"), delta("\": 1}"), end]);
    }

    #[test]
    fn its_template_writes_the_format() {
        let info = Qwen25::describe("{}").expect("any configuration is fine");
        let template = info.chat_template.expect("a template");
        assert!(template.contains(START) && template.contains(END));
    }
}
