//! Methods of Python's strings that minijinja's own set lacks, or has otherwise.

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Tuple, from_args},
};
use minijinja_contrib::pycompat;

/// A method of a value, as Python has it.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => match string_method(text, method, arguments) {
            Err(error) if error.kind() == ErrorKind::UnknownMethod => {
                pycompat::unknown_method_callback(state, value, method, arguments)
            }
            result => result,
        },
        None => pycompat::unknown_method_callback(state, value, method, arguments),
    }
}

fn string_method(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "partition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            Ok(match text.split_once(separator) {
                Some((before, after)) => three(before, separator, after),
                None => three(text, "", ""),
            })
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            Ok(match text.rsplit_once(separator) {
                Some((before, after)) => three(before, separator, after),
                None => three("", "", text),
            })
        }
        "rsplit" => {
            let (separator, most): (&str, Option<usize>) = from_args(arguments)?;
            let most = most.map_or(usize::MAX, |most| most.saturating_add(1));
            let mut parts: Vec<&str> = text.rsplitn(most, separator).collect();
            parts.reverse();
            Ok(parts.into_iter().map(Value::from).collect())
        }
        "splitlines" => {
            let (keep_ends,): (Option<bool>,) = from_args(arguments)?;
            let lines = lines(text, keep_ends.unwrap_or(false)).into_iter();
            Ok(lines.map(Value::from).collect())
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn three(before: &str, separator: &str, after: &str) -> Value {
    Value::from(Tuple::from(
        [before, separator, after].map(Value::from).to_vec(),
    ))
}

/// Lines end where Python's do: at more characters than the line feed.
fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    const ENDS: [char; 10] = [
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}',
        '\u{2029}',
    ];
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(ENDS) {
        let length = if rest[end..].starts_with("\r\n") {
            2
        } else {
            rest[end..].chars().next().map_or(0, char::len_utf8)
        };
        lines.push(&rest[..if keep_ends { end + length } else { end }]);
        rest = &rest[end + length..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected texts are Python's own.
    #[test]
    fn string_methods_are_pythons() {
        for (text, method, arguments, expected) in [
            ("abc", "removeprefix", vec!["a"], "bc"),
            ("abc", "removeprefix", vec!["b"], "abc"),
            ("abc", "removesuffix", vec!["c"], "ab"),
            ("a-b-c", "partition", vec!["-"], "('a', '-', 'b-c')"),
            ("abc", "partition", vec!["-"], "('abc', '', '')"),
            ("a-b-c", "rpartition", vec!["-"], "('a-b', '-', 'c')"),
            ("abc", "rpartition", vec!["-"], "('', '', 'abc')"),
            ("a-b-c", "rsplit", vec!["-"], "['a', 'b', 'c']"),
            (
                "a\r\nb\n\nc\rd\u{2028}e\u{b}",
                "splitlines",
                vec![],
                "['a', 'b', '', 'c', 'd', 'e']",
            ),
        ] {
            let arguments: Vec<Value> = arguments.into_iter().map(Value::from).collect();
            let result = string_method(text, method, &arguments).unwrap();
            assert_eq!(result.to_string(), expected, "{text:?}.{method}");
        }
        let arguments = [Value::from("-"), Value::from(1)];
        let result = string_method("a-b-c", "rsplit", &arguments).unwrap();
        assert_eq!(result.to_string(), "['a-b', 'c']");
        assert_eq!(lines("a\r\nb\n", true), ["a\r\n", "b\n"]);
        assert!(string_method("a", "nothing", &[]).is_err());
    }
}
