//! One string, in double or single quotes, on its way to being a JSON string.
//!
//! The opening quote is written by the caller. What is held back is an escape, or a single quote and the white space behind
//! it until the next character tells whether the string ends there.

use alloc::string::String;

use weir_plugin_sdk::json_text::push_escaped;

use crate::repair::MAX_HELD;

/// A string that is open.
#[derive(Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The quote it is written in.
    mark: char,
    at: At,
    /// The escape or the quote that is not decided yet.
    held: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Text,
    /// After a backslash.
    Escape,
    /// After `\u` and fewer than four digits.
    Hex,
    /// After a single quote.
    Quote,
}

/// What a character did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotedStep {
    /// It belongs to the string.
    Taken,
    /// It is to be given once more.
    Again,
    /// The string ended; `taken` with this character, otherwise before it.
    Closed {
        /// Whether the character was the quote.
        taken: bool,
    },
    /// Too much would be held back: it was written as it came.
    Overlong,
}

impl Quoted {
    /// The string that this quote opens.
    pub fn new(mark: char) -> Self {
        Self {
            mark,
            at: At::Text,
            held: String::new(),
        }
    }

    /// How many bytes at the start of `text` mean themselves.
    pub fn plain(&self, text: &str) -> usize {
        if self.at != At::Text {
            return 0;
        }
        let special =
            |b: &u8| *b < 0x20 || matches!(*b, b'"' | b'\\') || char::from(*b) == self.mark;
        let bytes = text.as_bytes();
        bytes.iter().position(special).unwrap_or(bytes.len())
    }

    /// Takes a character.
    pub fn step(&mut self, c: char, is_key: bool, out: &mut String) -> QuotedStep {
        match self.at {
            At::Text => return self.text(c, out),
            At::Escape => self.escape(c, out),
            At::Hex if c.is_ascii_hexdigit() => {
                self.held.push(c);
                if self.held.len() == r"\u0000".len() {
                    self.release(out);
                }
            }
            At::Hex => {
                out.push('\\');
                self.release(out);
                return QuotedStep::Again;
            }
            At::Quote => return self.after_quote(c, is_key, out),
        }
        QuotedStep::Taken
    }

    /// Says that the text ends here, and closes the string. Half an escape goes.
    pub fn close(&mut self, out: &mut String) {
        out.push('"');
        if self.at == At::Quote {
            out.push_str(self.held.get(1..).unwrap_or_default());
        }
        self.held.clear();
    }

    /// Says that the text ends here, and leaves the string open.
    pub fn leave_open(&mut self, out: &mut String) {
        self.release(out);
    }

    fn release(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
        self.at = At::Text;
    }

    fn text(&mut self, c: char, out: &mut String) -> QuotedStep {
        match c {
            '"' if self.mark == '"' => {
                out.push('"');
                return QuotedStep::Closed { taken: true };
            }
            '\'' if self.mark == '\'' => {
                self.held.push(c);
                self.at = At::Quote;
            }
            '\\' => {
                self.held.push(c);
                self.at = At::Escape;
            }
            _ => write_char(c, out),
        }
        QuotedStep::Taken
    }

    fn escape(&mut self, c: char, out: &mut String) {
        match c {
            'u' => {
                self.held.push(c);
                self.at = At::Hex;
                return;
            }
            '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {
                out.push('\\');
                out.push(c);
            }
            // What JSON need not escape, or a line break that it must.
            '\'' | '\n' | '\r' => write_char(c, out),
            // No escape of JSON's: the backslash was meant.
            _ => {
                out.push_str("\\\\");
                write_char(c, out);
            }
        }
        self.held.clear();
        self.at = At::Text;
    }

    /// A single quote ends the string if what follows could follow a string. It is an apostrophe otherwise.
    fn after_quote(&mut self, c: char, is_key: bool, out: &mut String) -> QuotedStep {
        if matches!(c, ' ' | '\t' | '\n' | '\r') {
            self.held.push(c);
            if self.held.len() > MAX_HELD {
                self.release(out);
                return QuotedStep::Overlong;
            }
            return QuotedStep::Taken;
        }
        let spaced = self.held.len() > 1;
        let ends = match c {
            ':' => is_key,
            ',' | '}' | ']' => !is_key,
            '"' | '\'' | '/' | '#' => !is_key && spaced,
            '`' => !is_key && self.held.contains('\n'),
            _ => false,
        };
        if ends {
            self.close(out);
            return QuotedStep::Closed { taken: false };
        }
        for held in self.held.chars() {
            write_char(held, out);
        }
        self.held.clear();
        self.at = At::Text;
        QuotedStep::Again
    }
}

/// Writes a character of a string as JSON has it.
fn write_char(c: char, out: &mut String) {
    push_escaped(c.encode_utf8(&mut [0; 4]), out);
}
