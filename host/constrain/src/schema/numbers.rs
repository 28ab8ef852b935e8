//! Numbers of a schema: those that f64 rounds, multiples that cost too much, and those that no reader could hold.

use serde_json::{Map, Value, json};

use super::refusal;
use crate::{ConstrainError, limits};

/// The first number in a value, or in what it holds, that is or may be rounded.
pub(super) fn rounded(value: &Value) -> Option<&Value> {
    match value {
        Value::Number(number) => {
            let large = number
                .as_f64()
                .is_none_or(|number| number.abs() >= limits::MAX_INTEGER);
            large.then_some(value)
        }
        Value::Array(values) => values.iter().find_map(rounded),
        Value::Object(values) => values.values().find_map(rounded),
        _ => None,
    }
}

const MULTIPLE: &str = "multipleOf";

/// Whether numbers of a schema of this text may be bounded: bounds and a multiple that meet, though none of them asks for it, are
/// more than llguidance can tell the common numbers of.
pub(super) fn may_bound(text: &str) -> bool {
    let meeting = ["allOf", "anyOf", "oneOf", "$ref", "patternProperties"];
    !text.contains(MULTIPLE) || !meeting.iter().any(|key| text.contains(key))
}

/// Bounds numbers where the schema does not. Without both bounds a number may be written with any digits and exponent, and
/// what is 1e36860 is infinite to one reader and an error to the next. A 64-bit integer holds what is within.
pub(super) fn bound(schema: &mut Map<String, Value>) {
    let is_number = |kind: &Value| matches!(kind.as_str(), Some("number" | "integer"));
    let numbers = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is_number),
        Some(kind) => is_number(kind),
        None => false,
    };
    let bounded = ["enum", "const", MULTIPLE];
    if !numbers || bounded.iter().any(|key| schema.contains_key(*key)) {
        return;
    }
    for (names, bound) in [
        (["minimum", "exclusiveMinimum"], -limits::LARGEST_WRITTEN),
        (["maximum", "exclusiveMaximum"], limits::LARGEST_WRITTEN),
    ] {
        if !names.iter().any(|name| schema.contains_key(*name)) {
            schema.insert(names[0].to_owned(), json!(bound));
        }
    }
}

/// Whether it is what [`bound`] sets: a schema may be vetted again.
pub(super) fn is_own_bound(value: &Value) -> bool {
    value
        .as_f64()
        .is_some_and(|number| number.abs() == limits::LARGEST_WRITTEN)
}

/// The multipleOfs of one schema. Where schemas are intersected their least common multiple is what is searched.
#[derive(Default)]
pub(super) struct Multiples {
    /// Where each stands, its digits as a number, and how many of them stand behind the point.
    found: Vec<(String, u64, u32)>,
    intersects: bool,
}

impl Multiples {
    pub(super) fn note(&mut self, pointer: &str, value: &Value) -> Result<(), ConstrainError> {
        let number = value.as_f64().filter(|number| *number > 0.0);
        let Some(number) = number else {
            return Err(refusal(pointer, "it must be a number above 0"));
        };
        let text = number.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits = format!("{whole}{fraction}").parse().unwrap_or(u64::MAX);
        if digits > limits::MAX_MULTIPLE {
            let limit = limits::MAX_MULTIPLE;
            return Err(refusal(
                pointer,
                format!("the digits of {value} must be at most {limit}, without the point"),
            ));
        }
        self.found
            .push((pointer.to_owned(), digits, fraction.len() as u32));
        Ok(())
    }

    /// Whether a schema is to hold together with others.
    pub(super) fn note_siblings(&mut self, schema: &Map<String, Value>) {
        let applies = ["$ref", "anyOf", "oneOf", "allOf"]
            .iter()
            .filter(|key| schema.contains_key(**key))
            .count();
        let other = [
            "multipleOf",
            "properties",
            "items",
            "prefixItems",
            "additionalProperties",
        ]
        .iter()
        .any(|key| schema.contains_key(*key));
        let patterns = schema.contains_key("patternProperties");
        self.intersects |=
            schema.contains_key("allOf") || applies > 1 || applies > 0 && other || patterns;
    }

    /// # Errors
    /// When those that may meet have a common multiple beyond the limit.
    pub(super) fn check(&self) -> Result<(), ConstrainError> {
        let places = self.found.iter().map(|(_, _, places)| *places).max();
        let (Some(places), true) = (places, self.intersects) else {
            return Ok(());
        };
        let mut common = 1_u128;
        for (pointer, digits, own) in &self.found {
            let scaled = u128::from(*digits).saturating_mul(10_u128.saturating_pow(places - own));
            common = (common / greatest_divisor(common, scaled)).saturating_mul(scaled);
            if common > u128::from(limits::MAX_MULTIPLE) {
                let limit = limits::MAX_MULTIPLE;
                let problem = format!(
                    "its least common multiple with those it may have to hold together with is beyond {limit}"
                );
                return Err(refusal(pointer, problem));
            }
        }
        Ok(())
    }
}

fn greatest_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
