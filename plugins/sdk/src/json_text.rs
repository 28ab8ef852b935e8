//! JSON as whole texts: what stands for a text in a string, and the parts of an object or an array as they are written.
//!
//! Invariants: the work is linear, without recursion; what is no JSON has no parts. For JSON that still comes there is
//! [`crate::json_scanner`], which all of this leans on.

use alloc::{string::String, vec::Vec};
use core::fmt::Write;

use crate::json_scanner::{JsonScanner, Step, decode_string, is_plain};

/// What JSON and markup around it take for white space.
pub const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// A JSON string, quotes included, that stands for `text`.
pub fn json_string(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    push_escaped(text, &mut literal);
    literal.push('"');
    literal
}

/// Appends what stands for `text` inside a JSON string.
pub fn push_escaped(text: &str, literal: &mut impl Write) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        let (plain, escaped) = rest.split_at(at);
        // A string takes whatever is written to it.
        let _ = literal.write_str(plain);
        let _ = match escaped.as_bytes()[0] {
            b'"' => literal.write_str("\\\""),
            b'\\' => literal.write_str("\\\\"),
            b'\n' => literal.write_str("\\n"),
            b'\r' => literal.write_str("\\r"),
            b'\t' => literal.write_str("\\t"),
            control => write!(literal, "\\u{control:04x}"),
        };
        rest = &escaped[1..];
    }
    let _ = literal.write_str(rest);
}

/// With how many bytes of white space a text starts.
pub fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start_matches(WHITE_SPACE).len()
}

/// The value of one member of a JSON object.
pub fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let found = members(object).into_iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value)
}

/// The members of a JSON object, in order; none when it is something else.
pub fn members(object: &str) -> Vec<(String, &str)> {
    let mut members = Vec::new();
    let object = object.trim_matches(WHITE_SPACE);
    if !object.starts_with('{') {
        return members;
    }
    let mut scanner = JsonScanner::new();
    let (mut at, mut start) = (0, 0);
    let mut key = None;
    loop {
        let (used, step) = scanner.scan(&object[at..]);
        at += used;
        match step {
            Step::Key => {
                let literal = &object[at - scanner.unproven_string()..at];
                key = decode_string(literal);
            }
            Step::ValueStart => start = at,
            Step::ValueEnd => {
                if let Some(key) = key.take() {
                    members.push((key, &object[start..at]));
                }
            }
            Step::Complete => return members,
            Step::More | Step::Broken => return Vec::new(),
        }
    }
}

/// The items of a JSON array, in order; none when it is something else.
pub fn items(array: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let Some(mut rest) = array.trim_matches(WHITE_SPACE).strip_prefix('[') else {
        return items;
    };
    loop {
        rest = rest.trim_start_matches(WHITE_SPACE);
        let Some(length) = value_length(rest) else {
            return items;
        };
        items.push(&rest[..length]);
        rest = rest[length..].trim_start_matches(WHITE_SPACE);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return items,
        }
    }
}

/// How long the JSON value is that `text` starts with.
fn value_length(text: &str) -> Option<usize> {
    let mut scanner = JsonScanner::new();
    let mut at = 0;
    loop {
        let (used, step) = scanner.scan(&text[at..]);
        at += used;
        match step {
            Step::Complete => return Some(at),
            Step::More | Step::Broken => return scanner.is_value().then_some(at),
            Step::Key | Step::ValueStart | Step::ValueEnd => {}
        }
    }
}

/// Whether `text` is one JSON value and nothing else.
pub fn is_json(text: &str) -> bool {
    value_length(text) == Some(text.len())
}

/// Whether a byte may stand in a JSON number.
pub fn may_be_in_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_strings() {
        assert_eq!(json_string("é\"\\\n\r\t\u{1f}/"), r#""é\"\\\n\r\t\u001f/""#);
    }

    #[test]
    fn values_have_parts() {
        assert_eq!(
            items("[1 , \"a,b\",[2], {}]"),
            ["1", "\"a,b\"", "[2]", "{}"]
        );
        assert!(is_json("-1.5e3") && !is_json("007") && !is_json("1 2") && !is_json(""));
        let object = r#" {"a" : 1 , "b\n": {"c": []}, "a": "x" } "#;
        let all = [("a", "1"), ("b\n", r#"{"c": []}"#), ("a", r#""x""#)];
        assert_eq!(members(object), all.map(|(key, value)| (key.into(), value)));
        assert_eq!(member(object, "a"), Some("1"));
        assert!(members("{\"a\": 1").is_empty() && members("[]").is_empty());
    }
}
