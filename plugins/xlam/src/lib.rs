//! Tool parser for the calls of Salesforce's xLAM: a JSON array of `{"name": ..., "arguments": {...}}` that stands bare,
//! behind text, in a Markdown fence, behind `[TOOL_CALLS]`, or between `<tool_call>` and `</tool_call>`.
//!
//! Only the markers are this crate's; what a call is, and every tolerance, is the SDK's [`bare_calls`]. Reasoning in front
//! of the calls is a reasoning parser's.
//!
//! [`bare_calls`]: weir_plugin_sdk::bare_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
    bare_calls::{BareCalls, BareFormat},
    forced_calls::{ForcedList, call_object, calls_or_text},
};

const STARTS: &[&str] = &["<tool_call>", "[TOOL_CALLS]"];
/// End the message, in the models on Llama and on Qwen.
const STOPS: [&str; 2] = ["<|eot_id|>", "<|im_end|>"];

static FORMAT: BareFormat = BareFormat {
    announcing: STARTS,
    ending: &["</tool_call>", STOPS[0], STOPS[1]],
    wrapped: true,
};

static FORCED: ForcedList = ForcedList {
    before: "",
    start: "",
    end: "",
    body: |tool| call_object(tool, "name", "arguments"),
};

/// One choice's parsing.
#[derive(Debug)]
pub struct Xlam(BareCalls);

impl Parser for Xlam {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "xlam".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            markers: STARTS.iter().map(|start| (*start).into()).collect(),
            special_tokens: ["<tool_call>", "</tool_call>", "[TOOL_CALLS]"]
                .map(Into::into)
                .into(),
            stop_tokens: STOPS.map(Into::into).into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        Self(BareCalls::new(&FORMAT, context))
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }

    fn grammar(_: &str, context: &RequestContext) -> Option<Segment> {
        let telling = ["\"name\""].into_iter().chain(STARTS.iter().copied());
        calls_or_text(context, telling.map(Into::into), |context| {
            FORCED.grammar(context)
        })
    }
}

weir_plugin_sdk::export_parser!(Xlam);

#[cfg(test)]
mod tests {
    use alloc::format;

    use weir_plugin_sdk::{
        ToolChoice,
        testing::{self, Read, content, text as fragment, tool},
    };

    use super::*;

    fn events(parser: &mut Xlam, text: &str) -> Vec<Event> {
        let mut events = Vec::new();
        parser.push(&fragment(text), &mut events);
        events
    }

    #[test]
    fn only_what_may_open_calls_is_held_back() {
        let mut parser = Xlam::new("{}", &RequestContext::default());
        let steps = [
            ("See `", [content("See ")].to_vec()),
            ("x` [", ["`", "x", "`", " "].map(content).into()),
            ("1] ``", [content("["), content("1] ")].into()),
            ("`js", Vec::new()),
            ("\n", [content("```js"), content("\n")].into()),
            ("```json\n[ {\"id\"", Vec::new()),
            (
                ": 1}",
                [content("```json\n[ "), content("{\"id\": 1}")].into(),
            ),
        ];
        for (text, expected) in steps {
            assert_eq!(events(&mut parser, text), expected, "after {text}");
        }
    }

    #[test]
    fn forced_calls_are_read_back_as_the_same() {
        let tool = |name: &str| tool(name, "{\"type\": \"object\"}");
        let mut context = RequestContext {
            tools: ["f", "say \"g\""].map(tool).into(),
            parallel_tool_calls: true,
            ..RequestContext::default()
        };
        assert_eq!(Xlam::grammar("{}", &context), None);
        context.tool_choice = ToolChoice::Named("say \"g\"".into());
        let begin = "{\"name\": \"say \\\"g\\\"\", \"arguments\": ";
        let call = Segment::sequence([
            Segment::literal(begin),
            Segment::Json("{\"type\": \"object\"}".into()),
            Segment::literal("}"),
        ]);
        let expected = Segment::sequence([
            Segment::literal("["),
            call.calls(Some(Segment::literal(", ")), &context),
            Segment::literal("]"),
        ]);
        assert_eq!(Xlam::grammar("{}", &context), Some(expected));

        let answer = format!("[{begin}{{}}}}, {begin}{{\"a\": [1]}}}}]");
        let read = Read::of(&testing::events::<Xlam>(
            "{}",
            &context,
            &[fragment(&answer)],
        ));
        let call = |arguments: &str| (String::from("say \"g\""), String::from(arguments));
        assert_eq!(read.calls, ["{}", "{\"a\": [1]}"].map(call));
    }
}
