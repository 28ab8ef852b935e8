//! The configuration: what becomes of text around the block, and whether only JSON answers are touched.
//!
//! Whatever is not understood is refused, an unknown key too.

use alloc::{format, string::String};

use weir_plugin_sdk::config_reader::ConfigReader;

/// The configuration that none means, as JSON text.
pub const DEFAULT: &str = r#"{"before": "leave", "after": "keep", "json_only": false}"#;

/// What text in front of the first block means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// That the answer is left as it is.
    Leave,
    /// It stays, and the fence goes.
    Keep,
    /// It goes, and so does the fence.
    Drop,
}

/// A configuration that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What text in front of the first block means.
    pub before: Before,
    /// Whether text behind the block stays.
    pub keep_after: bool,
    /// Whether answers are left alone unless the request's response format is JSON.
    pub json_only: bool,
}

impl Config {
    /// Reads JSON text.
    ///
    /// # Errors
    /// What cannot be used, and where.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut config = Self {
            before: Before::Leave,
            keep_after: true,
            json_only: false,
        };
        let mut json = ConfigReader::new(text);
        json.object(|key, json| {
            match key {
                "before" => {
                    config.before = match json.string()?.as_str() {
                        "leave" => Before::Leave,
                        "keep" => Before::Keep,
                        "drop" => Before::Drop,
                        other => {
                            return Err(format!(
                                "`before` is `{other}`; it may be leave, keep or drop"
                            ));
                        }
                    }
                }
                "after" => {
                    config.keep_after = match json.string()?.as_str() {
                        "keep" => true,
                        "drop" => false,
                        other => {
                            return Err(format!("`after` is `{other}`; it may be keep or drop"));
                        }
                    }
                }
                "json_only" => config.json_only = json.boolean()?,
                _ => {
                    return Err(format!(
                        "unknown key `{key}`; known are before, after, json_only"
                    ));
                }
            }
            Ok(())
        })?;
        json.end()?;
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
            ("{}}", "byte 2: the end expected"),
            (r#"{"befor": "keep"}"#, "unknown key `befor`"),
            (r#"{"before": "remove"}"#, "leave, keep or drop"),
            (r#"{"after": "leave"}"#, "keep or drop"),
            (r#"{"after": true}"#, "a string expected"),
            (r#"{"json_only": "true"}"#, "true or false expected"),
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
