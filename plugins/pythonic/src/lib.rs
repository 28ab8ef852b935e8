//! Tool parser for calls written in Python, `[f(a=1, b="x"), g()]`: bare (Llama 3.2, ToolACE), between
//! `<|python_start|>` and `<|python_end|>` (Llama 4), or between other markers that the [`config`] names.
//!
//! Only the markers are this crate's; what a list of calls is, and every tolerance, is the SDK's [`python_calls`]. The JSON
//! that Llama 4 writes under other prompts is content: `llama3` reads JSON.
//!
//! [`python_calls`]: weir_plugin_sdk::python_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod config;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
    python_calls::PythonCalls, python_forced,
};

use crate::config::Config;

/// One choice's parsing.
#[derive(Debug)]
pub struct Pythonic(PythonCalls);

impl Parser for Pythonic {
    fn describe(config: &str) -> Result<ParserInfo, String> {
        let config = Config::read(config)?;
        let markers = |markers: &[&String]| {
            let written = markers.iter().filter(|marker| !marker.is_empty());
            written.map(|marker| (*marker).clone()).collect()
        };
        Ok(ParserInfo {
            name: "pythonic".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            markers: markers(&[&config.start]),
            special_tokens: markers(&[&config.start, &config.end]),
            stop_tokens: config.stop,
            default_config: config::DEFAULT.into(),
            ..ParserInfo::default()
        })
    }

    fn new(config: &str, context: &RequestContext) -> Self {
        match Config::read(config) {
            Ok(config) => Self(PythonCalls::new(config.markers(), context)),
            Err(message) => unreachable!("describe took this configuration: {message}"),
        }
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }

    fn grammar(config: &str, context: &RequestContext) -> Option<Segment> {
        let config = Config::read(config).ok()?;
        python_forced::grammar(&config.start, &config.end, context)
    }
}

weir_plugin_sdk::export_parser!(Pythonic);

#[cfg(test)]
mod tests {
    use alloc::format;

    use weir_plugin_sdk::{
        FragmentKind,
        testing::{self, Read, Written, arguments, begin, content, required, tool},
    };

    use super::*;

    const LLAMA4: &str = r#"{"start": "<|python_start|>", "end": "<|python_end|>"}"#;

    fn events(parser: &mut Pythonic, text: &str) -> Vec<Event> {
        let mut events = Vec::new();
        parser.push(&Fragment::new(text, FragmentKind::Text), &mut events);
        events
    }

    #[test]
    fn a_call_streams_as_it_is_read() {
        let mut parser = Pythonic::new("{}", &RequestContext::default());
        let delta = |delta: &str| arguments(0, delta);
        let begin = begin(0, "get_weather");
        let steps = [
            ("[get_", Vec::new()),
            ("weather(", Vec::new()),
            ("city=", Vec::new()),
            ("'K", [begin, delta("{\"city\": \"K")].into()),
            ("öln", [delta("öln")].into()),
            ("', days", [delta("\"")].into()),
            ("=1_0", [delta(", \"days\": 10")].into()),
            (")", [delta("}"), Event::CallEnd { index: 0 }].into()),
            ("]", Vec::new()),
            ("\n", Vec::new()),
        ];
        for (text, expected) in steps {
            assert_eq!(events(&mut parser, text), expected, "after {text}");
        }
    }

    #[test]
    fn what_is_no_list_is_released_at_once() {
        let mut parser = Pythonic::new(LLAMA4, &RequestContext::default());
        assert_eq!(events(&mut parser, "See"), [content("See")]);
        assert_eq!(
            events(&mut parser, " [r"),
            [content(" "), content("["), content("r")]
        );
        assert_eq!(events(&mut parser, "ef]\n["), [content("ef]\n")]);
        assert_eq!(events(&mut parser, "x"), []);
        assert_eq!(events(&mut parser, "("), []);
        let text = ["[", "x(1", ")"].map(content);
        assert_eq!(events(&mut parser, "1), <|p"), text);
        assert_eq!(events(&mut parser, "ip"), [", ", "<|pip"].map(content));
    }

    #[test]
    fn what_it_says_of_itself_follows_its_configuration() {
        let info = Pythonic::describe("{}").expect("usable");
        assert!(info.markers.is_empty() && info.special_tokens.is_empty());
        let info = Pythonic::describe(LLAMA4).expect("usable");
        assert_eq!(info.markers, ["<|python_start|>"]);
        assert_eq!(info.special_tokens, ["<|python_start|>", "<|python_end|>"]);
        assert!(Pythonic::describe(r#"{"starts": ""}"#).is_err());
    }

    #[test]
    fn forced_calls_are_read_back_as_the_same() {
        let schema = r#"{"type": "object", "properties": {"text": {"type": "string"}, "deep": {"type": "object"},
            "on": {"type": "boolean"}}, "required": ["text", "deep", "on"]}"#;
        let values = [
            r#""a \"b\" \/ \u00e9 \\d 'c'""#,
            r#"{"k": [null, -1.5e3, {}]}"#,
            "true",
        ];
        let context = RequestContext {
            strict_markers: true,
            ..required([tool("f.g-h", schema)])
        };
        for config in ["{}", LLAMA4] {
            let grammar = Pythonic::grammar(config, &context).expect("a grammar");
            let written = Written {
                text: "",
                json: &values,
                optional: false,
                calls: 1,
            };
            let answer = written.fragments(&grammar);
            let read = Read::of(&testing::events::<Pythonic>(config, &context, &answer));
            let [text, deep, on] = values;
            let expected = format!("{{\"text\": {text}, \"deep\": {deep}, \"on\": {on}}}");
            assert_eq!(read.calls, [("f.g-h".into(), expected)]);
        }
    }
}
