//! Patterns that one string has to match together: what is searched is about the product of what each comes to.

use std::collections::HashMap;

use serde_json::Value;

use super::refusal;
use crate::{ConstrainError, limits, pattern};

/// Characters of a format, about.
const FORMAT: u64 = 50;

/// Looks at every place of a vetted schema.
///
/// # Errors
/// When patterns meet whose product is beyond the limit.
pub(super) fn check(root: &Value) -> Result<(), ConstrainError> {
    let mut known = HashMap::new();
    let mut places = vec![root];
    while let Some(place) = places.pop() {
        let product = product(place, root, &mut known);
        if product > limits::MAX_PATTERN_PRODUCT {
            let limit = limits::MAX_PATTERN_PRODUCT;
            return Err(refusal(
                "#",
                format!(
                    "patterns and formats that a string has to match together multiply to {product} characters, the limit is {limit}"
                ),
            ));
        }
        match place {
            Value::Object(entries) => places.extend(entries.values()),
            Value::Array(entries) => places.extend(entries),
            _ => {}
        }
    }
    Ok(())
}

/// What all that a string has to match here multiplies to. Recursion is as deep as schemas nest, references included, which is
/// limited.
fn product(schema: &Value, root: &Value, known: &mut HashMap<String, u64>) -> u64 {
    let Some(object) = schema.as_object() else {
        return 1;
    };
    let mut product = match object.get("pattern").and_then(Value::as_str) {
        Some(pattern) => pattern::expansion(pattern).unwrap_or(1).max(1),
        None => 1,
    };
    if object.get("format").is_some_and(Value::is_string) {
        product = product.saturating_mul(FORMAT);
    }
    for (key, every) in [("allOf", true), ("anyOf", false), ("oneOf", false)] {
        let schemas = object.get(key).and_then(Value::as_array);
        let each = schemas.into_iter().flatten();
        let each = each.map(|schema| self::product(schema, root, known));
        product = product.saturating_mul(match every {
            true => each.fold(1, u64::saturating_mul),
            false => each.max().unwrap_or(1),
        });
    }
    if let Some(target) = object.get("$ref").and_then(Value::as_str) {
        product = product.saturating_mul(behind(target, root, known));
    }
    product
}

fn behind(target: &str, root: &Value, known: &mut HashMap<String, u64>) -> u64 {
    if let Some(product) = known.get(target) {
        return *product;
    }
    // What stands in itself counts once.
    known.insert(target.to_owned(), 1);
    let product = match root.pointer(target.trim_start_matches('#')) {
        Some(schema) => self::product(schema, root, known),
        None => 1,
    };
    known.insert(target.to_owned(), product);
    product
}
