//! Numbers and booleans that clients send as strings ("0.7", "True") read as what they mean.

use serde_json::Value;

/// A finite number, from a JSON number or its text.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

/// A whole number, from a JSON number (`5` and `5.0`) or its text.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(exact) if exact.is_i64() => exact.as_i64(),
        Value::Number(_) => whole(number(value)?),
        Value::String(text) => text.trim().parse().ok().or_else(|| whole(number(value)?)),
        _ => None,
    }
}

/// A float as a whole number, where it stands for exactly one.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    // The cast is exact: the number has no fraction and at most 53 bits.
    #[allow(clippy::cast_possible_truncation)]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// A boolean, from JSON or from Python's and JSON's spelling of one in a string.
pub(crate) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => match text.trim() {
            "true" | "True" => Some(true),
            "false" | "False" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strings_read_as_what_they_mean() {
        assert_eq!(number(&json!("0.7")), Some(0.7));
        assert_eq!(number(&json!(2)), Some(2.0));
        assert_eq!(number(&json!("NaN")), None);
        assert_eq!(number(&json!("inf")), None);
        assert_eq!(number(&json!(true)), None);
        assert_eq!(integer(&json!("20")), Some(20));
        assert_eq!(integer(&json!(20.0)), Some(20));
        assert_eq!(integer(&json!("20.0")), Some(20));
        assert_eq!(integer(&json!(20.5)), None);
        assert_eq!(integer(&json!(i64::MAX)), Some(i64::MAX));
        assert_eq!(integer(&json!(1e300)), None);
        assert_eq!(boolean(&json!("True")), Some(true));
        assert_eq!(boolean(&json!("false")), Some(false));
        assert_eq!(boolean(&json!(1)), None);
    }
}
