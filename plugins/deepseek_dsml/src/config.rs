//! The configuration: `version`, which of the three spellings of DSML a model was trained on. An unknown version or key
//! is refused.

use alloc::{format, string::String};

use weir_plugin_sdk::config_reader::ConfigReader;

/// What `{}` means.
pub const DEFAULT: &str = r#"{"version": "v3.2"}"#;

/// A spelling of DSML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Blocks are `function_calls`.
    V32,
    /// Blocks are `tool_calls`.
    V4,
    /// Blocks are `calls`; a space stands before every tag's name.
    V41,
}

/// Reads JSON text.
///
/// # Errors
/// What cannot be used.
pub fn read(text: &str) -> Result<Version, String> {
    let mut version = Version::V32;
    let mut reader = ConfigReader::new(text);
    reader.object(|key, reader| {
        if key != "version" {
            return Err(format!("unknown key `{key}`; known is version"));
        }
        let name = reader
            .string()
            .map_err(|message| format!("`{key}`: {message}"))?;
        version = match &*name {
            "v3.2" => Version::V32,
            "v4" => Version::V4,
            "v4.1" => Version::V41,
            _ => {
                return Err(format!(
                    "`{key}`: unknown `{name}`; known are v3.2, v4, v4.1"
                ));
            }
        };
        Ok(())
    })?;
    reader.end()?;
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named() {
        for (config, version) in [
            ("{}", Version::V32),
            (DEFAULT, Version::V32),
            (r#"{"version": "v4"}"#, Version::V4),
            (r#"{"version": "v4.1"}"#, Version::V41),
        ] {
            assert_eq!(read(config), Ok(version), "{config}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for config in [
            r#"{"version": "v5"}"#,
            r#"{"version": 4}"#,
            r#"{"versions": "v4"}"#,
            "[]",
        ] {
            assert!(read(config).is_err(), "{config}");
        }
    }
}
