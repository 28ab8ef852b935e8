//! The configuration: the markers around a list of calls.
//!
//! `start` and `end` stand around a list; both are optional in what is read, and written where calls are forced. `stop`
//! are the tokens that end a message. Whatever is not understood is refused, an unknown key too.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use weir_plugin_sdk::{config_reader::ConfigReader, marker_scanner::check_markers};

/// What `{}` means.
pub const DEFAULT: &str = r#"{"start": "", "end": "", "stop": []}"#;

/// The longest marker in bytes; what may still become a marker is held back.
const LONGEST: usize = 256;

/// The markers of a family; empty where it has none.
#[derive(Debug, Default)]
pub struct Config {
    /// Stands before a list.
    pub start: String,
    /// Stands after a list.
    pub end: String,
    /// End a message.
    pub stop: Vec<String>,
}

impl Config {
    /// Reads JSON text.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        let mut reader = ConfigReader::new(text);
        reader.object(|key, reader| {
            let label = |message| format!("`{key}`: {message}");
            match key {
                "start" => config.start = reader.string().map_err(label)?,
                "end" => config.end = reader.string().map_err(label)?,
                "stop" => {
                    let stop = &mut config.stop;
                    let read = reader.array(|reader| {
                        stop.push(reader.string()?);
                        Ok(())
                    });
                    read.map_err(label)?;
                }
                _ => return Err(format!("unknown key `{key}`; known are start, end, stop")),
            }
            Ok(())
        })?;
        reader.end()?;
        if config.stop.iter().any(String::is_empty) {
            return Err("`stop`: a marker is empty".into());
        }
        if config.markers().iter().any(|marker| marker.len() > LONGEST) {
            return Err(format!("a marker is longer than {LONGEST} bytes"));
        }
        check_markers(&config.markers())?;
        Ok(config)
    }

    /// Every marker that there is.
    pub fn markers(&self) -> Vec<Cow<'static, str>> {
        let markers = [&self.start, &self.end].into_iter().chain(&self.stop);
        let written = markers.filter(|marker| !marker.is_empty());
        written.map(|marker| Cow::Owned(marker.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_documents() {
        assert!(Config::read("{}").expect("usable").markers().is_empty());
        let default = Config::read(DEFAULT).expect("usable");
        assert!(default.markers().is_empty());
        let config = r#"{"start": "<s>", "end": "</s>", "stop": ["<eot>"]}"#;
        let config = Config::read(config).expect("usable");
        assert_eq!(config.markers(), ["<s>", "</s>", "<eot>"]);
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        for (text, reason) in [
            (r#"{"begin": "<s>"}"#, "unknown key `begin`"),
            (r#"{"start": 1}"#, "`start`: configuration, byte 10"),
            (r#"{"stop": "<eot>"}"#, "`stop`: configuration"),
            (r#"{"stop": [""]}"#, "`stop`: a marker is empty"),
            (r#"{"start": "<s>", "end": "<s>"}"#, "begins another one"),
            (
                &format!(r#"{{"end": "{}"}}"#, "x".repeat(257)),
                "longer than 256",
            ),
        ] {
            let error = Config::read(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
