//! What a tool's parameters are, read from the JSON Schema that the request offers: their names, which are required, and
//! which JSON types they may have.
//!
//! For formats that write parameters as markup, where nothing in the text tells the string `5` from the number. A schema
//! is read at the first call of its tool, once. It follows `type`, `enum`, `const`, `anyOf`, `oneOf`, `allOf`, `nullable`
//! and references within the schema, so many of them at most; what it cannot follow is unknown, and an unknown type is
//! any type. It never recurses and never fails: a schema that is not JSON names no types. It checks no value.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use crate::{
    json_scanner::decode_string,
    json_text::{items, member, members},
    types::Tool,
};

/// A set of JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Types(u8);

impl Types {
    /// No type at all.
    pub const NONE: Self = Self(0);
    /// A string.
    pub const STRING: Self = Self(1);
    /// A number, whole or not.
    pub const NUMBER: Self = Self(2);
    /// `true` or `false`.
    pub const BOOLEAN: Self = Self(4);
    /// `null`.
    pub const NULL: Self = Self(8);
    /// An array.
    pub const ARRAY: Self = Self(16);
    /// An object.
    pub const OBJECT: Self = Self(32);
    /// Nothing is known: any JSON, or else a string.
    pub const ANY: Self = Self(63 | 64);

    /// Whether all of `other` is in it.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// All that is in one of them.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The types of this name in JSON Schema.
    fn named(name: &str) -> Self {
        match name {
            "string" => Self::STRING,
            "integer" | "number" => Self::NUMBER,
            "boolean" => Self::BOOLEAN,
            "null" => Self::NULL,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::ANY,
        }
    }

    /// The type of a JSON value, judged by its first byte.
    pub fn of_value(value: &str) -> Self {
        match value.as_bytes().first() {
            Some(b'"') => Self::STRING,
            Some(b'{') => Self::OBJECT,
            Some(b'[') => Self::ARRAY,
            Some(b't' | b'f') => Self::BOOLEAN,
            Some(b'n') => Self::NULL,
            Some(b'-' | b'0'..=b'9') => Self::NUMBER,
            _ => Self::NONE,
        }
    }
}

/// The tools of a request and what is known of their parameters.
#[derive(Debug, Default)]
pub struct ToolTypes {
    tools: Vec<ToolSchema>,
}

#[derive(Debug)]
struct ToolSchema {
    name: String,
    schema: String,
    /// Each parameter and its types, once the schema was read.
    parameters: Option<BTreeMap<String, Types>>,
}

impl ToolTypes {
    /// What is known of these tools.
    pub fn new(tools: &[Tool]) -> Self {
        let schema = |tool: &Tool| ToolSchema {
            name: tool.name.clone(),
            schema: tool.parameters.clone(),
            parameters: None,
        };
        Self {
            tools: tools.iter().map(schema).collect(),
        }
    }

    /// Whether a tool of this name is on offer.
    pub fn offers(&self, tool: &str) -> bool {
        self.tools.iter().any(|known| known.name == tool)
    }

    /// The types that the schema names for a parameter.
    pub fn of(&mut self, tool: &str, parameter: &str) -> Types {
        let known = self.parameters(tool).and_then(|known| known.get(parameter));
        known.copied().unwrap_or(Types::ANY)
    }

    /// Whether the tool may have this parameter: a tool of which nothing is known may have any.
    pub fn may_have(&mut self, tool: &str, parameter: &str) -> bool {
        self.parameters(tool)
            .is_none_or(|known| known.is_empty() || known.contains_key(parameter))
    }

    fn parameters(&mut self, tool: &str) -> Option<&BTreeMap<String, Types>> {
        let known = self.tools.iter_mut().find(|known| known.name == tool)?;
        let schema = &known.schema;
        Some(known.parameters.get_or_insert_with(|| {
            let typed = |(name, property)| (name, types_of(schema, property));
            properties(schema).into_iter().map(typed).collect()
        }))
    }
}

/// The properties that a schema lists, in order, each with its own schema.
pub fn properties(schema: &str) -> Vec<(String, &str)> {
    member(referred(schema, schema), "properties").map_or_else(Vec::new, members)
}

/// What `schema`, a part of `root`, stands for: where it is a reference, the schema it leads to. What leads nowhere is
/// left as it is.
pub fn referred<'a>(root: &'a str, schema: &'a str) -> &'a str {
    let mut referred = schema;
    for _ in 0..FOLLOWED {
        let reference = member(referred, "$ref").and_then(decode_string);
        match reference.and_then(|pointer| resolve(root, &pointer)) {
            Some(schema) => referred = schema,
            None => break,
        }
    }
    referred
}

/// The names that a schema requires.
pub fn required(schema: &str) -> Vec<String> {
    let names = member(referred(schema, schema), "required").map_or_else(Vec::new, items);
    names.into_iter().filter_map(decode_string).collect()
}

/// A part of a schema as a schema of its own: the definitions that it may refer to go with it.
pub fn with_definitions(root: &str, property: &str) -> String {
    let Some(rest) = property.trim_start().strip_prefix('{') else {
        return property.into();
    };
    if !property.contains("\"$ref\"") {
        return property.into();
    }
    let mut schema = String::from("{");
    for name in ["$defs", "definitions"] {
        if let Some(definitions) = member(root, name)
            && member(property, name).is_none()
        {
            schema.push_str(&format!("\"{name}\": {definitions}, "));
        }
    }
    schema.push_str(rest);
    schema
}

/// How many schemas are followed to find the types of one parameter.
const FOLLOWED: usize = 64;

/// The types that values of `schema` may have; references are looked up in `root`.
pub fn types_of(root: &str, schema: &str) -> Types {
    let mut types = Types::NONE;
    let mut open = Vec::from([schema]);
    let mut followed = 0;
    while let Some(schema) = open.pop() {
        followed += 1;
        if followed > FOLLOWED {
            return Types::ANY;
        }
        types = types.or(follow(root, schema, &mut open));
    }
    types
}

/// What one schema says; the schemas that it hands the question on to are added to `open`.
fn follow<'a>(root: &'a str, schema: &'a str, open: &mut Vec<&'a str>) -> Types {
    let members = members(schema);
    let find = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, v)| *v);
    let nullable = match find("nullable") {
        Some("true") => Types::NULL,
        _ => Types::NONE,
    };
    if let Some(named) = find("type") {
        let names = items(named).into_iter().chain([named]);
        let types = names.filter_map(decode_string);
        return types.fold(nullable, |types, name| types.or(Types::named(&name)));
    }
    if let Some(values) = find("enum") {
        let types = items(values).into_iter().map(Types::of_value);
        return types.fold(nullable, Types::or);
    }
    if let Some(value) = find("const") {
        return nullable.or(Types::of_value(value));
    }
    let alternatives = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(find);
    let mut others: Vec<&str> = alternatives.flat_map(items).collect();
    if let Some(reference) = find("$ref") {
        match decode_string(reference).and_then(|pointer| resolve(root, &pointer)) {
            Some(schema) => others.push(schema),
            None => return Types::ANY,
        }
    }
    if others.is_empty() {
        return Types::ANY;
    }
    open.append(&mut others);
    nullable
}

/// The schema that a reference within `root` stands for.
fn resolve<'a>(root: &'a str, pointer: &str) -> Option<&'a str> {
    let path = pointer.strip_prefix('#')?;
    let mut steps = path.split('/').skip(1);
    steps.try_fold(root, |schema, step| {
        member(schema, &step.replace("~1", "/").replace("~0", "~"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r##"{"type": "object", "$defs": {"Unit": {"enum": ["C", "F"]}, "Loop": {"$ref": "#/$defs/Loop"},
        "a/b": {"type": "array", "items": {"type": "string"}}},
        "properties": {"city": {"type": "string", "description": "{\"type\": \"integer\"}"}, "days": {"type": "integer"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null}, "unit": {"$ref": "#/$defs/Unit"},
        "mixed": {"type": ["integer", "boolean"]}, "level": {"enum": [1, 2.5, null]}, "one": {"const": true},
        "list": {"allOf": [{"$ref": "#/$defs/a~1b"}]}, "loop": {"$ref": "#/$defs/Loop"}, "lost": {"$ref": "#/$defs/None"},
        "old": {"type": "object", "nullable": true}, "free": {"description": "anything"}, "always": true}}"##;

    fn tools() -> ToolTypes {
        ToolTypes::new(&[crate::testing::tool("f", SCHEMA)])
    }

    #[test]
    fn types_are_followed() {
        let mut tools = tools();
        for (parameter, types) in [
            ("city", Types::STRING),
            ("days", Types::NUMBER),
            ("note", Types::STRING.or(Types::NULL)),
            ("unit", Types::STRING),
            ("mixed", Types::NUMBER.or(Types::BOOLEAN)),
            ("level", Types::NUMBER.or(Types::NULL)),
            ("one", Types::BOOLEAN),
            ("list", Types::ARRAY),
            ("old", Types::OBJECT.or(Types::NULL)),
            ("loop", Types::ANY),
            ("lost", Types::ANY),
            ("free", Types::ANY),
            ("always", Types::ANY),
            ("absent", Types::ANY),
        ] {
            assert_eq!(tools.of("f", parameter), types, "{parameter}");
        }
        assert_eq!(tools.of("g", "city"), Types::ANY);
        assert!(tools.may_have("f", "city") && !tools.may_have("f", "absent"));
        assert!(tools.may_have("g", "absent"));
    }

    #[test]
    fn a_schema_may_be_a_reference() {
        let schema = r##"{"$ref": "#/definitions/F", "definitions": {"F": {"properties": {"zip": {"type": "string"}}}}}"##;
        assert_eq!(
            properties(schema),
            [("zip".into(), r#"{"type": "string"}"#)]
        );
        assert!(properties(r##"{"$ref": "#"}"##).is_empty());
        assert!(properties(r##"{"$ref": "https://example.org/a"}"##).is_empty());
    }

    #[test]
    fn what_is_no_schema_says_nothing() {
        for schema in ["", "null", "[]", "{", r#"{"properties": 3}"#, "{\"a\" 1}"] {
            assert!(properties(schema).is_empty(), "{schema}");
            let mut deep = String::from(schema);
            deep.push_str(&"[".repeat(100_000));
            assert!(properties(&deep).is_empty());
        }
    }
}
