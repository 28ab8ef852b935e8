//! The arguments of a call written in Python, from behind its opening parenthesis on, as the JSON object they stand for.
//!
//! Invariants: arguments are read and never evaluated: they are keywords with literals (strings, numbers, `True`, `None`,
//! lists, tuples, dictionaries, and JSON's spellings of them). A name, a nested call, an operator, an argument without a
//! keyword break them. What is written is spaced as `{"a": 1, "b": [2]}`, whatever the model's white space, and goes out
//! as it is read; nothing goes out before the first keyword is certain. A tuple is an array; one element in parentheses
//! without a comma is no tuple and breaks. No recursion: containers stand on a stack, [`DEEPEST`] at most.

use alloc::{vec, vec::Vec};

use crate::{python_number::PythonNumber, python_string::PythonString, types::Text};

/// How deep containers may be nested in a call; the JSON readers of most clients end at 128.
pub const DEEPEST: usize = 100;

/// The longest keyword in bytes: it is withheld until it is certain.
const LONGEST_KEYWORD: usize = 256;

/// Where the arguments stand after [`PythonArguments::push`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// They go on. The text may not be used up: a string ended.
    More,
    /// The closing parenthesis was taken.
    Complete,
    /// The next character cannot stand there. Every further push says the same.
    Broken,
}

/// Streaming reader of one call's arguments.
#[derive(Debug)]
pub struct PythonArguments {
    state: State,
    /// The open containers, the call itself first.
    containers: Vec<Container>,
    /// A keyword, or a word that may be a literal.
    word: Text,
    /// Whether the value that is read is a dictionary's key.
    key: bool,
    /// How many bytes were taken.
    position: usize,
    /// Where the last string starts, until what follows it proves that it was one.
    string_start: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Container {
    kind: Kind,
    /// How many elements began, as far as it matters: none, one, more.
    elements: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Call,
    List,
    Tuple,
    Dictionary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A keyword, a dictionary's key or the end must come.
    Key,
    Keyword,
    /// After the keyword: `=` must come.
    Equals,
    /// After `=`, which another one would make a comparison.
    Compared,
    Colon,
    /// A value must come; `or_end` where its container may end as well.
    Value {
        or_end: bool,
    },
    String(PythonString),
    Number(PythonNumber),
    /// In a literal that is a word.
    Word,
    /// A comma or the container's end must come.
    Next,
    Complete,
    Broken,
}

impl Default for PythonArguments {
    fn default() -> Self {
        Self::new()
    }
}

impl PythonArguments {
    /// A reader behind the opening parenthesis.
    pub fn new() -> Self {
        Self {
            state: State::Key,
            containers: vec![Container {
                kind: Kind::Call,
                elements: 0,
            }],
            word: Text::default(),
            key: false,
            position: 0,
            string_start: None,
        }
    }

    /// Takes bytes of `text` and writes what they say; returns how many. It stops at the end of each string, because
    /// markers are data in strings alone.
    pub fn push(&mut self, text: &str, out: &mut Text) -> (usize, Step) {
        let mut at = 0;
        while at < text.len() {
            let in_string = self.in_string();
            let used = self.step(&text[at..], out);
            at += used;
            self.position += used;
            match self.state {
                State::Complete => return (at, Step::Complete),
                State::Broken => return (at, Step::Broken),
                _ if in_string && !self.in_string() => break,
                _ => {}
            }
        }
        (at, Step::More)
    }

    /// Whether a string is open.
    pub fn in_string(&self) -> bool {
        matches!(self.state, State::String(_))
    }

    /// How many of the bytes taken last belong to a string, and the white space after it, of which nothing that came
    /// later proves that it was one. When the call breaks there, its author may have forgotten a quote.
    pub fn unproven_string(&self) -> usize {
        self.string_start.map_or(0, |start| self.position - start)
    }

    /// How many brackets are open, the call's parenthesis among them.
    pub fn depth(&self) -> usize {
        self.containers.len()
    }

    /// Reads some of `text`, which is not empty, and returns how many bytes; none only if the state changed.
    fn step(&mut self, text: &str, out: &mut Text) -> usize {
        match &mut self.state {
            State::String(string) => {
                let (used, ended) = string.push(text, out);
                if ended {
                    self.value_ended();
                }
                used
            }
            State::Number(number) => {
                let mut bytes = text.bytes();
                let used = bytes.by_ref().take_while(|b| number.take(*b, out)).count();
                if let Some(next) = text.as_bytes().get(used) {
                    let whole = number.end(out) && is_end(*next);
                    self.scalar_ended(whole, out);
                }
                used
            }
            State::Word => self.word(text, out),
            State::Keyword => self.keyword(text),
            _ => {
                let byte = text.as_bytes()[0];
                if is_space(byte) {
                    return 1;
                }
                self.structure(byte, out)
            }
        }
    }

    fn broken(&mut self) -> usize {
        self.state = State::Broken;
        0
    }

    fn container(&self) -> Container {
        let call = Container {
            kind: Kind::Call,
            elements: 0,
        };
        self.containers.last().copied().unwrap_or(call)
    }

    /// A byte that is no white space, outside words, strings and numbers.
    fn structure(&mut self, byte: u8, out: &mut Text) -> usize {
        let Container { kind, elements } = self.container();
        match (self.state, byte) {
            (State::Key, b')') if kind == Kind::Call => return self.close(out),
            (State::Key, b'}') if kind == Kind::Dictionary => return self.close(out),
            (State::Key, _) if kind == Kind::Call => {
                self.word.clear();
                self.state = State::Keyword;
                return 0;
            }
            (State::Key, _) => {
                self.element(out);
                self.key = true;
                return self.value(byte, out);
            }
            (State::Equals, b'=') => self.state = State::Compared,
            (State::Compared, _) if byte != b'=' => {
                out.push_str(if elements == 0 { "{\"" } else { ", \"" });
                out.push_str(&self.word);
                out.push_str("\": ");
                self.count_element();
                self.state = State::Value { or_end: false };
                return 0;
            }
            (State::Colon, b':') => {
                self.string_start = None;
                out.push_str(": ");
                self.state = State::Value { or_end: false };
            }
            (State::Value { or_end: true }, b']') if kind == Kind::List => return self.close(out),
            (State::Value { or_end: true }, b')') if kind == Kind::Tuple => return self.close(out),
            (State::Value { .. }, _) => {
                if matches!(kind, Kind::List | Kind::Tuple) {
                    self.element(out);
                }
                return self.value(byte, out);
            }
            (State::Next, b',') => {
                self.string_start = None;
                self.state = match kind {
                    Kind::Call | Kind::Dictionary => State::Key,
                    Kind::List | Kind::Tuple => State::Value { or_end: true },
                };
            }
            (State::Next, b')') if kind == Kind::Call => return self.close(out),
            (State::Next, b')') if kind == Kind::Tuple && elements > 1 => return self.close(out),
            (State::Next, b']') if kind == Kind::List => return self.close(out),
            (State::Next, b'}') if kind == Kind::Dictionary => return self.close(out),
            _ => return self.broken(),
        }
        1
    }

    fn count_element(&mut self) {
        if let Some(container) = self.containers.last_mut() {
            container.elements = container.elements.saturating_add(1).min(2);
        }
    }

    /// An element of a list, a tuple or a dictionary begins.
    fn element(&mut self, out: &mut Text) {
        if self.container().elements > 0 {
            out.push_str(", ");
        }
        self.count_element();
    }

    /// A value begins with this byte.
    fn value(&mut self, byte: u8, out: &mut Text) -> usize {
        match byte {
            b'"' | b'\'' => {
                self.string_start = Some(self.position);
                self.state = State::String(PythonString::new(byte, false, out));
                1
            }
            b'+' | b'-' | b'.' | b'0'..=b'9' => {
                if self.key {
                    out.push('"');
                }
                self.state = State::Number(PythonNumber::START);
                0
            }
            b'[' if !self.key => self.open(Kind::List, out),
            b'(' if !self.key => self.open(Kind::Tuple, out),
            b'{' if !self.key => self.open(Kind::Dictionary, out),
            b'a'..=b'z' | b'A'..=b'Z' => {
                self.word.clear();
                self.state = State::Word;
                0
            }
            _ => self.broken(),
        }
    }

    fn open(&mut self, kind: Kind, out: &mut Text) -> usize {
        if self.containers.len() > DEEPEST {
            return self.broken();
        }
        self.containers.push(Container { kind, elements: 0 });
        if kind == Kind::Dictionary {
            out.push('{');
            self.state = State::Key;
        } else {
            out.push('[');
            self.state = State::Value { or_end: true };
        }
        1
    }

    /// Closes the innermost container with the byte that comes.
    fn close(&mut self, out: &mut Text) -> usize {
        let Container { kind, elements } = self.container();
        out.push_str(match kind {
            Kind::Call if elements == 0 => "{}",
            Kind::Call | Kind::Dictionary => "}",
            Kind::List | Kind::Tuple => "]",
        });
        self.containers.pop();
        self.string_start = None;
        self.value_ended();
        if self.containers.is_empty() {
            self.state = State::Complete;
        }
        1
    }

    fn keyword(&mut self, text: &str) -> usize {
        let used = text.find(|c| !is_of_a_keyword(c)).unwrap_or(text.len());
        self.word.push_str(&text[..used]);
        if self.word.len() > LONGEST_KEYWORD {
            self.state = State::Broken;
        } else if used < text.len() {
            self.state = if self.word.is_empty() {
                State::Broken
            } else {
                State::Equals
            };
        }
        used
    }

    fn word(&mut self, text: &str, out: &mut Text) -> usize {
        let used = text
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        self.word.push_str(&text[..used]);
        if self.word.len() > "false".len() {
            self.state = State::Broken;
            return used;
        }
        let Some(&next) = text.as_bytes().get(used) else {
            return used;
        };
        let json = match self.word.as_str() {
            "r" | "R" | "u" | "U" if matches!(next, b'"' | b'\'') => {
                let raw = self.word.eq_ignore_ascii_case("r");
                self.string_start = Some(self.position + used);
                self.state = State::String(PythonString::new(next, raw, out));
                return used + 1;
            }
            "True" | "true" => "true",
            "False" | "false" => "false",
            "None" | "null" => "null",
            _ => "",
        };
        let whole = !json.is_empty() && is_end(next);
        if whole {
            if self.key {
                out.push('"');
            }
            out.push_str(json);
        }
        self.scalar_ended(whole, out);
        used
    }

    /// A number or a word ended, `whole` if it is a value.
    fn scalar_ended(&mut self, whole: bool, out: &mut Text) {
        if !whole {
            self.state = State::Broken;
            return;
        }
        if self.key {
            out.push('"');
        }
        self.value_ended();
    }

    fn value_ended(&mut self) {
        self.state = if self.key { State::Colon } else { State::Next };
        self.key = false;
    }
}

/// Whether a character may stand in a keyword. More than in Python's: names of JSON Schema may hold a hyphen or a `$`.
pub fn is_of_a_keyword(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '$' | '@' | '/')
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether a number or a word ends before this byte.
fn is_end(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b',' | b')' | b']' | b'}' | b':')
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    /// What is written, and what is left of the text; none of it if the arguments broke.
    fn read(text: &str, pieces: usize) -> (Text, Option<String>) {
        let mut arguments = PythonArguments::new();
        let mut out = Text::default();
        let mut at = 0;
        while at < text.len() {
            let end = text[at..].char_indices().map(|(to, _)| at + to).nth(pieces);
            let (used, step) = arguments.push(&text[at..end.unwrap_or(text.len())], &mut out);
            at += used;
            match step {
                Step::More => {}
                Step::Complete => return (out, Some(text[at..].into())),
                Step::Broken => return (out, None),
            }
        }
        (out, None)
    }

    #[test]
    fn literals_become_json_under_every_cut() {
        for (python, json) in [
            (")", "{}"),
            (" \n)", "{}"),
            ("a=1)", r#"{"a": 1}"#),
            ("a = 1 ,\n b='x',)", r#"{"a": 1, "b": "x"}"#),
            (
                "a=True, b=true, c=False, d=false, e=None, f=null)",
                r#"{"a": true, "b": true, "c": false, "d": false, "e": null, "f": null}"#,
            ),
            (
                "a=[1,2 , [ ],], b={'k':[{}], \"l\" : {'m': -1.5e3,},})",
                r#"{"a": [1, 2, []], "b": {"k": [{}], "l": {"m": -1.5e3}}}"#,
            ),
            (
                "a=(1, 'x'), b=(1,), c=())",
                r#"{"a": [1, "x"], "b": [1], "c": []}"#,
            ),
            (
                "a={1: 'x', 2.5: 'y', True: 'z', None: 0})",
                r#"{"a": {"1": "x", "2.5": "y", "true": "z", "null": 0}}"#,
            ),
            (
                r#"a=r"\d", b=u'é', c='''"')''')"#,
                r#"{"a": "\\d", "b": "é", "c": "\"')"}"#,
            ),
            (
                "from=1, max-results=2, $top=3, größe=4)",
                r#"{"from": 1, "max-results": 2, "$top": 3, "größe": 4}"#,
            ),
        ] {
            for pieces in 1..=python.chars().count() {
                let expected = (Text::from(json), Some("]".into()));
                assert_eq!(
                    read(&(String::from(python) + "]"), pieces),
                    expected,
                    "{python}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_literal_breaks() {
        let broken = "x) | 'x') | 1) | *a) | **{'a': 1}) | a==1) | a=) | a) | ,) | =1) | a:1) | a=b) | a=g()) | \
            a=g(b=1)) | a=1+2) | a=60*60) | a=-x) | a=1px) | a=2024-01-05) | a=1 b=2) | a=1;) | \
            a='x' 'y') | a='it's') | a=(1)) | a={1, 2}) | a={'k'}) | a={[1]: 2}) | a={'k': 1, **x}) | \
            a=[1, 2) | a=1] | a=[1,,2]) | a=f'x') | a=inf) | a=nan) | a=TRUE) | a=trues) | \
            a=lambda: 1) | a=1j) | a=...) | a=[x for x in y])";
        for python in broken.split(" | ") {
            assert_eq!(read(python, 1).1, None, "{python}");
            assert_eq!(read(python, 100), read(python, 1), "{python}");
        }
    }

    #[test]
    fn nothing_is_written_before_the_first_keyword_is_certain() {
        let mut arguments = PythonArguments::new();
        let mut steps = Vec::new();
        for text in [" loc", "ation", " ", "=", " '", "Köl", "n", "'", ")"] {
            let mut out = Text::default();
            arguments.push(text, &mut out);
            steps.push(out);
        }
        let expected = ["", "", "", "", "{\"location\": \"", "Köl", "n", "\"", "}"];
        assert_eq!(steps, expected);
    }

    #[test]
    fn nesting_ends_where_documented() {
        let nested =
            |depth: usize| String::from("a=") + &"[".repeat(depth) + &"]".repeat(depth) + ")";
        assert!(read(&nested(DEEPEST), 1000).1.is_some());
        assert_eq!(read(&nested(DEEPEST + 1), 1000).1, None);
    }
}
