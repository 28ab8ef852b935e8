//! Tool parser for FunctionGemma: `<start_function_call>call:NAME{KEY:<escape>STRING<escape>,KEY:42}<end_function_call>`,
//! repeated.
//!
//! Only the markers are this crate's; what a call is, and every tolerance, is the SDK's [`brace_calls`].
//!
//! [`brace_calls`]: weir_plugin_sdk::brace_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
    brace_calls::{BraceCalls, BraceFormat, forced_body},
    chained::ToolStage,
    forced_calls::ForcedCalls,
};

static FORMAT: BraceFormat = BraceFormat {
    start: "<start_function_call>",
    end: "<end_function_call>",
    delimiter: "<escape>",
};

static FORCED: ForcedCalls = ForcedCalls {
    block: None,
    call: [FORMAT.start, FORMAT.end],
    separator: "",
    body: forced_body,
};

/// One choice's parsing.
#[derive(Debug)]
pub struct Functiongemma(BraceCalls);

impl Parser for Functiongemma {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "functiongemma".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            markers: [FORMAT.start].map(Into::into).into(),
            special_tokens: [FORMAT.start, FORMAT.end, FORMAT.delimiter]
                .map(Into::into)
                .into(),
            // The model goes on with the answer of its call, which is the client's to give.
            stop_tokens: ["<end_of_turn>", "<start_function_response>"]
                .map(Into::into)
                .into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        Self(BraceCalls::new(&FORMAT, context.strict_markers))
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

weir_plugin_sdk::export_parser!(Functiongemma);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::{
        ToolChoice,
        testing::{Read, events, required, text, tool},
    };

    use super::*;

    #[test]
    fn what_is_forced_is_read_back() {
        let context = RequestContext {
            tool_choice: ToolChoice::Named("set_timer".into()),
            ..required([tool("set_timer", "{\"type\": \"object\"}")])
        };
        let call = Segment::sequence([
            Segment::marker(FORMAT.start),
            Segment::sequence([
                Segment::literal("call:set_timer"),
                Segment::Json("{\"type\": \"object\"}".into()),
            ]),
            Segment::marker(FORMAT.end),
        ]);
        let forced = call.calls(None, &context);
        assert_eq!(Functiongemma::grammar("{}", &context), Some(forced));

        let answer = "<start_function_call>call:set_timer{\"label\": \"tea \\u00e9\", \"m\": [5e0]}<end_function_call>";
        let read = Read::of(&events::<Functiongemma>("{}", &context, &[text(answer)]));
        let arguments = "{\"label\":\"tea \\u00e9\",\"m\":[5e0]}";
        assert_eq!(read.calls, [("set_timer".into(), arguments.into())]);
    }
}
