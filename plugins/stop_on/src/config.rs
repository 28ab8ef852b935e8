//! The configuration: what ends the generation, where it is looked for, and what follows.
//!
//! `{"patterns": [{"name": "key", "pattern": "sk-[A-Za-z0-9]{20,}"}], "phrases": ["internal use only"]}` and the keys of
//! [`Config`]. Whatever is not understood is refused, an unknown key too: a slip of the pen must not switch a guard off.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use weir_plugin_sdk::{
    config_reader::ConfigReader,
    patterns::{
        program::{Program, Rules},
        syntax::Letters,
    },
};

/// The configuration that none means, as JSON text.
pub const DEFAULT: &str = r#"{"patterns": [], "phrases": [], "ignore_case": false, "content": true, "reasoning": false, "calls": false, "message": "", "finish_reason": "content_filter"}"#;

/// A configuration that was understood.
#[derive(Debug)]
pub struct Config {
    /// The compiled patterns.
    pub rules: Arc<Rules>,
    /// What each is called in the log.
    pub labels: Vec<String>,
    /// Whether content is read.
    pub content: bool,
    /// Whether reasoning is read.
    pub reasoning: bool,
    /// Whether the names and arguments of calls are read.
    pub calls: bool,
    /// What follows in the place of the match.
    pub message: String,
    /// `content_filter` or `stop`: how the answer ends.
    pub finish_reason: String,
}

/// What ends the generation, before it is known whether case matters.
#[derive(Debug, Default)]
struct Wanted {
    /// Names and patterns.
    patterns: Vec<(Option<String>, String)>,
    phrases: Vec<String>,
}

impl Config {
    /// Reads JSON text.
    ///
    /// # Errors
    /// What cannot be used, and where.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut wanted = Wanted::default();
        let mut letters = Letters::Exact;
        let mut config = Self {
            rules: Arc::new(compile(&wanted, letters)?.0),
            labels: Vec::new(),
            content: true,
            reasoning: false,
            calls: false,
            message: String::new(),
            finish_reason: "content_filter".into(),
        };
        let mut json = ConfigReader::new(text);
        json.object(|key, json| {
            match key {
                "patterns" => wanted.patterns = read_patterns(json)?,
                "phrases" => wanted.phrases = read_phrases(json)?,
                "ignore_case" if json.boolean()? => letters = Letters::AnyCase,
                "ignore_case" => letters = Letters::Exact,
                "content" => config.content = json.boolean()?,
                "reasoning" => config.reasoning = json.boolean()?,
                "calls" => config.calls = json.boolean()?,
                "message" => config.message = json.string()?,
                "finish_reason" => config.finish_reason = read_finish_reason(json)?,
                _ => {
                    return Err(format!(
                        "unknown key `{key}`; known are patterns, phrases, ignore_case, content, reasoning, calls, \
                         message, finish_reason"
                    ));
                }
            }
            Ok(())
        })?;
        json.end()?;
        if !(config.content || config.reasoning || config.calls) {
            return Err("content, reasoning and calls are all false: nothing would be read".into());
        }
        let (rules, labels) = compile(&wanted, letters)?;
        config.rules = Arc::new(rules);
        config.labels = labels;
        Ok(config)
    }
}

fn compile(wanted: &Wanted, letters: Letters) -> Result<(Rules, Vec<String>), String> {
    let mut program = Program::of(letters);
    let mut labels = Vec::new();
    for (name, pattern) in &wanted.patterns {
        let label = match name {
            Some(name) => format!("pattern `{name}`"),
            None => format!("pattern {}", labels.len() + 1),
        };
        program
            .add(pattern)
            .map_err(|error| format!("{label}: {error}"))?;
        labels.push(label);
    }
    for phrase in &wanted.phrases {
        let label = format!("phrase `{phrase}`");
        program
            .add_phrase(phrase)
            .map_err(|error| format!("{label}: {error}"))?;
        labels.push(label);
    }
    let rules = Rules {
        program,
        replacements: Vec::new(),
    };
    Ok((rules, labels))
}

fn read_patterns(json: &mut ConfigReader<'_>) -> Result<Vec<(Option<String>, String)>, String> {
    let mut patterns = Vec::new();
    json.array(|json| {
        let (mut name, mut pattern) = (None, None);
        json.object(|key, json| {
            let field = match key {
                "name" => &mut name,
                "pattern" => &mut pattern,
                _ => {
                    return Err(format!(
                        "unknown key `{key}` in a pattern; known are name, pattern"
                    ));
                }
            };
            *field = Some(json.string()?);
            Ok(())
        })?;
        let number = patterns.len() + 1;
        let pattern = pattern.ok_or_else(|| format!("pattern {number}: no `pattern` given"))?;
        patterns.push((name, pattern));
        Ok(())
    })?;
    Ok(patterns)
}

fn read_phrases(json: &mut ConfigReader<'_>) -> Result<Vec<String>, String> {
    let mut phrases = Vec::new();
    json.array(|json| {
        phrases.push(json.string()?);
        Ok(())
    })?;
    Ok(phrases)
}

fn read_finish_reason(json: &mut ConfigReader<'_>) -> Result<String, String> {
    let reason = json.string()?;
    match reason.as_str() {
        "content_filter" | "stop" => Ok(reason.to_string()),
        _ => Err(format!(
            "`finish_reason` is `{reason}`; it may be content_filter or stop"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        for (config, reason) in [
            ("[]", "byte 0: `{` expected"),
            ("{} x", "byte 3: the end expected"),
            (r#"{"pattern": []}"#, "unknown key `pattern`; known are"),
            (r#"{"patterns": ["a"]}"#, "`{` expected"),
            (
                r#"{"patterns": [{"name": "x"}]}"#,
                "pattern 1: no `pattern` given",
            ),
            (
                r#"{"patterns": [{"pattern": "a", "flags": "i"}]}"#,
                "unknown key `flags`",
            ),
            (
                r#"{"patterns": [{"name": "x", "pattern": "a(b"}]}"#,
                "pattern `x`: character 2",
            ),
            (
                r#"{"patterns": [{"pattern": "a"}, {"pattern": "b*"}]}"#,
                "pattern 2: it matches the empty text",
            ),
            (
                r#"{"phrases": ["ok", ""]}"#,
                "phrase ``: it matches the empty",
            ),
            (r#"{"ignore_case": "yes"}"#, "true or false expected"),
            (r#"{"finish_reason": "length"}"#, "content_filter or stop"),
            (r#"{"content": false}"#, "nothing would be read"),
        ] {
            let error = Config::read(config).expect_err(config);
            assert!(error.contains(reason), "{config}: {error}");
        }
    }

    #[test]
    fn the_default_is_what_no_configuration_means() {
        let show = |text: &str| format!("{:?}", Config::read(text).expect(text));
        assert_eq!(show(DEFAULT), show("{}"));
    }

    #[test]
    fn case_counts_wherever_its_key_stands() {
        for text in [
            r#"{"ignore_case": true, "phrases": ["ab"]}"#,
            r#"{"phrases": ["ab"], "ignore_case": true}"#,
        ] {
            let rules = Config::read(text).expect(text).rules;
            let mut search = weir_plugin_sdk::patterns::search::Search::until_match(rules);
            search.push("xAb", &mut String::new());
            assert_eq!(search.ended_at(), Some(0), "{text}");
        }
    }
}
