//! How the families of [`crate::python_calls`] are forced: a list of calls in Python whose values are JSON by the schemas of
//! the tool's parameters.
//!
//! Invariants: parameters come in the schema's order, required ones always, each once; the parser reads JSON's literals and
//! strings as Python's, so the calls are read back as the same. A parameter whose name cannot be a keyword is left out. A
//! schema that lists no properties lets the model write any keywords, unless it says that there are no others.

use alloc::{boxed::Box, format, vec::Vec};

use crate::{
    forced_calls::{ForcedList, calls_or_text},
    grammar::Segment,
    json_text::member,
    python_arguments::is_of_a_keyword,
    schema_types::{properties, referred, required, with_definitions},
    types::{RequestContext, Tool},
};

/// Where no parameter is required, any of them may be the first, and each gets a segment for what follows it: quadratic in
/// their number. Where there are more than these, a comma may stand behind the last one instead, as Python has it.
const MOST_STARTS: usize = 16;

/// See [`crate::Parser::grammar`]. `start` and `end` are the markers around a list, empty for a family that has none. Where
/// the choice is the model's and every tool is strict, a list is forced once its marker came; without one an answer is a list
/// or text that opens no tool's parenthesis.
pub fn grammar(start: &str, end: &str, context: &RequestContext) -> Option<Segment> {
    let list = ForcedList {
        before: "",
        start,
        end,
        body: call,
    };
    if !start.is_empty() {
        return list.grammar(context);
    }
    let opened = context.tools.iter().map(|tool| format!("{}(", tool.name));
    calls_or_text(context, opened, |context| list.grammar(context))
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
    let object = referred(schema, schema);
    if member(object, "properties").is_none() {
        let closed = member(object, "additionalProperties") == Some("false");
        return (!closed).then(any_keywords).into_iter().collect();
    }
    let required = required(schema);
    let mut keywords = Vec::new();
    for (name, property) in properties(schema) {
        if !name.is_empty() && name.chars().all(is_of_a_keyword) {
            let value = Segment::Json(with_definitions(schema, property));
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
        if *required {
            keyword
        } else {
            keyword.optional()
        }
    };
    // Commas stand behind what comes before the first one that is certain, and before what comes after it.
    let behind =
        |(keyword, _): &(Segment, bool)| Segment::sequence([keyword.clone(), comma()]).optional();
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
    let starts: Vec<Segment> = starts.collect();
    let some = (!starts.is_empty()).then(|| Segment::any_of(starts).optional());
    some.into_iter().collect()
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

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::{
        testing::tool,
        types::{ResponseFormat, ToolChoice},
    };

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
            a.optional(),
            keyword("b", "true"),
            comma(keyword("c", r#"{"type": "integer"}"#)),
            comma(keyword("d", r##"{"$ref": "#/$defs/d"}"##)).optional(),
        ];
        assert_eq!(arguments(schema), expected);
    }

    #[test]
    fn where_none_is_required_each_may_be_the_first() {
        let schema =
            r##"{"properties": {"a": {}, "b": {"$ref": "#/$defs/d"}}, "$defs": {"d": 1}}"##;
        let a = keyword("a", "{}");
        let b = keyword("b", r##"{"$defs": {"d": 1}, "$ref": "#/$defs/d"}"##);
        let both = Segment::sequence([a, comma(b.clone()).optional()]);
        let one = Segment::sequence([b]);
        assert_eq!(
            arguments(schema),
            [Segment::Alternative([both, one].into()).optional()]
        );
        assert_eq!(arguments(r#"{"properties": {}}"#), []);
        let many: String = (0..17).map(|n| format!("\"p{n}\": {{}},")).collect();
        let many = arguments(&format!(
            "{{\"properties\": {{{}}}}}",
            many.trim_end_matches(',')
        ));
        let last = Segment::sequence([keyword("p16", "{}"), Segment::literal(", ")]);
        assert_eq!((many.len(), many.last()), (17, Some(&last.optional())));
        assert_eq!(arguments(r#"{"type": "object"}"#), [any_keywords()]);
        assert_eq!(arguments("true"), [any_keywords()]);
        assert_eq!(arguments(r#"{"additionalProperties": false}"#), []);
        let referred = arguments(
            r##"{"$ref": "#/$defs/F", "$defs": {"F": {"properties": {"a": true}, "required": ["a"]}}}"##,
        );
        assert_eq!(referred, [keyword("a", "true")]);
    }

    #[test]
    fn nothing_is_forced_unasked() {
        let mut context = RequestContext {
            tools: [Tool {
                strict: true,
                ..tool("f", "{\"properties\": {}}")
            }]
            .into(),
            ..RequestContext::default()
        };
        assert!(
            grammar("", "", &context).is_some_and(|forced| {
                matches!(forced, Segment::Alternative(either) if either[1] == Segment::TextWithout(["f(".into()].into()))
            })
        );
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
            list(Segment::Until("<s>".into())).optional(),
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
