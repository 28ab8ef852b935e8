//! How the families of [`crate::xml_calls`] are forced: a tool's parameters as a tree of [`Segment`]s, for the body that
//! [`crate::forced_calls`] puts between a call's tags.
//!
//! Parameters stand in the schema's order, those it requires always, the others if the model likes; one whose name no tag
//! can hold is left out. Invariants: what is forced is read back as the same arguments, whatever tags a text holds; a value is
//! JSON by its schema where it cannot be a string, one of the listed texts or a pattern where the schema says so and nothing
//! else can be read into it, and text up to the end tag otherwise, as long as the schema lets it be.

use alloc::{format, string::String, vec::Vec};

use crate::{
    grammar::Segment,
    json_scanner::decode_string,
    json_text::{items, member},
    schema_types::{Types, properties, referred, required, types_of, with_definitions},
    types::Tool,
};

/// How a family writes a parameter.
#[derive(Debug)]
pub struct ForcedParameters {
    /// What stands before the value of a parameter of this name; whether the value is a text or JSON.
    pub start: fn(&str, bool) -> Segment,
    /// What ends a value, with the line break before the tag if there is one. No text can hold it.
    pub end: &'static str,
    /// What stands after that.
    pub after: &'static str,
}

/// A longer text is not asked for: hosts limit how often a pattern may repeat.
const LONGEST_BOUND: usize = 10_000;

/// What a value must be.
enum Value {
    /// Any text without the end.
    Text,
    /// One of these texts.
    OneOf(Vec<String>),
    /// A text that matches this pattern.
    Pattern(String),
    /// JSON by this schema.
    Json(String),
    /// Either: where the parameter's start does not say which one, text that is read as one of the schema's types.
    TextOrJson(String),
}

impl ForcedParameters {
    /// All parameters of a call of this tool.
    pub fn of(&self, tool: &Tool) -> Segment {
        let schema = &tool.parameters;
        let required = required(schema);
        let properties = properties(schema).into_iter();
        let writable = properties.filter(|(name, _)| stands_in_a_tag(name));
        Segment::sequence(writable.map(|(name, property)| {
            let parameter = self.parameter(&name, value(schema, property));
            if required.contains(&name) {
                return parameter;
            }
            parameter.optional()
        }))
    }

    fn parameter(&self, name: &str, value: Value) -> Segment {
        match value {
            Value::TextOrJson(schema) if (self.start)(name, true) != (self.start)(name, false) => {
                let either = [Value::Text, Value::Json(schema)];
                Segment::Alternative(either.map(|value| self.one_kind(name, value)).into())
            }
            value => self.one_kind(name, value),
        }
    }

    fn one_kind(&self, name: &str, value: Value) -> Segment {
        let start = (self.start)(name, !matches!(value, Value::Json(_)));
        let value = match value {
            Value::Text | Value::TextOrJson(_) => Segment::Until(self.end.into()),
            Value::OneOf(texts) => self.ended(Segment::Alternative(
                texts.into_iter().map(Segment::Literal).collect(),
            )),
            Value::Pattern(pattern) => self.ended(Segment::Pattern(pattern)),
            Value::Json(schema) => self.ended(Segment::Json(schema)),
        };
        let after = (!self.after.is_empty()).then(|| Segment::literal(self.after));
        Segment::sequence([start, value].into_iter().chain(after))
    }

    fn ended(&self, value: Segment) -> Segment {
        Segment::sequence([value, Segment::marker(self.end)])
    }
}

/// Whether a parameter's name is read back from its tag as it is.
fn stands_in_a_tag(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.contains(['<', '>', '"', '\'', '\n'])
}

/// What a property of this schema, which is a part of `root`, must be.
fn value(root: &str, property: &str) -> Value {
    let types = types_of(root, property);
    if !types.has(Types::STRING) {
        return Value::Json(with_definitions(root, property));
    }
    let schema = referred(root, property);
    if types != Types::STRING {
        return match member(schema, "$ref") {
            // A reference that leads nowhere cannot be forced.
            Some(_) => Value::Text,
            None => Value::TextOrJson(with_definitions(root, property)),
        };
    }
    let listed = member(schema, "enum").map(items);
    let listed = listed.or_else(|| member(schema, "const").map(|value| [value].into()));
    if let Some(listed) = listed {
        let texts: Vec<String> = listed.into_iter().filter_map(decode_string).collect();
        if !texts.is_empty() && !texts.iter().any(|text| text.contains('<')) {
            return Value::OneOf(texts);
        }
    }
    let pattern = member(schema, "pattern").and_then(decode_string);
    match pattern.as_deref().and_then(whole_pattern) {
        Some(pattern) => Value::Pattern(pattern.into()),
        None => length(schema).map_or(Value::Text, Value::Pattern),
    }
}

/// The pattern of a text that has its length bounded.
fn length(schema: &str) -> Option<String> {
    let bound = |name| member(schema, name)?.trim().parse::<usize>().ok();
    let (min, max) = (bound("minLength").unwrap_or(0), bound("maxLength"));
    match (min, max.map(|max| max.min(LONGEST_BOUND))) {
        (LONGEST_BOUND.., _) | (0, None) => None,
        (min, None) => Some(format!("(?s:.{{{min},}})")),
        (min, Some(max)) => Some(format!("(?s:.{{{min},{max}}})")),
    }
}

/// A schema's pattern that matches a text as a whole, if it means the same in the `regex` crate and can match no tag.
fn whole_pattern(pattern: &str) -> Option<&str> {
    let whole = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let over_a_tag = |range: &[u8]| range[1] == b'-' && (range[0]..=range[2]).contains(&b'<');
    if whole.as_bytes().windows(3).any(over_a_tag) {
        return None;
    }
    let mut rest = whole;
    while let Some(at) = rest.find(['\\', '.', '<', '(', '[', '^', '$', '|']) {
        let (length, plain) = match (&rest[at..at + 1], rest[at + 1..].chars().next()) {
            // Escapes of punctuation, and digits; escaped angle brackets are borders of words elsewhere.
            ("\\", Some(c)) => (
                2,
                c == 'd' || (c.is_ascii_punctuation() && !matches!(c, '<' | '>')),
            ),
            ("(", next) => (1, next != Some('?')),
            ("[", next) => (1, next != Some('^')),
            _ => (1, false),
        };
        if !plain {
            return None;
        }
        rest = &rest[at + length..];
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tool;

    const PARAMETERS: ForcedParameters = ForcedParameters {
        start: |name, text| Segment::Literal(format!("<p {name} {text}>")),
        end: "</p>",
        after: "\n",
    };

    fn forced(property: &str, rest: &str) -> Segment {
        let schema = format!(r#"{{"properties": {{"a": {property}}}, "required": ["a"]{rest}}}"#);
        PARAMETERS.of(&tool("f", &schema))
    }

    fn parameter(text: bool, value: Segment) -> Segment {
        let start = Segment::Literal(format!("<p a {text}>"));
        Segment::sequence([Segment::sequence([start, value, Segment::literal("\n")])])
    }

    fn ended(value: Segment) -> Segment {
        Segment::sequence([value, Segment::marker("</p>")])
    }

    #[test]
    fn a_value_is_forced_as_its_schema_asks() {
        let free = || parameter(true, Segment::Until("</p>".into()));
        for property in [
            r#"{"type": "string"}"#,
            r##"{"$ref": "#/$defs/Nowhere"}"##,
            r#"{"enum": ["a<b"]}"#,
            r#"{"type": "string", "pattern": "a"}"#,
            r#"{"type": "string", "pattern": "^.*$"}"#,
            r#"{"type": "string", "pattern": "^(?=a)a$"}"#,
            r#"{"type": "string", "pattern": "^[^a]$"}"#,
            r#"{"type": "string", "pattern": "^a|b$"}"#,
            r#"{"type": "string", "pattern": "^a\\>$"}"#,
            r#"{"type": "string", "pattern": "^[ -~]+$"}"#,
        ] {
            assert_eq!(forced(property, ""), free(), "{property}");
        }
        assert_eq!(
            forced(r#"{"enum": ["a", "b\n"]}"#, ""),
            parameter(
                true,
                ended(Segment::Alternative(
                    ["a", "b\n"].map(Segment::literal).into()
                ))
            )
        );
        assert_eq!(
            forced(r#"{"type": "string", "pattern": "^\\d{4}-[0-9]+\\.$"}"#, ""),
            parameter(true, ended(Segment::Pattern(r"\d{4}-[0-9]+\.".into())))
        );
        for (lengths, pattern) in [
            (r#""maxLength": 60"#, "(?s:.{0,60})"),
            (r#""minLength": 2"#, "(?s:.{2,})"),
            (r#""minLength": 2, "maxLength": 99999"#, "(?s:.{2,10000})"),
        ] {
            let property = format!(r#"{{"type": "string", {lengths}}}"#);
            let bounded = ended(Segment::Pattern(pattern.into()));
            assert_eq!(forced(&property, ""), parameter(true, bounded), "{lengths}");
        }
        let number = r#"{"type": "integer", "minimum": 1}"#;
        assert_eq!(
            forced(number, ""),
            parameter(false, ended(Segment::Json(number.into())))
        );
        assert_eq!(
            forced(
                r##"{"$ref": "#/$defs/N"}"##,
                r#", "$defs": {"N": {"type": "array"}}"#
            ),
            parameter(
                false,
                ended(Segment::Json(
                    r##"{"$defs": {"N": {"type": "array"}}, "$ref": "#/$defs/N"}"##.into()
                ))
            )
        );
    }

    #[test]
    fn a_start_that_says_the_type_leaves_the_choice() {
        for property in [r#"{"type": ["string", "null"]}"#, "{}"] {
            let value = |text, value| {
                let start = Segment::Literal(format!("<p a {text}>"));
                Segment::sequence([start, value, Segment::literal("\n")])
            };
            let either = [
                value(true, Segment::Until("</p>".into())),
                value(false, ended(Segment::Json(property.into()))),
            ];
            assert_eq!(
                forced(property, ""),
                Segment::sequence([Segment::Alternative(either.into())]),
                "{property}"
            );
        }
        let silent = ForcedParameters {
            start: |name, _| Segment::literal(name),
            ..PARAMETERS
        };
        let text = [
            Segment::literal("a"),
            Segment::Until("</p>".into()),
            Segment::literal("\n"),
        ];
        assert_eq!(
            silent.parameter("a", value("{}", "{}")),
            Segment::sequence(text)
        );
    }

    #[test]
    fn references_are_followed() {
        let listed = parameter(
            true,
            ended(Segment::Alternative(
                ["x", "y"].map(Segment::literal).into(),
            )),
        );
        let definitions = r#", "$defs": {"Unit": {"type": "string", "enum": ["x", "y"]}}"#;
        assert_eq!(forced(r##"{"$ref": "#/$defs/Unit"}"##, definitions), listed);
        let tool = Tool {
            name: "f".into(),
            description: None,
            parameters: r##"{"$ref": "#/$defs/F", "$defs": {"F": {"required": ["a"],
                "properties": {"a": {"enum": ["x", "y"]}}}}}"##
                .into(),
            strict: false,
        };
        assert_eq!(PARAMETERS.of(&tool), listed);
    }

    #[test]
    fn a_name_that_breaks_its_tag_is_left_out() {
        let names = ["", " a", "a>b", "<a", r#"\"a"#, r"a\nb", "'a'"];
        for name in names {
            let schema = format!(r#"{{"properties": {{"{name}": {{}}}}, "required": ["{name}"]}}"#);
            let parameters = PARAMETERS.of(&tool("f", &schema));
            assert_eq!(parameters, Segment::sequence([]), "{name}");
        }
    }

    #[test]
    fn what_is_not_required_is_optional() {
        let tool = tool("f", r#"{"properties": {"a": {"type": "string"}}}"#);
        let Segment::Sequence(parameters) = PARAMETERS.of(&tool) else {
            panic!("a sequence");
        };
        assert!(matches!(
            parameters.as_slice(),
            [Segment::Repeat {
                min: 0,
                max: Some(1),
                ..
            }]
        ));
    }
}
