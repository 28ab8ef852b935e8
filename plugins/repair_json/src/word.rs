//! Values that are bare words: numbers and literals, as JSON, Python and JavaScript write them.
//!
//! A word that none of them knows is no value: it is left to the caller.

use alloc::{borrow::Cow, format};

use weir_plugin_sdk::json_text::is_json;

/// Words and the JSON they stand for.
const LITERALS: [(&str, &str); 18] = [
    ("true", "true"),
    ("false", "false"),
    ("null", "null"),
    ("True", "true"),
    ("TRUE", "true"),
    ("False", "false"),
    ("FALSE", "false"),
    ("None", "null"),
    ("Null", "null"),
    ("NULL", "null"),
    ("undefined", "null"),
    ("NaN", "null"),
    ("nan", "null"),
    ("Infinity", "null"),
    ("+Infinity", "null"),
    ("-Infinity", "null"),
    ("inf", "null"),
    ("-inf", "null"),
];

/// Whether `c` may stand in a bare word.
pub fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '+' | '-' | '.' | '_')
}

/// The JSON that a whole word stands for.
pub fn value(word: &str) -> Option<Cow<'_, str>> {
    if let Some((_, json)) = LITERALS.iter().find(|(literal, _)| *literal == word) {
        return Some(Cow::Borrowed(json));
    }
    if is_number(word) {
        return Some(Cow::Borrowed(word));
    }
    let number = word.strip_prefix('+').unwrap_or(word);
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number),
    };
    let before = if digits.starts_with('.') { "0" } else { "" };
    let behind = if digits.ends_with('.') { "0" } else { "" };
    let number = format!("{sign}{before}{digits}{behind}");
    (digits.len() > 1 || digits != ".")
        .then_some(number)
        .filter(|number| is_number(number))
        .map(Cow::Owned)
}

/// The JSON that a word stands for whose end is missing: the literal it begins, or the number as far as it came.
pub fn cut_value(word: &str) -> Option<Cow<'_, str>> {
    if let Some(value) = value(word) {
        return Some(value);
    }
    if let Some((_, json)) = LITERALS
        .iter()
        .find(|(literal, _)| literal.starts_with(word))
    {
        return Some(Cow::Borrowed(json));
    }
    let number = word
        .trim_end_matches(['+', '-'])
        .trim_end_matches(['e', 'E']);
    value(number)
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && is_json(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_json() {
        for (word, json) in [
            ("true", Some("true")),
            ("None", Some("null")),
            ("-Infinity", Some("null")),
            ("-0.0", Some("-0.0")),
            ("1E+30", Some("1E+30")),
            (".5", Some("0.5")),
            ("-.5", Some("-0.5")),
            ("+7", Some("7")),
            ("5.", Some("5.0")),
            ("01", None),
            ("0x1F", None),
            ("1_000", None),
            ("Paris", None),
            (".", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(value(word).as_deref(), json, "{word}");
        }
    }

    #[test]
    fn words_whose_end_is_missing_are_completed() {
        for (word, json) in [
            ("tr", Some("true")),
            ("Fal", Some("false")),
            ("N", Some("null")),
            ("-", Some("null")),
            ("12", Some("12")),
            ("1.", Some("1.0")),
            ("1.5e", Some("1.5")),
            ("1.5e+", Some("1.5")),
            ("Par", None),
        ] {
            assert_eq!(cut_value(word).as_deref(), json, "{word}");
        }
    }
}
