//! Tool parser for the format of DeepSeek V3 and R1: between block markers, calls of a type, a separator, the tool's name on
//! its line, and a Markdown fence with the arguments.
//!
//! Only the markers are this crate's; what a call is, and every tolerance, is the SDK's [`marked_calls`]: calls written as
//! V3.1 writes them, the name before the separator, are read too.
//!
//! [`marked_calls`]: weir_plugin_sdk::marked_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{format, string::String, vec::Vec};

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
    name: NamePlace::AfterSeparator,
};

static FORCED: ForcedCalls = ForcedCalls {
    block: Some([CALLS_BEGIN, CALLS_END]),
    call: [CALL_BEGIN, CALL_END],
    separator: "\n",
    body,
};

fn body(tool: &Tool) -> Segment {
    let name = &tool.name;
    Segment::sequence([
        Segment::literal("function"),
        Segment::marker(SEPARATOR),
        Segment::Literal(format!("{name}\n```json\n")),
        Segment::arguments(tool),
        Segment::literal("\n```"),
    ])
}

/// One choice's parsing.
#[derive(Debug)]
pub struct DeepseekV3(MarkedCalls);

impl Parser for DeepseekV3 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "deepseek_v3".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            aliases: ["deepseekv3"].map(Into::into).into(),
            markers: [CALLS_BEGIN, CALL_BEGIN].map(Into::into).into(),
            special_tokens: FORMAT.markers.iter().map(|m| (*m).into()).collect(),
            chat_template: Some(include_str!("../../../chat_templates/deepseek_v3.jinja").into()),
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

weir_plugin_sdk::export_parser!(DeepseekV3);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::{
        FragmentKind,
        testing::{call, events, required, tool},
    };

    use super::*;

    #[test]
    fn a_call_without_its_fence_is_a_call() {
        let pieces = [
            CALLS_BEGIN,
            CALL_BEGIN,
            "function",
            SEPARATOR,
            "f\n{}",
            CALL_END,
        ];
        let fragments = pieces.map(|piece| {
            let kind = if piece.starts_with('<') {
                FragmentKind::Control
            } else {
                FragmentKind::Text
            };
            Fragment::new(piece, kind)
        });
        let events = events::<DeepseekV3>("{}", &RequestContext::default(), &fragments);
        assert_eq!(events, call(0, "f", "{}"));
    }

    #[test]
    fn a_call_is_forced_as_the_template_writes_it() {
        let context = required([tool("f", "{\"type\": \"object\"}")]);
        let call = Segment::sequence([
            Segment::marker(CALL_BEGIN),
            Segment::sequence([
                Segment::literal("function"),
                Segment::marker(SEPARATOR),
                Segment::literal("f\n```json\n"),
                Segment::Json("{\"type\": \"object\"}".into()),
                Segment::literal("\n```"),
            ]),
            Segment::marker(CALL_END),
        ]);
        assert_eq!(
            DeepseekV3::grammar("{}", &context),
            Some(Segment::sequence([
                Segment::marker(CALLS_BEGIN),
                call.calls(Some(Segment::literal("\n")), &context),
                Segment::marker(CALLS_END),
            ]))
        );
    }

    #[test]
    fn its_template_writes_the_format() {
        let info = DeepseekV3::describe("{}").expect("any configuration is fine");
        let template = info.chat_template.expect("a template");
        assert!(
            FORMAT
                .markers
                .iter()
                .all(|marker| template.contains(marker))
        );
    }
}
