//! Python's strings as they stream, written as the JSON strings that mean the same.
//!
//! Invariants: an escape that JSON knows keeps its bytes (`\u00e9`, `\/`, halves of a surrogate pair). What a string holds is
//! never lost: an escape that Python does not know is the backslash and what follows, and a raw line break is one. Nothing
//! is withheld but half an escape and quotes that may end the string. Strings that are evaluated (`f"..."`) are none here.

use alloc::format;

use crate::{json_scanner, json_text::push_escaped, types::Text};

/// A string from behind its first quote on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PythonString {
    quote: u8,
    /// Whether a backslash stands for itself (`r"..."`).
    raw: bool,
    triple: bool,
    state: InString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InString {
    /// Nothing came: another quote makes it empty, or the second of three.
    Opened,
    /// Two quotes came.
    OpenedTwice,
    Body,
    /// So many quotes came that end it if they are three.
    Quotes(u8),
    Escape,
    /// After a backslash that stands for itself.
    RawEscape,
    Code(Code),
}

/// An escape that names its character by digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Code {
    /// `x`, `u`, `U`, or `0` for octal digits, which no letter announces.
    letter: u8,
    digits: [u8; 8],
    length: usize,
}

/// What a byte does.
enum Effect {
    Take,
    /// The new state decides about it.
    Retry,
    /// The string ended, with this byte or before it.
    End {
        taken: bool,
    },
}

impl PythonString {
    /// A string whose first quote was taken.
    pub fn new(quote: u8, raw: bool, out: &mut Text) -> Self {
        out.push('"');
        Self {
            quote,
            raw,
            triple: false,
            state: InString::Opened,
        }
    }

    /// Takes text up to the string's end: how many bytes, and whether it ended.
    pub fn push(&mut self, text: &str, out: &mut Text) -> (usize, bool) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if self.state == InString::Body {
                let plain = bytes[at..].iter().take_while(|b| is_plain(**b)).count();
                out.push_str(&text[at..at + plain]);
                at += plain;
                if at == bytes.len() {
                    break;
                }
            }
            match self.byte(bytes[at], out) {
                Effect::Take => at += 1,
                Effect::Retry => {}
                Effect::End { taken } => return (at + usize::from(taken), true),
            }
        }
        (at, false)
    }

    fn byte(&mut self, byte: u8, out: &mut Text) -> Effect {
        match self.state {
            InString::Opened if byte == self.quote => self.state = InString::OpenedTwice,
            InString::OpenedTwice if byte == self.quote => {
                self.triple = true;
                self.state = InString::Body;
            }
            InString::OpenedTwice => {
                out.push('"');
                return Effect::End { taken: false };
            }
            InString::Body => return self.body(byte, out),
            InString::Quotes(2) if byte == self.quote => {
                out.push('"');
                return Effect::End { taken: true };
            }
            InString::Quotes(count) if byte == self.quote => {
                self.state = InString::Quotes(count + 1);
            }
            InString::Quotes(count) => {
                for _ in 0..count {
                    push_byte(self.quote, out);
                }
                return self.retry();
            }
            InString::Escape => return self.escape(byte, out),
            InString::RawEscape if matches!(byte, b'"' | b'\'' | b'\\') => {
                push_byte(byte, out);
                self.state = InString::Body;
            }
            InString::Opened | InString::RawEscape => return self.retry(),
            InString::Code(code) => return self.code(byte, code, out),
        }
        Effect::Take
    }

    fn retry(&mut self) -> Effect {
        self.state = InString::Body;
        Effect::Retry
    }

    fn body(&mut self, byte: u8, out: &mut Text) -> Effect {
        if byte == self.quote {
            if !self.triple {
                out.push('"');
                return Effect::End { taken: true };
            }
            self.state = InString::Quotes(1);
        } else if byte != b'\\' {
            push_byte(byte, out);
        } else if self.raw {
            push_byte(byte, out);
            self.state = InString::RawEscape;
        } else {
            self.state = InString::Escape;
        }
        Effect::Take
    }

    fn escape(&mut self, byte: u8, out: &mut Text) -> Effect {
        self.state = InString::Body;
        match byte {
            b'n' | b'r' | b't' | b'b' | b'f' | b'\\' | b'"' | b'/' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\'' => out.push('\''),
            b'a' => out.push_str("\\u0007"),
            b'v' => out.push_str("\\u000b"),
            // The string goes on in the next line.
            b'\n' => {}
            b'x' | b'u' | b'U' => self.state = InString::Code(Code::new(byte)),
            b'0'..=b'7' => {
                let mut code = Code::new(b'0');
                code.take(byte);
                self.state = InString::Code(code);
            }
            _ => {
                out.push_str("\\\\");
                return Effect::Retry;
            }
        }
        Effect::Take
    }

    fn code(&mut self, byte: u8, mut code: Code, out: &mut Text) -> Effect {
        let digit = code.take(byte);
        if digit && code.length < code.longest() {
            self.state = InString::Code(code);
            return Effect::Take;
        }
        code.write(out);
        self.state = InString::Body;
        if digit { Effect::Take } else { Effect::Retry }
    }
}

impl Code {
    fn new(letter: u8) -> Self {
        Self {
            letter,
            digits: [b'0'; 8],
            length: 0,
        }
    }

    fn longest(&self) -> usize {
        match self.letter {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 3,
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let digit = if self.letter == b'0' {
            matches!(byte, b'0'..=b'7')
        } else {
            byte.is_ascii_hexdigit()
        };
        if digit {
            self.digits[self.length] = byte;
            self.length += 1;
        }
        digit
    }

    fn write(&self, out: &mut Text) {
        let digits = core::str::from_utf8(&self.digits[..self.length]).unwrap_or_default();
        let radix = if self.letter == b'0' { 8 } else { 16 };
        let value = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
        let whole = self.letter == b'0' || self.length == self.longest();
        match (self.letter, char::from_u32(value)) {
            (b'u', _) if whole => {
                out.push_str("\\u");
                out.push_str(digits);
            }
            (b'U', Some(character)) if whole && value > 0xFFFF => out.push(character),
            _ if whole && value <= 0xFFFF => out.push_str(&format!("\\u{value:04x}")),
            // No character: what stands there is a backslash and letters, a Windows path perhaps.
            (letter, _) => {
                out.push_str("\\\\");
                out.push(char::from(letter));
                out.push_str(digits);
            }
        }
    }
}

/// Whether a byte in a string of either quote means itself in JSON too.
fn is_plain(byte: u8) -> bool {
    byte != b'\'' && json_scanner::is_plain(byte)
}

/// Writes an ASCII character as part of a JSON string.
fn push_byte(byte: u8, out: &mut Text) {
    push_escaped(char::from(byte).encode_utf8(&mut [0; 4]), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the string makes of `text`, cut before the byte `cut`, and how much is left.
    fn string(text: &str, cut: usize) -> (Text, usize) {
        let raw = text.starts_with('r');
        let text = text.trim_start_matches('r');
        let mut out = Text::default();
        let mut string = PythonString::new(text.as_bytes()[0], raw, &mut out);
        let cut = text.floor_char_boundary(cut.max(1));
        let (first, ended) = string.push(&text[1..cut], &mut out);
        if ended {
            return (out, text.len() - 1 - first);
        }
        let (second, _) = string.push(&text[cut..], &mut out);
        (out, text.len() - cut - second)
    }

    #[test]
    fn strings_become_json_under_every_cut() {
        for (python, json) in [
            (r#"'it\'s "so"',"#, r#""it's \"so\"""#),
            (r#""it's \"so\"","#, r#""it's \"so\"""#),
            ("'',", r#""""#),
            ("'''a'b''c\n\"''',", r#""a'b''c\n\"""#),
            (r#""""say ""now"".""","#, r#""say \"\"now\"\".""#),
            (
                r#"'\n\t\\\/\u00e9\ud83d\ude00',"#,
                r#""\n\t\\\/\u00e9\ud83d\ude00""#,
            ),
            (
                r"'\a\v\x41\101\7\0',",
                r#""\u0007\u000b\u0041\u0041\u0007\u0000""#,
            ),
            (
                r"'\U0001F600\U00000041\UFFFFFFFF',",
                r#""😀\u0041\\UFFFFFFFF""#,
            ),
            (r"'^\d+\s\.é\é$',", r#""^\\d+\\s\\.é\\é$""#),
            (r"'C:\users\xavier',", r#""C:\\users\\xavier""#),
            ("'a\\\nb\n\t\u{1}',", r#""ab\n\t\u0001""#),
            (r#"r"\d\"\\","#, r#""\\d\\\"\\\\""#),
        ] {
            for cut in 0..python.len() {
                assert_eq!(string(python, cut), (json.into(), 1), "{python} at {cut}");
            }
        }
    }
}
