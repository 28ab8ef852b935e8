//! Whole numbers in a plugin's configuration, which the SDK's reader does not know: they are read as strings.

use alloc::{format, string::String};

use weir_plugin_sdk::config_reader::ConfigReader;

/// JSON text in which every whole number stands in quotation marks.
pub fn quoted(json: &str) -> String {
    let mut quoted = String::with_capacity(json.len() + 8);
    let (mut in_string, mut escaped, mut in_number) = (false, false, false);
    for character in json.chars() {
        let digit = !in_string && character.is_ascii_digit();
        if digit != in_number {
            quoted.push('"');
            in_number = digit;
        }
        if !escaped && character == '"' {
            in_string = !in_string;
        }
        escaped = in_string && !escaped && character == '\\';
        quoted.push(character);
    }
    if in_number {
        quoted.push('"');
    }
    quoted
}

/// Reads a number of a text that was [`quoted`].
///
/// # Errors
/// When there is none, or one that is out of range.
pub fn read(json: &mut ConfigReader<'_>, key: &str, least: u32, most: u32) -> Result<u32, String> {
    let text = json.string()?;
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("`{key}` is {text}; it may be {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(json: &str) -> Result<u32, String> {
        let json = quoted(json);
        let mut number = 0;
        let mut reader = ConfigReader::new(&json);
        reader.object(|key, json| {
            match key {
                "n1" => number = read(json, key, 1, 10)?,
                _ => drop(json.string()?),
            }
            Ok(())
        })?;
        reader.end()?;
        Ok(number)
    }

    #[test]
    fn numbers_are_read_and_texts_stay_as_they_are() {
        assert_eq!(count(r#"{"n1": 7}"#), Ok(7));
        assert_eq!(count(r#"{"a": "x\" 12", "n1":10,"b": "3"}"#), Ok(10));
        assert_eq!(
            quoted(r#"{"a\\": "1", "b": [12, 3]}"#),
            r#"{"a\\": "1", "b": ["12", "3"]}"#
        );
        for wrong in ["0", "11", "99999999999", "-1", "1.5", "true", "\"x\""] {
            assert!(count(&format!(r#"{{"n1": {wrong}}}"#)).is_err(), "{wrong}");
        }
    }
}
