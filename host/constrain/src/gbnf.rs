//! A tree of segments as GBNF, for engines that have masks of their own: llama.cpp's syntax, which xgrammar reads too and so
//! vLLM and SGLang.
//!
//! Invariants: the grammar allows no text that the tree forbids; it may allow less (white space, the order of keys, exponents).
//! What it cannot say is an error that names it. Rules are `root` and names of a letter with a number, which every reader takes.

mod json;
mod regex;
mod text;

use std::fmt::Write as _;

use weir_engine::Gbnf;
use weir_output::Segment;
use weir_prompt::{TokenKind, Vocabulary};

use crate::{Answer, pattern};

/// The grammar of a tree; `answer` stands where the tree says so. Segments were vetted before.
///
/// # Errors
/// What cannot be said, in a few words.
pub(crate) fn gbnf(
    segment: &Segment,
    answer: &Answer,
    vocabulary: &Vocabulary,
) -> Result<Gbnf, String> {
    let mut writer = Writer {
        vocabulary,
        answer: Some(answer),
        rules: Rules::default(),
        special_tokens: false,
    };
    let root = writer.expression(segment)?;
    Ok(Gbnf {
        text: format!("root ::= {root}\n{}", writer.rules.text),
        special_tokens: writer.special_tokens,
    })
}

/// The rules beside `root`.
#[derive(Default)]
struct Rules {
    text: String,
    count: usize,
    json: json::Shared,
}

impl Rules {
    /// A name for a rule that is written later.
    fn name(&mut self) -> String {
        self.count += 1;
        format!("r{}", self.count)
    }

    fn define(&mut self, name: &str, body: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{name} ::= {body}");
    }

    /// A rule of its own for this body.
    fn rule(&mut self, body: &str) -> String {
        let name = self.name();
        self.define(&name, body);
        name
    }
}

struct Writer<'a> {
    vocabulary: &'a Vocabulary,
    /// None within the answer itself: a place that it leaves to an answer is the model's.
    answer: Option<&'a Answer>,
    rules: Rules,
    special_tokens: bool,
}

impl Writer<'_> {
    /// A segment as it stands on the right side of a rule.
    fn expression(&mut self, segment: &Segment) -> Result<String, String> {
        Ok(match segment {
            Segment::Marker(marker) => self.marker(marker),
            Segment::Literal(text) => literal(text),
            Segment::Json(schema) => json::value(schema, &mut self.rules)?,
            Segment::Pattern(pattern) => regex::expression(pattern)?,
            Segment::Until(marker) => self.until(&[], marker),
            Segment::TextWithout(markers) => self.text_without(markers),
            Segment::Answer => self.answer()?,
            Segment::Sequence(parts) => self.sequence(parts)?,
            Segment::Alternative(parts) => {
                let parts = parts.iter().map(|part| self.expression(part));
                either(&parts.collect::<Result<Vec<_>, _>>()?)
            }
            Segment::Repeat {
                segment,
                separator,
                min,
                max,
            } => {
                let one = self.expression(segment)?;
                match separator {
                    Some(separator) => separated(&one, &self.expression(separator)?, *min, *max),
                    None => format!("({one}){}", times(*min, *max)),
                }
            }
            Segment::Lark(_) => return Err("a rule in Lark's syntax".to_owned()),
        })
    }

    fn answer(&mut self) -> Result<String, String> {
        let answer = self.answer.take();
        let written = match answer {
            None | Some(Answer::Free) => Ok(self.text_without(&[])),
            Some(Answer::Segment(segment)) => self.expression(segment),
            Some(Answer::Lark(_)) => Err("a grammar in Lark's syntax".to_owned()),
        };
        self.answer = answer;
        written
    }

    /// Parts one after the other. Text in front of a marker goes on to the first of that marker.
    fn sequence(&mut self, parts: &[Segment]) -> Result<String, String> {
        let mut row = Vec::with_capacity(parts.len());
        let mut rest = parts;
        while let [part, behind @ ..] = rest {
            let (written, behind) = match (part, behind) {
                (Segment::TextWithout(others), [Segment::Marker(marker), behind @ ..])
                    if !marker.is_empty() =>
                {
                    (self.until(others, marker), behind)
                }
                (Segment::Pattern(pattern), [Segment::Marker(marker), behind @ ..])
                    if pattern::takes_any_text(pattern) && !marker.is_empty() =>
                {
                    (self.until(&[], marker), behind)
                }
                (Segment::Pattern(pattern), [Segment::Marker(marker), ..])
                    if regex::may_write(pattern, marker.chars().next())? =>
                {
                    return Err(format!("the pattern {pattern:?} in front of {marker:?}"));
                }
                _ => (self.expression(part)?, behind),
            };
            row.push(written);
            rest = behind;
        }
        Ok(match row.len() {
            0 => literal(""),
            _ => format!("({})", row.join(" ")),
        })
    }

    fn marker(&mut self, marker: &str) -> String {
        self.note_special(marker);
        literal(marker)
    }

    fn until(&mut self, others: &[String], marker: &str) -> String {
        self.note_special(marker);
        let without: Vec<&str> = others.iter().map(String::as_str).collect();
        text::rule(&without, Some(marker), &mut self.rules)
    }

    fn text_without(&mut self, markers: &[String]) -> String {
        let without: Vec<&str> = markers.iter().map(String::as_str).collect();
        text::rule(&without, None, &mut self.rules)
    }

    /// Not every engine takes a special token for its text.
    fn note_special(&mut self, marker: &str) {
        let mut ids = (0..self.vocabulary.len()).filter_map(|id| u32::try_from(id).ok());
        let special = ids.any(|id| {
            let text = self.vocabulary.bytes(id).unwrap_or_default();
            self.vocabulary.kind(id) == TokenKind::Special
                && std::str::from_utf8(text)
                    .is_ok_and(|text| !text.is_empty() && marker.contains(text))
        });
        self.special_tokens |= special;
    }
}

/// One of these.
fn either(parts: &[String]) -> String {
    match parts {
        [] => literal(""),
        [one] => one.clone(),
        parts => format!("({})", parts.join(" | ")),
    }
}

fn separated(one: &str, separator: &str, min: u32, max: Option<u32>) -> String {
    if max == Some(0) {
        return literal("");
    }
    let more = times(min.saturating_sub(1), max.map(|max| max - 1));
    let row = format!("({one} ({separator} {one}){more})");
    match min {
        0 => format!("{row}?"),
        _ => row,
    }
}

fn times(min: u32, max: Option<u32>) -> String {
    match (min, max) {
        (0, None) => "*".to_owned(),
        (1, None) => "+".to_owned(),
        (0, Some(1)) => "?".to_owned(),
        (min, None) => format!("{{{min},}}"),
        (min, Some(max)) => format!("{{{min},{max}}}"),
    }
}

/// A text between quotes.
fn literal(text: &str) -> String {
    let mut written = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => written.push_str("\\\""),
            other => escape(other, &mut written),
        }
    }
    written.push('"');
    written
}

/// A character as it stands within quotes and brackets alike.
fn escape(character: char, written: &mut String) {
    match character {
        '\\' => written.push_str("\\\\"),
        '\n' => written.push_str("\\n"),
        '\r' => written.push_str("\\r"),
        '\t' => written.push_str("\\t"),
        other if other.is_control() => {
            // Writing to a string cannot fail.
            let _ = write!(written, "\\u{:04X}", u32::from(other));
        }
        other => written.push(other),
    }
}

/// One character of these ranges, or of all others.
fn class(ranges: &[(char, char)], negated: bool) -> String {
    let mut written = String::from(if negated { "[^" } else { "[" });
    let one = |character: char, written: &mut String| match character {
        // Readers differ in what they take behind a backslash, but for this.
        '[' | ']' | '^' | '-' => {
            // Writing to a string cannot fail.
            let _ = write!(written, "\\u{:04X}", u32::from(character));
        }
        other => escape(other, written),
    };
    for &(first, last) in ranges {
        one(first, &mut written);
        if last > first {
            written.push('-');
            one(last, &mut written);
        }
    }
    written.push(']');
    written
}

#[cfg(test)]
mod tests;
