//! From a tree of segments to llguidance's grammars: one Lark grammar for the format and one JSON grammar for each schema,
//! which the first refers to by name, so that their rules cannot collide.
//!
//! Invariant: recursion is bounded, because a [`Segment`] that came from a plugin is no deeper than its limit.

use std::{cmp::Reverse, fmt::Write as _};

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use serde_json::{Value, json};
use weir_output::Segment;
use weir_prompt::{TokenKind, Vocabulary};

use crate::{Answer, ConstrainError, lark, pattern, schema};

/// The grammars of a tree; `answer` stands where the tree says so. What strangers wrote in it is vetted.
///
/// # Errors
/// When a schema, a pattern or a grammar in it cannot be enforced.
pub fn llguidance_grammar(
    segment: &Segment,
    answer: &Answer,
    vocabulary: &Vocabulary,
) -> Result<TopLevelGrammar, ConstrainError> {
    let mut writer = LarkWriter {
        vocabulary,
        answer: Some(answer),
        definitions: String::new(),
        terminals: 0,
        schemas: Vec::new(),
    };
    let start = writer.expression(segment)?;
    let lark = format!("start: {start}\n{}", writer.definitions);
    let mut grammars = vec![GrammarWithLexer::from_lark(lark)];
    grammars.extend(writer.schemas);
    Ok(TopLevelGrammar {
        grammars,
        max_tokens: None,
    })
}

struct LarkWriter<'a> {
    vocabulary: &'a Vocabulary,
    /// None within the answer itself: a place that it leaves to an answer is the model's.
    answer: Option<&'a Answer>,
    /// Terminals and rules beside `start`, a line each.
    definitions: String,
    terminals: usize,
    schemas: Vec<GrammarWithLexer>,
}

impl LarkWriter<'_> {
    /// A segment as it stands on the right side of a rule.
    fn expression(&mut self, segment: &Segment) -> Result<String, ConstrainError> {
        Ok(match segment {
            Segment::Marker(marker) => self.marker(marker),
            Segment::Literal(text) => literal(text),
            Segment::Json(schema) => self.json(schema)?,
            Segment::Pattern(pattern) => {
                pattern::check(pattern)
                    .map_err(|problem| ConstrainError::pattern(pattern, problem))?;
                self.terminal(&regex(&format!("(?:{pattern})")))
            }
            Segment::Until(marker) => self.until(marker),
            Segment::TextWithout(markers) => self.text_without(markers),
            Segment::Answer => self.answer()?,
            Segment::Sequence(parts) => self.sequence(parts)?,
            Segment::Alternative(parts) => match many_literals(parts) {
                Some(literals) => self.terminal(&literals),
                None => {
                    let parts = parts.iter().map(|part| self.expression(part));
                    joined(&parts.collect::<Result<Vec<_>, _>>()?, " | ")
                }
            },
            Segment::Repeat {
                segment,
                separator,
                min,
                max,
            } => {
                let one = self.expression(segment)?;
                match separator {
                    Some(separator) => {
                        let separator = self.expression(separator)?;
                        separated(&one, &separator, *min, *max)
                    }
                    None if *max == Some(0) => literal(""),
                    None => format!("{one}{}", times(*min, *max)),
                }
            }
            Segment::Lark(rule) => format!("({})", lark::vetted_body(rule)?),
        })
    }

    fn answer(&mut self) -> Result<String, ConstrainError> {
        let Some(answer) = self.answer.take() else {
            return Ok(self.text_without(&[]));
        };
        let written = match answer {
            Answer::Free => Ok(self.text_without(&[])),
            Answer::Segment(segment) => self.expression(segment),
            Answer::Lark(lark) => {
                let name = format!("answer_{}", self.schemas.len());
                self.schemas.push(GrammarWithLexer {
                    name: Some(name.clone()),
                    lark_grammar: Some(lark::vetted(lark)?),
                    json_schema: None,
                });
                Ok(format!("@{name}"))
            }
        };
        self.answer = Some(answer);
        written
    }

    /// Parts one after the other. Text in front of a marker goes on to the first of that marker.
    fn sequence(&mut self, parts: &[Segment]) -> Result<String, ConstrainError> {
        let mut row = Vec::with_capacity(parts.len());
        let mut rest = parts;
        while let [part, behind @ ..] = rest {
            let (written, behind) = match (part, behind) {
                (Segment::Pattern(pattern), [Segment::Marker(marker), behind @ ..])
                    if !marker.is_empty() =>
                {
                    (self.pattern_until(pattern, &[], marker)?, behind)
                }
                (Segment::TextWithout(others), [Segment::Marker(marker), behind @ ..])
                    if !marker.is_empty() =>
                {
                    (self.pattern_until("(?s:.*)", others, marker)?, behind)
                }
                _ => (self.expression(part)?, behind),
            };
            row.push(written);
            rest = behind;
        }
        Ok(joined(&row, " "))
    }

    /// The first control token in this marker, the longest of those that start there, with what stands before and after.
    fn split<'m>(&self, marker: &'m str) -> Option<(&'m str, usize, &'m str)> {
        let controls = (0..self.vocabulary.len()).filter_map(|id| {
            let index = u32::try_from(id).ok()?;
            let text = self.vocabulary.bytes(index)?;
            let control = self.vocabulary.kind(index) != TokenKind::Normal;
            let text = std::str::from_utf8(text).ok()?;
            (control && !text.is_empty()).then_some((id, text))
        });
        let found = controls.filter_map(|(id, text)| Some((marker.find(text)?, id, text)));
        let (at, id, text) = found.min_by_key(|(at, _, text)| (*at, Reverse(text.len())))?;
        Some((&marker[..at], id, &marker[at + text.len()..]))
    }

    /// A marker that is a token, or text, or text around a token.
    fn marker(&self, marker: &str) -> String {
        let mut parts = Vec::new();
        let mut rest = marker;
        while let Some((before, id, after)) = self.split(rest) {
            if !before.is_empty() {
                parts.push(literal(before));
            }
            parts.push(format!("<[{id}]>"));
            rest = after;
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(literal(rest));
        }
        match parts.as_slice() {
            [one] => one.clone(),
            parts => format!("({})", parts.join(" ")),
        }
    }

    /// A terminal of its own for this body.
    fn terminal(&mut self, body: &str) -> String {
        self.terminals += 1;
        let name = format!("T{}", self.terminals);
        // Writing to a string cannot fail.
        let _ = writeln!(self.definitions, "{name}: {body}");
        name
    }

    fn until(&mut self, marker: &str) -> String {
        if let Some((before, ..)) = self.split(marker) {
            // The token ends the text, which has to end as the marker starts.
            let text = if before.is_empty() {
                self.text_without(&[marker.to_owned()])
            } else {
                let body = regex(&format!("(?s:.*){}", escaped(before)));
                self.terminal(&format!("{body} & ~{}", holds(&[marker.to_owned()])))
            };
            return format!("({text} {})", self.marker(&marker[before.len()..]));
        }
        self.lazy(&regex(&format!("(?s:.*){}", escaped(marker))))
    }

    /// A rule of its own for this body, which ends as soon as it can.
    fn lazy(&mut self, body: &str) -> String {
        self.terminals += 1;
        let name = format!("until_{}", self.terminals);
        let _ = writeln!(self.definitions, "{name}[lazy]: {body}");
        name
    }

    /// Text that matches a pattern and in which neither the marker nor one of the others stands, up to and with that marker. One
    /// lexeme where the marker is text: a text by itself would take the marker's beginning for its own.
    fn pattern_until(
        &mut self,
        pattern: &str,
        others: &[String],
        marker: &str,
    ) -> Result<String, ConstrainError> {
        pattern::check(pattern).map_err(|problem| ConstrainError::pattern(pattern, problem))?;
        let mut without = others.to_vec();
        without.retain(|other| other != marker);
        let text = regex(&format!("(?:{pattern})"));
        if let Some((before, ..)) = self.split(marker) {
            without.push(marker.to_owned());
            let without = holds(&without);
            let text = self.terminal(&format!("{text} {} & ~{without}", literal(before)));
            return Ok(format!("({text} {})", self.marker(&marker[before.len()..])));
        }
        if without.is_empty() && pattern::takes_any_text(pattern) {
            // The first marker ends it, without a second expression to follow.
            return Ok(self.lazy(&format!("{text} {}", literal(marker))));
        }
        let beyond = regex(&format!("(?s:.*){}(?s:.+)", escaped(marker)));
        let mut body = format!("{text} {} & ~{beyond}", literal(marker));
        if !without.is_empty() {
            body.push_str(&format!(" & ~{}", holds(&without)));
        }
        Ok(self.terminal(&body))
    }

    fn text_without(&mut self, markers: &[String]) -> String {
        let any = regex("(?s:.*)");
        if markers.is_empty() {
            return self.terminal(&any);
        }
        self.terminal(&format!("{any} & ~{}", holds(markers)))
    }

    fn json(&mut self, schema: &str) -> Result<String, ConstrainError> {
        let name = format!("json_{}", self.schemas.len());
        let grammar = GrammarWithLexer {
            name: Some(name.clone()),
            json_schema: Some(with_fixed_space(schema::vetted(schema)?)),
            lark_grammar: None,
        };
        self.schemas.push(grammar);
        Ok(format!("@{name}"))
    }
}

/// A schema that asks for the white space that models write, and for nothing else of llguidance's own options, whatever the
/// schema's author wrote there.
pub(crate) fn with_fixed_space(schema: Value) -> Value {
    let mut schema = match schema {
        Value::Object(schema) => schema,
        // `true` is the schema of everything and `false` of nothing; neither is an arguments object.
        other => serde_json::Map::from_iter([("allOf".to_owned(), json!([other]))]),
    };
    let options = json!({
        "whitespace_flexible": false,
        "item_separator": ", ",
        "key_separator": ": ",
    });
    schema.insert("x-guidance".to_owned(), options);
    Value::Object(schema)
}

/// Many texts to choose from, as the body of a terminal: as parts of a rule each would be followed by itself, which ends at two
/// thousand. A terminal takes the longest that fits, so what stands behind it must not begin as one of them goes on.
fn many_literals(parts: &[Segment]) -> Option<String> {
    const MANY: usize = 64;
    let literals = parts.iter().map(|part| match part {
        Segment::Literal(text) if !text.is_empty() => Some(literal(text)),
        _ => None,
    });
    let literals: Vec<String> = literals.collect::<Option<_>>()?;
    (literals.len() >= MANY).then(|| literals.join(" | "))
}

fn joined(parts: &[String], between: &str) -> String {
    match parts {
        [] => literal(""),
        parts => format!("({})", parts.join(between)),
    }
}

/// At least `min` and at most `max`, with something between two of them.
fn separated(one: &str, separator: &str, min: u32, max: Option<u32>) -> String {
    match (min, max) {
        // Lark has no repetition of at most zero.
        (_, Some(0)) => literal(""),
        (1, Some(1)) => one.to_owned(),
        (0, _) => format!("({})?", separated(one, separator, 1, max)),
        _ => {
            let rest = times(min - 1, max.map(|max| max - 1));
            format!("({one} ({separator} {one}){rest})")
        }
    }
}

fn times(min: u32, max: Option<u32>) -> String {
    match max {
        Some(max) => format!("{{{min},{max}}}"),
        None => format!("{{{min},}}"),
    }
}

/// A Lark string, which is written as a JSON string is.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

/// A Lark regular expression: slashes end it, unless they are escaped, which the pattern's author may have done.
fn regex(pattern: &str) -> String {
    let mut regex = String::with_capacity(pattern.len() + 2);
    regex.push('/');
    let mut escapes = false;
    for character in pattern.chars() {
        if character == '/' && !escapes {
            regex.push('\\');
        }
        escapes = character == '\\' && !escapes;
        regex.push(character);
    }
    regex.push('/');
    regex
}

/// Text in which one of these markers stands, as a regular expression.
fn holds(markers: &[String]) -> String {
    let markers: Vec<_> = markers.iter().map(|marker| escaped(marker)).collect();
    regex(&format!("(?s:.*)(?:{})(?s:.*)", markers.join("|")))
}

/// A text as a regular expression that matches it alone.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        // Escaped angle brackets are borders of words, and slashes end a Lark expression: who writes one escapes them.
        if character.is_ascii_punctuation() && !['/', '<', '>'].contains(&character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lark(segment: &Segment) -> String {
        let special = (b"<call>".to_vec().into_boxed_slice(), TokenKind::Added);
        let vocabulary = Vocabulary::new(vec![special]);
        let grammar = llguidance_grammar(segment, &Answer::Free, &vocabulary).expect("JSON");
        grammar.grammars[0].lark_grammar.clone().expect("Lark")
    }

    fn text(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    #[test]
    fn a_marker_is_a_token_where_there_is_one() {
        let marker = |marker: &str| Segment::Marker(marker.to_owned());
        assert_eq!(lark(&marker("<call>")), "start: <[0]>\n");
        assert_eq!(lark(&marker("<other>")), "start: \"<other>\"\n");
        let until = Segment::Until("</t>".to_owned());
        let lazy = "start: until_1\nuntil_1[lazy]: /(?s:.*)<\\/t>/\n";
        assert_eq!(lark(&until), lazy);
    }

    #[test]
    fn a_marker_may_be_text_around_a_token() {
        let marker = |marker: &str| lark(&Segment::Marker(marker.to_owned()));
        assert_eq!(marker("a<call>b"), "start: (\"a\" <[0]> \"b\")\n");
        assert_eq!(marker("<call>\n"), "start: (<[0]> \"\\n\")\n");
        assert_eq!(
            marker("/<call>/<call>"),
            "start: (\"/\" <[0]> \"/\" <[0]>)\n"
        );
        assert_eq!(
            lark(&Segment::Until("/<call>b".to_owned())),
            "start: (T1 (<[0]> \"b\"))\nT1: /(?s:.*)\\// & ~/(?s:.*)(?:\\/<call>b)(?s:.*)/\n"
        );
    }

    #[test]
    fn repetitions_and_choices_nest() {
        let repeat = |min, max, separator: Option<Segment>| Segment::Repeat {
            segment: Box::new(Segment::Alternative(vec![text("a"), text("\"")])),
            separator: separator.map(Box::new),
            min,
            max,
        };
        let one = "(\"a\" | \"\\\"\")";
        assert_eq!(
            lark(&repeat(0, None, None)),
            format!("start: {one}{{0,}}\n")
        );
        let list = format!("start: ({one} (\",\" {one}){{0,}})\n");
        assert_eq!(lark(&repeat(1, None, Some(text(",")))), list);
        assert_eq!(
            lark(&repeat(1, Some(1), Some(text(",")))),
            format!("start: {one}\n")
        );
        let optional = format!("start: (({one} (\",\" {one}){{0,1}}))?\n");
        assert_eq!(lark(&repeat(0, Some(2), Some(text(",")))), optional);
    }

    #[test]
    fn a_pattern_goes_on_to_the_first_of_its_marker() {
        let ended = |marker: &str| {
            let pattern = Segment::Pattern("a{0,9}/".to_owned());
            let marker = Segment::Marker(marker.to_owned());
            lark(&Segment::Sequence(vec![
                text("("),
                pattern,
                marker,
                text(")"),
            ]))
        };
        assert_eq!(
            ended("</t>"),
            "start: (\"(\" T1 \")\")\nT1: /(?:a{0,9}\\/)/ \"</t>\" & ~/(?s:.*)<\\/t>(?s:.+)/\n"
        );
        let bounded = [
            Segment::Pattern("(?s:.{0,9})".to_owned()),
            Segment::Marker("</t>".to_owned()),
        ];
        assert_eq!(
            lark(&Segment::Sequence(bounded.into())),
            "start: (until_1)\nuntil_1[lazy]: /(?:(?s:.{0,9}))/ \"</t>\"\n"
        );
        assert_eq!(
            ended("\n<call>"),
            "start: (\"(\" (T1 <[0]>) \")\")\nT1: /(?:a{0,9}\\/)/ \"\\n\" & ~/(?s:.*)(?:\n<call>)(?s:.*)/\n"
        );
    }

    #[test]
    fn a_schema_cannot_set_options_of_the_decoder() {
        let schema = r#"{"type": "object", "x-guidance": {"lenient": true}}"#;
        let grammar = llguidance_grammar(
            &Segment::Json(schema.to_owned()),
            &Answer::Free,
            &Vocabulary::default(),
        )
        .expect("JSON");
        let schema = grammar.grammars[1].json_schema.clone().expect("a schema");
        assert_eq!(schema["x-guidance"].get("lenient"), None);
        assert_eq!(schema["x-guidance"]["whitespace_flexible"], json!(false));
    }
}
