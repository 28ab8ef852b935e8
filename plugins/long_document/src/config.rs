//! The configuration: how a document is cut, and how much of the context it may take.
//!
//! Whatever is not understood is refused, an unknown key too.

use alloc::{format, string::String};

use weir_plugin_request_sdk::config_numbers;
use weir_plugin_sdk::config_reader::ConfigReader;

/// The configuration that none means, as JSON text.
pub const DEFAULT: &str =
    r#"{"chunk_words": 512, "overlap_words": 50, "retrieved": 3, "percent_of_context": 80}"#;

/// A configuration that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Words of a chunk at most.
    pub chunk_words: usize,
    /// Words at its beginning that the one before has too.
    pub overlap_words: usize,
    /// Chunks that are kept because of the question.
    pub retrieved: usize,
    /// How much of the context the prompt may take, in hundredths.
    pub percent_of_context: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chunk_words: 512,
            overlap_words: 50,
            retrieved: 3,
            percent_of_context: 80,
        }
    }
}

impl Config {
    /// Reads JSON text.
    ///
    /// # Errors
    /// What cannot be used, and where.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        let mut overlaps = false;
        let text = config_numbers::quoted(text);
        let mut json = ConfigReader::new(&text);
        json.object(|key, json| {
            let mut number = |least, most| config_numbers::read(json, key, least, most);
            match key {
                "chunk_words" => config.chunk_words = number(64, 8192)? as usize,
                "overlap_words" => {
                    config.overlap_words = number(0, 4096)? as usize;
                    overlaps = true;
                }
                "retrieved" => config.retrieved = number(1, 100)? as usize,
                "percent_of_context" => config.percent_of_context = number(10, 95)?,
                _ => {
                    return Err(format!(
                        "unknown key `{key}`; known are chunk_words, overlap_words, retrieved, percent_of_context"
                    ));
                }
            }
            Ok(())
        })?;
        json.end()?;
        if !overlaps {
            config.overlap_words = config.overlap_words.min(config.chunk_words / 2);
        }
        if config.overlap_words * 2 > config.chunk_words {
            return Err(format!(
                "`overlap_words` is {}; it may be half of `chunk_words` at most",
                config.overlap_words
            ));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_no_configuration_means() {
        assert_eq!(Config::read(DEFAULT), Config::read("{}"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (config, reason) in [
            (r#"{"chunks": 3}"#, "unknown key `chunks`"),
            (r#"{"chunk_words": 63}"#, "64 to 8192"),
            (
                r#"{"chunk_words": 80, "overlap_words": 41}"#,
                "half of `chunk_words`",
            ),
            (r#"{"percent_of_context": 100}"#, "10 to 95"),
            (r#"{"retrieved": true}"#, "a string expected"),
        ] {
            let error = Config::read(config).expect_err(config);
            assert!(error.contains(reason), "{config}: {error}");
        }
    }
}
