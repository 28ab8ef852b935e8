//! Values as text, the way Python's `str` writes them: what `{{ value }}`, `value | string` and `values | join` give.
//!
//! minijinja's own spelling is Python's but for floats that need an exponent, so this only walks down to find those. What
//! `~` makes of such a float is out of reach: the operator is minijinja's own.

use minijinja::{
    Error, Value,
    value::{Kwargs, Tuple, ValueKind},
};

use super::json::float;

/// The `string` filter.
pub(super) fn string(value: Value) -> Value {
    match value.kind() {
        ValueKind::String => value,
        _ => Value::from(text(&value)),
    }
}

/// `join(d='', attribute=None)`.
pub(super) fn join(
    values: Value,
    separator: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let separator = match separator {
        Some(separator) => separator,
        None => kwargs.get::<Option<String>>("d")?.unwrap_or_default(),
    };
    let attribute = kwargs.get::<Option<String>>("attribute")?;
    kwargs.assert_all_used()?;
    let texts = values.try_iter()?.map(|value| match &attribute {
        Some(name) => value.get_attr(name).map(|value| text(&value)),
        None => Ok(text(&value)),
    });
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join(&separator))
}

/// Python's `str`.
pub(super) fn text(value: &Value) -> String {
    match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Map => repr(value),
        _ => value.to_string(),
    }
}

/// Python's `repr`.
fn repr(value: &Value) -> String {
    match value.kind() {
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => float(number),
            Err(_) => value.to_string(),
        },
        ValueKind::Seq if value.downcast_object_ref::<Tuple>().is_none() => {
            format!("[{}]", joined(value, repr))
        }
        ValueKind::Map => {
            let entry = |key: &Value| {
                let item = value.get_item(key).unwrap_or_default();
                format!("{}: {}", repr(key), repr(&item))
            };
            format!("{{{}}}", joined(value, entry))
        }
        _ => format!("{value:?}"),
    }
}

fn joined(value: &Value, each: impl Fn(&Value) -> String) -> String {
    let items = value.try_iter().into_iter().flatten();
    items.map(|item| each(&item)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // Expected texts are Python's own.
    #[test]
    fn writes_values_as_python() {
        for (value, expected) in [
            (json!(1e-7), "1e-07"),
            (json!(2.5e30), "2.5e+30"),
            (json!(1.0), "1.0"),
            (json!(9_007_199_254_740_993_u64), "9007199254740993"),
            (json!(true), "True"),
            (json!(null), "None"),
            (json!("a\n"), "a\n"),
            (json!([]), "[]"),
            (
                json!([1e16, "it's", "\"", "é\n\\", null, false, [], {}]),
                "[1e+16, \"it's\", '\"', 'é\\n\\\\', None, False, [], {}]",
            ),
            (
                json!({"b": {"x": 0.1}, "a": [1]}),
                "{'b': {'x': 0.1}, 'a': [1]}",
            ),
        ] {
            assert_eq!(
                text(&Value::from(minijinja::value::Serde(&value))),
                expected
            );
        }
    }
}
