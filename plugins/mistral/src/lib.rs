//! Reasoning and tool parser for the formats of Mistral AI's models, in one: `[THINK]...[/THINK]`, and calls behind
//! `[TOOL_CALLS]`: an array of `{"name", "arguments"}` or one such object (tokenizers up to v7), or a name, perhaps
//! `[CALL_ID]` and an id, `[ARGS]` and the arguments, repeated (tokenizers from v11 on).
//!
//! Only the markers are this crate's; what a call is, and every tolerance, is the SDK's [`listed_calls`].
//!
//! [`listed_calls`]: weir_plugin_sdk::listed_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{borrow::Cow, string::String, vec::Vec};

use weir_plugin_sdk::{
    CallIdFormat, Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles,
    Segment, Tool,
    chained::{self, Chained},
    forced_calls::ForcedCalls,
    listed_calls::{ListFormat, ListRole, ListedCalls},
    reasoning::ReasoningFormat,
};

const CALLS: &str = "[TOOL_CALLS]";
const ARGUMENTS: &str = "[ARGS]";
const CALL_ID: &str = "[CALL_ID]";
const THINK: &str = "[THINK]";
const THINK_END: &str = "[/THINK]";

static TOOLS: ListFormat = ListFormat {
    markers: &[CALLS, ARGUMENTS, CALL_ID],
    roles: &[ListRole::Start, ListRole::Arguments, ListRole::Id],
    names: true,
    ids: true,
};

static REASONING: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed("[/INST]"),
    start: Cow::Borrowed(THINK),
    end: Cow::Borrowed(THINK_END),
    starts_inside: false,
    tool_marker_ends: true,
};

static FORCED: ForcedCalls = ForcedCalls {
    block: None,
    call: [CALLS, ""],
    separator: "",
    body,
};

fn body(tool: &Tool) -> Segment {
    Segment::sequence([
        Segment::literal(tool.name.as_str()),
        Segment::marker(ARGUMENTS),
        Segment::arguments(tool),
    ])
}

/// One choice's parsing.
#[derive(Debug)]
pub struct Mistral(Chained<ListedCalls>);

impl Parser for Mistral {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "mistral".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                tools: true,
            },
            markers: [THINK, CALLS].map(Into::into).into(),
            special_tokens: [CALLS, ARGUMENTS, CALL_ID, THINK, THINK_END]
                .map(Into::into)
                .into(),
            chat_template: Some(include_str!("../../../chat_templates/mistral.jinja").into()),
            call_ids: CallIdFormat::Alphanumeric(9),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        let tools = ListedCalls::new(&TOOLS, context.strict_markers);
        Self(Chained::new(&REASONING, tools, &[CALLS], context))
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

weir_plugin_sdk::export_parser!(Mistral);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::{
        FragmentKind, ToolChoice,
        testing::{arguments, required, steps, tool},
    };

    use super::*;

    fn parse(pieces: &[(&str, FragmentKind)]) -> Vec<Vec<Event>> {
        let fragments: Vec<Fragment> = pieces
            .iter()
            .map(|(text, kind)| Fragment::new(*text, *kind))
            .collect();
        steps::<Mistral>("{}", &RequestContext::default(), &fragments)
    }

    #[test]
    fn a_call_streams_as_it_is_written() {
        use FragmentKind::{Control, Text};
        let steps = parse(&[
            (THINK, Control),
            ("Hm.", Text),
            (CALLS, Control),
            ("get", Text),
            (CALL_ID, Control),
            ("abcdefghi", Text),
            (ARGUMENTS, Control),
            ("{\"a\": \"[", Text),
            ("\"}", Text),
        ]);
        let reasoning = Event::Reasoning { text: "Hm.".into() };
        let begin = Event::CallBegin {
            index: 0,
            id: Some("abcdefghi".into()),
            name: "get".into(),
        };
        let expected: [&[Event]; 10] = [
            &[],
            &[reasoning],
            &[],
            &[],
            &[],
            &[],
            &[begin],
            &[arguments(0, "{\"a\": \"[")],
            &[arguments(0, "\"}"), Event::CallEnd { index: 0 }],
            &[],
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn only_a_possible_marker_is_held_back() {
        let steps = parse(&[
            ("See [1], [T", FragmentKind::Text),
            ("] [/TH", FragmentKind::Text),
            ("[", FragmentKind::Text),
        ]);
        let content = |events: &Vec<Event>| -> String {
            let text = |event: &Event| match event {
                Event::Content(fragment) => fragment.text.clone(),
                other => panic!("{other:?}"),
            };
            events.iter().map(text).collect()
        };
        let texts: Vec<String> = steps.iter().map(content).collect();
        assert_eq!(texts, ["See [1], ", "[T] [/TH", "", "["]);
    }

    #[test]
    fn calls_are_forced_as_newer_tokenizers_write_them() {
        let mut context = RequestContext {
            prompt_tail: "[/INST][THINK]".into(),
            ..required([tool("f", "{}")])
        };
        let call = Segment::sequence([
            Segment::marker(CALLS),
            Segment::sequence([
                Segment::literal("f"),
                Segment::marker(ARGUMENTS),
                Segment::Json("{\"type\": \"object\"}".into()),
            ]),
        ]);
        let until = Segment::Until(THINK_END.into());
        let forced = |answer: Segment| Some(Segment::sequence([until.clone(), answer]));
        let calls = call.calls(None, &context);
        assert_eq!(Mistral::grammar("{}", &context), forced(calls.clone()));
        context.tool_choice = ToolChoice::Auto;
        assert_eq!(Mistral::grammar("{}", &context), forced(Segment::Answer));
        context.tool_choice = ToolChoice::Required;
        context.prompt_tail = "[THINK]a[/THINK]".into();
        assert_eq!(Mistral::grammar("{}", &context), Some(calls));
    }

    #[test]
    fn its_template_writes_the_format() {
        let info = Mistral::describe("{}").expect("any configuration is fine");
        assert_eq!(info.call_ids, CallIdFormat::Alphanumeric(9));
        let template = info.chat_template.expect("a template");
        assert!(template.contains(CALLS));
    }
}
