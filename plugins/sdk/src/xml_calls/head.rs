//! What stands in the start tag of a call or a parameter: its name, and what an attribute says of the value's type.

use alloc::{borrow::ToOwned, string::String};

use crate::schema_types::Types;

/// The start of a call or a parameter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: String,
    /// The value's types, if the tag itself says them.
    pub(super) types: Option<Types>,
}

impl Head {
    /// Reads what stands between the tag's text and its `>`; a quoted name may have attributes after it. `attribute`
    /// says whether the value is a string; there is none when it is empty.
    pub(super) fn read(written: &str, attribute: &str) -> Self {
        let written = written.strip_suffix('>').unwrap_or(written).trim();
        let quoted = written.strip_prefix(['"', '\'']);
        let (name, attributes) = match quoted.and_then(|rest| rest.split_once(&written[..1])) {
            Some((name, attributes)) => (name, attributes),
            None => (quoted.unwrap_or(written), ""),
        };
        let value = (!attribute.is_empty())
            .then(|| attributes.split_once(attribute))
            .flatten()
            .map(|(_, value)| value.trim_start_matches([' ', '=', '"', '\'']));
        let types = match value {
            Some(value) if value.starts_with("true") => Some(Types::STRING),
            Some(value) if value.starts_with("false") => Some(Types::ANY),
            _ => None,
        };
        Self {
            name: name.trim().to_owned(),
            types,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_or_not() {
        for (written, name, types) in [
            ("get_weather>", "get_weather", None),
            ("two words >", "two words", None),
            ("\"city\">", "city", None),
            ("'city' >", "city", None),
            ("\"city>", "city", None),
            ("\"city\" string=\"true\">", "city", Some(Types::STRING)),
            ("\"string\" string='false'>", "string", Some(Types::ANY)),
            ("\"city\" string=\"maybe\">", "city", None),
            (">", "", None),
            ("\"\">", "", None),
        ] {
            let head = Head::read(written, "string");
            let name = name.to_owned();
            assert_eq!(head, Head { name, types }, "{written}");
        }
    }
}
