//! JSON as Python's `json.dumps` writes it, because that is what models saw in training.
//!
//! Differences to `serde_json`: a space after `,` and `:`, no line breaks unless indented, floats in Python's notation,
//! and, if asked for, escapes for all that is not ASCII.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

/// The keyword arguments of `json.dumps` that templates use.
#[derive(Debug, Clone)]
pub(crate) struct DumpOptions {
    pub(crate) indent: Option<usize>,
    pub(crate) item_separator: String,
    pub(crate) key_separator: String,
    pub(crate) ensure_ascii: bool,
}

impl DumpOptions {
    /// Python's separators, which lose the space after the comma when lines are broken there.
    pub(crate) fn new(indent: Option<usize>) -> Self {
        let item_separator = if indent.is_some() { "," } else { ", " };
        Self {
            indent,
            item_separator: item_separator.to_owned(),
            key_separator: ": ".to_owned(),
            ensure_ascii: false,
        }
    }
}

/// Writes a value as JSON.
pub(crate) fn dumps(
    value: &impl Serialize,
    options: DumpOptions,
) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    let formatter = PythonFormatter {
        options,
        depth: 0,
        has_value: false,
    };
    value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

struct PythonFormatter {
    options: DumpOptions,
    depth: usize,
    has_value: bool,
}

impl PythonFormatter {
    fn open<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.has_value {
            self.break_line(writer)?;
        }
        self.has_value = true;
        writer.write_all(bracket)
    }

    fn separate<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(self.options.item_separator.as_bytes())?;
        }
        self.has_value = true;
        self.break_line(writer)
    }

    fn break_line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        match self.options.indent {
            Some(indent) => write!(writer, "\n{:width$}", "", width = indent * self.depth),
            None => Ok(()),
        }
    }
}

impl Formatter for PythonFormatter {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.options.ensure_ascii {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if character.is_ascii() {
                write!(writer, "{character}")?;
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(writer, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.options.key_separator.as_bytes())
    }
}

/// Python's `repr` of a float: the shortest digits that round-trip, an exponent from 1e16 up and below 1e-4.
pub(super) fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let parts = scientific
        .split_once('e')
        .and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?)));
    match parts {
        Some((digits, exponent)) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        // Always with a decimal point.
        _ => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // Expected texts are Python's own.
    #[test]
    fn writes_floats_as_python() {
        for (value, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
            (123456.789, "123456.789"),
        ] {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn writes_structures_as_python() {
        let value = json!({"b": [1, 2.0, "é\n\u{1f600}\u{7f}</script>"], "a": {}, "c": [], "d": null, "e": true});
        let compact = dumps(&value, DumpOptions::new(None)).unwrap();
        assert_eq!(
            compact,
            "{\"b\": [1, 2.0, \"é\\n\u{1f600}\u{7f}</script>\"], \"a\": {}, \"c\": [], \"d\": null, \"e\": true}"
        );
        let indented = dumps(
            &json!({"b": [1, {}], "a": {"x": []}}),
            DumpOptions::new(Some(2)),
        )
        .unwrap();
        assert_eq!(
            indented,
            "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": {\n    \"x\": []\n  }\n}"
        );
    }

    #[test]
    fn escapes_beyond_ascii_on_request() {
        let options = DumpOptions {
            ensure_ascii: true,
            ..DumpOptions::new(None)
        };
        assert_eq!(
            dumps(&"é\u{1f600}", options).unwrap(),
            r#""\u00e9\ud83d\ude00""#
        );
    }
}
