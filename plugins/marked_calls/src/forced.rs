//! How calls of a configuration are forced: with the first of its markers and keys.
//!
//! Invariant: what is forced is read back by the parser of the same configuration as the same calls.

use alloc::{format, string::String, vec::Vec};

use weir_plugin_sdk::{
    RequestContext, Segment, Tool,
    forced_calls::{ForcedCalls, ForcedList, call_object},
};

use crate::config::{Config, NameIn};

/// See [`weir_plugin_sdk::Parser::grammar`].
pub fn grammar(config: &Config, context: &RequestContext) -> Option<Segment> {
    match config.words.first() {
        Some(word) => ForcedList {
            before: "",
            // With its bracket, or the word could not be written in any other sense.
            start: &format!("{word}["),
            end: "",
            body: |tool: &Tool| object(config, tool),
        }
        .grammar(context),
        None if config.array => ForcedList {
            before: &config.before,
            start: &config.start[0],
            end: &config.end,
            body: |tool: &Tool| object(config, tool),
        }
        .grammar(context),
        None => calls(config, context),
    }
}

fn calls(config: &Config, context: &RequestContext) -> Option<Segment> {
    let start = config.start[0].as_str();
    let (first, second) = match config.before.as_str() {
        "" => (start, None),
        before => (before, Some(Segment::marker(start))),
    };
    let body = |tool: &Tool| {
        let parts = second.iter().cloned().chain(body(config, tool));
        Segment::sequence(parts)
    };
    ForcedCalls {
        block: match config.block.as_slice() {
            [begin, end] => Some([begin, end]),
            _ => None,
        },
        call: [first, &config.end],
        separator: &config.space[2],
        body,
    }
    .grammar(context)
}

fn object(config: &Config, tool: &Tool) -> Segment {
    call_object(tool, &config.keys.name[0], &config.keys.arguments[0])
}

/// What stands between the markers of a call.
fn body(config: &Config, tool: &Tool) -> Vec<Segment> {
    let name = || Segment::literal(tool.name.as_str());
    let separator = || Segment::marker(config.separator.as_str());
    let mut parts = match config.name {
        NameIn::Json => Vec::new(),
        NameIn::AfterStart => [name()].into(),
        NameIn::BeforeSeparator => [name(), separator()].into(),
        NameIn::AfterSeparator => [Segment::literal("function"), separator(), name()].into(),
    };
    let space = |space: &String| (!space.is_empty()).then(|| Segment::literal(space.as_str()));
    parts.extend(space(&config.space[0]));
    parts.push(match config.name {
        NameIn::Json => object(config, tool),
        _ => Segment::arguments(tool),
    });
    parts.extend(space(&config.space[1]));
    parts
}

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::{
        Parser,
        testing::{Written, call, events, joined, required, text, tool},
    };

    use super::*;
    use crate::MarkedCalls;

    const ARGUMENTS: &str = r#"{"a": [1, "}]"]}"#;

    /// Two calls as a grammar lets them be written.
    fn forced(config: &str) -> String {
        let context = RequestContext {
            parallel_tool_calls: true,
            ..required([tool("get_time", "{}")])
        };
        let grammar = MarkedCalls::grammar(config, &context).expect("calls are forced");
        let written = Written {
            text: "",
            json: &[ARGUMENTS],
            optional: false,
            calls: 2,
        };
        written.all(&grammar)
    }

    const CONFIGS: &[(&str, &str)] = &[
        (
            "{}",
            r#"<tool_call>{"name": "get_time", "arguments": {"a": [1, "}]"]}}</tool_call>"#,
        ),
        (
            r#"{"space": ["\n", "\n", "\n"], "name_key": "tool_name", "arguments_key": ["tool_args"]}"#,
            "<tool_call>\n{\"tool_name\": \"get_time\", \"tool_args\": {\"a\": [1, \"}]\"]}}\n</tool_call>\n",
        ),
        (
            r#"{"block": ["<b>", "</b>"], "start": ["<c>", "<d>"], "end": ""}"#,
            r#"<b><c>{"name": "get_time", "arguments": {"a": [1, "}]"]}}<c>"#,
        ),
        (
            r#"{"before": "<p>", "start": "<q>", "end": "</p>", "space": ["\n", "", ""]}"#,
            "<p><q>\n{\"name\": ",
        ),
        (
            r#"{"name": "after_start", "space": ["\n", "", ""]}"#,
            "<tool_call>get_time\n{\"a\": [1, \"}]\"]}</tool_call>",
        ),
        (r#"{"name": "after_start"}"#, "<tool_call>get_time{"),
        (
            r#"{"name": "before_separator", "separator": "<sep>"}"#,
            "<tool_call>get_time<sep>{",
        ),
        (
            r#"{"name": "after_separator", "separator": "<sep>"}"#,
            "<tool_call>function<sep>get_time{",
        ),
        (
            r#"{"array": true, "start": "<l>", "end": "</l>"}"#,
            r#"<l>[{"name": "get_time", "arguments": {"a": [1, "}]"]}}, {"name""#,
        ),
        (
            r#"{"array": true, "before": "<p>", "start": "<l>", "end": ""}"#,
            "<p><l>[{",
        ),
        (
            r#"{"array": true, "start": [], "words": "calls"}"#,
            "calls[{",
        ),
    ];

    #[test]
    fn what_is_forced_is_read_back_as_the_same_calls() {
        for (config, beginning) in CONFIGS {
            let answer = forced(config);
            assert!(answer.starts_with(beginning), "{config}: {answer}");
            let context = RequestContext::default();
            let events = events::<MarkedCalls>(config, &context, &[text(&answer)]);
            let expected = [0, 1].map(|index| call(index, "get_time", ARGUMENTS));
            assert_eq!(joined(events), expected.concat(), "{config}: {answer}");
        }
    }

    #[test]
    fn a_word_stays_a_word_where_calls_are_free() {
        let tool = Tool {
            strict: true,
            ..tool("f", "{}")
        };
        let context = RequestContext {
            tools: [tool].into(),
            ..RequestContext::default()
        };
        let config = r#"{"array": true, "start": [], "words": "calls", "end": ""}"#;
        let Some(Segment::Sequence(parts)) = MarkedCalls::grammar(config, &context) else {
            panic!("text and calls");
        };
        assert_eq!(parts[1], Segment::TextWithout(["calls[".into()].into()));
        assert_eq!(MarkedCalls::grammar("{}", &RequestContext::default()), None);
    }
}
