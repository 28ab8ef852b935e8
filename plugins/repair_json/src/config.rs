//! The configuration: what is repaired, what becomes of text around the JSON, and whether cut answers are closed.
//!
//! Whatever is not understood is refused, an unknown key too.

use alloc::{format, string::String};

use weir_plugin_sdk::config_reader::ConfigReader;

/// The configuration that none means, as JSON text.
pub const DEFAULT: &str =
    r#"{"arguments": true, "content": true, "around": "drop", "close_cut": false}"#;

/// A configuration that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Whether the arguments of calls are repaired.
    pub arguments: bool,
    /// Whether content is repaired where the request asks for JSON.
    pub content: bool,
    /// Whether text and fences around the JSON stay.
    pub keep_around: bool,
    /// Whether JSON is closed too where the answer was cut, by `max_tokens` say.
    pub close_cut: bool,
}

impl Config {
    /// Reads JSON text.
    ///
    /// # Errors
    /// What cannot be used, and where.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut config = Self {
            arguments: true,
            content: true,
            keep_around: false,
            close_cut: false,
        };
        let mut json = ConfigReader::new(text);
        json.object(|key, json| {
            match key {
                "arguments" => config.arguments = json.boolean()?,
                "content" => config.content = json.boolean()?,
                "around" => {
                    config.keep_around = match json.string()?.as_str() {
                        "keep" => true,
                        "drop" => false,
                        other => {
                            return Err(format!("`around` is `{other}`; it may be drop or keep"));
                        }
                    }
                }
                "close_cut" => config.close_cut = json.boolean()?,
                _ => {
                    return Err(format!(
                        "unknown key `{key}`; known are arguments, content, around, close_cut"
                    ));
                }
            }
            Ok(())
        })?;
        json.end()?;
        if !config.arguments && !config.content {
            return Err("arguments and content are both false: nothing would be repaired".into());
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        for (config, reason) in [
            ("", "byte 0: `{` expected"),
            ("{} {}", "byte 3: the end expected"),
            (r#"{"args": true}"#, "unknown key `args`"),
            (r#"{"arguments": "yes"}"#, "true or false expected"),
            (r#"{"around": "strip"}"#, "drop or keep"),
            (
                r#"{"arguments": false, "content": false}"#,
                "nothing would be repaired",
            ),
        ] {
            let error = Config::read(config).expect_err(config);
            assert!(error.contains(reason), "{config}: {error}");
        }
    }

    #[test]
    fn the_default_is_what_no_configuration_means() {
        assert_eq!(Config::read(DEFAULT), Config::read("{}"));
    }
}
