//! The configuration: `version`, which of the three spellings of DSML a model was trained on. An unknown version or key
//! is refused.

use alloc::{format, string::String};

use weir_plugin_sdk::config_reader::ConfigReader;

/// What `{}` means.
pub const DEFAULT: &str = r#"{"version": "v3.2"}"#;

/// The tags that a version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Around all calls.
    pub block: [&'static str; 2],
    /// Around a call; the first one up to its name.
    pub call: [&'static str; 2],
    /// Around a parameter's value; the first one up to its name.
    pub parameter: [&'static str; 2],
}

const V32: Version = Version {
    block: ["<｜DSML｜function_calls>", "</｜DSML｜function_calls>"],
    call: ["<｜DSML｜invoke name=", "</｜DSML｜invoke>"],
    parameter: ["<｜DSML｜parameter name=", "</｜DSML｜parameter>"],
};
const V4: Version = Version {
    block: ["<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>"],
    ..V32
};
const V41: Version = Version {
    block: ["<｜DSML｜ calls>", "</｜DSML｜ calls>"],
    call: ["<｜DSML｜ invoke name=", "</｜DSML｜ invoke>"],
    parameter: ["<｜DSML｜ parameter name=", "</｜DSML｜ parameter>"],
};

/// Reads JSON text.
///
/// # Errors
/// What cannot be used.
pub fn read(text: &str) -> Result<Version, String> {
    let mut version = V32;
    let mut reader = ConfigReader::new(text);
    reader.object(|key, reader| {
        if key != "version" {
            return Err(format!("unknown key `{key}`; known is version"));
        }
        let name = reader.string()?;
        version = match &*name {
            "v3.2" => V32,
            "v4" => V4,
            "v4.1" => V41,
            _ => {
                return Err(format!(
                    "`version`: unknown `{name}`; known are v3.2, v4, v4.1"
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
    fn a_version_names_its_tags() {
        assert_eq!(read("{}"), Ok(V32));
        assert_eq!(read(DEFAULT), Ok(V32));
        assert_eq!(read(r#"{"version": "v4"}"#), Ok(V4));
        assert_eq!(read(r#"{"version": "v4.1"}"#), Ok(V41));
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
