//! Finds the end of one JSON value in a stream of text, and the members of its top level when it is an object.
//!
//! Invariants: the text must be JSON to the letter (RFC 8259: numbers, literals, commas, escapes); bytes are only ever
//! looked at, so what the model wrote is copied as it is; the work is linear, nesting costs memory and no recursion. It
//! knows nothing of calls, and lone surrogates are fine with it.

use alloc::{string::String, vec::Vec};

/// Why [`JsonScanner::scan`] stopped. "Top level" is that of an outermost object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The text is used up and the value goes on.
    More,
    /// A key of the top level ended; its closing quote is taken.
    Key,
    /// A value of the top level begins with the next byte, which is not taken.
    ValueStart,
    /// A value of the top level ended; nothing after it is taken.
    ValueEnd,
    /// The whole value ended; nothing after it is taken.
    Complete,
    /// The next byte cannot stand there. Every further scan says the same.
    Broken,
}

/// Streaming scanner of one JSON value.
#[derive(Debug)]
pub struct JsonScanner {
    state: State,
    /// The open containers, outermost first.
    containers: Vec<Container>,
    /// How many bytes were taken.
    position: usize,
    /// Where the last string starts, until what follows it proves that it was one.
    string_start: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value must come; `or_end` after `[`; `announced` when its start was reported.
    Value {
        or_end: bool,
        announced: bool,
    },
    /// A key must come; `or_end` after `{`.
    Key {
        or_end: bool,
    },
    Colon,
    /// A comma or the container's end must come.
    Next,
    String {
        key: bool,
    },
    /// After a backslash.
    Escape {
        key: bool,
    },
    /// After `\u`.
    Hex {
        key: bool,
        left: u8,
    },
    Number(Number),
    /// These bytes of a literal must come.
    Literal(&'static [u8]),
    Complete,
    Broken,
}

/// How far a number came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// What a byte does.
enum Effect {
    /// It is taken.
    Take,
    /// It is taken and the scan stops.
    TakeAnd(Step),
    /// The scan stops before it.
    Stop(Step),
    /// It is not taken; the new state decides about it.
    Retry,
}

impl Default for JsonScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl JsonScanner {
    /// A scanner before the first byte of a value; white space before it is taken.
    pub const fn new() -> Self {
        Self {
            state: State::Value {
                or_end: false,
                announced: false,
            },
            containers: Vec::new(),
            position: 0,
            string_start: None,
        }
    }

    /// Takes bytes of `text` up to the next step: how many, and which step. A number at the outermost level ends with
    /// the byte after it, so at the end of all text ask [`Self::is_value`].
    pub fn scan(&mut self, text: &str) -> (usize, Step) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if let State::String { .. } = self.state {
                let plain = bytes[at..].iter().take_while(|b| is_plain(**b)).count();
                at += plain;
                self.position += plain;
                if at == bytes.len() {
                    break;
                }
            }
            match self.effect(bytes[at]) {
                Effect::Take => {
                    at += 1;
                    self.position += 1;
                }
                Effect::TakeAnd(step) => {
                    self.position += 1;
                    return (at + 1, step);
                }
                Effect::Stop(step) => return (at, step),
                Effect::Retry => {}
            }
        }
        (at, Step::More)
    }

    /// Whether what was taken so far is a whole value.
    pub fn is_value(&self) -> bool {
        let number_ended = matches!(
            self.state,
            State::Number(
                Number::Zero | Number::Integer | Number::Fraction | Number::ExponentDigits
            )
        );
        self.state == State::Complete || (self.containers.is_empty() && number_ended)
    }

    /// How many of the bytes taken last belong to a string, and the white space after it, of which nothing that came
    /// later proves that it was one. When the value is broken there, its author may have forgotten a quote.
    pub fn unproven_string(&self) -> usize {
        self.string_start.map_or(0, |start| self.position - start)
    }

    /// How many objects are open.
    pub fn open_objects(&self) -> usize {
        let objects = self.containers.iter();
        objects.filter(|c| **c == Container::Object).count()
    }

    /// How many containers are open, those that were when the value broke.
    pub fn depth(&self) -> usize {
        self.containers.len()
    }

    /// Whether one of the open containers is an array.
    pub fn in_array(&self) -> bool {
        self.containers.contains(&Container::Array)
    }

    fn effect(&mut self, byte: u8) -> Effect {
        match self.state {
            State::Value { or_end, announced } => self.value(byte, or_end, announced),
            State::Key { or_end } => self.key(byte, or_end),
            State::Colon => self.colon(byte),
            State::Next => self.next(byte),
            State::String { key } => self.string(byte, key),
            State::Escape { key } => self.escape(byte, key),
            State::Hex { key, left } => self.hex(byte, key, left),
            State::Number(number) => self.number(byte, number),
            State::Literal(rest) => self.literal(byte, rest),
            State::Complete => Effect::Stop(Step::Complete),
            State::Broken => Effect::Stop(Step::Broken),
        }
    }

    fn broken(&mut self) -> Effect {
        self.state = State::Broken;
        Effect::Stop(Step::Broken)
    }

    fn at_top_level(&self) -> bool {
        self.containers == [Container::Object]
    }

    fn value(&mut self, byte: u8, or_end: bool, announced: bool) -> Effect {
        if is_space(byte) {
            return Effect::Take;
        }
        if or_end && byte == b']' {
            return self.close(Container::Array);
        }
        if !announced && self.at_top_level() {
            self.state = State::Value {
                or_end,
                announced: true,
            };
            return Effect::Stop(Step::ValueStart);
        }
        self.state = match byte {
            b'{' => {
                self.containers.push(Container::Object);
                State::Key { or_end: true }
            }
            b'[' => {
                self.containers.push(Container::Array);
                State::Value {
                    or_end: true,
                    announced: false,
                }
            }
            b'"' => {
                self.string_start = Some(self.position);
                State::String { key: false }
            }
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Integer),
            b't' => State::Literal(b"rue"),
            b'f' => State::Literal(b"alse"),
            b'n' => State::Literal(b"ull"),
            _ => return self.broken(),
        };
        Effect::Take
    }

    fn key(&mut self, byte: u8, or_end: bool) -> Effect {
        match byte {
            b'"' => {
                self.string_start = Some(self.position);
                self.state = State::String { key: true };
                Effect::Take
            }
            b'}' if or_end => self.close(Container::Object),
            _ if is_space(byte) => Effect::Take,
            _ => self.broken(),
        }
    }

    fn colon(&mut self, byte: u8) -> Effect {
        match byte {
            b':' => {
                self.string_start = None;
                self.state = State::Value {
                    or_end: false,
                    announced: false,
                };
                Effect::Take
            }
            _ if is_space(byte) => Effect::Take,
            _ => self.broken(),
        }
    }

    fn next(&mut self, byte: u8) -> Effect {
        match (byte, self.containers.last()) {
            (b',', Some(Container::Object)) => {
                self.string_start = None;
                self.state = State::Key { or_end: false };
                Effect::Take
            }
            (b',', Some(Container::Array)) => {
                self.string_start = None;
                self.state = State::Value {
                    or_end: false,
                    announced: false,
                };
                Effect::Take
            }
            (b'}', _) => self.close(Container::Object),
            (b']', _) => self.close(Container::Array),
            _ if is_space(byte) => Effect::Take,
            _ => self.broken(),
        }
    }

    fn string(&mut self, byte: u8, key: bool) -> Effect {
        match byte {
            b'"' if key => {
                self.state = State::Colon;
                if self.at_top_level() {
                    Effect::TakeAnd(Step::Key)
                } else {
                    Effect::Take
                }
            }
            b'"' => self.value_ended(),
            b'\\' => {
                self.state = State::Escape { key };
                Effect::Take
            }
            0..0x20 => self.broken(),
            _ => Effect::Take,
        }
    }

    fn escape(&mut self, byte: u8, key: bool) -> Effect {
        self.state = match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::String { key },
            b'u' => State::Hex { key, left: 4 },
            _ => return self.broken(),
        };
        Effect::Take
    }

    fn hex(&mut self, byte: u8, key: bool, left: u8) -> Effect {
        if !byte.is_ascii_hexdigit() {
            return self.broken();
        }
        self.state = match left {
            1 => State::String { key },
            _ => State::Hex {
                key,
                left: left - 1,
            },
        };
        Effect::Take
    }

    fn number(&mut self, byte: u8, number: Number) -> Effect {
        use Number::{
            Exponent, ExponentDigits, ExponentSign, Fraction, Integer, Minus, Point, Zero,
        };
        self.state = State::Number(match (number, byte) {
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') | (Integer, b'0'..=b'9') => Integer,
            (Zero | Integer, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Integer | Fraction, b'e' | b'E') => Exponent,
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => ExponentDigits,
            (Zero | Integer | Fraction | ExponentDigits, _) => {
                return match self.value_ended() {
                    Effect::TakeAnd(step) => Effect::Stop(step),
                    _ => Effect::Retry,
                };
            }
            _ => return self.broken(),
        });
        Effect::Take
    }

    fn literal(&mut self, byte: u8, rest: &'static [u8]) -> Effect {
        match rest {
            [expected, ..] if *expected != byte => self.broken(),
            [_] => self.value_ended(),
            _ => {
                self.state = State::Literal(&rest[1..]);
                Effect::Take
            }
        }
    }

    fn close(&mut self, container: Container) -> Effect {
        if self.containers.last() != Some(&container) {
            return self.broken();
        }
        self.containers.pop();
        self.string_start = None;
        self.value_ended()
    }

    /// The byte that ends a value is taken.
    fn value_ended(&mut self) -> Effect {
        if self.containers.is_empty() {
            self.state = State::Complete;
            return Effect::TakeAnd(Step::Complete);
        }
        self.state = State::Next;
        if self.at_top_level() {
            Effect::TakeAnd(Step::ValueEnd)
        } else {
            Effect::Take
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether a byte inside a string means itself.
pub fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

/// Whether `text` is one JSON object, white space around it aside.
pub fn is_object(text: &str) -> bool {
    let mut rest = text.trim_matches([' ', '\t', '\n', '\r']);
    if !rest.starts_with('{') {
        return false;
    }
    let mut scanner = JsonScanner::new();
    loop {
        let (used, step) = scanner.scan(rest);
        rest = &rest[used..];
        match step {
            Step::More | Step::Broken => return false,
            Step::Complete => return rest.is_empty(),
            Step::Key | Step::ValueStart | Step::ValueEnd => {}
        }
    }
}

/// The text that a JSON string, quotes included, stands for. A lone surrogate becomes U+FFFD.
///
/// `None` when `literal` is not a JSON string.
pub fn decode_string(literal: &str) -> Option<String> {
    let mut scanner = JsonScanner::new();
    if !literal.starts_with('"') || scanner.scan(literal) != (literal.len(), Step::Complete) {
        return None;
    }
    let mut text = String::with_capacity(literal.len());
    let mut rest = &literal[1..literal.len() - 1];
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (character, length) = decode_escape(&rest[at..]);
        text.push(character);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    Some(text)
}

/// The character of a well-formed escape at the start of `text`, and how many bytes it is long.
fn decode_escape(text: &str) -> (char, usize) {
    let character = match text.as_bytes()[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return decode_unicode_escape(text),
        other => char::from(other),
    };
    (character, 2)
}

fn decode_unicode_escape(text: &str) -> (char, usize) {
    let unit = |text: &str| u32::from_str_radix(text.get(2..6)?, 16).ok();
    let first = unit(text).unwrap_or(0xFFFD);
    let second = text
        .get(6..)
        .filter(|rest| rest.starts_with("\\u"))
        .and_then(unit);
    match (first, second) {
        (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
            let scalar = 0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00);
            (char::from_u32(scalar).unwrap_or('\u{FFFD}'), 12)
        }
        _ => (char::from_u32(first).unwrap_or('\u{FFFD}'), 6),
    }
}
