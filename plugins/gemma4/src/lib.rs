//! Reasoning and tool parser for Gemma 4, in one: `<|channel>thought`, a line break, the reasoning and `<channel|>`; calls
//! are `<|tool_call>call:NAME{KEY:<|"|>STRING<|"|>,KEY:42}<tool_call|>`, repeated.
//!
//! The markers and the channel's name are this crate's; how they are read is the SDK's [`reasoning`] and [`brace_calls`].
//!
//! [`reasoning`]: weir_plugin_sdk::reasoning
//! [`brace_calls`]: weir_plugin_sdk::brace_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod channel_name;

use alloc::{borrow::Cow, string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
    brace_calls::{BraceCalls, BraceFormat, forced_body},
    chained::{self, Chained},
    forced_calls::ForcedCalls,
    reasoning::ReasoningFormat,
};

use crate::channel_name::ChannelName;

static TOOLS: BraceFormat = BraceFormat {
    start: "<|tool_call>",
    end: "<tool_call|>",
    delimiter: "<|\"|>",
};

const CHANNEL: &str = "<|channel>";
const CHANNEL_END: &str = "<channel|>";

/// A turn holds the calls, their answers and what is said after them: the last channel marker in it counts.
static REASONING: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed("<|turn>"),
    start: Cow::Borrowed(CHANNEL),
    end: Cow::Borrowed(CHANNEL_END),
    starts_inside: false,
    tool_marker_ends: true,
};

static FORCED: ForcedCalls = ForcedCalls {
    block: None,
    call: [TOOLS.start, TOOLS.end],
    separator: "",
    body: forced_body,
};

/// One choice's parsing.
#[derive(Debug)]
pub struct Gemma4 {
    chain: Chained<BraceCalls>,
    channel_name: ChannelName,
    /// What the chain says of a fragment while the channel's name may come; empty between two.
    said: Vec<Event>,
}

impl Parser for Gemma4 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "gemma4".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                tools: true,
            },
            markers: [CHANNEL, TOOLS.start].map(Into::into).into(),
            special_tokens: [
                CHANNEL,
                CHANNEL_END,
                TOOLS.start,
                TOOLS.end,
                TOOLS.delimiter,
            ]
            .map(Into::into)
            .into(),
            // The model goes on with the answer of its call, which is the client's to give.
            stop_tokens: ["<turn|>", "<|tool_response>"].map(Into::into).into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        let tools = BraceCalls::new(&TOOLS, context.strict_markers);
        Self {
            chain: Chained::new(&REASONING, tools, &[TOOLS.start], context),
            channel_name: ChannelName::default(),
            said: Vec::new(),
        }
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        if self.channel_name.is_past() {
            self.chain.push(fragment, events);
        } else {
            self.chain.push(fragment, &mut self.said);
            self.channel_name.strip(self.said.drain(..), events);
        }
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.chain.finish(reason, &mut self.said);
        self.channel_name.strip(self.said.drain(..), events);
    }

    fn grammar(_: &str, context: &RequestContext) -> Option<Segment> {
        let tools = FORCED.grammar(context);
        Some(chained::grammar(&REASONING, tools, context))
    }
}

weir_plugin_sdk::export_parser!(Gemma4);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::testing::{arguments, begin, required, steps, text, tool};

    use super::*;

    fn parse(pieces: &[&str]) -> Vec<Vec<Event>> {
        let fragments: Vec<Fragment> = pieces.iter().map(|piece| text(piece)).collect();
        steps::<Gemma4>("{}", &RequestContext::default(), &fragments)
    }

    #[test]
    fn a_call_streams_as_it_is_written() {
        let steps = parse(&[
            "<|channel>thou",
            "ght\nHm.",
            "<channel|><|tool_call>call:f",
            "{a",
            "b:<|",
            "\"|>x\"",
            "<|\"|>,n:12",
            "3,w:some wo",
            "rds}<tool_call|>",
        ]);
        let reasoning = Event::Reasoning { text: "Hm.".into() };
        let begin = begin(0, "f");
        let expected: [&[Event]; 10] = [
            &[],
            &[reasoning],
            &[],
            &[begin, arguments(0, "{"), arguments(0, "\"a")],
            &[arguments(0, "b\":")],
            &[arguments(0, "\""), arguments(0, "x\\\"")],
            &[arguments(0, "\""), arguments(0, ",\"n\":")],
            &[arguments(0, "123,\"w\":\"some wo")],
            &[arguments(0, "rds\"}"), Event::CallEnd { index: 0 }],
            &[],
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn what_is_forced_is_read_back() {
        let mut context = RequestContext {
            prompt_tail: "<|turn>model\n<|channel>thought\n<channel|>".into(),
            ..required([tool("get_weather", "{}")])
        };
        let call = Segment::sequence([
            Segment::marker(TOOLS.start),
            Segment::sequence([
                Segment::literal("call:get_weather"),
                Segment::Json("{\"type\": \"object\"}".into()),
            ]),
            Segment::marker(TOOLS.end),
        ]);
        let calls = call.calls(None, &context);
        assert_eq!(Gemma4::grammar("{}", &context), Some(calls.clone()));
        context.prompt_tail = "<tool_response|><|channel>thought\n".into();
        let reasoned = Segment::sequence([Segment::Until(CHANNEL_END.into()), calls]);
        assert_eq!(Gemma4::grammar("{}", &context), Some(reasoned));

        let call = "<|tool_call>call:get_weather{\"city\": \"Z\\u00fcrich\", \"in\": {\"days\": [1, -2.0]}}<tool_call|>";
        let events: Vec<Event> = parse(&[call]).concat();
        let written = "\"city\":\"Z\\u00fcrich\",\"in\":{\"days\":[1,-2.0]}}";
        let begin = begin(0, "get_weather");
        let end = Event::CallEnd { index: 0 };
        assert_eq!(
            events,
            [begin, arguments(0, "{"), arguments(0, written), end]
        );
    }
}
