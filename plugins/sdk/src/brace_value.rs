//! From arguments written as `{key:VALUE,...}` to JSON, as they stream.
//!
//! Keys are bare or quoted. A string stands between two delimiters, which are markers and so come from the caller; a JSON
//! or a Python string is taken, too, as models slip into those. Numbers and literals keep their bytes; any other bare text
//! is a string. White space outside strings is the format's. Invariants: what is put out is JSON to the letter as long
//! as nothing is broken; only a bare value that may still be a number or a literal is withheld, and white space behind
//! bare text; the work is linear; containers nest [`MAX_DEPTH`] deep and no deeper. It knows no marker and no call.

use alloc::{string::String, vec::Vec};

use crate::{
    json_text::{is_json, may_be_in_number, push_escaped},
    types::Text,
};

/// So many containers may be open; one more breaks the arguments. Many JSON readers take no more than this either.
pub const MAX_DEPTH: usize = 128;

/// Where the arguments stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// They go on.
    Open,
    /// Their last bracket came.
    Complete,
    /// What comes next cannot stand there.
    Broken,
}

/// The arguments of one call.
#[derive(Debug)]
pub struct BraceValue {
    state: State,
    /// The open containers, outermost first.
    containers: Vec<Container>,
    /// A comma came, and is put out with what follows it.
    comma: bool,
    /// Bare text that is withheld.
    held: String,
    /// How many bytes were taken.
    position: usize,
    /// Where the last string starts, until what follows it proves that it was one.
    string_start: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    /// The arguments themselves, written like those of a function: `(key:VALUE)`.
    Parentheses,
    Object,
    Array,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A key must come, or the object's end.
    Key,
    /// After a quoted key.
    Colon,
    /// A value must come; in an array its end may.
    Value,
    /// A comma or the container's end must come.
    Next,
    /// A bare key, or bare text that is sure to be a string: all but white space at its end is out.
    BareText {
        key: bool,
    },
    /// A bare value that may be a number or a literal; `numeric` as long as all of it may be a number's.
    BareValue {
        numeric: bool,
    },
    String {
        key: bool,
        quote: Quote,
    },
    /// After a backslash.
    Escape {
        key: bool,
        quote: Quote,
    },
    /// After `\u`.
    Hex {
        key: bool,
        quote: Quote,
        left: u8,
    },
    Complete,
}

/// What ends a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    Delimiter,
    Character(char),
}

/// Literals as Python writes them, and what they are in JSON.
const PYTHON_LITERALS: [(&str, &str); 3] = [("True", "true"), ("False", "false"), ("None", "null")];
const LONGEST_LITERAL: usize = 5;
const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

impl BraceValue {
    /// Arguments whose first bracket came: a brace, or a parenthesis.
    pub fn new(parentheses: bool, out: &mut Text) -> Self {
        out.push('{');
        let first = if parentheses {
            Container::Parentheses
        } else {
            Container::Object
        };
        Self {
            state: State::Key,
            containers: [first].into(),
            comma: false,
            held: String::new(),
            position: 0,
            string_start: None,
        }
    }

    /// How many of the bytes taken last belong to a string, and the white space after it, of which nothing that came
    /// later proves that it was one. When the arguments are broken there, a delimiter may have been forgotten.
    pub fn unproven_string(&self) -> usize {
        self.string_start.map_or(0, |start| self.position - start)
    }

    /// Whether a marker is data here, if it is not the delimiter (`false`) or if it is (`true`).
    pub fn is_data(&self, delimiter: bool) -> bool {
        match self.state {
            State::String { quote, .. } => !(delimiter && quote == Quote::Delimiter),
            _ => false,
        }
    }

    /// Takes a marker that is data.
    pub fn data(&mut self, marker: &str, out: &mut Text) {
        push_escaped(marker, out);
        self.position += marker.len();
    }

    /// Takes a delimiter that is not data.
    pub fn delimiter(&mut self, marker: &str, out: &mut Text) -> Progress {
        let start = self.position;
        match self.state {
            State::String { key, .. } => self.string_ended(key, out),
            State::Key => self.string_starts(true, Quote::Delimiter, start, out),
            State::Value => self.string_starts(false, Quote::Delimiter, start, out),
            _ => return Progress::Broken,
        }
        self.position += marker.len();
        Progress::Open
    }

    /// Takes bytes of `text` until the arguments end, break or the text is used up, and returns how many.
    pub fn push(&mut self, text: &str, out: &mut Text) -> (usize, Progress) {
        let mut taken = 0;
        while taken < text.len() {
            let rest = &text[taken..];
            let Some(used) = self.step(rest, out) else {
                return (taken, Progress::Broken);
            };
            taken += used;
            self.position += used;
            if self.state == State::Complete {
                return (taken, Progress::Complete);
            }
        }
        (taken, Progress::Open)
    }

    /// Nothing more comes. Whether the arguments are whole then: they may lack their last bracket, but nothing else.
    pub fn end(&mut self, out: &mut Text) -> bool {
        let outermost = self.containers.len() == 1;
        let whole = match self.state {
            State::Next => outermost,
            State::Key => outermost && !self.comma,
            State::BareText { key: false } | State::BareValue { .. } if outermost => {
                self.bare_ended(out);
                true
            }
            _ => false,
        };
        if whole {
            out.push('}');
            self.state = State::Complete;
        }
        whole
    }

    /// Takes some of `text`, which is not empty; none only with a new state. `None` if it cannot stand there.
    fn step(&mut self, text: &str, out: &mut Text) -> Option<usize> {
        match self.state {
            State::String { key, quote } => Some(self.string(text, key, quote, out)),
            State::Escape { key, quote } => self.escape(text, key, quote, out),
            State::Hex { key, quote, left } => self.hex(text, key, quote, left, out),
            State::BareText { key: true } => self.bare_key(text, out),
            State::BareText { key: false } | State::BareValue { .. } => {
                Some(self.bare_value(text, out))
            }
            State::Complete => None,
            State::Key | State::Colon | State::Value | State::Next => {
                let space = text.len() - text.trim_start_matches(WHITE_SPACE).len();
                match text[space..].chars().next() {
                    None => Some(space),
                    Some(_) if space > 0 => Some(space),
                    Some(first) => self.structure(first, out),
                }
            }
        }
    }

    /// A character outside strings and bare text that is not white space.
    fn structure(&mut self, first: char, out: &mut Text) -> Option<usize> {
        let start = self.position;
        match (self.state, first) {
            (State::Key | State::Next, '}' | ')') | (State::Next, ']') => self.close(first, out),
            (State::Value, ']') if self.containers.last() == Some(&Container::Array) => {
                self.close(first, out)
            }
            (State::Key, '"' | '\'') => {
                self.string_starts(true, Quote::Character(first), start, out);
                Some(1)
            }
            (State::Value, '"' | '\'') => {
                self.string_starts(false, Quote::Character(first), start, out);
                Some(1)
            }
            (State::Colon, ':' | '=') => {
                self.colon(out);
                Some(1)
            }
            (State::Next, ',') => {
                self.comma = true;
                self.string_start = None;
                self.state = match self.containers.last() {
                    Some(Container::Array) => State::Value,
                    _ => State::Key,
                };
                Some(1)
            }
            (State::Value, '{' | '[') => self.open(first, out),
            (_, '{' | '}' | '[' | ']' | '(' | ')' | ',' | ':' | '=')
            | (State::Colon | State::Next, _) => None,
            (State::Key, _) => {
                self.item_starts(out);
                out.push('"');
                self.state = State::BareText { key: true };
                Some(0)
            }
            _ => {
                self.item_starts(out);
                self.state = State::BareValue { numeric: true };
                Some(0)
            }
        }
    }

    fn open(&mut self, bracket: char, out: &mut Text) -> Option<usize> {
        if self.containers.len() == MAX_DEPTH {
            return None;
        }
        self.item_starts(out);
        out.push(bracket);
        let (container, state) = match bracket {
            '[' => (Container::Array, State::Value),
            _ => (Container::Object, State::Key),
        };
        self.containers.push(container);
        self.state = state;
        Some(1)
    }

    fn close(&mut self, bracket: char, out: &mut Text) -> Option<usize> {
        let (expected, json) = match self.containers.last()? {
            Container::Parentheses => (')', '}'),
            Container::Object => ('}', '}'),
            Container::Array => (']', ']'),
        };
        if bracket != expected {
            return None;
        }
        out.push(json);
        self.containers.pop();
        self.comma = false;
        self.string_start = None;
        self.state = if self.containers.is_empty() {
            State::Complete
        } else {
            State::Next
        };
        Some(1)
    }

    /// A key, or a value that has none, starts.
    fn item_starts(&mut self, out: &mut Text) {
        if core::mem::take(&mut self.comma) {
            out.push(',');
        }
    }

    fn colon(&mut self, out: &mut Text) {
        out.push(':');
        self.string_start = None;
        self.state = State::Value;
    }

    fn string_starts(&mut self, key: bool, quote: Quote, start: usize, out: &mut Text) {
        self.item_starts(out);
        out.push('"');
        self.string_start = Some(start);
        self.state = State::String { key, quote };
    }

    fn string_ended(&mut self, key: bool, out: &mut Text) {
        out.push('"');
        self.state = if key { State::Colon } else { State::Next };
    }

    fn string(&mut self, text: &str, key: bool, quote: Quote, out: &mut Text) -> usize {
        let Quote::Character(character) = quote else {
            push_escaped(text, out);
            return text.len();
        };
        let plain = text.find([character, '\\']).unwrap_or(text.len());
        push_escaped(&text[..plain], out);
        if plain == text.len() {
            return plain;
        }
        if text[plain..].starts_with('\\') {
            self.state = State::Escape { key, quote };
        } else {
            self.string_ended(key, out);
        }
        plain + 1
    }

    fn escape(&mut self, text: &str, key: bool, quote: Quote, out: &mut Text) -> Option<usize> {
        self.state = State::String { key, quote };
        match text.chars().next()? {
            '\'' => out.push('\''),
            'u' => {
                out.push_str("\\u");
                self.state = State::Hex {
                    key,
                    quote,
                    left: 4,
                };
            }
            escaped @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {
                out.push('\\');
                out.push(escaped);
            }
            _ => return None,
        }
        Some(1)
    }

    fn hex(
        &mut self,
        text: &str,
        key: bool,
        quote: Quote,
        left: u8,
        out: &mut Text,
    ) -> Option<usize> {
        out.push(text.chars().next().filter(char::is_ascii_hexdigit)?);
        self.state = match left {
            1 => State::String { key, quote },
            _ => State::Hex {
                key,
                quote,
                left: left - 1,
            },
        };
        Some(1)
    }

    /// A key that is not quoted, up to its colon.
    fn bare_key(&mut self, text: &str, out: &mut Text) -> Option<usize> {
        let end = text.find([':', '=', ',', '{', '}', '[', ']']);
        self.bare_text(&text[..end.unwrap_or(text.len())], out);
        let Some(end) = end else {
            return Some(text.len());
        };
        if !text[end..].starts_with([':', '=']) {
            return None;
        }
        self.bare_ended(out);
        self.colon(out);
        Some(end + 1)
    }

    /// A value that is not quoted, up to what may follow a value.
    fn bare_value(&mut self, text: &str, out: &mut Text) -> usize {
        let last = match self.containers.last() {
            Some(Container::Parentheses) => ')',
            _ => '}',
        };
        let end = text.find([',', '}', ']', last]);
        let part = &text[..end.unwrap_or(text.len())];
        let solid = part.trim_end_matches(WHITE_SPACE);
        if let State::BareValue { numeric } = self.state {
            self.held.push_str(part);
            if !solid.is_empty() {
                let numeric = numeric && solid.bytes().all(may_be_in_number);
                self.state = State::BareValue { numeric };
                let length = self.held.len() - (part.len() - solid.len());
                if !numeric && length > LONGEST_LITERAL {
                    out.push('"');
                    self.state = State::BareText { key: false };
                    let tail = self.held.split_off(length);
                    push_escaped(&self.held, out);
                    self.held = tail;
                }
            }
        } else {
            self.bare_text(part, out);
        }
        if end.is_some() {
            self.bare_ended(out);
        }
        part.len()
    }

    /// More of a bare string: white space at its end is withheld.
    fn bare_text(&mut self, text: &str, out: &mut Text) {
        let solid = text.trim_end_matches(WHITE_SPACE);
        if !solid.is_empty() {
            push_escaped(&self.held, out);
            self.held.clear();
            push_escaped(solid, out);
        }
        self.held.push_str(&text[solid.len()..]);
    }

    /// Bare text ended; white space behind it is the format's.
    fn bare_ended(&mut self, out: &mut Text) {
        if let State::BareValue { .. } = self.state {
            let text = self.held.trim_end_matches(WHITE_SPACE);
            let python = PYTHON_LITERALS.iter().find(|(python, _)| *python == text);
            if let Some((_, json)) = python {
                out.push_str(json);
            } else if is_json(text) {
                out.push_str(text);
            } else {
                out.push('"');
                push_escaped(text, out);
                out.push('"');
            }
        } else {
            out.push('"');
        }
        self.held.clear();
        self.state = State::Next;
    }
}
