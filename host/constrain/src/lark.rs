//! Vets a stranger's Lark grammar before llguidance reads it: its size, its nesting, how often it repeats, and the schemas
//! and patterns in it.
//!
//! It reads lexemes, not the grammar: what it cannot read it leaves to llguidance to refuse. Within a grammar other grammars
//! are not named, since they are the host's own.

use std::collections::HashMap;

use serde_json::Value;

use crate::{ConstrainError, grammar::with_fixed_space, limits, pattern, schema};

/// The grammar to enforce: the given one, in which schemas are what was vetted of them.
///
/// # Errors
/// When it is beyond a limit, or names what is not its own.
pub(crate) fn vetted(lark: &str) -> Result<String, ConstrainError> {
    let refuse = |problem: String| Err(ConstrainError::Grammar(problem));
    if lark.len() > limits::MAX_LARK_BYTES {
        let limit = limits::MAX_LARK_BYTES;
        return refuse(format!("it has {} bytes, the limit is {limit}", lark.len()));
    }
    let mut rules = Rules::default();
    let mut written = String::with_capacity(lark.len());
    let mut rest = lark;
    while !rest.is_empty() {
        let (lexeme, text) = next(rest);
        let mut behind = &rest[text.len()..];
        written.push_str(text);
        match (lexeme, text) {
            (Lexeme::Pattern, _) => {
                let body = &text[1..text.rfind('/').unwrap_or(1).max(1)];
                let expansion = pattern::expansion(body);
                let expansion =
                    expansion.map_err(|problem| ConstrainError::pattern(body, problem))?;
                rules.expansions.push(expansion);
                rules.read(lexeme, text);
            }
            (Lexeme::Word, "%json" | "%regex") => {
                let (value, after) = json_value(behind)?;
                match text {
                    "%json" => {
                        let schema = with_fixed_space(schema::vetted(value)?);
                        written.push_str(&schema.to_string());
                    }
                    _ => written.push_str(value),
                }
                rules.read(Lexeme::Pattern, text);
                behind = after;
            }
            (Lexeme::Word, "%import") if behind.trim_start().starts_with("common.") => {}
            (Lexeme::Word, "%import" | "%llguidance" | "%lark" | "%declare") => {
                return refuse(format!(
                    "{text} is not supported, but for %import common.NAME"
                ));
            }
            (Lexeme::Word, name) if name.starts_with('@') => {
                return refuse(format!("there is no grammar {name:?} to refer to"));
            }
            _ => rules.read(lexeme, text),
        }
        rest = behind;
    }
    rules.end();
    rules.check()?;
    Ok(written)
}

/// The body of a rule, as [`vetted`].
///
/// # Errors
/// As there.
pub(crate) fn vetted_body(body: &str) -> Result<String, ConstrainError> {
    const HEAD: &str = "start: ";
    let mut rule = vetted(&format!("{HEAD}{body}"))?;
    Ok(rule.split_off(HEAD.len()))
}

/// The JSON value that follows, and what stands behind it.
fn json_value(text: &str) -> Result<(&str, &str), ConstrainError> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(_)) => Ok(text.split_at(values.byte_offset())),
        Some(Err(error)) => Err(ConstrainError::Json(error.to_string())),
        None => Err(ConstrainError::Grammar("%json without a schema".to_owned())),
    }
}

/// What matters of a lexeme here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lexeme {
    /// Names, numbers, directives.
    Word,
    Pattern,
    /// White space within a line, comments, literals, control tokens.
    Skipped,
    /// One character of anything else; line breaks too.
    Sign,
}

/// The first lexeme and its text, which is never empty.
fn next(text: &str) -> (Lexeme, &str) {
    let up_to = |end: usize| &text[..end];
    let line = || text.find('\n').unwrap_or(text.len());
    let mut characters = text.chars();
    match (characters.next().unwrap_or(' '), characters.next()) {
        ('#', _) | ('/', Some('/')) => (Lexeme::Skipped, up_to(line().max(1))),
        ('"', _) => (Lexeme::Skipped, up_to(closed(text, '"').unwrap_or(1))),
        ('/', _) => match closed(text, '/') {
            Some(end) => (Lexeme::Pattern, up_to(end)),
            None => (Lexeme::Sign, up_to(1)),
        },
        ('<', _) => {
            let name = text.find(['>', ' ', '\n']);
            let end = name.filter(|end| text[*end..].starts_with('>'));
            (Lexeme::Skipped, up_to(end.map_or(1, |end| end + 1)))
        }
        (' ' | '\t' | '\r', _) => (Lexeme::Skipped, up_to(1)),
        (first, _) if first.is_ascii_alphanumeric() || "%@_".contains(first) => {
            let inner = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            let end = text[1..]
                .find(|c| !inner(c))
                .map_or(text.len(), |end| end + 1);
            (Lexeme::Word, up_to(end))
        }
        (first, _) => (Lexeme::Sign, up_to(first.len_utf8())),
    }
}

/// Where what starts with this sign ends, behind the same sign unescaped.
fn closed(text: &str, sign: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if character == sign && !escaped {
            return Some(at + 1);
        }
        escaped = character == '\\' && !escaped;
    }
    None
}

/// Terminals have names in capitals.
fn is_terminal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && !name.contains(|c: char| c.is_ascii_lowercase())
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

/// What is known of a grammar's rules: how often each repeats its smallest part, and which others it names.
#[derive(Default)]
struct Rules {
    rules: HashMap<String, Rule>,
    /// The rule being read.
    current: Option<String>,
    /// The first word of a line, which may turn out to be a rule's head.
    head: Option<String>,
    line_starts: bool,
    /// Of each open bracket how often its parts repeat at most; the first is the rule itself.
    open: Vec<u64>,
    /// How often the last part repeats what it is made of.
    last: u64,
    deepest: usize,
    /// Signs that ask for two patterns at once, and what each pattern comes to.
    conjunctions: usize,
    expansions: Vec<u64>,
    /// Behind a brace or a tilde numbers count: the largest so far.
    count: Option<u64>,
}

#[derive(Default)]
struct Rule {
    repeats: u64,
    names: Vec<String>,
}

impl Rules {
    fn read(&mut self, lexeme: Lexeme, text: &str) {
        let counts_on = [",", ".", " ", "\t"].contains(&text) || is_number(text);
        if self.count.is_some() && !counts_on {
            self.end_count();
        }
        match (lexeme, text) {
            (Lexeme::Word, word) => self.word(word),
            (Lexeme::Pattern, _) => self.end_part(),
            (Lexeme::Skipped, text) if text.starts_with(['"', '<']) => self.end_part(),
            (_, "\n") => {
                self.head = None;
                self.line_starts = true;
            }
            (_, ":") => self.begin_rule(),
            (_, "&") => self.conjunctions += 1,
            (_, "(" | "[") => {
                self.end_part();
                self.open.push(1);
                self.deepest = self.deepest.max(self.open.len());
            }
            (_, ")" | "]") => {
                self.end_part();
                self.last = if self.open.len() > 1 {
                    self.open.pop().unwrap_or(1)
                } else {
                    1
                };
            }
            (_, "{" | "~") => self.count = Some(1),
            _ => {}
        }
    }

    fn word(&mut self, word: &str) {
        if is_number(word) {
            if let Some(count) = &mut self.count {
                *count = word.parse().unwrap_or(u64::MAX).max(*count);
            }
            return;
        }
        self.end_part();
        if std::mem::take(&mut self.line_starts) || self.current.is_none() {
            self.head = Some(word.to_owned());
        }
        if let Some(rule) = &self.current {
            let rule = self.rules.entry(rule.clone()).or_default();
            rule.names.push(word.to_owned());
        }
    }

    fn begin_rule(&mut self) {
        if let Some(head) = self.head.take() {
            self.end_part();
            self.open = vec![1];
            self.current = Some(head);
        }
    }

    /// The last part is over: what it repeats counts for what it stands in.
    fn end_part(&mut self) {
        let repeats = std::mem::replace(&mut self.last, 1);
        if let Some(open) = self.open.last_mut() {
            *open = repeats.max(*open);
        }
        if let (Some(rule), [most]) = (&self.current, self.open.as_slice()) {
            let rule = self.rules.entry(rule.clone()).or_default();
            rule.repeats = rule.repeats.max(*most);
        }
    }

    fn end_count(&mut self) {
        let count = self.count.take().unwrap_or(1);
        self.last = self.last.max(1).saturating_mul(count);
    }

    fn end(&mut self) {
        self.end_count();
        self.end_part();
    }

    fn check(&self) -> Result<(), ConstrainError> {
        let limit = limits::MAX_LARK_DEPTH;
        if self.deepest > limit {
            return Err(ConstrainError::Grammar(format!(
                "its brackets nest deeper than {limit} levels"
            )));
        }
        // Which patterns meet is not looked for: the largest that could.
        let mut largest = self.expansions.clone();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        let meeting = largest.iter().take(self.conjunctions + 1);
        let product = meeting.fold(1_u64, |product, one| product.saturating_mul(*one));
        if self.conjunctions > 0 && product > limits::MAX_PATTERN_PRODUCT {
            let limit = limits::MAX_PATTERN_PRODUCT;
            return Err(ConstrainError::Grammar(format!(
                "patterns joined by & multiply to {product} characters, the limit is {limit}"
            )));
        }
        let mut known = HashMap::new();
        for name in self.rules.keys() {
            let (repeats, depth) = self.repeats(name, &mut known, 0);
            let limit = limits::MAX_LARK_EXPANSION;
            if repeats > limit {
                return Err(ConstrainError::Grammar(format!(
                    "the rule {name:?} repeats its parts up to {repeats} times through the rules it names, the limit is {limit}"
                )));
            }
            if depth > limits::MAX_LARK_CHAIN {
                let limit = limits::MAX_LARK_CHAIN;
                return Err(ConstrainError::Grammar(format!(
                    "the rule {name:?} names rules that name rules, more than {limit} in a row"
                )));
            }
        }
        Ok(())
    }

    /// How often a rule repeats its smallest part, and how long the longest chain of rules behind it is. One that stands in
    /// itself counts once.
    fn repeats(
        &self,
        name: &str,
        known: &mut HashMap<String, (u64, usize)>,
        depth: usize,
    ) -> (u64, usize) {
        if let Some(known) = known.get(name) {
            return *known;
        }
        let Some(rule) = self.rules.get(name) else {
            return (1, 0);
        };
        if depth > limits::MAX_LARK_CHAIN {
            return (1, depth);
        }
        known.insert(name.to_owned(), (1, 0));
        let behind: Vec<_> = rule
            .names
            .iter()
            .map(|name| self.repeats(name, known, depth + 1))
            .collect();
        let most = match is_terminal(name) {
            true => behind
                .iter()
                .fold(0, |sum: u64, (repeats, _)| sum.saturating_add(*repeats)),
            false => behind
                .iter()
                .map(|(repeats, _)| *repeats)
                .max()
                .unwrap_or(1),
        };
        let chain = behind.iter().map(|(_, chain)| *chain).max().unwrap_or(0);
        let own = (rule.repeats.max(1).saturating_mul(most.max(1)), chain + 1);
        known.insert(name.to_owned(), own);
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_grammars_pass_as_they_are() {
        for lark in [
            "start: \"a\" | b\nb: /[a-z]+\\/x/ // a comment {9999999}\n",
            "?start: expr\nexpr: NUMBER (\"+\" NUMBER)*\n%import common.NUMBER\n%ignore / +/\n",
            "start: x{1,20} y~3..9\nx: \"{99999999}\"\ny: <tool_call> <[3]>\n",
            "start: start2\nstart2: start |",
        ] {
            assert_eq!(vetted(lark).expect(lark), lark);
        }
    }

    #[test]
    fn schemas_in_it_are_vetted() {
        let vetted_schema = vetted("start: %json {\"type\": \"string\", \"title\": \"T\"} \"x\"");
        let written = vetted_schema.expect("a grammar");
        assert!(
            written.contains("\"whitespace_flexible\":false"),
            "{written}"
        );
        assert!(
            !written.contains("title") && written.ends_with(" \"x\""),
            "{written}"
        );
        let refused = vetted("start: %json {\"type\": \"string\", \"maxLenght\": 3}");
        assert!(refused.is_err_and(|error| error.to_string().contains("maxLenght")));
    }

    #[test]
    fn what_costs_too_much_is_refused() {
        let deep = format!("start: {}\"a\"{}", "(".repeat(60), ")".repeat(60));
        let laughs: String = (0..60)
            .map(|n| format!("A{n}: A{0} A{0}\n", n + 1))
            .collect();
        let chain: String = (0..3000).map(|n| format!("r{n}: r{}\n", n + 1)).collect();
        for (lark, problem) in [
            ("start: x{1000}\nx: y{1000}\ny: \"a\"".to_owned(), "repeats"),
            (
                "start: X\nX: Y{300}\nY: Z~1..300\nZ: \"a\"".to_owned(),
                "repeats",
            ),
            (laughs, "repeats"),
            ("start: /(x{99}){99}/ & /y{900}/".to_owned(), "joined by &"),
            ("start: /(x{1000}){1000}/".to_owned(), "written out"),
            (deep, "nest"),
            (chain, "in a row"),
            (" ".repeat(limits::MAX_LARK_BYTES + 1), "bytes"),
            ("start: @json_0".to_owned(), "no grammar"),
            (
                "%llguidance {\"no_forcing\": true}\nstart: \"a\"".to_owned(),
                "not supported",
            ),
        ] {
            let refused = vetted(&lark).expect_err(problem).to_string();
            assert!(refused.contains(problem), "{refused}");
        }
    }
}
