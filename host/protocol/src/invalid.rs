//! What can be wrong with a request, told apart by whether it is the caller's mistake or something not built yet.

use serde_json::Value;
use thiserror::Error;

/// A request that cannot be served as it stands.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Invalid {
    /// The field, as a path (`messages[2].content`); None when the body as a whole is at fault.
    pub param: Option<String>,
    /// Whose fault it is.
    pub kind: InvalidKind,
    /// One sentence naming field, value and what would be right.
    pub message: String,
}

/// Why a request cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidKind {
    /// A value that is wrong in itself or beside another field.
    BadValue,
    /// A field or value that is understood but not built.
    NotImplemented,
}

impl Invalid {
    /// A wrong value of `param`.
    pub fn bad_value(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            kind: InvalidKind::BadValue,
            message: message.into(),
        }
    }

    /// `param` has the wrong value `value`; `expected` says what would be right ("a number between 0 and 2").
    pub fn expected(param: impl Into<String>, expected: &str, value: &Value) -> Self {
        let param = param.into();
        let message = format!("`{param}` must be {expected}, got {}", shorten(value));
        Self::bad_value(param, message)
    }

    /// `param` asks for something that is not built.
    pub fn not_implemented(param: impl Into<String>, what: &str) -> Self {
        let param = param.into();
        let message = format!("`{param}`: {what} is not supported by this server yet");
        Self {
            param: Some(param),
            kind: InvalidKind::NotImplemented,
            message,
        }
    }
}

/// Reads a request body.
///
/// # Errors
/// When it is not JSON; the message has line and column.
pub fn parse_json(body: &[u8]) -> Result<Value, Invalid> {
    serde_json::from_slice(body).map_err(|error| Invalid {
        param: None,
        kind: InvalidKind::BadValue,
        message: format!("the request body is not valid JSON: {error}"),
    })
}

/// The value as JSON, cut to what an error message can bear.
fn shorten(value: &Value) -> String {
    match value {
        Value::Array(items) if items.len() > 8 => {
            format!("a list of {} items", items.len())
        }
        Value::Object(map) if map.len() > 8 => format!("an object of {} keys", map.len()),
        value => cut(&value.to_string()),
    }
}

/// A caller's text, cut to what an error message can bear.
pub(crate) fn cut(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bad_json_names_the_position() {
        let error = parse_json(b"{\"a\": \n oops}").unwrap_err();
        assert!(error.message.contains("line 2 column"), "{error}");
        assert_eq!(error.kind, InvalidKind::BadValue);
    }

    #[test]
    fn long_values_are_cut_on_a_character() {
        let error = Invalid::expected("stop", "short", &json!("é".repeat(500)));
        assert!(error.message.chars().count() < 140, "{error}");
    }
}
