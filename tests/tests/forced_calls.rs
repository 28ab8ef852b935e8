//! What a parser's grammar forces, the same parser reads back as the calls that were forced.
//!
//! The grammar's tree is written out as a model could, with two calls where several may stand. Families whose grammar has
//! parts that only a decoder can write out are not here.

use weir_plugin_deepseek_v3::DeepseekV3;
use weir_plugin_deepseek_v31::DeepseekV31;
use weir_plugin_qwen25::Qwen25;
use weir_plugin_sdk::{
    Event, FinishReason, Fragment, FragmentKind, Parser, RequestContext, Segment, Tool, ToolChoice,
};

const ARGUMENTS: &str = "{\"city\": \"Köln\", \"days\": [1, 2]}";
const BEFORE: &str = "Let me see. ";
const AFTER: &str = "That is all.";

/// Writes the tree out; the calls of a repetition are of one tool after the other.
fn write(segment: &Segment, tool: usize, out: &mut Vec<Fragment>) {
    let text = |text: &str| Fragment::new(text, FragmentKind::Text);
    match segment {
        Segment::Marker(marker) => out.push(Fragment::new(marker, FragmentKind::Control)),
        Segment::Literal(literal) => out.push(text(literal)),
        Segment::Json(_) => out.push(text(ARGUMENTS)),
        Segment::Until(marker) => {
            out.push(text(BEFORE));
            out.push(Fragment::new(marker, FragmentKind::Control));
        }
        Segment::TextWithout(_) => out.push(text(AFTER)),
        Segment::Sequence(segments) => {
            for segment in segments {
                write(segment, tool, out);
            }
        }
        Segment::Alternative(segments) => write(&segments[tool % segments.len()], tool, out),
        Segment::Repeat {
            segment,
            separator,
            max,
            ..
        } => {
            for round in 0..max.unwrap_or(2) {
                if let Some(separator) = separator.as_ref().filter(|_| round > 0) {
                    write(separator, tool, out);
                }
                write(segment, tool + round as usize, out);
            }
        }
        Segment::Answer | Segment::Pattern(_) | Segment::Lark(_) => {
            panic!("cannot write out {segment:?}")
        }
    }
}

/// Forces calls, reads them back strictly, and returns their names and the text around them.
fn forced_and_read<P: Parser>(context: &RequestContext) -> (Vec<String>, String) {
    let grammar = P::grammar("{}", context).expect("a grammar");
    let mut fragments = Vec::new();
    write(&grammar, 0, &mut fragments);
    let mut parser = P::new("{}", context);
    let mut events = Vec::new();
    for fragment in &fragments {
        parser.push(fragment, &mut events);
    }
    parser.finish(FinishReason::Stop, &mut events);
    let (mut names, mut arguments, mut ended, mut content) = (vec![], vec![], 0, String::new());
    for event in events {
        match event {
            Event::CallBegin { name, .. } => {
                names.push(name);
                arguments.push(String::new());
            }
            Event::CallArguments { index, delta } => arguments[index as usize].push_str(&delta),
            Event::CallEnd { .. } => ended += 1,
            Event::Content(fragment) => content.push_str(&fragment.text),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ended, names.len());
    assert!(arguments.iter().all(|arguments| arguments == ARGUMENTS));
    (names, content)
}

fn context(tool_choice: ToolChoice, parallel_tool_calls: bool) -> RequestContext {
    let tool = |name: &str| Tool {
        name: name.into(),
        description: None,
        parameters: "{\"type\": \"object\"}".into(),
        strict: true,
    };
    RequestContext {
        tools: ["get_weather", "function"].map(tool).into(),
        tool_choice,
        parallel_tool_calls,
        strict_markers: true,
        ..RequestContext::default()
    }
}

fn reads_what_it_forces<P: Parser>() {
    let both = || ["get_weather", "function"].map(String::from).to_vec();
    let required = forced_and_read::<P>(&context(ToolChoice::Required, true));
    assert_eq!(required, (both(), String::new()));
    let named = ToolChoice::Named("function".into());
    let named = forced_and_read::<P>(&context(named, false));
    assert_eq!(named, (vec!["function".into()], String::new()));
    let (names, content) = forced_and_read::<P>(&context(ToolChoice::Auto, false));
    assert_eq!(names, ["get_weather"]);
    assert_eq!(content, format!("{BEFORE}{AFTER}"));
    // Where calls have a block, two of them in each of two blocks.
    let (names, content) = forced_and_read::<P>(&context(ToolChoice::Auto, true));
    assert!(names.len() >= 2 && names[..2] == both()[..]);
    assert_eq!(content, format!("{BEFORE}{BEFORE}{AFTER}"));
}

#[test]
fn qwen25() {
    reads_what_it_forces::<Qwen25>();
}

#[test]
fn deepseek_v3() {
    reads_what_it_forces::<DeepseekV3>();
}

#[test]
fn deepseek_v31() {
    reads_what_it_forces::<DeepseekV31>();
}
