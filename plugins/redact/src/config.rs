//! The configuration: which patterns, by what they are replaced, and whether reasoning is read too.
//!
//! `{"patterns": [{"name": "ticket", "pattern": "[A-Z]{2,5}-\\d+", "replacement": "[ticket]"}], "reasoning": true}`.
//! A rule without `pattern` takes the built-in of its name; without `replacement` it becomes `[redacted]`; without
//! `patterns` the rules are all the built-ins. Whatever is not understood is refused, an unknown key too: a slip of the
//! pen must not switch a redaction off. The JSON reader knows strings, booleans, arrays and objects, which is all that
//! stands here; a general one would double the size of the component.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use crate::program::{Program, Rules};

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
        let mut json = Json::new(text);
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

fn read_rules(json: &mut Json<'_>) -> Result<Rules, String> {
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

fn read_rule(json: &mut Json<'_>, rules: &mut Rules) -> Result<(), String> {
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

/// A reader of the JSON that stands in this configuration, driven by what is expected next.
struct Json<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Json<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    fn fail<T>(&self, expected: &str) -> Result<T, String> {
        Err(format!(
            "configuration, byte {}: {expected} expected",
            self.position
        ))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip_white_space(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.position += rest.len() - trimmed.len();
    }

    /// Takes `token` if it comes next, white space skipped.
    fn take(&mut self, token: &str) -> bool {
        self.skip_white_space();
        let found = self.rest().starts_with(token);
        if found {
            self.position += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) {
            return Ok(());
        }
        self.fail(&format!("`{token}`"))
    }

    fn end(&mut self) -> Result<(), String> {
        self.skip_white_space();
        if self.rest().is_empty() {
            return Ok(());
        }
        self.fail("the end")
    }

    fn object(
        &mut self,
        mut field: impl FnMut(&str, &mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.expect("{")?;
        if self.take("}") {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(":")?;
            field(&key, self)?;
            if !self.take(",") {
                return self.expect("}");
            }
        }
    }

    fn array(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.expect("[")?;
        if self.take("]") {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.take(",") {
                return self.expect("]");
            }
        }
    }

    fn boolean(&mut self) -> Result<bool, String> {
        if self.take("true") {
            return Ok(true);
        }
        if self.take("false") {
            return Ok(false);
        }
        self.fail("true or false")
    }

    fn string(&mut self) -> Result<String, String> {
        self.skip_white_space();
        if !self.rest().starts_with('"') {
            return self.fail("a string");
        }
        self.position += 1;
        let mut value = String::new();
        loop {
            let Some(c) = self.next_char() else {
                return self.fail("`\"`");
            };
            match c {
                '"' => return Ok(value),
                '\\' => value.push(self.escape()?),
                c if c < ' ' => return self.fail("an escape in place of a control character"),
                c => value.push(c),
            }
        }
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn escape(&mut self) -> Result<char, String> {
        Ok(match self.next_char() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let unit = self.code_unit()?;
                let code = match unit {
                    0xd800..0xdc00 if self.rest().starts_with("\\u") => {
                        self.position += 2;
                        let low = self.code_unit()?;
                        if !(0xdc00..0xe000).contains(&low) {
                            return self.fail("the second half of a surrogate pair");
                        }
                        0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                    }
                    unit => unit,
                };
                match char::from_u32(code) {
                    Some(c) => c,
                    None => return self.fail("a whole surrogate pair"),
                }
            }
            _ => return self.fail("a known escape"),
        })
    }

    fn code_unit(&mut self) -> Result<u32, String> {
        let digits = self.rest().get(..4).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return self.fail("four hexadecimal digits");
        }
        self.position += 4;
        u32::from_str_radix(digits, 16).or_else(|_| self.fail("four hexadecimal digits"))
    }
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
