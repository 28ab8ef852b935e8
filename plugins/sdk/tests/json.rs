//! The JSON scanner against documents whose verdict is known, whole and byte by byte, and against random text.

use proptest::prelude::*;
use weir_plugin_sdk::json_scanner::{JsonScanner, Step, decode_string, is_object};

/// Where the value at the start of `text` ends, if it ends; the text comes in chunks of `size` characters.
fn end(text: &str, size: usize) -> Result<Option<usize>, usize> {
    let mut scanner = JsonScanner::new();
    let characters: Vec<char> = text.chars().collect();
    let mut position = 0;
    for chunk in characters.chunks(size) {
        let chunk: String = chunk.iter().collect();
        let mut rest = chunk.as_str();
        while !rest.is_empty() {
            let (used, step) = scanner.scan(rest);
            rest = &rest[used..];
            position += used;
            match step {
                Step::Complete => return Ok(Some(position)),
                Step::Broken => return Err(position),
                Step::More | Step::Key | Step::ValueStart | Step::ValueEnd => {}
            }
        }
    }
    Ok(scanner.is_value().then_some(position))
}

#[test]
fn valid_values_end_where_they_end() {
    let values = [
        "{}",
        "[]",
        "{ }",
        "[ ]",
        "0",
        "-0",
        "-0.0",
        "1e5",
        "1E+5",
        "12.50e-3",
        "123456789012345678901234567890",
        "true",
        "false",
        "null",
        "\"\"",
        r#""a\"\\\/\b\f\n\r\tA""#,
        r#""\ud83d\ude00 \ud83d""#,
        "\"é😀\u{7f}\"",
        r#"{"a": {"b": [1, {"c": null}, "}]"]}, "d": ""}"#,
        "[1 ,\n2\t,\r3 ]",
        "[[[[]]],{}]",
    ];
    for value in values {
        for (before, after) in [("", ""), (" \n", ""), ("", " x"), ("", ",")] {
            let text = format!("{before}{value}{after}");
            for size in [1, 2, 3, 1000] {
                let expected = before.len() + value.len();
                assert_eq!(end(&text, size), Ok(Some(expected)), "{text} by {size}");
            }
        }
    }
}

#[test]
fn invalid_values_break_at_the_first_wrong_byte() {
    let values = [
        ("x", 0),
        ("}", 0),
        ("{,", 1),
        ("{a", 1),
        ("{\"a\" 1", 5),
        ("{\"a\":}", 5),
        ("{\"a\":1,}", 7),
        ("{\"a\":1 \"b\"", 7),
        ("[1,]", 3),
        ("[,", 1),
        ("[1}", 2),
        ("{]", 1),
        ("01", 1),
        ("[01]", 2),
        ("[-]", 2),
        ("[1.]", 3),
        ("[1e]", 3),
        ("[+1]", 1),
        ("[.5]", 1),
        ("[tru]", 4),
        ("[nulL]", 4),
        ("\"\n", 1),
        ("\"\\x", 2),
        ("\"\\u12g", 5),
        ("['a']", 1),
        ("{\"a\":NaN}", 5),
        ("[é", 1),
        ("[1é", 2),
    ];
    for (value, at) in values {
        for size in [1, 2, 1000] {
            let expected = if value == "01" { Ok(Some(at)) } else { Err(at) };
            assert_eq!(end(value, size), expected, "{value} by {size}");
        }
    }
}

#[test]
fn unfinished_values_are_none() {
    for value in [
        "", " ", "{", "{\"a\"", "[1", "-", "1.", "1e", "tru", "\"a", "\"\\", "\"\\u0",
    ] {
        assert_eq!(end(value, 1), Ok(None), "{value}");
    }
}

#[test]
fn members_of_the_top_level_are_reported_in_order() {
    let text = r#" {"a" : {"x": 1}, "b":[2], "c":3,"d": "e" }"#;
    let mut scanner = JsonScanner::new();
    let mut steps = Vec::new();
    let mut position = 0;
    loop {
        let (used, step) = scanner.scan(&text[position..]);
        position += used;
        if step == Step::Key {
            let key = &text[position - scanner.unproven_string()..position];
            steps.push((step, key));
        } else {
            steps.push((step, &text[position..(position + 1).min(text.len())]));
        }
        if step == Step::Complete {
            break;
        }
    }
    use Step::{Complete, Key, ValueEnd, ValueStart};
    let expected = [
        (Key, "\"a\""),
        (ValueStart, "{"),
        (ValueEnd, ","),
        (Key, "\"b\""),
        (ValueStart, "["),
        (ValueEnd, ","),
        (Key, "\"c\""),
        (ValueStart, "3"),
        (ValueEnd, ","),
        (Key, "\"d\""),
        (ValueStart, "\""),
        (ValueEnd, " "),
        (Complete, ""),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn strings_decode() {
    let strings = [
        (r#""""#, Some("")),
        (
            r#""a\"b\\c\/d\b\f\n\r\t""#,
            Some("a\"b\\c/d\u{8}\u{c}\n\r\t"),
        ),
        (r#""é😀""#, Some("é😀")),
        (r#""\ud83d!""#, Some("\u{FFFD}!")),
        (r#""\ud83d\ud83d\ude00""#, Some("\u{FFFD}😀")),
        ("\"é", None),
        ("x", None),
        ("\"a\" ", None),
    ];
    for (literal, text) in strings {
        assert_eq!(decode_string(literal).as_deref(), text, "{literal}");
    }
}

#[test]
fn objects_are_told_from_other_values() {
    for text in ["{}", " {\"a\": 1}\n", "{\"a\": {}}"] {
        assert!(is_object(text), "{text}");
    }
    for text in ["", "[]", "\"{}\"", "{", "{} {}", "{}x", "{\"a\"}", "null"] {
        assert!(!is_object(text), "{text}");
    }
}

proptest! {
    #[test]
    fn chunks_do_not_matter(text in "[\\[\\]{}:,\"\\\\u0-9a-fnrtl.eE+ \n-]{0,24}", size in 1_usize..5) {
        prop_assert_eq!(end(&text, size), end(&text, 1000));
    }
}
