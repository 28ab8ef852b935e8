//! Python's numbers as they stream, written as the JSON numbers of the same value.
//!
//! Invariants: a number keeps its bytes where JSON has them; `1_000`, `.5`, `5.`, `+7`, `007` and `0x1f`, which it has not, are
//! the same number. Integers of other bases are written when they end and read up to 128 bits. Nothing is computed.

use alloc::format;

use crate::types::Text;

/// A number from its first byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PythonNumber {
    /// Nothing, or a sign.
    Start {
        /// Whether a sign came.
        signed: bool,
    },
    /// Zeros, none of them written: another digit makes them void, a letter makes them a base.
    Zero,
    /// In the digits before a point.
    Integer,
    /// A point came that JSON has only with a digit behind it, so it is not written.
    Point,
    /// A point came with no digit before it; a zero and the point are written.
    LeadingPoint,
    /// In the digits behind a point.
    Fraction,
    /// After `e`.
    Exponent,
    /// After the exponent's sign.
    ExponentSign,
    /// In the exponent.
    ExponentDigits,
    /// In an integer of another base, which is written when it ends.
    Radix {
        /// 2, 8 or 16.
        radix: u8,
        /// Its value so far; none when it has no digits.
        value: Option<u128>,
    },
    /// It is none.
    Unusable,
}

impl PythonNumber {
    /// A number of which nothing came.
    pub const START: Self = Self::Start { signed: false };

    /// Takes a byte if it belongs to the number.
    pub fn take(&mut self, byte: u8, out: &mut Text) -> bool {
        use PythonNumber::{
            Exponent, ExponentDigits, ExponentSign, Fraction, Integer, LeadingPoint, Point, Radix,
            Start, Zero,
        };
        let mut written = true;
        *self = match (*self, byte) {
            (Start { signed: false }, b'+' | b'-') => {
                written = byte == b'-';
                Start { signed: true }
            }
            (Start { .. }, b'.') => {
                out.push('0');
                LeadingPoint
            }
            (Start { .. } | Zero, b'0') | (Zero, b'_') => {
                written = false;
                Zero
            }
            (Start { .. } | Zero | Integer, b'1'..=b'9') | (Integer, b'0') => Integer,
            (Zero, b'x' | b'X' | b'o' | b'O' | b'b' | b'B') => {
                written = false;
                Radix {
                    radix: match byte.to_ascii_lowercase() {
                        b'x' => 16,
                        b'o' => 8,
                        _ => 2,
                    },
                    value: None,
                }
            }
            (Integer | Fraction | ExponentDigits, b'_') => return true,
            (Zero | Integer, b'.') => {
                if *self == Zero {
                    out.push('0');
                }
                written = false;
                Point
            }
            (Point, b'0'..=b'9') => {
                out.push('.');
                Fraction
            }
            (LeadingPoint | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Integer | Point | Fraction, b'e' | b'E') => {
                match *self {
                    Zero => out.push('0'),
                    Point => out.push_str(".0"),
                    _ => {}
                }
                Exponent
            }
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => ExponentDigits,
            (Radix { radix, value }, _) => return self.radix_digit(byte, radix, value),
            _ => return false,
        };
        if written {
            out.push(char::from(byte));
        }
        true
    }

    fn radix_digit(&mut self, byte: u8, radix: u8, value: Option<u128>) -> bool {
        if byte == b'_' {
            return true;
        }
        let Some(digit) = char::from(byte).to_digit(u32::from(radix)) else {
            return false;
        };
        let value = value.unwrap_or_default().checked_mul(u128::from(radix));
        *self = match value.and_then(|value| value.checked_add(u128::from(digit))) {
            Some(value) => Self::Radix {
                radix,
                value: Some(value),
            },
            None => Self::Unusable,
        };
        true
    }

    /// Writes what was not written yet; says whether it is a number.
    pub fn end(&self, out: &mut Text) -> bool {
        match self {
            Self::Zero => out.push('0'),
            Self::Point => out.push_str(".0"),
            Self::Radix {
                value: Some(value), ..
            } => out.push_str(&format!("{value}")),
            Self::Integer | Self::Fraction | Self::ExponentDigits => {}
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Option<Text> {
        let mut out = Text::default();
        let mut number = PythonNumber::START;
        let all = text.bytes().all(|byte| number.take(byte, &mut out));
        (all && number.end(&mut out)).then_some(out)
    }

    #[test]
    fn numbers_keep_their_bytes_or_at_least_their_value() {
        for same in [
            "0",
            "-0",
            "-0.0",
            "7",
            "-12",
            "1e5",
            "1E+05",
            "2.50e-3",
            "0.1",
            "123456789012345678901234567890",
        ] {
            assert_eq!(number(same).as_deref(), Some(same));
        }
        for (python, json) in [
            ("1_000_000", "1000000"),
            ("1_0.0_1e1_0", "10.01e10"),
            (".5", "0.5"),
            ("-.5e1", "-0.5e1"),
            ("5.", "5.0"),
            ("5.e3", "5.0e3"),
            ("0.", "0.0"),
            ("0e1", "0e1"),
            ("+7", "7"),
            ("007", "7"),
            ("-00.5", "-0.5"),
            ("0x1F", "31"),
            ("-0xff_ff", "-65535"),
            ("0o17", "15"),
            ("0b101", "5"),
            (
                "0xffffffffffffffffffffffffffffffff",
                "340282366920938463463374607431768211455",
            ),
        ] {
            assert_eq!(number(python).as_deref(), Some(json), "{python}");
        }
        for none in [
            "",
            "-",
            "--1",
            "+-1",
            ".",
            "-.",
            "1e",
            "1e+",
            "0x",
            "0xg",
            "0b2",
            "1..2",
            "1.2.3",
            "1j",
            "0x1ffffffffffffffffffffffffffffffff",
        ] {
            assert_eq!(number(none), None, "{none}");
        }
    }
}
