//! Whether no value matches two of a oneOf's schemas, as far as their types and the values of one property show it.
//!
//! pydantic, zod and OpenAPI write tagged unions so: references to objects, each with a `const` under the same name.

use serde_json::{Map, Value};

/// References followed in a row.
const MAX_STEPS: usize = 16;

/// Whether each two of them exclude each other.
pub(super) fn all(schemas: &[Value], root: &Value) -> bool {
    let schemas: Option<Vec<_>> = schemas
        .iter()
        .map(|schema| resolved(schema, root))
        .collect();
    let Some(schemas) = schemas else {
        return false;
    };
    let mut rest = schemas.as_slice();
    while let Some((one, others)) = rest.split_first() {
        if !others.iter().all(|other| exclude(one, other, root)) {
            return false;
        }
        rest = others;
    }
    true
}

fn exclude(one: &Map<String, Value>, other: &Map<String, Value>, root: &Value) -> bool {
    if let (Some(one), Some(other)) = (types(one), types(other)) {
        let overlap = |a: &str, b: &str| {
            a == b || [a, b] == ["integer", "number"] || [a, b] == ["number", "integer"]
        };
        if !one.iter().any(|a| other.iter().any(|b| overlap(a, b))) {
            return true;
        }
    }
    if let (Some(one), Some(other)) = (words(one), words(other)) {
        return !one.iter().any(|word| other.contains(word));
    }
    let objects = |schema| types(schema).is_some_and(|types| types == ["object"]);
    objects(one) && objects(other) && tags_differ(one, other, root)
}

/// Whether there is a property that both must have and of which they allow different values.
fn tags_differ(one: &Map<String, Value>, other: &Map<String, Value>, root: &Value) -> bool {
    let required = one.get("required").and_then(Value::as_array);
    let mut names = required.into_iter().flatten().filter_map(Value::as_str);
    names.any(|name| {
        let required = other.get("required").and_then(Value::as_array);
        let both = required.is_some_and(|names| names.iter().any(|other| other == name));
        let tag = |schema: &Map<String, Value>| -> Option<Vec<String>> {
            let property = schema.get("properties")?.get(name)?;
            let words = words(resolved(property, root)?)?;
            Some(words.into_iter().map(str::to_owned).collect())
        };
        let (Some(one), Some(other)) = (tag(one), tag(other)) else {
            return false;
        };
        both && !one.iter().any(|word| other.contains(word))
    })
}

/// The object behind references that stand alone.
fn resolved<'a>(mut schema: &'a Value, root: &'a Value) -> Option<&'a Map<String, Value>> {
    for _ in 0..MAX_STEPS {
        let object = schema.as_object()?;
        let Some(target) = object.get("$ref") else {
            return Some(object);
        };
        schema = root;
        for step in target.as_str()?.strip_prefix("#/")?.split('/') {
            schema = match schema {
                Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
                other => other.get(step)?,
            };
        }
    }
    None
}

fn types(schema: &Map<String, Value>) -> Option<Vec<&str>> {
    match schema.get("type")? {
        Value::Array(types) => types.iter().map(Value::as_str).collect(),
        one => Some(vec![one.as_str()?]),
    }
}

/// The only values it allows, where all of them are strings.
fn words(schema: &Map<String, Value>) -> Option<Vec<&str>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(one), _) => Some(vec![one.as_str()?]),
        (None, Some(Value::Array(values))) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}
