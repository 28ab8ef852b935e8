//! Tool parser for the format of DeepSeek V3.1: between block markers, calls of the tool's name, a separator, and the
//! arguments.
//!
//! Only the markers are this crate's; what a call is, and every tolerance, is the SDK's [`marked_calls`]: calls written as
//! V3 writes them, with a type, a line for the name and a Markdown fence, are read too.
//!
//! [`marked_calls`]: weir_plugin_sdk::marked_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment, Tool,
    forced_calls::ForcedCalls,
    marked_calls::{CallFormat, MarkedCalls, MarkerRole, NamePlace},
};

const CALLS_BEGIN: &str = "<｜tool▁calls▁begin｜>";
const CALLS_END: &str = "<｜tool▁calls▁end｜>";
const CALL_BEGIN: &str = "<｜tool▁call▁begin｜>";
const CALL_END: &str = "<｜tool▁call▁end｜>";
const SEPARATOR: &str = "<｜tool▁sep｜>";

static FORMAT: CallFormat = CallFormat {
    markers: &[CALLS_BEGIN, CALLS_END, CALL_BEGIN, CALL_END, SEPARATOR],
    roles: &[
        MarkerRole::Block,
        MarkerRole::Block,
        MarkerRole::CallStart,
        MarkerRole::CallEnd,
        MarkerRole::Separator,
    ],
    name: NamePlace::BeforeSeparator,
};

static FORCED: ForcedCalls = ForcedCalls {
    block: Some([CALLS_BEGIN, CALLS_END]),
    call: [CALL_BEGIN, CALL_END],
    separator: "",
    body,
};

fn body(tool: &Tool) -> Segment {
    Segment::sequence([
        Segment::literal(tool.name.as_str()),
        Segment::marker(SEPARATOR),
        Segment::arguments(tool),
    ])
}

/// One choice's parsing.
#[derive(Debug)]
pub struct DeepseekV31(MarkedCalls);

impl Parser for DeepseekV31 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "deepseek_v31".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            aliases: ["deepseekv31"].map(Into::into).into(),
            markers: [CALLS_BEGIN, CALL_BEGIN].map(Into::into).into(),
            special_tokens: FORMAT.markers.iter().map(|m| (*m).into()).collect(),
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

weir_plugin_sdk::export_parser!(DeepseekV31);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::testing::{call, events, required, text, tool};

    use super::*;

    fn parse(answer: &str) -> Vec<Event> {
        events::<DeepseekV31>("{}", &RequestContext::default(), &[text(answer)])
    }

    #[test]
    fn the_name_stands_before_the_separator() {
        assert_eq!(
            parse("<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}"),
            call(0, "f", "{}")
        );
    }

    #[test]
    fn a_tool_may_be_called_function() {
        assert_eq!(
            parse("<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}<｜tool▁call▁end｜>"),
            call(0, "function", "{}")
        );
    }

    #[test]
    fn the_writing_of_v3_is_read() {
        assert_eq!(
            parse(
                "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n```<｜tool▁call▁end｜>"
            ),
            call(0, "f", "{}")
        );
    }

    #[test]
    fn calls_are_forced_without_white_space() {
        let context = required([tool("f", "{\"type\": \"object\"}")]);
        let call = Segment::sequence([
            Segment::marker(CALL_BEGIN),
            Segment::sequence([
                Segment::literal("f"),
                Segment::marker(SEPARATOR),
                Segment::Json("{\"type\": \"object\"}".into()),
            ]),
            Segment::marker(CALL_END),
        ]);
        assert_eq!(
            DeepseekV31::grammar("{}", &context),
            Some(Segment::sequence([
                Segment::marker(CALLS_BEGIN),
                call.calls(None, &context),
                Segment::marker(CALLS_END),
            ]))
        );
    }
}
