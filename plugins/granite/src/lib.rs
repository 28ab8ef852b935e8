//! Reasoning and tool parser for IBM's Granite, in one. Calls: `<|tool_call|>[{"name", "arguments"}, ...]` (Granite 3.0),
//! `<tool_call>[...]` (3.1 to 3.3), `<tool_call>{...}</tool_call>` (4), and `<function_call> {...}` (20B function calling).
//! Reasoning (3.2): "Here is my thought process:" up to "Here is my response:", or with "Here's".
//!
//! Those sentences are plain text in every tokenizer, so they count without being control tokens even where markers are
//! strict, and only before any of the answer. What a call is, and every tolerance, is the SDK's [`listed_calls`].
//!
//! [`listed_calls`]: weir_plugin_sdk::listed_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment, Tool,
    chained::{self, Chained},
    config_reader::ConfigReader,
    forced_calls::{ForcedCalls, ForcedList, call_object, call_object_on_lines},
    listed_calls::{ListFormat, ListRole, ListedCalls},
    reasoning::{MarkedReasoning, OtherMarkers, ReasoningFormat},
};

const LIST: &str = "<|tool_call|>";
const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";
const FUNCTION: &str = "<function_call>";
const THOUGHTS: &str = "Here is my thought process:";

static TOOLS: ListFormat = ListFormat {
    markers: &[LIST, CALL, CALL_END, FUNCTION],
    roles: &[
        ListRole::Start,
        ListRole::Start,
        ListRole::End,
        ListRole::Start,
    ],
    names: false,
    ids: false,
};

static REASONING: ReasoningFormat = ReasoningFormat {
    // The system prompt names both sentences.
    turn: Cow::Borrowed("<|start_of_role|>"),
    start: Cow::Borrowed(THOUGHTS),
    end: Cow::Borrowed("Here is my response:"),
    starts_inside: false,
    tool_marker_ends: false,
};

const OTHERS: OtherMarkers = OtherMarkers {
    starts: &["Here's my thought process:"],
    ends: &["Here's my response:"],
};

static FORCED_ARRAY: ForcedList = ForcedList {
    before: "",
    start: LIST,
    end: "",
    body: object,
};

static FORCED_OBJECTS: ForcedCalls = ForcedCalls {
    block: None,
    call: [CALL, CALL_END],
    separator: "\n",
    body: |tool| call_object_on_lines(tool, "name", "arguments"),
};

fn object(tool: &Tool) -> Segment {
    call_object(tool, "name", "arguments")
}

/// How forced calls are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forced {
    /// As Granite 3 writes them.
    Array,
    /// As Granite 4 writes them.
    Objects,
}

fn read(config: &str) -> Result<Forced, String> {
    let mut forced = Forced::Array;
    let mut reader = ConfigReader::new(config);
    reader.object(|key, reader| {
        if key != "forced" {
            return Err(format!("unknown key `{key}`; known is forced"));
        }
        forced = match reader.string()?.as_str() {
            "array" => Forced::Array,
            "objects" => Forced::Objects,
            other => {
                return Err(format!(
                    "`forced`: no such form as {other}; write array (Granite 3) or objects (Granite 4)"
                ));
            }
        };
        Ok(())
    })?;
    reader.end()?;
    Ok(forced)
}

/// One choice's parsing.
#[derive(Debug)]
pub struct Granite(Chained<ListedCalls>);

impl Parser for Granite {
    fn describe(config: &str) -> Result<ParserInfo, String> {
        read(config)?;
        Ok(ParserInfo {
            name: "granite".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                tools: true,
            },
            markers: [THOUGHTS, LIST, CALL, FUNCTION].map(Into::into).into(),
            special_tokens: TOOLS.markers.iter().copied().map(Into::into).collect(),
            default_config: r#"{"forced": "array"}"#.into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        let plain = RequestContext {
            prompt_tail: context.prompt_tail.clone(),
            ..RequestContext::default()
        };
        let reasoning = MarkedReasoning::with_others(&REASONING, OTHERS, &plain);
        let tools = ListedCalls::new(&TOOLS, context.strict_markers);
        Self(Chained::of(reasoning, tools))
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }

    fn grammar(config: &str, context: &RequestContext) -> Option<Segment> {
        let tools = match read(config).ok()? {
            Forced::Array => FORCED_ARRAY.grammar(context),
            Forced::Objects => FORCED_OBJECTS.grammar(context),
        };
        Some(chained::grammar(&REASONING, tools, context))
    }
}

weir_plugin_sdk::export_parser!(Granite);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::testing::{content, required, steps, text, tool};

    use super::*;

    fn parse(pieces: &[&str]) -> Vec<Vec<Event>> {
        let fragments: Vec<Fragment> = pieces.iter().map(|piece| text(piece)).collect();
        steps::<Granite>("{}", &RequestContext::default(), &fragments)
    }

    #[test]
    fn only_what_may_become_a_sentence_is_held_back() {
        let steps = parse(&["Here", "'s my", " cat: He", "re is"]);
        let content = |text| vec![content(text)];
        let expected = [
            vec![],
            vec![],
            content("Here's my cat: He"),
            content("re is"),
            vec![],
        ];
        assert_eq!(steps, expected);
        let steps = parse(&[
            "Here's my thought process:",
            "Hm. He",
            "llo. Here is",
            " my response:",
            "Yes.",
        ]);
        let reasoning = |text: &str| vec![Event::Reasoning { text: text.into() }];
        let expected = [
            vec![],
            reasoning("Hm. "),
            reasoning("Hello. "),
            vec![],
            content("Yes."),
            vec![],
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn calls_are_forced_as_the_generation_writes_them() {
        let tool = tool("f", "{}");
        let context = required([tool.clone()]);
        let Some(Segment::Sequence(parts)) = Granite::grammar("{}", &context) else {
            panic!("thoughts may come first");
        };
        let calls = object(&tool).calls(Some(Segment::literal(", ")), &context);
        let [open, close] = ["[", "]"].map(Segment::literal);
        let list = Segment::sequence([Segment::marker(LIST), open, calls, close]);
        assert_eq!(parts[1..], [list]);
        let objects = Granite::grammar(r#"{"forced": "objects"}"#, &context);
        let objects = format!("{objects:?}");
        assert!(objects.contains(CALL_END) && !objects.contains(LIST));
    }

    #[test]
    fn another_form_is_refused() {
        for (config, reason) in [
            (r#"{"forced": "xml"}"#, "write array (Granite 3) or objects"),
            (r#"{"force": "array"}"#, "unknown key `force`"),
        ] {
            let error = Granite::describe(config).expect_err(config);
            assert!(error.contains(reason), "{error}");
        }
        let info = Granite::describe("{}").expect("usable");
        assert!(Granite::describe(&info.default_config).is_ok());
    }
}
