//! Tool parser for the JSON calls of Llama 3.1, 3.2 and 3.3: `{"name": ..., "parameters": {...}}`, several of them with `;`,
//! a comma or white space between, `<|python_tag|>` before them or not.
//!
//! Only the markers are this crate's; what a call is, and every tolerance, is the SDK's [`bare_calls`]. A call without
//! parameters is one behind the tag, or by the name of an offered tool: elsewhere `{"name": "Alice"}` is what the model
//! writes about. Code behind the tag (`brave_search.call(...)`) is content; the pythonic calls of Llama 4 are not read.
//!
//! [`bare_calls`]: weir_plugin_sdk::bare_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
    bare_calls::{BareCalls, BareFormat},
    forced_calls::{call_object, calls_or_text},
    grammar::forced_tools,
};

const TAG: &str = "<|python_tag|>";
/// End the message: to have a tool run, and for good.
const ENDS: &[&str] = &["<|eom_id|>", "<|eot_id|>"];

static FORMAT: BareFormat = BareFormat {
    announcing: &[TAG],
    ending: ENDS,
    wrapped: false,
};

/// One choice's parsing.
#[derive(Debug)]
pub struct Llama3(BareCalls);

impl Parser for Llama3 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "llama3".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            aliases: ["llama3_json"].map(Into::into).into(),
            markers: [TAG].map(Into::into).into(),
            special_tokens: [TAG].map(Into::into).into(),
            stop_tokens: ENDS.iter().map(|end| (*end).into()).collect(),
            chat_template: Some(include_str!("../../../chat_templates/llama3.jinja").into()),
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
        calls_or_text(context, ["\"name\"", TAG].map(Into::into), |context| {
            let calls = forced_tools(context).map(|tool| call_object(tool, "name", "parameters"));
            let calls: Vec<Segment> = calls.collect();
            let separator = Some(Segment::literal("; "));
            (!calls.is_empty()).then(|| Segment::any_of(calls).calls(separator, context))
        })
    }
}

weir_plugin_sdk::export_parser!(Llama3);

#[cfg(test)]
mod tests {
    use alloc::format;

    use weir_plugin_sdk::{
        ToolChoice,
        testing::{arguments, begin, content, text as fragment, tool},
    };

    use super::*;

    fn events(parser: &mut Llama3, text: &str) -> Vec<Event> {
        let mut events = Vec::new();
        parser.push(&fragment(text), &mut events);
        events
    }

    #[test]
    fn a_call_streams_as_soon_as_it_is_certain() {
        let mut parser = Llama3::new("{}", &RequestContext::default());
        let delta = |delta: &str| arguments(0, delta);
        let begin = begin(0, "f");
        let steps = [
            ("{\"name\": \"f\"", Vec::new()),
            (", \"parameters\": ", Vec::new()),
            ("{", [begin, delta("{")].into()),
            ("\"a\": 1", [delta("\"a\": 1")].into()),
            ("}", [delta("}")].into()),
            ("}", [Event::CallEnd { index: 0 }].into()),
            ("; ", Vec::new()),
        ];
        for (text, expected) in steps {
            assert_eq!(events(&mut parser, text), expected, "after {text}");
        }
    }

    #[test]
    fn what_is_no_call_is_released_at_once() {
        let mut parser = Llama3::new("{}", &RequestContext::default());
        assert_eq!(events(&mut parser, "if {"), [content("if ")]);
        assert_eq!(events(&mut parser, " "), []);
        assert_eq!(events(&mut parser, "x"), [content("{ "), content("x")]);
        assert_eq!(events(&mut parser, "{\"a\": 1"), []);
        assert_eq!(events(&mut parser, "}"), [content("{\"a\": 1}")]);
    }

    #[test]
    fn forced_calls_are_the_format_s() {
        let tool = |name: &str| tool(name, "{\"type\": \"object\"}");
        let context = |choice: ToolChoice, parallel_tool_calls: bool| RequestContext {
            tools: ["f", "say \"g\""].map(tool).into(),
            tool_choice: choice,
            parallel_tool_calls,
            ..RequestContext::default()
        };
        let call = |name: &str| {
            Segment::sequence([
                Segment::Literal(format!("{{\"name\": {name}, \"parameters\": ")),
                Segment::Json("{\"type\": \"object\"}".into()),
                Segment::literal("}"),
            ])
        };
        let repeat = |segment: Segment, max: Option<u32>| Segment::Repeat {
            segment: segment.into(),
            separator: Some(Segment::literal("; ").into()),
            min: 1,
            max,
        };
        assert_eq!(
            Llama3::grammar("{}", &context(ToolChoice::Auto, true)),
            None
        );
        let any = Segment::Alternative([call("\"f\""), call("\"say \\\"g\\\"\"")].into());
        assert_eq!(
            Llama3::grammar("{}", &context(ToolChoice::Required, true)),
            Some(repeat(any, None))
        );
        let named = ToolChoice::Named("f".into());
        assert_eq!(
            Llama3::grammar("{}", &context(named, false)),
            Some(repeat(call("\"f\""), Some(1)))
        );
    }

    #[test]
    fn its_template_writes_the_format() {
        let info = Llama3::describe("{}").expect("any configuration is fine");
        let template = info.chat_template.expect("a template");
        assert!(template.contains(TAG) && template.contains("\"parameters\": "));
    }
}
