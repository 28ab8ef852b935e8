//! The configuration: which patterns, by what they are replaced, and whether reasoning is read too.
//!
//! `{"patterns": [{"name": "ticket", "pattern": "[A-Z]{2,5}-\\d+", "replacement": "[ticket]"}], "reasoning": true}`.
//! A rule without `pattern` takes the built-in of its name; without `replacement` it becomes `[redacted]`; without
//! `patterns` the rules are all the built-ins. Whatever is not understood is refused, an unknown key too: a slip of the
//! pen must not switch a redaction off.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use weir_plugin_sdk::{
    config_reader::ConfigReader,
    json_text::json_string,
    patterns::program::{Program, Rules},
};

const DEFAULT_REPLACEMENT: &str = "[redacted]";

/// Names that stand for a pattern.
pub const BUILT_IN: [(&str, &str); 3] = [
    (
        "email",
        r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(\.[A-Za-z0-9\-]{1,63}){1,6}",
    ),
    ("card_number", r"\d{4}([ \-]?\d{4}){2}[ \-]?\d{1,7}"),
    ("ipv4", r"\d{1,3}(\.\d{1,3}){3}"),
];

/// A configuration that was understood.
#[derive(Debug)]
pub struct Config {
    /// The compiled patterns with their replacements.
    pub rules: Rules,
    /// Whether reasoning is redacted too.
    pub reasoning: bool,
}

impl Config {
    /// Reads JSON text.
    ///
    /// # Errors
    /// What cannot be used, and where.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut json = ConfigReader::new(text);
        let mut rules = None;
        let mut reasoning = false;
        json.object(|key, json| {
            match key {
                "patterns" => rules = Some(read_rules(json)?),
                "reasoning" => reasoning = json.boolean()?,
                _ => {
                    return Err(format!(
                        "unknown key `{key}`; known are patterns, reasoning"
                    ));
                }
            }
            Ok(())
        })?;
        json.end()?;
        let rules = match rules {
            Some(rules) => rules,
            None => built_in_rules()?,
        };
        Ok(Self { rules, reasoning })
    }
}

/// The configuration of which every user who gives none makes use, as JSON text.
pub fn default_config() -> String {
    let replacement = json_string(DEFAULT_REPLACEMENT);
    let rules: Vec<String> = BUILT_IN
        .iter()
        .map(|(name, pattern)| {
            let (name, pattern) = (json_string(name), json_string(pattern));
            format!(r#"{{"name": {name}, "pattern": {pattern}, "replacement": {replacement}}}"#)
        })
        .collect();
    let rules = rules.join(", ");
    format!(r#"{{"patterns": [{rules}], "reasoning": false}}"#)
}

fn built_in_rules() -> Result<Rules, String> {
    let mut program = Program::new();
    for (name, pattern) in BUILT_IN {
        program
            .add(pattern)
            .map_err(|error| format!("built-in `{name}`: {error}"))?;
    }
    let replacements = vec![DEFAULT_REPLACEMENT.to_string(); BUILT_IN.len()];
    Ok(Rules {
        program,
        replacements,
    })
}

fn read_rules(json: &mut ConfigReader<'_>) -> Result<Rules, String> {
    let mut rules = Rules {
        program: Program::new(),
        replacements: Vec::new(),
    };
    json.array(|json| read_rule(json, &mut rules))?;
    if rules.replacements.is_empty() {
        return Err("`patterns` is empty: nothing would be redacted".into());
    }
    Ok(rules)
}

fn read_rule(json: &mut ConfigReader<'_>, rules: &mut Rules) -> Result<(), String> {
    let (mut name, mut pattern, mut replacement) = (None, None, None);
    json.object(|key, json| {
        let field = match key {
            "name" => &mut name,
            "pattern" => &mut pattern,
            "replacement" => &mut replacement,
            _ => {
                return Err(format!(
                    "unknown key `{key}` in a pattern; known are name, pattern, replacement"
                ));
            }
        };
        *field = Some(json.string()?);
        Ok(())
    })?;
    let number = rules.replacements.len() + 1;
    let label = name.clone().map_or_else(
        || format!("pattern {number}"),
        |name| format!("pattern `{name}`"),
    );
    let pattern = match (pattern, name) {
        (Some(pattern), _) => pattern,
        (None, Some(name)) => built_in(&name)
            .ok_or_else(|| format!("{label}: no `pattern` given, and no built-in has this name"))?
            .to_string(),
        (None, None) => return Err(format!("{label}: neither `pattern` nor `name` given")),
    };
    rules
        .program
        .add(&pattern)
        .map_err(|error| format!("{label}: {error}"))?;
    rules
        .replacements
        .push(replacement.unwrap_or_else(|| DEFAULT_REPLACEMENT.into()));
    Ok(())
}

fn built_in(name: &str) -> Option<&'static str> {
    let (_, pattern) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name)?;
    Some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        for (config, reason) in [
            ("", "byte 0: `{` expected"),
            ("[]", "byte 0: `{` expected"),
            ("{} x", "byte 3: the end expected"),
            (r#"{"patterns": []}"#, "nothing would be redacted"),
            (r#"{"paterns": []}"#, "unknown key `paterns`"),
            (r#"{"reasoning": 1}"#, "true or false expected"),
            (r#"{"patterns": [{}]}"#, "pattern 1: neither"),
            (
                r#"{"patterns": [{"name": "x"}]}"#,
                "pattern `x`: no `pattern` given",
            ),
            (
                r#"{"patterns": [{"name": "x", "pattern": "a(b"}]}"#,
                "pattern `x`: character 2",
            ),
            (
                r#"{"patterns": [{"pattern": "a", "flags": "i"}]}"#,
                "unknown key `flags`",
            ),
            (r#"{"patterns": [{"pattern": "\ud800"}]}"#, "surrogate pair"),
            (r#"{"patterns": [{"pattern": "a"}"#, "`]` expected"),
        ] {
            let error = Config::read(config).expect_err(config);
            assert!(error.contains(reason), "{config}: {error}");
        }
    }

    #[test]
    fn the_default_is_what_no_configuration_means() {
        let given = Config::read(&default_config()).expect("a good configuration");
        let none = Config::read("{}").expect("the built-ins");
        assert_eq!(given.rules.replacements, none.rules.replacements);
        assert_eq!(given.reasoning, none.reasoning);
        for (_, pattern) in BUILT_IN {
            assert!(default_config().contains(&json_string(pattern)));
        }
    }

    #[test]
    fn names_stand_for_patterns_and_strings_know_escapes() {
        let config = r#" { "reasoning" : true , "patterns" : [ {"name":"email"},
            {"pattern":"\ud83d\ude00\u0041\\d","replacement":"\"\n"} ] } "#;
        let config = Config::read(config).expect("a good configuration");
        assert!(config.reasoning);
        assert_eq!(config.rules.replacements, ["[redacted]", "\"\n"]);
        assert_eq!(
            Config::read("{}")
                .expect("the built-ins")
                .rules
                .replacements
                .len(),
            BUILT_IN.len()
        );
    }
}
