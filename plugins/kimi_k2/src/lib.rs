//! Reasoning and tool parser for the formats of Kimi K2 and its successors up to K2.7, in one: `<think>...</think>`, and
//! within a section of calls, each as its id, which holds its name, a separator, and the arguments.
//!
//! Only the markers are this crate's; what a call is, and every tolerance, is the SDK's [`marked_calls`]. Instruct models
//! do not reason and thinking models write `<think>` unless their prompt did, so an output starts outside. The models are
//! known to start calls inside the reasoning without ending it.
//!
//! [`marked_calls`]: weir_plugin_sdk::marked_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment, Tool,
    chained::{self, Chained},
    forced_calls::ForcedCalls,
    marked_calls::{CallFormat, MarkedCalls, MarkerRole, NamePlace},
    reasoning::ReasoningFormat,
};

const SECTION_BEGIN: &str = "<|tool_calls_section_begin|>";
const SECTION_END: &str = "<|tool_calls_section_end|>";
const CALL_BEGIN: &str = "<|tool_call_begin|>";
const CALL_END: &str = "<|tool_call_end|>";
const ARGUMENTS_BEGIN: &str = "<|tool_call_argument_begin|>";
/// The section's markers in the singular: no tokens of the tokenizer, but models spell them out.
const ONE_SECTION_BEGIN: &str = "<|tool_call_section_begin|>";
const ONE_SECTION_END: &str = "<|tool_call_section_end|>";
const THINK: &str = "<think>";
const THINK_END: &str = "</think>";

static FORMAT: CallFormat = CallFormat {
    markers: &[
        SECTION_BEGIN,
        SECTION_END,
        ONE_SECTION_BEGIN,
        ONE_SECTION_END,
        CALL_BEGIN,
        CALL_END,
        ARGUMENTS_BEGIN,
    ],
    roles: &[
        MarkerRole::Block,
        MarkerRole::Block,
        MarkerRole::Block,
        MarkerRole::Block,
        MarkerRole::CallStart,
        MarkerRole::CallEnd,
        MarkerRole::Separator,
    ],
    name: NamePlace::InId,
};

static REASONING: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed("<|im_assistant|>"),
    start: Cow::Borrowed(THINK),
    end: Cow::Borrowed(THINK_END),
    starts_inside: false,
    tool_marker_ends: true,
};

static FORCED: ForcedCalls = ForcedCalls {
    block: Some([SECTION_BEGIN, SECTION_END]),
    call: [CALL_BEGIN, CALL_END],
    separator: "",
    body,
};

fn body(tool: &Tool) -> Segment {
    Segment::sequence([
        Segment::literal(format!("functions.{}:", tool.name)),
        // The index counts the calls of the whole conversation.
        Segment::Pattern("[0-9]{1,4}".into()),
        Segment::marker(ARGUMENTS_BEGIN),
        Segment::arguments(tool),
    ])
}

/// One choice's parsing.
#[derive(Debug)]
pub struct KimiK2(Chained<MarkedCalls>);

impl Parser for KimiK2 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "kimi_k2".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                tools: true,
            },
            markers: [THINK, SECTION_BEGIN, ONE_SECTION_BEGIN, CALL_BEGIN]
                .map(Into::into)
                .into(),
            special_tokens: [
                SECTION_BEGIN,
                SECTION_END,
                CALL_BEGIN,
                CALL_END,
                ARGUMENTS_BEGIN,
                THINK,
                THINK_END,
            ]
            .map(Into::into)
            .into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        let tools = MarkedCalls::new(&FORMAT, context.strict_markers);
        let starts = [SECTION_BEGIN, CALL_BEGIN];
        Self(Chained::new(&REASONING, tools, &starts, context))
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

weir_plugin_sdk::export_parser!(KimiK2);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::{
        FragmentKind,
        testing::{arguments, required, steps, tool},
    };

    use super::*;

    fn parse(pieces: &[(&str, FragmentKind)]) -> Vec<Vec<Event>> {
        let fragments: Vec<Fragment> = pieces
            .iter()
            .map(|(text, kind)| Fragment::new(*text, *kind))
            .collect();
        steps::<KimiK2>("{}", &RequestContext::default(), &fragments)
    }

    #[test]
    fn a_call_streams_as_it_is_written() {
        use FragmentKind::{Control, Text};
        let steps = parse(&[
            (THINK, Control),
            ("Hm.", Text),
            (SECTION_BEGIN, Control),
            (CALL_BEGIN, Control),
            ("functions.get:", Text),
            ("7", Text),
            (ARGUMENTS_BEGIN, Control),
            ("{\"a\": \"<|", Text),
            ("\"}", Text),
            (CALL_END, Control),
            (SECTION_END, Control),
        ]);
        let reasoning = Event::Reasoning { text: "Hm.".into() };
        let begin = Event::CallBegin {
            index: 0,
            id: Some("functions.get:7".into()),
            name: "get".into(),
        };
        let expected: [&[Event]; 12] = [
            &[],
            &[reasoning],
            &[],
            &[],
            &[],
            &[],
            &[begin],
            &[arguments(0, "{\"a\": \"<|")],
            &[arguments(0, "\"}"), Event::CallEnd { index: 0 }],
            &[],
            &[],
            &[],
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn calls_are_forced_with_their_ids() {
        let context = RequestContext {
            prompt_tail: "<|im_assistant|>assistant<|im_middle|><think>".into(),
            ..required([tool("f", "{}")])
        };
        let call = Segment::sequence([
            Segment::marker(CALL_BEGIN),
            Segment::sequence([
                Segment::literal("functions.f:"),
                Segment::Pattern("[0-9]{1,4}".into()),
                Segment::marker(ARGUMENTS_BEGIN),
                Segment::Json("{\"type\": \"object\"}".into()),
            ]),
            Segment::marker(CALL_END),
        ]);
        assert_eq!(
            KimiK2::grammar("{}", &context),
            Some(Segment::sequence([
                Segment::Until(THINK_END.into()),
                Segment::sequence([
                    Segment::marker(SECTION_BEGIN),
                    call.calls(None, &context),
                    Segment::marker(SECTION_END),
                ]),
            ]))
        );
    }

    #[test]
    fn what_is_forced_is_read_back() {
        use FragmentKind::{Control, Text};
        let steps = parse(&[
            (SECTION_BEGIN, Control),
            (CALL_BEGIN, Control),
            ("functions.f:", Text),
            ("0", Text),
            (ARGUMENTS_BEGIN, Control),
            ("{}", Text),
            (CALL_END, Control),
            (SECTION_END, Control),
        ]);
        let begin = Event::CallBegin {
            index: 0,
            id: Some("functions.f:0".into()),
            name: "f".into(),
        };
        let events: Vec<Event> = steps.into_iter().flatten().collect();
        assert_eq!(
            events,
            [begin, arguments(0, "{}"), Event::CallEnd { index: 0 }]
        );
    }
}
