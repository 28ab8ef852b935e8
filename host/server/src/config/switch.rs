//! A value that is on or off, as people write it: `on`, `off`, or a boolean where the format has one.

use serde::{Deserialize, Serialize};

/// Whether something is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "&'static str")]
pub struct Switch(pub bool);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bool(bool),
    Text(String),
}

impl From<Switch> for &'static str {
    fn from(switch: Switch) -> Self {
        if switch.0 { "on" } else { "off" }
    }
}

impl TryFrom<Written> for Switch {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Bool(on) => Ok(Self(on)),
            Written::Text(text) => match text.to_ascii_lowercase().as_str() {
                "on" => Ok(Self(true)),
                "off" => Ok(Self(false)),
                _ => Err(format!("`{text}` is neither on nor off")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_booleans_are_read_and_words_written() {
        for (json, expected) in [("\"on\"", true), ("\"OFF\"", false), ("true", true)] {
            let switch: Switch = serde_json::from_str(json).expect("reads");
            assert_eq!(switch, Switch(expected));
            let written = serde_json::to_string(&switch).expect("writes");
            assert_eq!(written, if expected { "\"on\"" } else { "\"off\"" });
        }
        let error = serde_json::from_str::<Switch>("\"maybe\"").expect_err("fails");
        assert!(error.to_string().contains("`maybe` is neither on nor off"));
    }
}
