//! Content that is meant to be JSON: finds where the JSON begins and has it repaired as it streams.
//!
//! It begins at the first bracket of the answer, or, behind other text, at a brace that stands first on its line, opens a
//! block or is followed by a quote. Until then what comes is held back, at most [`MAX_BEFORE`] bytes: an answer without
//! JSON, or with more in front of it, passes unchanged. So does what follows a place that cannot be repaired. The first
//! value counts: behind it, white space stays and everything else goes the way of the text in front.

use alloc::string::String;

use weir_plugin_sdk::ResponseFormat;

use crate::repair::Repair;

/// The most bytes in front of the JSON that are held back.
pub const MAX_BEFORE: usize = 64 * 1024;

/// One answer's content.
#[derive(Debug)]
pub struct Content {
    phase: Phase,
    keep_around: bool,
    /// Whether an array may be the answer.
    arrays: bool,
    before: BeforeJson,
}

#[derive(Debug)]
enum Phase {
    Before,
    Inside(Repair),
    After { fenced: bool },
    Passing,
    Dropping,
}

/// What stands in front of the JSON, as far as it came.
#[derive(Debug, Default)]
struct BeforeJson {
    text: String,
    /// Where its last line begins.
    line_start: usize,
    /// Whether anything but white space came on it.
    line_has_text: bool,
    /// Where a brace stands that begins the JSON if a quote follows.
    brace: Option<usize>,
    /// Whether the last line that is not blank is a fence.
    fenced: bool,
    /// Whether anything but white space came.
    has_text: bool,
}

impl Content {
    /// The content of a new answer; none if it is not meant to be JSON.
    pub fn new(format: &ResponseFormat, keep_around: bool) -> Option<Self> {
        let arrays = match format {
            ResponseFormat::Text => return None,
            ResponseFormat::JsonObject => false,
            ResponseFormat::JsonSchema(_) => true,
        };
        Some(Self {
            phase: Phase::Before,
            keep_around,
            arrays,
            before: BeforeJson::default(),
        })
    }

    /// Whether all that comes goes out as it is.
    pub fn is_passing(&self) -> bool {
        matches!(self.phase, Phase::Passing)
    }

    /// Takes more text and appends what is certain.
    pub fn push(&mut self, text: &str, out: &mut String) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let used = match &mut self.phase {
                Phase::Before => {
                    self.before(c, out);
                    c.len_utf8()
                }
                Phase::Inside(_) => self.inside(rest, out),
                Phase::After { fenced } if c.is_whitespace() => {
                    if !*fenced {
                        out.push(c);
                    }
                    c.len_utf8()
                }
                Phase::After { .. } => {
                    self.phase = Phase::Dropping;
                    rest.len()
                }
                Phase::Passing => {
                    out.push_str(rest);
                    rest.len()
                }
                Phase::Dropping => rest.len(),
            };
            rest = &rest[used..];
        }
    }

    /// Says that the text ends, and appends the rest; an open value is closed if `closes`.
    pub fn finish(&mut self, closes: bool, out: &mut String) {
        match &mut self.phase {
            Phase::Before => out.push_str(&self.before.text),
            Phase::Inside(repair) if closes => repair.close(out),
            Phase::Inside(repair) => repair.leave_open(out),
            Phase::After { .. } | Phase::Passing | Phase::Dropping => {}
        }
        self.phase = Phase::Passing;
    }

    fn before(&mut self, c: char, out: &mut String) {
        let Some(start) = self.before.push(c, self.arrays) else {
            if self.before.text.len() > MAX_BEFORE {
                out.push_str(&self.before.text);
                self.before = BeforeJson::default();
                self.phase = Phase::Passing;
            }
            return;
        };
        let before = core::mem::take(&mut self.before);
        if self.keep_around || !before.has_text {
            out.push_str(&before.text[..start]);
        }
        self.phase = Phase::Inside(Repair::new(before.fenced));
        self.inside(&before.text[start..], out);
    }

    /// Has the JSON repaired, and answers how many bytes of `text` belong to it.
    fn inside(&mut self, text: &str, out: &mut String) -> usize {
        let Phase::Inside(repair) = &mut self.phase else {
            return 0;
        };
        let used = repair.push(text, out);
        if repair.is_broken() || (repair.is_complete() && self.keep_around) {
            self.phase = Phase::Passing;
        } else if repair.is_complete() {
            let fenced = repair.is_fenced();
            self.phase = Phase::After { fenced };
        }
        used
    }
}

impl BeforeJson {
    /// Takes a character, and answers where the JSON begins if that is known now.
    fn push(&mut self, c: char, arrays: bool) -> Option<usize> {
        let at = self.text.len();
        self.text.push(c);
        match (c, self.brace) {
            ('"' | '\'', Some(brace)) => {
                self.look_at_line(brace);
                return Some(brace);
            }
            _ if c.is_whitespace() => {}
            _ => self.brace = None,
        }
        match c {
            '\n' => {
                self.look_at_line(at);
                self.line_start = self.text.len();
                self.line_has_text = false;
            }
            '{' if !self.line_has_text => return Some(at),
            '{' => self.brace = Some(at),
            '[' if arrays && self.opens_answer() => return Some(at),
            _ => {}
        }
        self.has_text |= !c.is_whitespace();
        self.line_has_text |= !c.is_whitespace();
        None
    }

    /// Whether nothing but white space, or a fence at last, stands in front of what comes next.
    fn opens_answer(&self) -> bool {
        !self.has_text || (self.fenced && !self.line_has_text)
    }

    fn look_at_line(&mut self, end: usize) {
        let line = self
            .text
            .get(self.line_start..end)
            .unwrap_or_default()
            .trim();
        if !line.is_empty() {
            self.fenced = line.starts_with("```") || line.starts_with("~~~");
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec, vec::Vec};

    use proptest::prelude::*;
    use weir_plugin_sdk::json_scanner::is_object;

    use super::*;

    fn repair(pieces: &[&str]) -> String {
        let mut content = Content::new(&ResponseFormat::JsonObject, false).expect("JSON");
        let mut out = String::new();
        for piece in pieces {
            content.push(piece, &mut out);
        }
        content.finish(true, &mut out);
        out
    }

    #[test]
    fn holds_back_no_more_than_what_may_change() {
        let mut content = Content::new(&ResponseFormat::JsonObject, false).expect("JSON");
        let mut out = String::new();
        for (piece, so_far) in [
            ("Sure: {", ""),
            (" \"a", "{ \"a"),
            ("\": 1", "{ \"a\": "),
            ("2,", "{ \"a\": 12"),
            (" ", "{ \"a\": 12"),
            ("'", "{ \"a\": 12, \""),
            ("it'", "{ \"a\": 12, \"it"),
            ("s\\", "{ \"a\": 12, \"it's"),
            ("'", "{ \"a\": 12, \"it's'"),
            ("': Tru", "{ \"a\": 12, \"it's'\": "),
            ("e }\n", "{ \"a\": 12, \"it's'\": true }\n"),
        ] {
            content.push(piece, &mut out);
            assert_eq!(out, so_far);
        }
        content.push("Done.", &mut out);
        content.finish(true, &mut out);
        assert_eq!(out, "{ \"a\": 12, \"it's'\": true }\n");
    }

    #[test]
    fn past_the_bounds_all_passes_unchanged() {
        let text = format!("{}{{'a': 1}}", "word ".repeat(MAX_BEFORE / 4));
        assert_eq!(repair(&[&text]), text);
        let spaces = " ".repeat(crate::repair::MAX_HELD);
        let text = format!("{{\"a\": 1,{spaces}}} 'x'");
        assert_eq!(repair(&[&text]), text);
        let text = "{\"a\":".repeat(crate::repair::MAX_DEPTH + 9) + "None";
        assert_eq!(repair(&[&text]), text);
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "1",
            "-0.0",
            "1e5",
            "true",
            "null",
            "\"\"",
            "\"a'b\"",
            "\"\\u00e9\\n\"",
            "\"// {\"",
            "[]",
            "{}",
        ]);
        leaf.prop_map(String::from)
            .prop_recursive(4, 24, 4, |inner| {
                let space = prop::sample::select(vec!["", " ", "\n  "]);
                (prop::collection::vec(inner, 1..4), space, any::<bool>()).prop_map(
                    |(values, space, object)| {
                        let member = |(at, value): (usize, &String)| match object {
                            true => format!("{space}\"k{at}\":{space}{value}"),
                            false => format!("{space}{value}"),
                        };
                        let members: Vec<String> = values.iter().enumerate().map(member).collect();
                        let members = members.join(&format!("{space},"));
                        match object {
                            true => format!("{{{members}{space}}}"),
                            false => format!("[{members}{space}]"),
                        }
                    },
                )
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

        #[test]
        fn valid_json_passes_byte_for_byte(value in json()) {
            let text = format!(" {{\"v\": {value} }}\n");
            prop_assert_eq!(&repair(&[&text]), &text);
        }

        #[test]
        fn a_cut_object_is_closed(value in json()) {
            let text = format!("{{\"v\": {value} }}");
            for (cut, _) in text.char_indices().skip(1) {
                let closed = repair(&[&text[..cut]]);
                prop_assert!(is_object(&closed), "{} became {}", &text[..cut], closed);
            }
        }

        #[test]
        fn every_cut_gives_the_same(parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "'", "\"", "a", "'b'", "\"c\"", "1", "-", "True", "NaN", "nul", " ", "\n", "\\",
            "\\u00e9", "\\u1", "// x\n", "/*", "*/", "#", "```json\n", "```", "{\"a\": ", "é", "\t",
        ]), 0..16)) {
            let text = parts.concat();
            let whole = repair(&[&text]);
            let characters: Vec<&str> = text.split("").collect();
            prop_assert_eq!(&repair(&characters), &whole);
            for (cut, _) in text.char_indices() {
                let (one, two) = text.split_at(cut);
                prop_assert_eq!(&repair(&[one, two]), &whole, "cut at {}", cut);
            }
        }
    }
}
