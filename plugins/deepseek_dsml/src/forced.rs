//! How each version's calls are forced: as its encoding writes them, a line for every tag but those of values.

use alloc::format;

use weir_plugin_sdk::{
    Segment, Tool, forced_calls::ForcedCalls, forced_xml_calls::ForcedParameters,
};

use crate::config::Version;

static V32: ForcedCalls = ForcedCalls {
    block: Some(["<｜DSML｜function_calls>\n", "\n</｜DSML｜function_calls>"]),
    call: ["<｜DSML｜invoke name=", "</｜DSML｜invoke>"],
    separator: "\n",
    body: |tool| body(tool, &PARAMETERS),
};

static V4: ForcedCalls = ForcedCalls {
    block: Some(["<｜DSML｜tool_calls>\n", "\n</｜DSML｜tool_calls>"]),
    ..V32
};

static V41: ForcedCalls = ForcedCalls {
    block: Some(["<｜DSML｜ calls>\n", "\n</｜DSML｜ calls>"]),
    call: ["<｜DSML｜ invoke name=", "</｜DSML｜ invoke>"],
    separator: "\n",
    body: |tool| body(tool, &SPACED_PARAMETERS),
};

static PARAMETERS: ForcedParameters = ForcedParameters {
    start: |name, text| parameter("<｜DSML｜parameter", name, text),
    end: "</｜DSML｜parameter>",
    after: "\n",
};

static SPACED_PARAMETERS: ForcedParameters = ForcedParameters {
    start: |name, text| parameter("<｜DSML｜ parameter", name, text),
    end: "</｜DSML｜ parameter>",
    after: "\n",
};

/// How this version's calls are forced.
pub fn calls(version: Version) -> &'static ForcedCalls<'static> {
    match version {
        Version::V32 => &V32,
        Version::V4 => &V4,
        Version::V41 => &V41,
    }
}

/// A call behind its tag's text up to the name.
fn body(tool: &Tool, parameters: &ForcedParameters) -> Segment {
    Segment::sequence([
        Segment::Literal(format!("\"{}\">\n", tool.name)),
        parameters.of(tool),
    ])
}

fn parameter(tag: &str, name: &str, text: bool) -> Segment {
    Segment::marker(format!("{tag} name=\"{name}\" string=\"{text}\">"))
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec::Vec};

    use weir_plugin_sdk::{
        Event, FinishReason, Fragment, FragmentKind, Parser, RequestContext, ToolChoice,
    };

    use super::*;
    use crate::DeepseekDsml;

    fn context() -> RequestContext {
        let tool = |name: &str, parameters: &str| Tool {
            name: name.into(),
            description: None,
            parameters: parameters.into(),
            strict: false,
        };
        RequestContext {
            tools: [
                tool(
                    "write",
                    r#"{"type": "object", "properties": {"path": {"type": "string"}, "lines": {"type": "array"},
                    "mode": {"type": "string", "enum": ["append", "replace"]}}, "required": ["path", "lines"]}"#,
                ),
                tool("now", r#"{"type": "object"}"#),
            ]
            .into(),
            tool_choice: ToolChoice::Required,
            parallel_tool_calls: true,
            ..RequestContext::default()
        }
    }

    /// A text that a segment allows: one call of each tool, everything optional in it if `all`.
    fn written(segment: &Segment, tool: usize, all: bool) -> String {
        match segment {
            Segment::Marker(text) | Segment::Literal(text) => text.clone(),
            Segment::Until(end) => format!("5 </b>\n{end}"),
            Segment::Json(_) => "[1e5, \"x\"]".into(),
            Segment::Sequence(parts) => parts.iter().map(|part| written(part, tool, all)).collect(),
            Segment::Alternative(parts) => written(&parts[tool % parts.len()], tool, all),
            Segment::Repeat {
                segment,
                separator: Some(separator),
                ..
            } => {
                let calls = [0, 1].map(|tool| written(segment, tool, all));
                calls.join(&written(separator, tool, all))
            }
            Segment::Repeat { segment, min, .. } if all || *min > 0 => written(segment, tool, all),
            Segment::Repeat { .. } => String::new(),
            other => panic!("not expected: {other:?}"),
        }
    }

    fn read(config: &str, text: &str) -> (Vec<String>, Vec<String>) {
        let mut parser = DeepseekDsml::new(config, &context());
        let mut events = Vec::new();
        parser.push(&Fragment::new(text, FragmentKind::Text), &mut events);
        parser.finish(FinishReason::Stop, &mut events);
        let (mut names, mut arguments) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::CallBegin { name, .. } => {
                    names.push(name);
                    arguments.push(String::new());
                }
                Event::CallArguments { index, delta } => {
                    arguments[index as usize].push_str(&delta);
                }
                Event::CallEnd { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        (names, arguments)
    }

    #[test]
    fn what_is_forced_is_read_back() {
        for config in ["{}", r#"{"version": "v4"}"#, r#"{"version": "v4.1"}"#] {
            let grammar = DeepseekDsml::grammar(config, &context()).expect("a grammar");
            let required = r#""path": "5 </b>\n", "lines": [1e5, "x"]"#;
            for (all, expected) in [
                (false, format!("{{{required}}}")),
                (true, format!("{{{required}, \"mode\": \"append\"}}")),
            ] {
                let (names, arguments) = read(config, &written(&grammar, 0, all));
                assert_eq!(names, ["write", "now"], "{config}");
                assert_eq!(arguments, [expected, "{}".into()], "{config}");
            }
        }
    }

    #[test]
    fn each_version_writes_its_own_tags() {
        let config = r#"{"version": "v4.1"}"#;
        let grammar = DeepseekDsml::grammar(config, &context()).expect("a grammar");
        assert_eq!(
            written(&grammar, 0, false),
            "<｜DSML｜ calls>\n<｜DSML｜ invoke name=\"write\">\n\
             <｜DSML｜ parameter name=\"path\" string=\"true\">5 </b>\n</｜DSML｜ parameter>\n\
             <｜DSML｜ parameter name=\"lines\" string=\"false\">[1e5, \"x\"]</｜DSML｜ parameter>\n\
             </｜DSML｜ invoke>\n<｜DSML｜ invoke name=\"now\">\n</｜DSML｜ invoke>\n</｜DSML｜ calls>"
        );
        let starts = |config| {
            let grammar = DeepseekDsml::grammar(config, &context()).expect("a grammar");
            written(&grammar, 0, false)
        };
        assert!(starts("{}").starts_with("<｜DSML｜function_calls>\n<｜DSML｜invoke name="));
        assert!(
            starts(r#"{"version": "v4"}"#).starts_with("<｜DSML｜tool_calls>\n<｜DSML｜invoke")
        );
        assert_eq!(
            DeepseekDsml::grammar("{}", &RequestContext::default()),
            None
        );
    }
}
