//! Reads a plugin's configuration: the JSON text that `describe` is given, driven by what is expected next.
//!
//! It knows objects, arrays, strings and booleans; a general JSON reader would double the size of a small component.
//! Whatever is not expected is refused with its place, so that a slip of the pen never passes in silence. It recurses only
//! as deep as its caller's closures nest, never on the text.

use alloc::{format, string::String};

/// A configuration and how far it was read.
#[derive(Debug)]
pub struct ConfigReader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> ConfigReader<'a> {
    /// A reader of this JSON text.
    pub fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    fn fail<T>(&self, expected: &str) -> Result<T, String> {
        Err(format!(
            "configuration, byte {}: {expected} expected",
            self.position
        ))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip_white_space(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.position += rest.len() - trimmed.len();
    }

    /// Takes `token` if it comes next, white space skipped.
    fn take(&mut self, token: &str) -> bool {
        self.skip_white_space();
        let found = self.rest().starts_with(token);
        if found {
            self.position += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) {
            return Ok(());
        }
        self.fail(&format!("`{token}`"))
    }

    /// Says that nothing may follow.
    ///
    /// # Errors
    /// When something does.
    pub fn end(&mut self) -> Result<(), String> {
        self.skip_white_space();
        if self.rest().is_empty() {
            return Ok(());
        }
        self.fail("the end")
    }

    /// Reads an object; `field` is called with each key and reads the value.
    ///
    /// # Errors
    /// When there is no object, or what `field` says.
    pub fn object(
        &mut self,
        mut field: impl FnMut(&str, &mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.expect("{")?;
        if self.take("}") {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(":")?;
            field(&key, self)?;
            if !self.take(",") {
                return self.expect("}");
            }
        }
    }

    /// Reads an array; `item` reads each value.
    ///
    /// # Errors
    /// When there is no array, or what `item` says.
    pub fn array(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.expect("[")?;
        if self.take("]") {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.take(",") {
                return self.expect("]");
            }
        }
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// When there is neither.
    pub fn boolean(&mut self) -> Result<bool, String> {
        if self.take("true") {
            return Ok(true);
        }
        if self.take("false") {
            return Ok(false);
        }
        self.fail("true or false")
    }

    /// Reads a string, escapes resolved.
    ///
    /// # Errors
    /// When there is none.
    pub fn string(&mut self) -> Result<String, String> {
        self.skip_white_space();
        if !self.rest().starts_with('"') {
            return self.fail("a string");
        }
        self.position += 1;
        let mut value = String::new();
        loop {
            let Some(c) = self.next_char() else {
                return self.fail("`\"`");
            };
            match c {
                '"' => return Ok(value),
                '\\' => value.push(self.escape()?),
                c if c < ' ' => return self.fail("an escape in place of a control character"),
                c => value.push(c),
            }
        }
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn escape(&mut self) -> Result<char, String> {
        Ok(match self.next_char() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let unit = self.code_unit()?;
                let code = match unit {
                    0xd800..0xdc00 if self.rest().starts_with("\\u") => {
                        self.position += 2;
                        let low = self.code_unit()?;
                        if !(0xdc00..0xe000).contains(&low) {
                            return self.fail("the second half of a surrogate pair");
                        }
                        0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                    }
                    unit => unit,
                };
                match char::from_u32(code) {
                    Some(c) => c,
                    None => return self.fail("a whole surrogate pair"),
                }
            }
            _ => return self.fail("a known escape"),
        })
    }

    fn code_unit(&mut self) -> Result<u32, String> {
        let digits = self.rest().get(..4).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return self.fail("four hexadecimal digits");
        }
        self.position += 4;
        u32::from_str_radix(digits, 16).or_else(|_| self.fail("four hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use std::{string::ToString, vec::Vec};

    use super::*;

    fn read(text: &str) -> Result<(Vec<String>, bool), String> {
        let (mut names, mut flag) = (Vec::new(), false);
        let mut reader = ConfigReader::new(text);
        reader.object(|key, reader| {
            match key {
                "names" => reader.array(|reader| {
                    names.push(reader.string()?);
                    Ok(())
                })?,
                "flag" => flag = reader.boolean()?,
                _ => return Err(key.to_string()),
            }
            Ok(())
        })?;
        reader.end()?;
        Ok((names, flag))
    }

    #[test]
    fn reads_what_is_expected() {
        let text = " { \"names\" : [ \"a\\n\\\"\" , \"\\ud83d\\ude00\" ] , \"flag\" : true } ";
        let names = ["a\n\"", "😀"].map(Into::into);
        assert_eq!(read(text), Ok((names.into(), true)));
        assert_eq!(read("{}"), Ok((Vec::new(), false)));
    }

    #[test]
    fn refuses_anything_else_with_its_place() {
        for (text, reason) in [
            ("", "byte 0: `{` expected"),
            ("null", "byte 0: `{` expected"),
            ("{} {}", "byte 3: the end expected"),
            (r#"{"other": 1}"#, "other"),
            (r#"{"flag": "true"}"#, "byte 9: true or false expected"),
            (r#"{"names": "a"}"#, "byte 10: `[` expected"),
            (r#"{"names": [1]}"#, "byte 11: a string expected"),
            (r#"{"names": ["\x"]}"#, "a known escape expected"),
            (
                r#"{"names": ["\udc00"]}"#,
                "a whole surrogate pair expected",
            ),
            (r#"{"names": ["a"#, "`\"` expected"),
            (r#"{"flag": true,}"#, "a string expected"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
