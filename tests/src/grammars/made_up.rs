//! Cases out of bytes: mostly what people and attackers write, sometimes anything.

use serde_json::{Map, Value, json};

/// Bytes that decide; behind their end everything is zero.
#[derive(Debug)]
pub struct Bytes<'a> {
    left: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// All of these.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    fn next(&mut self) -> u8 {
        match self.left.split_first() {
            Some((first, rest)) => {
                self.left = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `limit`, which is not zero; two bytes where one is not enough.
    pub fn below(&mut self, limit: usize) -> usize {
        let mut number = usize::from(self.next());
        if limit > 256 {
            number = number << 8 | usize::from(self.next());
        }
        number % limit
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn text(&mut self) -> String {
        let len = self.below(12);
        let bytes: Vec<u8> = (0..len).map(|_| self.next()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What a stranger sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Case {
    /// A JSON Schema.
    Schema(String),
    /// A regular expression.
    Pattern(String),
    /// A grammar.
    Lark(String),
}

const TYPES: [&str; 8] = [
    "string", "object", "array", "integer", "number", "boolean", "null", "any",
];
const NAMES: [&str; 8] = ["a", "b", "name", "x/y", "", "ключ", "\"", "a~b"];
const PATTERNS: [&str; 16] = [
    "^a+$",
    "[a-z]{2,5}",
    "^(a|b)*$",
    "(x{1000}){1000}",
    "((a{9}){9}){9}",
    "\\d{3}-\\d{4}",
    "(?=a)",
    "(a)\\1",
    "\\bword",
    "[",
    "^.{0,5000}$",
    "é+|日本",
    "\\p{L}{3}",
    "",
    "^\\w+([\\.-]?\\w+)*@\\w+$",
    "a{2,1}",
];
const FORMATS: [&str; 10] = [
    "date",
    "date-time",
    "time",
    "email",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
    "color",
    "hostname",
];
const REFERENCES: [&str; 7] = [
    "#",
    "#/$defs/a",
    "#/$defs/b",
    "#/properties/a",
    "#/$defs/a~1b",
    "https://example.org/",
    "#/default",
];
const ODD: [&str; 12] = [
    "nullable",
    "uniqueItems",
    "if",
    "not",
    "contains",
    "propertyNames",
    "contentEncoding",
    "minlength",
    "$dynamicRef",
    "x-guidance",
    "unevaluatedProperties",
    "dependentRequired",
];
const LARK: [&str; 26] = [
    "start: ",
    "a: ",
    "B: ",
    "b: ",
    "\n",
    " | ",
    "\"x\"",
    "\"{\"",
    "/[a-z]+/",
    "/(x{99}){99}/",
    "a",
    "B",
    "b",
    "(",
    ")",
    "*",
    "+",
    "?",
    "{2,3}",
    "{1000}",
    "~1..9",
    " ",
    "%json {\"type\": \"integer\"}",
    "%ignore / /\n",
    "@json_0",
    "<[3]>",
];

impl Case {
    /// The case that these bytes decide.
    pub fn new(bytes: &mut Bytes<'_>) -> Self {
        match bytes.below(10) {
            0..=6 => {
                let mut schema = schema(bytes, 4);
                if let (Value::Object(root), true) = (&mut schema, bytes.below(2) == 0) {
                    root.insert(
                        "$defs".to_owned(),
                        json!({"a": self::schema(bytes, 2), "b": self::schema(bytes, 2)}),
                    );
                }
                Self::Schema(spoiled(schema.to_string(), bytes))
            }
            7 => {
                let parts: Vec<&str> = (0..bytes.below(4) + 1)
                    .map(|_| bytes.one_of(&PATTERNS))
                    .collect();
                Self::Pattern(spoiled(parts.concat(), bytes))
            }
            _ => {
                let parts: Vec<&str> = (0..bytes.below(24)).map(|_| bytes.one_of(&LARK)).collect();
                Self::Lark(spoiled(format!("start: {}", parts.concat()), bytes))
            }
        }
    }
}

/// One time in sixteen something stands in its midst.
fn spoiled(mut text: String, bytes: &mut Bytes<'_>) -> String {
    if bytes.below(16) == 1 {
        let mut at = bytes.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.insert_str(at, &bytes.text());
    }
    text
}

fn schema(bytes: &mut Bytes<'_>, depth: usize) -> Value {
    let mut schema = Map::new();
    let kind = bytes.one_of(&TYPES);
    match bytes.below(8) {
        0 => {}
        1 => {
            schema.insert("type".to_owned(), json!([kind, "null"]));
        }
        2 if depth == 0 => return Value::Bool(bytes.below(4) > 0),
        _ if kind != "any" => {
            schema.insert("type".to_owned(), json!(kind));
        }
        _ => {}
    }
    for _ in 0..bytes.below(4) {
        let (key, value) = keyword(bytes, kind, depth);
        schema.insert(key.to_owned(), value);
    }
    Value::Object(schema)
}

fn keyword(bytes: &mut Bytes<'_>, kind: &str, depth: usize) -> (&'static str, Value) {
    let deeper = depth > 0;
    let small = bytes.below(5);
    let bound = || [json!(-3.5), json!(0), json!(7), json!(100), json!(1e300)][small].clone();
    let count = || json!([0, 1, 3, 20, 200_000][small]);
    match (kind, bytes.below(12)) {
        ("object", 0..=2) if deeper => ("properties", named(bytes, depth)),
        ("object", 3) if deeper => ("additionalProperties", schema(bytes, depth - 1)),
        ("object", 4) => ("required", json!([bytes.one_of(&NAMES)])),
        ("object", 5) if deeper => {
            let pattern = bytes.one_of(&PATTERNS);
            (
                "patternProperties",
                json!({pattern: schema(bytes, depth - 1)}),
            )
        }
        ("object", 6) => ("additionalProperties", json!(false)),
        ("object", 7) => (["minProperties", "maxProperties"][small % 2], count()),
        ("array", 0..=2) if deeper => ("items", schema(bytes, depth - 1)),
        ("array", 3) if deeper => (
            "prefixItems",
            json!([schema(bytes, depth - 1), schema(bytes, depth - 1)]),
        ),
        ("array", 4) => ("minItems", count()),
        ("array", 5..=6) => ("maxItems", count()),
        ("string", 0) => ("pattern", json!(bytes.one_of(&PATTERNS))),
        ("string", 1) => ("format", json!(bytes.one_of(&FORMATS))),
        ("string", 2) => ("minLength", count()),
        ("string", 3) => ("maxLength", count()),
        ("integer" | "number", 0) => ("minimum", bound()),
        ("integer" | "number", 1) => ("maximum", bound()),
        ("integer" | "number", 2) => ("exclusiveMinimum", bound()),
        ("integer" | "number", 3) => {
            let multiples = [
                json!(3),
                json!(0.01),
                json!(2.5),
                json!(99_999_999),
                json!(0),
            ];
            ("multipleOf", multiples[small].clone())
        }
        (_, 7) => ("enum", json!([value(bytes), value(bytes), value(bytes)])),
        (_, 8) => ("const", value(bytes)),
        (_, 9) if deeper => {
            let key = ["anyOf", "oneOf", "allOf"][small % 3];
            (
                key,
                json!([schema(bytes, depth - 1), schema(bytes, depth - 1)]),
            )
        }
        (_, 10) => ("$ref", json!(bytes.one_of(&REFERENCES))),
        (_, 11) if bytes.below(3) == 0 => {
            let odd = ODD[bytes.below(ODD.len())];
            (
                odd,
                [
                    json!(true),
                    json!({}),
                    json!("x"),
                    json!(false),
                    json!({"lenient": true}),
                ][small]
                    .clone(),
            )
        }
        _ => ("description", json!("what it is")),
    }
}

fn named(bytes: &mut Bytes<'_>, depth: usize) -> Value {
    let names = 0..bytes.below(4) + 1;
    let named = names.map(|_| (bytes.one_of(&NAMES).to_owned(), schema(bytes, depth - 1)));
    Value::Object(named.collect())
}

fn value(bytes: &mut Bytes<'_>) -> Value {
    match bytes.below(10) {
        0 => Value::Null,
        1 => json!(bytes.below(2) == 0),
        2 => json!(bytes.below(1000)),
        3 => json!(9_007_199_254_740_993_i64),
        4 => json!(0.1),
        5 => json!({"a": bytes.text(), "b": [1]}),
        6 => json!([bytes.below(9), "</tool_call>"]),
        _ => json!(bytes.text()),
    }
}
