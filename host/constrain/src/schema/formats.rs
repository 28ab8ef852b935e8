//! What llguidance's formats let through and RFC 3339 does not: 29 February in any year, and seconds of 60 at any time. Its
//! expressions stay; a pattern beside them forbids the rest. Leap seconds are forbidden altogether.

use serde_json::{Map, Value, json};

/// Days that there are.
const DATE: &str = concat!(
    "^(?:[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])",
    "|[0-9]{4}-(?:0[13-9]|1[0-2])-(?:29|30)",
    "|[0-9]{4}-(?:0[13578]|1[02])-31",
    "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)",
);

/// Hours and minutes, which the format limits, and seconds below 60.
const TIME: &str = "[0-9]{2}:[0-9]{2}:[0-5]";

/// Adds what the format of this schema lacks.
pub(super) fn narrow(schema: &mut Map<String, Value>) {
    let pattern = match schema.get("format").and_then(Value::as_str) {
        Some("date") => format!("{DATE}$"),
        Some("date-time") => format!("{DATE}[tT]{TIME}"),
        Some("time") => format!("^{TIME}"),
        _ => return,
    };
    if let Some(Value::Array(all)) = schema.get_mut("allOf") {
        all.push(json!({ "pattern": pattern }));
    } else if schema.contains_key("pattern") {
        schema.insert("allOf".to_owned(), json!([{ "pattern": pattern }]));
    } else {
        schema.insert("pattern".to_owned(), pattern.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let mut schema = Map::from_iter([("format".to_owned(), json!("date"))]);
        narrow(&mut schema);
        let pattern = schema["pattern"].as_str().expect("a pattern");
        // The syntax is that of the crate which llguidance reads it with.
        let parsed = regex_syntax::Parser::new().parse(pattern);
        assert!(parsed.is_ok(), "{parsed:?}");
        let mut both = Map::from_iter([
            ("format".to_owned(), json!("time")),
            ("pattern".to_owned(), json!("^1")),
        ]);
        narrow(&mut both);
        assert_eq!(both["pattern"], "^1");
        assert_eq!(both["allOf"][0]["pattern"], format!("^{TIME}"));
    }
}
