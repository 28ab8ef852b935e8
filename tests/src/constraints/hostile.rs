//! What clients that mean harm ask for: the lines of tests/corpora/constraints/hostile.jsonl.
//!
//! A line `asks` for a `schema` (or its very text), a `regex`, a `lark` grammar, or sets `fields` of a chat request. What is
//! too large to stand there is made: `{"$make": {"what": ..., "count": ...}}`. `status` is 400, 200, or `any` of the two; one
//! word of `says` stands in the message of a 400.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The lines, one JSON object each.
pub const LINES: &str = include_str!("../../corpora/constraints/hostile.jsonl");

/// A line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is.
    pub name: String,
    asks: Map<String, Value>,
    /// 400, 200, or `any`.
    pub status: Value,
    /// One of these stands in a message of refusal; all if there are none.
    #[serde(default)]
    pub says: Vec<String>,
}

/// What is asked for, with everything made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The text of a schema, which may be no JSON.
    Schema(String),
    /// A regular expression.
    Regex(String),
    /// A grammar in Lark's syntax.
    Lark(String),
    /// Fields of a chat request.
    Fields(Map<String, Value>),
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let case = |line| serde_json::from_str(line).expect("a hostile case");
    LINES.lines().map(case).collect()
}

impl Case {
    /// What it asks for.
    pub fn asked(&self) -> Asked {
        let (kind, value) = self.asks.iter().next().expect("something is asked for");
        let value = made(value);
        let text = || value.as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "schema" => Asked::Schema(value.to_string()),
            "schema_text" => Asked::Schema(text()),
            "regex" => Asked::Regex(text()),
            "lark" => Asked::Lark(text()),
            "fields" => Asked::Fields(value.as_object().cloned().unwrap_or_default()),
            other => panic!("{}: nobody asks for `{other}`", self.name),
        }
    }
}

/// The value with all that is to be made.
fn made(value: &Value) -> Value {
    match value {
        Value::Object(members) => match members.get("$make") {
            Some(make) => {
                let count = make["count"].as_u64().expect("a count");
                make_one(make["what"].as_str().expect("a kind"), count as usize)
            }
            None => {
                let members = members
                    .iter()
                    .map(|(key, value)| (key.clone(), made(value)));
                Value::Object(members.collect())
            }
        },
        Value::Array(items) => items.iter().map(made).collect(),
        other => other.clone(),
    }
}

fn make_one(what: &str, count: usize) -> Value {
    match what {
        "ref_chain" => {
            let next = |number| match number {
                last if last + 1 == count => json!({"type": "boolean"}),
                number => json!({"$ref": format!("#/$defs/d{}", number + 1)}),
            };
            let definitions: Map<_, _> = (0..count)
                .map(|number| (format!("d{number}"), next(number)))
                .collect();
            json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "required": ["a"],
                "additionalProperties": false, "$defs": definitions})
        }
        "optional_properties" => {
            let properties =
                (0..count).map(|number| (format!("p{number}"), json!({"type": "boolean"})));
            json!({"type": "object", "properties": Map::from_iter(properties), "additionalProperties": false})
        }
        "enum" => json!({"enum": texts(count)}),
        "texts" => texts(count),
        "any_of" => {
            let key = |number| format!("k{number}");
            let one = |number| {
                json!({"type": "object", "properties": {key(number): {"const": number}}, "required": [key(number)],
                "additionalProperties": false})
            };
            json!({"anyOf": (0..count).map(one).collect::<Vec<_>>()})
        }
        "all_of_any_of" => {
            let key = |number| format!("k{number}");
            let part = |number| {
                json!({"anyOf": [{"type": "object", "properties": {key(number): {"type": "boolean"}}},
                {"type": "object", "properties": {key(number): {"type": "null"}}, "required": [key(number)]}]})
            };
            json!({"allOf": (0..count).map(part).collect::<Vec<_>>()})
        }
        "doubling" => {
            let both = |number| {
                json!({"type": "array", "prefixItems": [{"$ref": format!("#/$defs/d{number}")},
                {"$ref": format!("#/$defs/d{number}")}], "minItems": 2, "items": false})
            };
            let mut definitions = Map::from_iter([("d0".to_owned(), json!({"type": "null"}))]);
            definitions.extend((1..=count).map(|number| (format!("d{number}"), both(number - 1))));
            json!({"$ref": format!("#/$defs/d{count}"), "$defs": definitions})
        }
        "long_key" => {
            json!({"type": "object", "properties": {"k".repeat(count): {"type": "boolean"}}})
        }
        "long_description" => json!({"type": "boolean", "description": "d".repeat(count)}),
        "groups" => format!("{}a{}", "(".repeat(count), ")".repeat(count)).into(),
        "parentheses" => format!("start: {}\"a\"{}", "(".repeat(count), ")".repeat(count)).into(),
        "alternatives" => {
            let words: Vec<String> = (0..count).map(|number| format!("w{number}")).collect();
            words.join("|").into()
        }
        "doubling_rules" => {
            let rules: String = (1..=count)
                .map(|number| format!("r{number}: r{0} r{0}\n", number - 1))
                .collect();
            format!("start: r{count}\nr0: \"a\"\n{rules}").into()
        }
        "rules" => {
            let rules: String = (0..count)
                .map(|number| format!("r{number}: \"a{number}\" | r{}\n", (number + 1) % count))
                .collect();
            format!("start: r0\n{rules}").into()
        }
        _ => nested(what, count),
    }
}

/// A thing in itself so many times. Made as text: a value so deep could not even be dropped.
fn nested(what: &str, count: usize) -> Value {
    let (open, inner, close) = match what {
        "nested_objects" => (r#"{"type": "object", "properties": {"a": "#, "true", "}}"),
        "nested_arrays" => (r#"{"type": "array", "items": "#, "true", "}"),
        "nested_all_of" => (r#"{"allOf": ["#, "true", "]}"),
        "nested_const" => ("[", "1", "]"),
        other => panic!("nobody makes `{other}`"),
    };
    let text = format!("{}{inner}{}", open.repeat(count), close.repeat(count));
    match what {
        "nested_const" => Value::from(format!("{{\"const\": {text}}}")),
        _ => Value::from(text),
    }
}

fn texts(count: usize) -> Value {
    (0..count)
        .map(|number| Value::from(format!("text {number}")))
        .collect()
}
