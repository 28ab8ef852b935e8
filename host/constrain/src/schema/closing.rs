//! Closes the objects that a schema leaves open by saying nothing.
//!
//! `properties` without `additionalProperties` lets anything stand beside them, and a small model that is held to such a schema
//! goes on with properties of its own until `max_tokens` ends it. Whoever writes such a schema means the named ones: the
//! generators of pydantic and zod schemas for tools leave the keyword out, and llama.cpp's grammars and xgrammar's strict mode read
//! it as false. `"additionalProperties": true` keeps an object open.
//!
//! Invariant: closing allows no value that was forbidden, and leaves some value to whatever had one. So nothing is closed in a
//! schema where several have to match one value: one of them may name what another requires.

use serde_json::{Map, Value, json};

use super::keywords::{Keyword, keyword};

/// Closes what can be closed in a vetted schema.
pub(super) fn close(root: &mut Value) {
    if !conjoins(root) {
        close_below(root);
    }
}

/// Whether its keywords say which properties there are and leave others open without a word.
pub(super) fn is_left_open(object: &Map<String, Value>) -> bool {
    let Some(named) = object.get("properties").and_then(Value::as_object) else {
        return false;
    };
    let required = object.get("required").and_then(Value::as_array);
    let mut required = required.into_iter().flatten().filter_map(Value::as_str);
    let fewest = object.get("minProperties").and_then(Value::as_u64);
    let possible = named.values().filter(|schema| **schema != json!(false));
    !object.contains_key("additionalProperties")
        && !object.contains_key("patternProperties")
        && required.all(|name| named.contains_key(name))
        && fewest.is_none_or(|fewest| fewest <= possible.count() as u64)
}

/// Whether anywhere in it one value has to match several schemas.
fn conjoins(schema: &Value) -> bool {
    let Some(object) = schema.as_object() else {
        return false;
    };
    let part = |key: &str| matches!(key, "$ref" | "anyOf" | "allOf" | "oneOf");
    let beside = |key: &str| matches!(key, "type" | "$defs" | "definitions");
    let refers = object.keys().any(|key| part(key));
    let alone = object.keys().filter(|key| !beside(key)).count() == 1;
    let several = match (object.get("allOf"), object.get("oneOf")) {
        // One of them must match and the others must not: what closing takes from these, it gives to that.
        (_, Some(_)) => true,
        (Some(Value::Array(all)), None) => all.len() > 1,
        _ => false,
    };
    several || (refers && !alone) || below(object).into_iter().any(conjoins)
}

fn close_below(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    let names_some = |object: &Map<String, Value>| {
        let named = object.get("properties").and_then(Value::as_object);
        named.is_some_and(|named| !named.is_empty())
    };
    if names_some(object) && is_left_open(object) {
        object.insert("additionalProperties".to_owned(), json!(false));
    }
    for (key, value) in object {
        match (keyword(key), value) {
            (Some(Keyword::Named), Value::Object(named)) => {
                named.values_mut().for_each(close_below);
            }
            (Some(Keyword::Schema | Keyword::Schemas), Value::Array(list)) => {
                list.iter_mut().for_each(close_below);
            }
            (Some(Keyword::Schema), one) => close_below(one),
            _ => {}
        }
    }
}

/// The schemas one step further.
fn below(object: &Map<String, Value>) -> Vec<&Value> {
    let mut schemas = Vec::new();
    for (key, value) in object {
        match (keyword(key), value) {
            (Some(Keyword::Named), Value::Object(named)) => schemas.extend(named.values()),
            (Some(Keyword::Schema | Keyword::Schemas), Value::Array(list)) => schemas.extend(list),
            (Some(Keyword::Schema), one) => schemas.push(one),
            _ => {}
        }
    }
    schemas
}
