//! Reads one object or array that is meant to be JSON, and writes JSON, as far as nothing can change any more.
//!
//! Valid JSON comes out byte for byte. Held back are a comma with the white space behind it (it may be one too many), a
//! bare word, an escape, and a single quote that may be an apostrophe: at most [`MAX_HELD`] bytes. What cannot be repaired,
//! or would be held longer, ends the repair: the rest is the caller's, as it came. The work is linear, nesting costs memory
//! up to [`MAX_DEPTH`] and no recursion.

use alloc::{string::String, vec::Vec};

use crate::{
    quoted::{Quoted, QuotedStep},
    word,
};

/// The most bytes that are held back.
pub const MAX_HELD: usize = 16 * 1024;
/// How deep containers may nest.
pub const MAX_DEPTH: usize = 64 * 1024;

/// One value on its way.
#[derive(Debug)]
pub struct Repair {
    state: State,
    containers: Vec<Container>,
    objects: usize,
    /// What was read and not written yet: a comma and white space, or a bare word.
    held: String,
    /// Whether `held` begins with a comma.
    comma: bool,
    /// Whether white space stands in front of what comes next.
    spaced: bool,
    /// Whether a backtick between tokens is the fence that ends the value.
    fenced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

impl Container {
    fn end(self) -> char {
        match self {
            Self::Object => '}',
            Self::Array => ']',
        }
    }
}

/// What must come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Value,
    Key,
    Colon,
    /// A comma or the container's end.
    Next,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Between(Token),
    /// After a slash.
    Slash(Token),
    LineComment(Token),
    BlockComment {
        token: Token,
        star: bool,
    },
    Quoted {
        quoted: Quoted,
        is_key: bool,
    },
    BareKey,
    Word,
    Complete,
    Broken,
}

/// Whether a character is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    /// The new state decides about it.
    Not,
}

impl Repair {
    /// In front of a value. If `fenced`, a backtick that stands between tokens ends it.
    pub fn new(fenced: bool) -> Self {
        Self {
            state: State::Between(Token::Value),
            containers: Vec::new(),
            objects: 0,
            held: String::new(),
            comma: false,
            spaced: false,
            fenced,
        }
    }

    /// Whether the value has ended.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Whether it cannot be repaired: what comes is to be passed on as it is.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Whether a fence may end it.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Whether a key has come and its value has not.
    pub fn lacks_value(&self) -> bool {
        match self.state {
            State::Between(token)
            | State::Slash(token)
            | State::LineComment(token)
            | State::BlockComment { token, .. } => {
                token == Token::Colon || self.misses_value(token)
            }
            State::Quoted { is_key, .. } => is_key,
            State::BareKey => true,
            State::Word | State::Complete | State::Broken => false,
        }
    }

    /// Takes text up to the end of the value, or to where it cannot be repaired, and appends what is certain. Answers how
    /// many bytes it took.
    pub fn push(&mut self, text: &str, out: &mut String) -> usize {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let State::Quoted { quoted, .. } = &self.state {
                let plain = quoted.plain(rest);
                if plain > 0 {
                    out.push_str(&rest[..plain]);
                    rest = &rest[plain..];
                    continue;
                }
            }
            while self.step(c, out) == Taken::Not {
                if matches!(self.state, State::Complete | State::Broken) {
                    return text.len() - rest.len();
                }
            }
            rest = &rest[c.len_utf8()..];
            if self.held.len() > MAX_HELD || self.containers.len() > MAX_DEPTH {
                self.break_off(out);
            }
            if matches!(self.state, State::Complete | State::Broken) {
                break;
            }
        }
        text.len() - rest.len()
    }

    /// Says that the text ends within the value, which stays open: appends what was held back, as it came.
    pub fn leave_open(&mut self, out: &mut String) {
        if let State::Quoted { quoted, .. } = &mut self.state {
            quoted.leave_open(out);
        }
        self.break_off(out);
    }

    /// Says that the text ends within the value, and closes what is open.
    pub fn close(&mut self, out: &mut String) {
        let token = match core::mem::replace(&mut self.state, State::Complete) {
            State::Complete | State::Broken => return,
            State::Between(token)
            | State::Slash(token)
            | State::LineComment(token)
            | State::BlockComment { token, .. } => token,
            State::Quoted { mut quoted, is_key } => {
                quoted.close(out);
                if is_key { Token::Colon } else { Token::Next }
            }
            State::BareKey => {
                out.push('"');
                Token::Colon
            }
            State::Word => {
                let word = core::mem::take(&mut self.held);
                out.push_str(word::cut_value(&word).as_deref().unwrap_or("null"));
                Token::Next
            }
        };
        if token == Token::Colon {
            out.push_str(":null");
        } else if self.misses_value(token) {
            out.push_str("null");
        }
        self.drop_comma(out);
        while let Some(container) = self.containers.pop() {
            out.push(container.end());
        }
    }

    fn step(&mut self, c: char, out: &mut String) -> Taken {
        match &mut self.state {
            State::Between(token) => {
                let token = *token;
                self.between(c, token, out)
            }
            State::Quoted { quoted, is_key } => {
                let is_key = *is_key;
                match quoted.step(c, is_key, out) {
                    QuotedStep::Taken => Taken::Yes,
                    QuotedStep::Again => Taken::Not,
                    QuotedStep::Overlong => {
                        self.state = State::Broken;
                        Taken::Yes
                    }
                    QuotedStep::Closed { taken } => {
                        self.spaced = !taken;
                        self.state =
                            State::Between(if is_key { Token::Colon } else { Token::Next });
                        if taken { Taken::Yes } else { Taken::Not }
                    }
                }
            }
            State::BareKey if is_key_char(c) => {
                out.push(c);
                Taken::Yes
            }
            State::BareKey => {
                out.push('"');
                self.state = State::Between(Token::Colon);
                Taken::Not
            }
            State::Word if word::is_word_char(c) => {
                self.held.push(c);
                Taken::Yes
            }
            State::Word => {
                self.end_word(out);
                Taken::Not
            }
            State::Slash(_) | State::LineComment(_) | State::BlockComment { .. } => {
                self.comment(c, out)
            }
            State::Complete | State::Broken => Taken::Not,
        }
    }

    /// Between tokens: white space and comments, then what the next token is.
    fn between(&mut self, c: char, token: Token, out: &mut String) -> Taken {
        match c {
            ' ' | '\t' | '\n' | '\r' => {
                self.spaced = true;
                let target = if self.comma { &mut self.held } else { out };
                target.push(c);
            }
            '\u{feff}' | '\u{a0}' => self.spaced = true,
            '/' => self.state = State::Slash(token),
            '#' => self.state = State::LineComment(token),
            '`' if self.fenced && !self.containers.is_empty() => {
                self.close(out);
                return Taken::Not;
            }
            '}' if token != Token::Colon => self.end(Container::Object, token, out),
            ']' if token != Token::Colon => self.end(Container::Array, token, out),
            _ => return self.token(c, token, out),
        }
        Taken::Yes
    }

    fn token(&mut self, c: char, token: Token, out: &mut String) -> Taken {
        match (token, c) {
            (Token::Key, ',') => {}
            (Token::Value, ',') if !self.misses_value(token) => {}
            (Token::Value, ',') => {
                out.push_str("null");
                self.take_comma();
            }
            (Token::Next, ',') => self.take_comma(),
            (Token::Colon, ':') => {
                out.push(':');
                self.state = State::Between(Token::Value);
            }
            (Token::Key | Token::Value, '"' | '\'') => {
                self.flush(out);
                out.push('"');
                self.state = State::Quoted {
                    quoted: Quoted::new(c),
                    is_key: token == Token::Key,
                };
            }
            (Token::Key, _) if is_key_char(c) => {
                self.flush(out);
                out.push('"');
                out.push(c);
                self.state = State::BareKey;
            }
            (Token::Value, '{') => self.begin(Container::Object, out),
            (Token::Value, '[') => self.begin(Container::Array, out),
            (Token::Value, _) if word::is_word_char(c) => {
                self.flush(out);
                self.held.push(c);
                self.state = State::Word;
            }
            (Token::Next, _) if self.begins_member(c) => {
                out.push(',');
                self.state = State::Between(self.member());
                return Taken::Not;
            }
            _ => {
                self.break_off(out);
                return Taken::Not;
            }
        }
        Taken::Yes
    }

    /// Whether `c`, which comes where a comma is missing, begins the next member.
    fn begins_member(&self, c: char) -> bool {
        match (c, self.containers.last()) {
            ('"' | '\'', _) => true,
            ('{' | '[', top) => top == Some(&Container::Array),
            (_, Some(Container::Object)) => self.spaced && is_key_char(c),
            _ => self.spaced && word::is_word_char(c),
        }
    }

    /// What a member of the open container begins with.
    fn member(&self) -> Token {
        match self.containers.last() {
            Some(Container::Object) => Token::Key,
            _ => Token::Value,
        }
    }

    /// Whether a value must come that has its key already.
    fn misses_value(&self, token: Token) -> bool {
        token == Token::Value && self.containers.last() == Some(&Container::Object)
    }

    fn take_comma(&mut self) {
        self.comma = true;
        self.held.push(',');
        self.state = State::Between(self.member());
    }

    /// What follows the comma is a member: it stands.
    fn flush(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
        self.comma = false;
    }

    /// No member follows the comma: it goes, the white space behind it stands.
    fn drop_comma(&mut self, out: &mut String) {
        out.push_str(self.held.strip_prefix(',').unwrap_or(&self.held));
        self.held.clear();
        self.comma = false;
    }

    fn begin(&mut self, container: Container, out: &mut String) {
        self.flush(out);
        self.containers.push(container);
        self.objects += usize::from(container == Container::Object);
        out.push(match container {
            Container::Object => '{',
            Container::Array => '[',
        });
        self.state = State::Between(self.member());
    }

    /// An end bracket: closes what is open in its container, too. One that nothing opened is passed over.
    fn end(&mut self, container: Container, token: Token, out: &mut String) {
        let open = match container {
            Container::Object => self.objects,
            Container::Array => self.containers.len() - self.objects,
        };
        if open == 0 {
            return;
        }
        if self.misses_value(token) {
            out.push_str("null");
        }
        self.drop_comma(out);
        while let Some(inner) = self.containers.pop() {
            out.push(inner.end());
            self.objects -= usize::from(inner == Container::Object);
            if inner == container {
                break;
            }
        }
        self.value_ended();
    }

    fn end_word(&mut self, out: &mut String) {
        match word::value(&self.held) {
            Some(value) => {
                out.push_str(&value);
                self.held.clear();
                self.value_ended();
            }
            None => self.break_off(out),
        }
    }

    fn value_ended(&mut self) {
        self.spaced = false;
        self.state = match self.containers.is_empty() {
            true => State::Complete,
            false => State::Between(Token::Next),
        };
    }

    fn comment(&mut self, c: char, out: &mut String) -> Taken {
        match &mut self.state {
            State::Slash(token) => {
                let token = *token;
                match c {
                    '/' => self.state = State::LineComment(token),
                    '*' => self.state = State::BlockComment { token, star: false },
                    _ => {
                        self.break_off(out);
                        out.push('/');
                        return Taken::Not;
                    }
                }
            }
            State::LineComment(token) if c == '\n' => {
                self.state = State::Between(*token);
                return Taken::Not;
            }
            State::BlockComment { token, star: true } if c == '/' => {
                self.state = State::Between(*token);
                self.spaced = true;
            }
            State::BlockComment { star, .. } => *star = c == '*',
            _ => {}
        }
        Taken::Yes
    }

    fn break_off(&mut self, out: &mut String) {
        self.flush(out);
        self.state = State::Broken;
    }
}

/// Whether `c` may stand in a key without quotes.
fn is_key_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | '.')
}
