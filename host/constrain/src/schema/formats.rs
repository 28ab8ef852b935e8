//! What llguidance 1.9.1 leaves open of formats: days that a year has not, seconds that only a minute of UTC has, and lengths of
//! parts of addresses. A pattern beside the format takes it away.

use serde_json::{Map, Value, json};

/// A local part of one atom, or of more that are the shorter the more they are, at a domain of seven labels: within every length
/// that RFC 5321 sets.
const EMAIL: &str = "^(?:[a-zA-Z0-9!#$%&'*+\\-/=?^_`{|}~]{1,64}|[a-zA-Z0-9!#$%&'*+\\-/=?^_`{|}~]{1,20}(?:\\.[a-zA-Z0-9!#$%&'*+\\-/=?^_`{|}~]{1,20}){1,2}|[a-zA-Z0-9!#$%&'*+\\-/=?^_`{|}~]{1,12}(?:\\.[a-zA-Z0-9!#$%&'*+\\-/=?^_`{|}~]{1,12}){1,4}|[a-zA-Z0-9!#$%&'*+\\-/=?^_`{|}~]{1,7}(?:\\.[a-zA-Z0-9!#$%&'*+\\-/=?^_`{|}~]{1,7}){1,7}|[a-zA-Z0-9!#$%&'*+\\-/=?^_`{|}~]{1,3}(?:\\.[a-zA-Z0-9!#$%&'*+\\-/=?^_`{|}~]{1,3}){1,15})@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,33}[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,33}[a-zA-Z0-9])?){0,6}$";

/// Hands on the pattern that a schema's format needs beside it. A schema that has it already, as one has that was vetted before,
/// stays as it is.
pub(super) fn narrow(schema: &mut Map<String, Value>) {
    let format = schema.get("format").and_then(Value::as_str);
    let Some(pattern) = pattern(format.unwrap_or_default()) else {
        return;
    };
    if pattern == EMAIL {
        // Together with the format's own expression llguidance cannot tell whether any text is left.
        schema.shift_remove("format");
    }
    if schema.get("pattern").is_some_and(|own| own == pattern) {
        return;
    }
    let beside = json!({ "pattern": pattern });
    if let Some(Value::Array(all)) = schema.get_mut("allOf") {
        if !all.contains(&beside) {
            all.push(beside);
        }
    } else if schema.contains_key("pattern") {
        schema.insert("allOf".to_owned(), json!([beside]));
    } else {
        schema.insert("pattern".to_owned(), Value::from(pattern));
    }
}

/// Sources: RFC 3339, 5.7 and appendix C; RFC 5321, 4.5.3.1; RFC 1123, 2.1. A leap second is left out, wherever it may be.
fn pattern(format: &str) -> Option<&'static str> {
    Some(match format {
        "date" => {
            "^(?:[0-9]{4}-(?:0[13-9]|1[0-2])-|[0-9]{4}-02-(?:[01]|2[0-8])|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29$)"
        }
        "date-time" => {
            "^(?:[0-9]{4}-(?:0[13-9]|1[0-2])-[0-9]{2}|[0-9]{4}-02-(?:[01][0-9]|2[0-8])|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)[tT][0-9]{2}:[0-9]{2}:[0-5]"
        }
        "time" => "^[0-9]{2}:[0-9]{2}:[0-5]",
        "email" => EMAIL,
        "hostname" => "^.{1,253}$",
        _ => return None,
    })
}
