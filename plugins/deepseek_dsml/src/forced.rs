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
    use std::string::String;

    use weir_plugin_sdk::{
        Parser, RequestContext,
        testing::{Read, Written, events, required, text, tool},
    };

    use super::*;
    use crate::DeepseekDsml;

    fn context() -> RequestContext {
        let schema = r#"{"type": "object", "properties": {"path": {"type": "string"}, "lines": {"type": "array"},
            "mode": {"type": "string", "enum": ["append", "replace"]}}, "required": ["path", "lines"]}"#;
        RequestContext {
            parallel_tool_calls: true,
            ..required([tool("write", schema), tool("now", r#"{"type": "object"}"#)])
        }
    }

    /// A call of each tool as a grammar allows them: everything optional in them if `all`.
    fn written(grammar: &Segment, all: bool) -> String {
        let written = Written {
            text: "5 </b>\n",
            json: &["[1e5, \"x\"]"],
            optional: all,
            calls: 2,
        };
        written.all(grammar)
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
                let answer = text(&written(&grammar, all));
                let read = Read::of(&events::<DeepseekDsml>(config, &context(), &[answer]));
                let calls = [("write".into(), expected), ("now".into(), "{}".into())];
                assert_eq!(read.calls, calls, "{config}");
            }
        }
    }

    #[test]
    fn each_version_writes_its_own_tags() {
        let config = r#"{"version": "v4.1"}"#;
        let grammar = DeepseekDsml::grammar(config, &context()).expect("a grammar");
        assert_eq!(
            written(&grammar, false),
            "<｜DSML｜ calls>\n<｜DSML｜ invoke name=\"write\">\n\
             <｜DSML｜ parameter name=\"path\" string=\"true\">5 </b>\n</｜DSML｜ parameter>\n\
             <｜DSML｜ parameter name=\"lines\" string=\"false\">[1e5, \"x\"]</｜DSML｜ parameter>\n\
             </｜DSML｜ invoke>\n<｜DSML｜ invoke name=\"now\">\n</｜DSML｜ invoke>\n</｜DSML｜ calls>"
        );
        let starts = |config| {
            let grammar = DeepseekDsml::grammar(config, &context()).expect("a grammar");
            written(&grammar, false)
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
