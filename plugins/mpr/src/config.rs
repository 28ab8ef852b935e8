//! The configuration: how many candidates there are, and what becomes of them.
//!
//! Whatever is not understood is refused, an unknown key too.

use alloc::{format, string::String};

use weir_plugin_request_sdk::config_numbers;
use weir_plugin_sdk::config_reader::ConfigReader;

/// The configuration that none means, as JSON text.
pub const DEFAULT: &str = r#"{"candidates": 1, "select": "synthesis", "outline": true, "outline_tokens": 64, "candidate_tokens": 512, "percent_temperature": 80, "show": true}"#;

/// The most candidates of a request.
pub const MOST_CANDIDATES: u32 = 16;

/// Tokens that may be asked for in one piece.
const MOST_TOKENS: u32 = 1 << 20;

/// What becomes of the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// The model makes one answer of them.
    Synthesis,
    /// The one whose tokens are the likeliest is the answer.
    MeanLogprob,
    /// The one that most of the others say too is the answer.
    Majority,
}

/// A configuration that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Candidates of requests that say nothing; 1 turns it off.
    pub candidates: u32,
    /// What becomes of them.
    pub select: Select,
    /// Whether an outline is made for the answer that is made of all.
    pub outline: bool,
    /// Tokens of the outline at most.
    pub outline_tokens: u32,
    /// Tokens of a candidate at most.
    pub candidate_tokens: u32,
    /// The temperature that candidates are sampled with, in hundredths.
    pub percent_temperature: u32,
    /// Whether outline and candidates are shown as reasoning.
    pub show: bool,
}

impl Config {
    /// Reads JSON text.
    ///
    /// # Errors
    /// What cannot be used, and where.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut config = Self {
            candidates: 1,
            select: Select::Synthesis,
            outline: true,
            outline_tokens: 64,
            candidate_tokens: 512,
            percent_temperature: 80,
            show: true,
        };
        let text = config_numbers::quoted(text);
        let mut json = ConfigReader::new(&text);
        json.object(|key, json| {
            match key {
                "candidates" => {
                    config.candidates = config_numbers::read(json, key, 1, MOST_CANDIDATES)?;
                }
                "select" => config.select = select(&json.string()?)?,
                "outline" => config.outline = json.boolean()?,
                "outline_tokens" => {
                    config.outline_tokens = config_numbers::read(json, key, 1, MOST_TOKENS)?;
                }
                "candidate_tokens" => {
                    config.candidate_tokens = config_numbers::read(json, key, 1, MOST_TOKENS)?;
                }
                "percent_temperature" => {
                    config.percent_temperature = config_numbers::read(json, key, 0, 200)?;
                }
                "show" => config.show = json.boolean()?,
                _ => {
                    return Err(format!(
                        "unknown key `{key}`; known are candidates, select, outline, outline_tokens, candidate_tokens, percent_temperature, show"
                    ));
                }
            }
            Ok(())
        })?;
        json.end()?;
        Ok(config)
    }
}

fn select(word: &str) -> Result<Select, String> {
    Ok(match word {
        "synthesis" => Select::Synthesis,
        "mean_logprob" => Select::MeanLogprob,
        "majority" => Select::Majority,
        other => {
            return Err(format!(
                "`select` is `{other}`; it may be synthesis, mean_logprob or majority"
            ));
        }
    })
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
            (r#"{"candidate": 3}"#, "unknown key `candidate`"),
            (r#"{"candidates": 17}"#, "1 to 16"),
            (r#"{"candidates": 0}"#, "1 to 16"),
            (
                r#"{"select": "best"}"#,
                "synthesis, mean_logprob or majority",
            ),
            (r#"{"show": 1}"#, "true or false expected"),
        ] {
            let error = Config::read(config).expect_err(config);
            assert!(error.contains(reason), "{config}: {error}");
        }
    }
}
