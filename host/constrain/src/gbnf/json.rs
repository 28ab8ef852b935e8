//! JSON of a schema as rules. Keys come in the order of the schema, white space is fixed, and what is not said to be possible
//! (other keys beside named ones, exponents, escapes of code points) is left out: less than the schema allows, never more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Rules, class, either, literal, separated, times};
use crate::{limits, schema};

/// Integers are written out one by one where there are no more.
const LISTED: i64 = 256;
/// Digits of a whole number, and of a fraction: within what 64 bits hold.
const DIGITS: &str = "[0-9]{0,17}";
const KINDS: [&str; 7] = [
    "object", "array", "string", "integer", "number", "boolean", "null",
];

/// Rules that schemas share, each written when it is first used.
#[derive(Default)]
pub(super) struct Shared(BTreeMap<&'static str, String>);

/// A value of a schema.
///
/// # Errors
/// The keyword that cannot be said.
pub(super) fn value(text: &str, rules: &mut Rules) -> Result<String, String> {
    let root = schema::vetted(text).map_err(|error| error.to_string())?;
    let mut walk = Walk {
        root: &root,
        references: BTreeMap::new(),
        rules,
    };
    walk.schema(&root)
}

struct Walk<'a> {
    root: &'a Value,
    /// Rules of what references lead to.
    references: BTreeMap<String, String>,
    rules: &'a mut Rules,
}

impl Walk<'_> {
    /// Recursion is bounded: what nests too deep was refused when it was vetted.
    fn schema(&mut self, schema: &Value) -> Result<String, String> {
        let Value::Object(schema) = schema else {
            return match schema {
                Value::Bool(true) => Ok(self.any()),
                _ => Err("a schema of nothing".to_owned()),
            };
        };
        for (key, values) in [("const", None), ("enum", schema.get("enum"))] {
            if let Some(given) = schema.get(key) {
                let values = values.and_then(Value::as_array).map(Vec::as_slice);
                return listed(values.unwrap_or(std::slice::from_ref(given)), schema);
            }
        }
        if let Some(Value::String(target)) = schema.get("$ref") {
            alone(schema, "$ref", &["$defs", "definitions"])?;
            return self.reference(target);
        }
        for key in ["anyOf", "allOf"] {
            let Some(Value::Array(parts)) = schema.get(key) else {
                continue;
            };
            alone(schema, key, &["$defs", "definitions"])?;
            if key == "allOf" && parts.len() > 1 {
                return Err("\"allOf\"".to_owned());
            }
            let parts = parts.iter().map(|part| self.schema(part));
            return Ok(either(&parts.collect::<Result<Vec<_>, _>>()?));
        }
        let kinds: Vec<&str> = match schema.get("type") {
            None => implied(schema),
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            Some(kind) => kind.as_str().into_iter().collect(),
        };
        known(schema)?;
        let kinds = kinds.into_iter().map(|kind| self.of_kind(kind, schema));
        Ok(either(&kinds.collect::<Result<Vec<_>, _>>()?))
    }

    fn of_kind(&mut self, kind: &str, schema: &Map<String, Value>) -> Result<String, String> {
        Ok(match kind {
            "object" => self.object(schema)?,
            "array" => self.array(schema)?,
            "string" => self.string(schema),
            "integer" => integer(schema)?,
            "number" => number(schema)?,
            "boolean" => "(\"true\" | \"false\")".to_owned(),
            _ => literal("null"),
        })
    }

    fn any(&mut self) -> String {
        if let Some(name) = self.rules.json.0.get("value") {
            return name.clone();
        }
        let name = self.rules.name();
        self.rules.json.0.insert("value", name.clone());
        let string = self.string(&Map::new());
        let member = format!("{string} \": \" {name}");
        let members = separated(&member, "\", \"", 0, None);
        let items = separated(&name, "\", \"", 0, None);
        let number = any_number();
        self.rules.define(
            &name,
            &format!("\"{{\" {members} \"}}\" | \"[\" {items} \"]\" | {string} | {number} | \"true\" | \"false\" | \"null\""),
        );
        name
    }

    fn string(&mut self, schema: &Map<String, Value>) -> String {
        let character = self.shared("character", || {
            let plain = class(
                &[
                    ('\0', '\u{1f}'),
                    ('"', '"'),
                    ('\\', '\\'),
                    ('\u{7f}', '\u{7f}'),
                ],
                true,
            );
            format!("{plain} | \"\\\\\" [\"\\\\bfnrt]")
        });
        let count = |key: &str| schema.get(key).and_then(Value::as_u64);
        let count = |key: &str| count(key).and_then(|count| u32::try_from(count).ok());
        let times = times(count("minLength").unwrap_or(0), count("maxLength"));
        format!("(\"\\\"\" {character}{times} \"\\\"\")")
    }

    fn shared(&mut self, what: &'static str, body: impl FnOnce() -> String) -> String {
        if let Some(name) = self.rules.json.0.get(what) {
            return name.clone();
        }
        let name = self.rules.rule(&body());
        self.rules.json.0.insert(what, name.clone());
        name
    }

    fn array(&mut self, schema: &Map<String, Value>) -> Result<String, String> {
        let item = match schema.get("items") {
            None => self.any(),
            Some(Value::Array(_)) => return Err("\"items\" as a list".to_owned()),
            Some(items) => self.schema(items)?,
        };
        let count = |key: &str| schema.get(key).and_then(Value::as_u64);
        let count = |key: &str| count(key).and_then(|count| u32::try_from(count).ok());
        let min = count("minItems").unwrap_or(0);
        let items = separated(&item, "\", \"", min, count("maxItems"));
        Ok(format!("(\"[\" {items} \"]\")"))
    }

    /// An object; named keys in their order, and others only where none is named.
    fn object(&mut self, schema: &Map<String, Value>) -> Result<String, String> {
        let empty = Map::new();
        let properties = schema
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let required = schema.get("required").and_then(Value::as_array);
        let required: BTreeSet<&str> = required
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let others = schema
            .get("additionalProperties")
            .unwrap_or(&Value::Bool(true));
        let unnamed = required
            .iter()
            .filter(|name| !properties.contains_key(**name));
        let members: Vec<(&str, &Value, bool)> = properties
            .iter()
            .map(|(name, of)| (name.as_str(), of, required.contains(name.as_str())))
            .chain(unnamed.map(|name| (*name, others, true)))
            // A key that must not come.
            .filter(|(_, of, required)| *required || **of != Value::Bool(false))
            .collect();
        if members.is_empty() {
            if *others == Value::Bool(false) {
                return Ok(literal("{}"));
            }
            let (string, value) = (self.string(&Map::new()), self.schema(others)?);
            let members = separated(&format!("{string} \": \" {value}"), "\", \"", 0, None);
            return Ok(format!("(\"{{\" {members} \"}}\")"));
        }
        // From the last member to the first: what may follow where something stands already, and where nothing does.
        let (mut more, mut first) = (literal(""), literal(""));
        for (name, of, required) in members.into_iter().rev() {
            let key = serde_json::to_string(name).map_err(|error| error.to_string())?;
            let member = format!("{} {}", literal(&format!("{key}: ")), self.schema(of)?);
            let alternatives = |with: String, without: &String| match required {
                true => with,
                false => format!("{with} | {without}"),
            };
            let as_first = alternatives(format!("{member} {more}"), &first);
            let as_next = alternatives(format!("\", \" {member} {more}"), &more);
            first = self.rules.rule(&as_first);
            more = self.rules.rule(&as_next);
        }
        Ok(format!("(\"{{\" {first} \"}}\")"))
    }

    fn reference(&mut self, target: &str) -> Result<String, String> {
        if let Some(name) = self.references.get(target) {
            return Ok(name.clone());
        }
        let pointer = target.trim_start_matches('#');
        let found = self.root.pointer(pointer);
        let found = found.ok_or_else(|| format!("the reference {target:?}"))?;
        let name = self.rules.name();
        self.references.insert(target.to_owned(), name.clone());
        let body = self.schema(found)?;
        self.rules.define(&name, &body);
        Ok(name)
    }
}

/// Values that are written as they are, those of them that are of the schema's type.
fn listed(values: &[Value], schema: &Map<String, Value>) -> Result<String, String> {
    alone(schema, "enum", &["const", "type"])?;
    let is_of = |value: &Value, kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_null(),
    };
    let fits = |value: &&Value| match schema.get("type") {
        None => true,
        Some(Value::Array(kinds)) => kinds
            .iter()
            .filter_map(Value::as_str)
            .any(|kind| is_of(value, kind)),
        Some(kind) => kind.as_str().is_some_and(|kind| is_of(value, kind)),
    };
    let values: Vec<String> = values
        .iter()
        .filter(fits)
        .map(|value| literal(&value.to_string()))
        .collect();
    match values.is_empty() {
        true => Err("values of another type".to_owned()),
        false => Ok(either(&values)),
    }
}

/// Whether no other keyword says something too.
fn alone(schema: &Map<String, Value>, own: &str, beside: &[&str]) -> Result<(), String> {
    match schema
        .keys()
        .find(|key| *key != own && !beside.contains(&key.as_str()))
    {
        None => Ok(()),
        Some(other) => Err(format!("{own:?} beside {other:?}")),
    }
}

/// Whether each keyword is one that is seen to.
fn known(schema: &Map<String, Value>) -> Result<(), String> {
    const KNOWN: [&str; 14] = [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "$defs",
        "definitions",
        "x-guidance",
    ];
    match schema.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(format!("{key:?}")),
    }
}

/// The types that a schema without one says something of, else all: the others would be free.
fn implied(schema: &Map<String, Value>) -> Vec<&'static str> {
    let says = |keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
    let kinds: Vec<&str> = [
        (
            "object",
            says(&["properties", "required", "additionalProperties"]),
        ),
        ("array", says(&["items", "minItems", "maxItems"])),
        ("string", says(&["minLength", "maxLength"])),
        ("number", says(&["minimum", "maximum"])),
    ]
    .into_iter()
    .filter_map(|(kind, says)| says.then_some(kind))
    .collect();
    match kinds.is_empty() {
        true => KINDS.into(),
        false => kinds,
    }
}

fn any_number() -> String {
    format!("(\"-\"? (\"0\" | [1-9] {DIGITS}) (\".\" [0-9] {DIGITS})?)")
}

/// The bounds that a schema sets itself.
fn bounds(schema: &Map<String, Value>) -> [Option<f64>; 2] {
    ["minimum", "maximum"].map(|key| {
        let bound = schema.get(key).and_then(Value::as_f64);
        bound.filter(|bound| bound.abs() < limits::MAX_INTEGER)
    })
}

fn number(schema: &Map<String, Value>) -> Result<String, String> {
    match bounds(schema) {
        [None, None] => Ok(any_number()),
        [Some(0.0), None] => Ok(any_number().replacen("\"-\"? ", "", 1)),
        // Whole numbers are numbers too.
        _ => integer(schema),
    }
}

fn integer(schema: &Map<String, Value>) -> Result<String, String> {
    let positive = format!("[1-9] {DIGITS}");
    Ok(
        match bounds(schema).map(|bound| bound.map(|bound| bound as i64)) {
            [None, None] => format!("(\"0\" | \"-\"? {positive})"),
            [Some(0), None] => format!("(\"0\" | {positive})"),
            [Some(1), None] => format!("({positive})"),
            [Some(min), Some(max)] if (0..LISTED).contains(&(max - min)) => {
                let all = (min..=max).map(|number| literal(&number.to_string()));
                either(&all.collect::<Vec<_>>())
            }
            [_, Some(_)] => return Err("\"maximum\"".to_owned()),
            [Some(_), None] => return Err("\"minimum\"".to_owned()),
        },
    )
}
