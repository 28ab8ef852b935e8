//! Tool parser for the format of Qwen3 Coder and Qwen 3.5: `<tool_call>` around `<function=NAME>`, which holds a
//! `<parameter=KEY>` for each argument, every tag on its own line.
//!
//! Only the tags are this crate's; what a call is, and every tolerance, is the SDK's [`xml_calls`].
//!
//! [`xml_calls`]: weir_plugin_sdk::xml_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{format, string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment, Tool,
    forced_calls::ForcedCalls,
    forced_xml_calls::ForcedParameters,
    xml_calls::{Names, Tag, TagRole, XmlCalls, XmlFormat},
};

const START: &str = "<tool_call>";
const END: &str = "</tool_call>";

static FORMAT: XmlFormat = XmlFormat {
    tags: &[
        Tag::token(START, TagRole::BlockStart),
        Tag::token(END, TagRole::BlockEnd),
        Tag::text("<function=", TagRole::CallStart),
        Tag::text("</function>", TagRole::CallEnd),
        Tag::text("<parameter=", TagRole::ParameterStart),
        Tag::text("</parameter>", TagRole::ParameterEnd),
    ],
    names: Names::InTag,
    line_breaks: true,
    string_attribute: "",
};

static FORCED: ForcedCalls = ForcedCalls {
    block: None,
    call: [START, END],
    separator: "\n",
    body,
};

static PARAMETERS: ForcedParameters = ForcedParameters {
    start: |name, _| Segment::Literal(format!("<parameter={name}>\n")),
    end: "\n</parameter>",
    after: "\n",
};

fn body(tool: &Tool) -> Segment {
    Segment::sequence([
        Segment::Literal(format!("\n<function={}>\n", tool.name)),
        PARAMETERS.of(tool),
        Segment::literal("</function>\n"),
    ])
}

/// One choice's parsing.
#[derive(Debug)]
pub struct Qwen3Coder(XmlCalls);

impl Parser for Qwen3Coder {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "qwen3_coder".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            markers: [START].map(Into::into).into(),
            special_tokens: [START, END].map(Into::into).into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        Self(XmlCalls::new(&FORMAT, context))
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }

    fn grammar(_: &str, context: &RequestContext) -> Option<Segment> {
        FORCED.grammar(context)
    }
}

weir_plugin_sdk::export_parser!(Qwen3Coder);

#[cfg(test)]
mod tests {
    use std::format;

    use weir_plugin_sdk::testing::{Read, Written, events, required, text, tool};

    use super::*;

    fn context() -> RequestContext {
        required([tool(
            "write_file",
            r#"{"type": "object", "properties": {"path": {"type": "string"},
                "mode": {"type": "string", "enum": ["append", "replace"]}, "lines": {"type": "array"},
                "note": {"type": "string"}}, "required": ["path", "lines"]}"#,
        )])
    }

    /// The answer that a grammar allows: everything optional in it if `all`.
    fn written(grammar: &Segment, all: bool) -> String {
        let written = Written {
            text: "a \"b\"\n</p\n",
            json: &["[1e5, \"</parameter>\"]"],
            optional: all,
            calls: 1,
        };
        written.all(grammar)
    }

    #[test]
    fn what_is_forced_is_read_back() {
        let context = context();
        let grammar = Qwen3Coder::grammar("{}", &context).expect("a call is forced");
        let path = r#""path": "a \"b\"\n</p\n""#;
        let json = r#""lines": [1e5, "</parameter>"]"#;
        let note = r#""note": "a \"b\"\n</p\n""#;
        for (all, expected) in [
            (false, format!("{{{path}, {json}}}")),
            (
                true,
                format!("{{{path}, \"mode\": \"append\", {json}, {note}}}"),
            ),
        ] {
            let answer = text(&written(&grammar, all));
            let read = Read::of(&events::<Qwen3Coder>("{}", &context, &[answer]));
            assert_eq!(read.calls, [("write_file".into(), expected)]);
        }
    }

    #[test]
    fn a_call_is_forced_as_the_template_writes_it() {
        let grammar = Qwen3Coder::grammar("{}", &context()).expect("a call is forced");
        assert_eq!(
            written(&grammar, false),
            "<tool_call>\n<function=write_file>\n<parameter=path>\na \"b\"\n</p\n\n</parameter>\n\
             <parameter=lines>\n[1e5, \"</parameter>\"]\n</parameter>\n</function>\n</tool_call>"
        );
        assert_eq!(Qwen3Coder::grammar("{}", &RequestContext::default()), None);
    }
}
