//! How the families of [`crate::marked_calls`] and [`crate::listed_calls`] are forced: calls between markers, or in an array
//! behind one, as a tree of [`Segment`]s.
//!
//! Invariants: what is forced is what the family's chat template would write, and its parser reads it back as the same
//! calls; nothing is forced that the request does not ask for. It knows no family's markers.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use crate::{
    grammar::{Segment, forced_tools, strict_tools_on_offer},
    json_text::json_string,
    types::{RequestContext, ResponseFormat, Tool, ToolChoice},
};

/// How a family writes calls that are forced.
#[derive(Debug)]
pub struct ForcedCalls<'a, B = fn(&Tool) -> Segment> {
    /// The markers around all calls, for families that have them.
    pub block: Option<[&'a str; 2]>,
    /// The markers around a call; an empty end marker for families that have none.
    pub call: [&'a str; 2],
    /// What stands between two calls.
    pub separator: &'a str,
    /// What stands between the markers of a call of this tool.
    pub body: B,
}

impl<B: Fn(&Tool) -> Segment> ForcedCalls<'_, B> {
    /// See [`crate::Parser::grammar`]. Calls are forced as the tool choice asks for it. Where it leaves the choice to the
    /// model and every tool is strict, text stays free and a call, once its marker came, is forced.
    pub fn grammar(&self, context: &RequestContext) -> Option<Segment> {
        let block = self.block.map(|[begin, _]| begin);
        let starts = block.into_iter().chain([self.call[0]]);
        forced(context, starts, |start, tools| {
            self.calls(start, tools, context)
        })
    }

    /// All of an answer that is calls; or the first part of one that has them after text.
    fn calls(&self, start: Start, tools: &[&Tool], context: &RequestContext) -> Segment {
        let separator = (!self.separator.is_empty()).then(|| Segment::literal(self.separator));
        match (self.block, start) {
            (Some([begin, end]), _) => Segment::sequence([
                start.segment(begin),
                self.call(Start::Marker, tools).calls(separator, context),
                Segment::marker(end),
            ]),
            (None, Start::Marker) => self.call(start, tools).calls(separator, context),
            (None, Start::Text) => self.call(start, tools),
        }
    }

    fn call(&self, start: Start, tools: &[&Tool]) -> Segment {
        let body = any(tools, &self.body);
        let [begin, end] = self.call;
        let end = (!end.is_empty()).then(|| Segment::marker(end));
        Segment::sequence([start.segment(begin), body].into_iter().chain(end))
    }
}

/// How a family writes calls that are forced as a JSON array behind a marker.
#[derive(Debug)]
pub struct ForcedList<'a, B = fn(&Tool) -> Segment> {
    /// A marker before `start`; empty for families that have none.
    pub before: &'a str,
    /// What stands before the array. It ends with the array's bracket where the marker alone would be an ordinary word. It is
    /// empty for families that have none, which are forced where a call must come and nowhere else.
    pub start: &'a str,
    /// The marker behind the array; empty for families that have none.
    pub end: &'a str,
    /// The object of a call of this tool.
    pub body: B,
}

impl<B: Fn(&Tool) -> Segment> ForcedList<'_, B> {
    /// Like [`ForcedCalls::grammar`].
    pub fn grammar(&self, context: &RequestContext) -> Option<Segment> {
        let (first, second) = match self.before {
            "" => (self.start, None),
            before => (before, Some(Segment::marker(self.start))),
        };
        let marker = (!first.is_empty()).then_some(first);
        forced(context, marker.into_iter(), |start, tools| {
            let bracket = (!self.start.ends_with('[')).then(|| Segment::literal("["));
            let end = (!self.end.is_empty()).then(|| Segment::marker(self.end));
            let calls = any(tools, &self.body).calls(Some(Segment::literal(", ")), context);
            let start = marker.map(|marker| start.segment(marker)).into_iter();
            let start = start.chain(second.clone()).chain(bracket);
            Segment::sequence(start.chain([calls, Segment::literal("]")]).chain(end))
        })
    }
}

/// [`crate::Parser::grammar`] of a family whose calls have no marker, where `calls` says how they are forced. Where the choice
/// is the model's and every tool is strict, an answer is forced calls, or text in which none of `telling` stands: texts that
/// every call holds and hardly any prose does. So text stands in front of no call, which nothing would tell from text.
pub fn calls_or_text(
    context: &RequestContext,
    telling: impl IntoIterator<Item = String>,
    calls: impl Fn(&RequestContext) -> Option<Segment>,
) -> Option<Segment> {
    if !strict_tools_on_offer(context) || context.response_format != ResponseFormat::Text {
        return calls(context);
    }
    let required = RequestContext {
        tool_choice: ToolChoice::Required,
        ..context.clone()
    };
    let text = Segment::TextWithout(telling.into_iter().collect());
    Some(Segment::Alternative([calls(&required)?, text].into()))
}

/// A call object of this tool: a name and arguments under these keys.
pub fn call_object(tool: &Tool, name_key: &str, arguments_key: &str) -> Segment {
    spaced_object("", tool, name_key, arguments_key)
}

/// The same on lines of its own between its markers.
pub fn call_object_on_lines(tool: &Tool, name_key: &str, arguments_key: &str) -> Segment {
    spaced_object("\n", tool, name_key, arguments_key)
}

fn spaced_object(space: &str, tool: &Tool, name_key: &str, arguments_key: &str) -> Segment {
    let [name_key, name, arguments_key] = [name_key, &tool.name, arguments_key].map(json_string);
    Segment::sequence([
        Segment::Literal(format!("{space}{{{name_key}: {name}, {arguments_key}: ")),
        Segment::arguments(tool),
        Segment::Literal(format!("}}{space}")),
    ])
}

/// A call of one of the tools.
fn any(tools: &[&Tool], body: impl Fn(&Tool) -> Segment) -> Segment {
    Segment::any_of(tools.iter().map(|tool| body(tool)))
}

/// What a request forces, where `calls` says how calls are written and one of `starts` starts them: where nothing does, no
/// call stands beside text.
fn forced<'a>(
    context: &RequestContext,
    starts: impl Iterator<Item = &'a str>,
    calls: impl Fn(Start, &[&Tool]) -> Segment,
) -> Option<Segment> {
    let forced: Vec<&Tool> = forced_tools(context).collect();
    if !forced.is_empty() {
        return Some(calls(Start::Marker, &forced));
    }
    let mut starts = starts.peekable();
    let strict = starts.peek().is_some() && strict_tools_on_offer(context);
    strict.then(|| {
        let tools: Vec<&Tool> = context.tools.iter().collect();
        if context.response_format != ResponseFormat::Text {
            // Text beside calls would break the format of the response.
            return Segment::Alternative([calls(Start::Marker, &tools), Segment::Answer].into());
        }
        Segment::sequence([
            Segment::Repeat {
                segment: Box::new(calls(Start::Text, &tools)),
                separator: None,
                min: 0,
                max: (!context.parallel_tool_calls).then_some(1),
            },
            Segment::TextWithout(starts.map(String::from).collect()),
        ])
    })
}

/// What stands before and with the marker that starts calls.
#[derive(Clone, Copy)]
enum Start {
    /// The marker alone.
    Marker,
    /// Free text.
    Text,
}

impl Start {
    fn segment(self, marker: &str) -> Segment {
        match self {
            Self::Marker => Segment::marker(marker),
            Self::Text => Segment::Until(marker.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    const PLAIN: ForcedCalls = ForcedCalls {
        block: None,
        call: ["<c>", "</c>"],
        separator: "\n",
        body: |tool| Segment::literal(tool.name.as_str()),
    };
    const BLOCK: ForcedCalls = ForcedCalls {
        block: Some(["<b>", "</b>"]),
        separator: "",
        ..PLAIN
    };

    fn context(choice: ToolChoice, strict: bool) -> RequestContext {
        let tool = |name: &str| Tool {
            name: name.into(),
            description: None,
            parameters: "{}".into(),
            strict,
        };
        RequestContext {
            tools: ["f", "g"].map(tool).into(),
            tool_choice: choice,
            parallel_tool_calls: true,
            ..RequestContext::default()
        }
    }

    fn call(start: Segment, body: Segment) -> Segment {
        Segment::sequence([start, body, Segment::marker("</c>")])
    }

    fn either() -> Segment {
        Segment::Alternative(["f", "g"].map(Segment::literal).into())
    }

    fn repeat(segment: Segment, separator: Option<Segment>, min: u32, max: Option<u32>) -> Segment {
        Segment::Repeat {
            segment: Box::new(segment),
            separator: separator.map(Box::new),
            min,
            max,
        }
    }

    #[test]
    fn nothing_is_forced_unasked() {
        assert_eq!(PLAIN.grammar(&RequestContext::default()), None);
        assert_eq!(PLAIN.grammar(&context(ToolChoice::Auto, false)), None);
        assert_eq!(PLAIN.grammar(&context(ToolChoice::None, true)), None);
        let mixed = RequestContext {
            tools: [
                context(ToolChoice::Auto, true),
                context(ToolChoice::Auto, false),
            ]
            .map(|context| context.tools[0].clone())
            .into(),
            ..RequestContext::default()
        };
        assert_eq!(PLAIN.grammar(&mixed), None);
        let unknown = ToolChoice::Named("h".to_string());
        assert_eq!(PLAIN.grammar(&context(unknown, true)), None);
    }

    #[test]
    fn a_choice_forces_calls() {
        let any = call(Segment::marker("<c>"), either());
        let required = context(ToolChoice::Required, false);
        let line = Some(Segment::literal("\n"));
        assert_eq!(
            PLAIN.grammar(&required),
            Some(repeat(any.clone(), line.clone(), 1, None))
        );
        assert_eq!(
            BLOCK.grammar(&required),
            Some(Segment::sequence([
                Segment::marker("<b>"),
                repeat(any, None, 1, None),
                Segment::marker("</b>"),
            ]))
        );
        let named = RequestContext {
            parallel_tool_calls: false,
            ..context(ToolChoice::Named("g".into()), false)
        };
        let one = call(Segment::marker("<c>"), Segment::literal("g"));
        assert_eq!(PLAIN.grammar(&named), Some(repeat(one, line, 1, Some(1))));
    }

    #[test]
    fn strict_tools_leave_text_free() {
        let auto = context(ToolChoice::Auto, true);
        let text = |markers: &[&str]| {
            Segment::TextWithout(markers.iter().map(ToString::to_string).collect())
        };
        assert_eq!(
            PLAIN.grammar(&auto),
            Some(Segment::sequence([
                repeat(call(Segment::Until("<c>".into()), either()), None, 0, None),
                text(&["<c>"]),
            ]))
        );
        let one = RequestContext {
            parallel_tool_calls: false,
            ..auto
        };
        let block = Segment::sequence([
            Segment::Until("<b>".into()),
            repeat(call(Segment::marker("<c>"), either()), None, 1, Some(1)),
            Segment::marker("</b>"),
        ]);
        assert_eq!(
            BLOCK.grammar(&one),
            Some(Segment::sequence([
                repeat(block, None, 0, Some(1)),
                text(&["<b>", "<c>"]),
            ]))
        );
    }

    #[test]
    fn a_list_is_forced_with_its_bracket_once() {
        let list = |before, start, end| {
            let list = ForcedList {
                before,
                start,
                end,
                body: |tool: &Tool| call_object(tool, "name", "args"),
            };
            list.grammar(&context(ToolChoice::Named("g".into()), false))
        };
        let object = Segment::sequence([
            Segment::literal("{\"name\": \"g\", \"args\": "),
            Segment::Json("{\"type\": \"object\"}".into()),
            Segment::literal("}"),
        ]);
        let calls = repeat(object, Some(Segment::literal(", ")), 1, None);
        let (open, close) = (Segment::literal("["), Segment::literal("]"));
        let marked = [Segment::marker("<l>"), open, calls.clone(), close.clone()];
        let marked = marked.into_iter().chain([Segment::marker("</l>")]);
        assert_eq!(list("", "<l>", "</l>"), Some(Segment::sequence(marked)));
        let word = [Segment::marker("list["), calls, close];
        assert_eq!(list("", "list[", ""), Some(Segment::sequence(word.clone())));
        let announced = [Segment::marker("<a>")].into_iter().chain(word);
        assert_eq!(list("<a>", "list[", ""), Some(Segment::sequence(announced)));
    }

    #[test]
    fn without_a_marker_it_is_calls_or_text() {
        let list = ForcedList {
            before: "",
            start: "",
            end: "",
            body: |tool: &Tool| Segment::literal(tool.name.as_str()),
        };
        let grammar = |context: &RequestContext| {
            calls_or_text(context, ["f(".to_string()], |context| list.grammar(context))
        };
        let required = list.grammar(&context(ToolChoice::Required, true));
        let calls = required.clone().expect("calls");
        let text = Segment::TextWithout(["f(".to_string()].into());
        let auto = context(ToolChoice::Auto, true);
        assert_eq!(
            grammar(&auto),
            Some(Segment::Alternative([calls, text].into()))
        );
        assert_eq!(grammar(&context(ToolChoice::Required, true)), required);
        assert_eq!(grammar(&context(ToolChoice::Auto, false)), None);
        let formatted = RequestContext {
            response_format: ResponseFormat::JsonObject,
            ..auto
        };
        assert_eq!(grammar(&formatted), None);
    }

    #[test]
    fn strict_tools_beside_a_response_format_leave_no_text() {
        let auto = RequestContext {
            response_format: ResponseFormat::JsonObject,
            ..context(ToolChoice::Auto, true)
        };
        let calls = PLAIN.grammar(&context(ToolChoice::Required, true));
        assert_eq!(
            PLAIN.grammar(&auto),
            calls.map(|calls| Segment::Alternative([calls, Segment::Answer].into()))
        );
    }
}
