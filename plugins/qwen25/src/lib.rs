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
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
    forced_calls::{ForcedCalls, call_object_on_lines},
    marked_calls::{CallFormat, MarkedCalls, MarkerRole, NamePlace},
};

const START: &str = "<tool_call>";
const END: &str = "</tool_call>";

static FORMAT: CallFormat = CallFormat {
    markers: &[START, END],
    roles: &[MarkerRole::CallStart, MarkerRole::CallEnd],
    name: NamePlace::Body,
};

static FORCED: ForcedCalls = ForcedCalls {
    block: None,
    call: [START, END],
    separator: "\n",
    body: |tool| call_object_on_lines(tool, "name", "arguments"),
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

    fn grammar(_: &str, context: &RequestContext) -> Option<Segment> {
        FORCED.grammar(context)
    }
}

weir_plugin_sdk::export_parser!(Qwen25);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::testing::{arguments, begin, events, required, text, tool};

    use super::*;

    #[test]
    fn a_call_streams_its_arguments() {
        let pieces = [
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a",
            "\": 1}}\n</tool_call>",
        ];
        let events = events::<Qwen25>("{}", &RequestContext::default(), &pieces.map(text));
        let delta = |delta: &str| arguments(0, delta);
        let begin = begin(0, "f");
        let end = Event::CallEnd { index: 0 };
        assert_eq!(events, [begin, delta("{\"a"), delta("\": 1}"), end]);
    }

    #[test]
    fn a_call_is_forced_as_the_template_writes_it() {
        let context = required([tool("say \"x\"", "{\"type\": \"object\"}")]);
        let call = Segment::sequence([
            Segment::marker(START),
            Segment::sequence([
                Segment::literal("\n{\"name\": \"say \\\"x\\\"\", \"arguments\": "),
                Segment::Json("{\"type\": \"object\"}".into()),
                Segment::literal("}\n"),
            ]),
            Segment::marker(END),
        ]);
        assert_eq!(
            Qwen25::grammar("{}", &context),
            Some(call.calls(Some(Segment::literal("\n")), &context))
        );
    }

    #[test]
    fn its_template_writes_the_format() {
        let info = Qwen25::describe("{}").expect("any configuration is fine");
        let template = info.chat_template.expect("a template");
        assert!(template.contains(START) && template.contains(END));
    }
}
