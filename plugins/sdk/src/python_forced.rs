//! How the families of [`crate::python_calls`] are forced: a list of calls in Python whose values are JSON by the schemas of
//! the tool's parameters.
//!
//! Invariants: parameters come in the schema's order, required ones always, each once; the parser reads JSON's literals and
//! strings as Python's, so the calls are read back as the same. A parameter whose name cannot be a keyword is left out. A
//! schema that lists no properties lets the model write any keywords.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use crate::{
    grammar::{Segment, forced_tools},
    json_scanner::{JsonScanner, Step, decode_string},
    python_arguments::is_of_a_keyword,
    types::{RequestContext, ResponseFormat, Tool, ToolChoice},
};

/// Where no parameter is required, any of them may be the first, and each gets a segment for what follows it: quadratic in
/// their number. Where there are more than these, a comma may stand behind the last one instead, as Python has it.
const MOST_STARTS: usize = 16;

/// See [`crate::Parser::grammar`]. `start` and `end` are the markers around a list, empty for a family that has none. Where
/// the choice is the model's and every tool is strict, a list is forced once its marker came; nothing can be without one.
pub fn grammar(start: &str, end: &str, context: &RequestContext) -> Option<Segment> {
    let marker = (!start.is_empty()).then(|| Segment::marker(start));
    let forced: Vec<&Tool> = forced_tools(context).collect();
    if !forced.is_empty() {
        return Some(list(marker, end, &forced, context));
    }
    let strict = context.tool_choice == ToolChoice::Auto
        && !context.tools.is_empty()
        && context.tools.iter().all(|tool| tool.strict);
    if start.is_empty() || !strict {
        return None;
    }
    let tools: Vec<&Tool> = context.tools.iter().collect();
    Some(if context.response_format == ResponseFormat::Text {
        let until = Some(Segment::Until(start.into()));
        Segment::sequence([
            Segment::Repeat {
                segment: Box::new(list(until, end, &tools, context)),
                separator: None,
                min: 0,
                max: (!context.parallel_tool_calls).then_some(1),
            },
            Segment::TextWithout([start.into()].into()),
        ])
    } else {
        // Text beside calls would break the format of the response.
        let calls = list(marker, end, &tools, context);
        Segment::Alternative([calls, Segment::Answer].into())
    })
}

fn list(before: Option<Segment>, end: &str, tools: &[&Tool], context: &RequestContext) -> Segment {
    let mut calls: Vec<Segment> = tools.iter().map(|tool| call(tool)).collect();
    let call = if calls.len() == 1 {
        calls.remove(0)
    } else {
        Segment::Alternative(calls)
    };
    let separator = Some(Segment::literal(", "));
    let list = [
        Segment::literal("["),
        call.calls(separator, context),
        Segment::literal("]"),
    ];
    let end = (!end.is_empty()).then(|| Segment::marker(end));
    Segment::sequence(before.into_iter().chain(list).chain(end))
}

fn call(tool: &Tool) -> Segment {
    let begin = Segment::Literal(format!("{}(", tool.name));
    let end = Segment::literal(")");
    Segment::sequence(
        [begin]
            .into_iter()
            .chain(arguments(&tool.parameters))
            .chain([end]),
    )
}

/// What may stand between the parentheses of a call.
fn arguments(schema: &str) -> Vec<Segment> {
    let schema = members(schema);
    let value = |name: &str| {
        let mut members = schema.iter();
        members
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
    };
    let Some(properties) = value("properties") else {
        return [any_keywords()].into();
    };
    let required = strings(value("required").unwrap_or_default());
    let shared: String = ["$defs", "definitions"]
        .into_iter()
        .filter_map(|key| Some(format!("\"{key}\": {}, ", value(key)?)))
        .collect();
    let mut keywords = Vec::new();
    for (name, schema) in members(properties) {
        if !name.is_empty() && name.chars().all(is_of_a_keyword) {
            let value = Segment::Json(with_shared(schema, &shared));
            let keyword = [Segment::Literal(format!("{name}=")), value];
            keywords.push((Segment::sequence(keyword), required.contains(&name)));
        }
    }
    in_order(&keywords)
}

/// The keywords in their order, those that are required and perhaps the others.
fn in_order(keywords: &[(Segment, bool)]) -> Vec<Segment> {
    let comma = || Segment::literal(", ");
    let after = |(keyword, required): &(Segment, bool)| {
        let keyword = Segment::sequence([comma(), keyword.clone()]);
        if *required { keyword } else { perhaps(keyword) }
    };
    // Commas stand behind what comes before the first one that is certain, and before what comes after it.
    let behind =
        |(keyword, _): &(Segment, bool)| perhaps(Segment::sequence([keyword.clone(), comma()]));
    if let Some(certain) = keywords.iter().position(|(_, required)| *required) {
        let (before, after_it) = (&keywords[..certain], &keywords[certain + 1..]);
        let first = keywords[certain].0.clone();
        let all = before.iter().map(behind).chain([first]);
        return all.chain(after_it.iter().map(after)).collect();
    }
    if keywords.len() > MOST_STARTS {
        return keywords.iter().map(behind).collect();
    }
    let starts = keywords.iter().enumerate().map(|(at, (first, _))| {
        Segment::sequence(
            [first.clone()]
                .into_iter()
                .chain(keywords[at + 1..].iter().map(after)),
        )
    });
    let mut starts: Vec<Segment> = starts.collect();
    match starts.len() {
        0 => Vec::new(),
        1 => [perhaps(starts.remove(0))].into(),
        _ => [perhaps(Segment::Alternative(starts))].into(),
    }
}

fn perhaps(segment: Segment) -> Segment {
    Segment::Repeat {
        segment: Box::new(segment),
        separator: None,
        min: 0,
        max: Some(1),
    }
}

fn any_keywords() -> Segment {
    let keyword = [
        Segment::Pattern("[A-Za-z_][A-Za-z0-9_]*".into()),
        Segment::literal("="),
        Segment::Json("{}".into()),
    ];
    Segment::Repeat {
        segment: Box::new(Segment::sequence(keyword)),
        separator: Some(Box::new(Segment::literal(", "))),
        min: 0,
        max: None,
    }
}

/// The schema of a property with what it may refer to: `$defs` stand beside `properties`, not in them.
fn with_shared(schema: &str, shared: &str) -> String {
    match schema.strip_prefix('{') {
        Some(rest) if !shared.is_empty() => {
            let shared = if members(schema).is_empty() {
                shared.trim_end_matches(", ")
            } else {
                shared
            };
            format!("{{{shared}{rest}")
        }
        _ => schema.into(),
    }
}

/// The members of a JSON object with their values as they are written; none of what is no object.
fn members(object: &str) -> Vec<(String, &str)> {
    let mut members = Vec::new();
    let mut scanner = JsonScanner::new();
    let (mut at, mut start) = (0, 0);
    let mut key = String::new();
    loop {
        let (used, step) = scanner.scan(&object[at..]);
        at += used;
        match step {
            Step::Key => {
                let literal = &object[at - scanner.unproven_string()..at];
                key = decode_string(literal).unwrap_or_default();
            }
            Step::ValueStart => start = at,
            Step::ValueEnd => {
                members.push((core::mem::take(&mut key), object[start..at].trim_end()))
            }
            Step::More | Step::Complete | Step::Broken => return members,
        }
    }
}

/// The strings of a JSON array of strings.
fn strings(array: &str) -> Vec<String> {
    let mut strings = Vec::new();
    let mut rest = array;
    while let Some(at) = rest.find('"') {
        rest = &rest[at..];
        let (used, step) = JsonScanner::new().scan(rest);
        if step != Step::Complete {
            break;
        }
        strings.extend(decode_string(&rest[..used]));
        rest = &rest[used..];
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, parameters: &str) -> Tool {
        Tool {
            name: name.into(),
            description: None,
            parameters: parameters.into(),
            strict: true,
        }
    }

    fn keyword(name: &str, schema: &str) -> Segment {
        let name = Segment::Literal(format!("{name}="));
        Segment::sequence([name, Segment::Json(schema.into())])
    }

    fn comma(keyword: Segment) -> Segment {
        Segment::sequence([Segment::literal(", "), keyword])
    }

    #[test]
    fn parameters_come_in_order_with_the_commas_they_need() {
        let schema = r##"{"type": "object", "properties": {"a": {"type": "string"} , "b": true, "x y": {},
            "c": {"type": "integer"}, "d": {"$ref": "#/$defs/d"}}, "required": ["c", "b"]}"##;
        let a = Segment::sequence([
            keyword("a", r#"{"type": "string"}"#),
            Segment::literal(", "),
        ]);
        let expected = [
            perhaps(a),
            keyword("b", "true"),
            comma(keyword("c", r#"{"type": "integer"}"#)),
            perhaps(comma(keyword("d", r##"{"$ref": "#/$defs/d"}"##))),
        ];
        assert_eq!(arguments(schema), expected);
    }

    #[test]
    fn where_none_is_required_each_may_be_the_first() {
        let schema = r#"{"properties": {"a": {}, "b": {"type": "null"}}, "$defs": {"d": 1}}"#;
        let a = keyword("a", r#"{"$defs": {"d": 1}}"#);
        let b = keyword("b", r#"{"$defs": {"d": 1}, "type": "null"}"#);
        let both = Segment::sequence([a, perhaps(comma(b.clone()))]);
        let one = Segment::sequence([b]);
        assert_eq!(
            arguments(schema),
            [perhaps(Segment::Alternative([both, one].into()))]
        );
        assert_eq!(arguments(r#"{"properties": {}}"#), []);
        let many: String = (0..17).map(|n| format!("\"p{n}\": {{}},")).collect();
        let many = arguments(&format!(
            "{{\"properties\": {{{}}}}}",
            many.trim_end_matches(',')
        ));
        let last = Segment::sequence([keyword("p16", "{}"), Segment::literal(", ")]);
        assert_eq!((many.len(), many.last()), (17, Some(&perhaps(last))));
        assert_eq!(arguments(r#"{"type": "object"}"#), [any_keywords()]);
        assert_eq!(arguments("true"), [any_keywords()]);
    }

    #[test]
    fn nothing_is_forced_unasked() {
        let mut context = RequestContext {
            tools: [tool("f", "{\"properties\": {}}")].into(),
            ..RequestContext::default()
        };
        assert_eq!(grammar("", "", &context), None);
        let list = |before: Segment| {
            let call = Segment::sequence([Segment::literal("f("), Segment::literal(")")]);
            let call = call.calls(Some(Segment::literal(", ")), &RequestContext::default());
            let end = Segment::marker("</s>");
            Segment::sequence([
                before,
                Segment::literal("["),
                call,
                Segment::literal("]"),
                end,
            ])
        };
        let text = Segment::sequence([
            perhaps(list(Segment::Until("<s>".into()))),
            Segment::TextWithout(["<s>".into()].into()),
        ]);
        assert_eq!(grammar("<s>", "</s>", &context), Some(text));
        context.response_format = ResponseFormat::JsonObject;
        let marked = list(Segment::marker("<s>"));
        let either = Segment::Alternative([marked.clone(), Segment::Answer].into());
        assert_eq!(grammar("<s>", "</s>", &context), Some(either));
        context.tool_choice = ToolChoice::Named("f".into());
        assert_eq!(grammar("<s>", "</s>", &context), Some(marked));
        context.tool_choice = ToolChoice::None;
        assert_eq!(grammar("<s>", "</s>", &context), None);
    }
}
