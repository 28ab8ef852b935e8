//! Reasoning and tool parser for Baidu's ERNIE 4.5 Thinking, in one: the reasoning up to `</think>`, the answer, which may
//! stand in `<response>...</response>`, and calls as `<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>`.
//!
//! The markers and the answer's tags are this crate's; what reasoning and calls are, and every tolerance, is the SDK's
//! [`reasoning`] and [`marked_calls`].
//!
//! [`reasoning`]: weir_plugin_sdk::reasoning
//! [`marked_calls`]: weir_plugin_sdk::marked_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod response;

use alloc::{borrow::Cow, string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
    chained::{self, Chained},
    forced_calls::{ForcedCalls, call_object_on_lines},
    marked_calls::{CallFormat, MarkedCalls, MarkerRole, NamePlace},
    reasoning::ReasoningFormat,
};

use crate::response::{TAGS, Untagged};

const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";
const THINK: &str = "<think>";
const THINK_END: &str = "</think>";

static TOOLS: CallFormat = CallFormat {
    markers: &[CALL, CALL_END],
    roles: &[MarkerRole::CallStart, MarkerRole::CallEnd],
    name: NamePlace::Body,
};

/// The template writes the start marker into the prompt.
static REASONING: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed("<|im_start|>assistant"),
    start: Cow::Borrowed(THINK),
    end: Cow::Borrowed(THINK_END),
    starts_inside: true,
    tool_marker_ends: false,
};

static FORCED: ForcedCalls = ForcedCalls {
    block: None,
    call: [CALL, CALL_END],
    separator: "\n",
    body: |tool| call_object_on_lines(tool, "name", "arguments"),
};

/// One choice's parsing.
#[derive(Debug)]
pub struct Ernie45(Chained<Untagged>);

impl Parser for Ernie45 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "ernie45".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                tools: true,
            },
            markers: [THINK, CALL].map(Into::into).into(),
            special_tokens: [THINK, THINK_END, CALL, CALL_END]
                .into_iter()
                .chain(TAGS)
                .map(Into::into)
                .collect(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        let calls = MarkedCalls::new(&TOOLS, context.strict_markers);
        let tools = Untagged::new(calls, context.strict_markers);
        Self(Chained::new(&REASONING, tools, &[CALL], context))
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }

    fn grammar(_: &str, context: &RequestContext) -> Option<Segment> {
        let tools = FORCED.grammar(context);
        Some(chained::grammar(&REASONING, tools, context))
    }
}

weir_plugin_sdk::export_parser!(Ernie45);

#[cfg(test)]
mod tests {
    use alloc::format;

    use weir_plugin_sdk::testing::{Read, content, events, required, text, tool};

    use super::*;

    fn parse(prompt_tail: &str, pieces: &[&str]) -> Vec<Event> {
        let context = RequestContext {
            prompt_tail: prompt_tail.into(),
            ..RequestContext::default()
        };
        let fragments: Vec<Fragment> = pieces.iter().map(|piece| text(piece)).collect();
        events::<Ernie45>("{}", &context, &fragments)
    }

    #[test]
    fn the_tags_of_the_answer_are_markup() {
        let pieces = [
            "a\n</think>\n\n<resp",
            "onse>\nb\n",
            "\n\nc\n",
            "</response>\n",
        ];
        let reasoning = Event::Reasoning { text: "a".into() };
        let expected = [reasoning, content("b"), content("\n"), content("\n\nc")];
        assert_eq!(parse("", &pieces), expected);
    }

    #[test]
    fn what_is_forced_is_read_back() {
        let context = RequestContext {
            prompt_tail: "<|im_start|>assistant\n<think>\n".into(),
            ..required([tool("f", "{}")])
        };
        let call = Segment::sequence([
            Segment::marker(CALL),
            Segment::sequence([
                Segment::literal("\n{\"name\": \"f\", \"arguments\": "),
                Segment::Json("{\"type\": \"object\"}".into()),
                Segment::literal("}\n"),
            ]),
            Segment::marker(CALL_END),
        ]);
        let calls = call.calls(Some(Segment::literal("\n")), &context);
        let forced = Segment::sequence([Segment::Until(THINK_END.into()), calls]);
        assert_eq!(Ernie45::grammar("{}", &context), Some(forced));

        let call = "\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n";
        let answer = format!("Hm.\n</think>{CALL}{call}{CALL_END}\n{CALL}{call}{CALL_END}");
        let read = Read::of(&parse("<think>\n", &[&answer]));
        assert_eq!(
            read.calls,
            [
                ("f".into(), "{\"a\": 1}".into()),
                ("f".into(), "{\"a\": 1}".into())
            ]
        );
    }
}
