//! Tool parser for the format of DeepSeek V3 and R1: between block markers, calls of a type, a separator, the tool's name on
//! its line, and a Markdown fence with the arguments.
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
}

weir_plugin_sdk::export_parser!(DeepseekV3);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::FragmentKind;

    use super::*;

    #[test]
    fn a_call_without_its_fence_is_a_call() {
        let mut parser = DeepseekV3::new("{}", &RequestContext::default());
        let mut events = Vec::new();
        for marker in [
            CALLS_BEGIN,
            CALL_BEGIN,
            "function",
            SEPARATOR,
            "f\n{}",
            CALL_END,
        ] {
            let kind = if marker.starts_with('<') {
                FragmentKind::Control
            } else {
                FragmentKind::Text
            };
            parser.push(&Fragment::new(marker, kind), &mut events);
        }
        parser.finish(FinishReason::Stop, &mut events);
        let begin = Event::CallBegin {
            index: 0,
            id: None,
            name: "f".into(),
        };
        let arguments = Event::CallArguments {
            index: 0,
            delta: "{}".into(),
        };
        assert_eq!(events, [begin, arguments, Event::CallEnd { index: 0 }]);
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
