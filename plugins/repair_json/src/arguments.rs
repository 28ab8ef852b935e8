//! The arguments of a call that was abandoned, found in what is known of it and repaired.
//!
//! Known are the deltas up to where the parser gave up and the raw text of the call, in whatever format. If the raw text is
//! an object with the call's name and its arguments, those are meant; otherwise the object that goes on as the deltas do,
//! or, without deltas, the first one behind the name. Where the raw text does not hold the deltas (XML-like formats, and
//! arguments that were a string), the deltas alone are repaired. Nothing here is streamed: all of it is read at once.

use alloc::string::String;

use weir_plugin_sdk::{json_scanner::decode_string, json_text::members};

use crate::repair::Repair;

/// Arguments that are a JSON object now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The tool's name.
    pub name: String,
    /// The object.
    pub arguments: String,
    /// Whether what the model wrote had to be closed at its end.
    pub was_open: bool,
}

/// The call that `raw`, perhaps the text of a call whose name never came, holds.
pub fn repair_unnamed(raw: &str) -> Option<Repaired> {
    let object = read_object(raw)?;
    let (name, arguments) = call_of(&object.text)?;
    whole_call(name, arguments, object.was_open)
}

/// The call of this name whose arguments began like `deltas`.
pub fn repair_named(name: &str, deltas: &str, raw: &str) -> Option<Repaired> {
    if let Some(object) = read_object(raw)
        && let Some((found, arguments)) = call_of(&object.text)
        && found == name
    {
        return whole_call(found, arguments, object.was_open);
    }
    let object = read_object(raw_arguments(name, deltas, raw).unwrap_or(deltas))?;
    Some(Repaired {
        name: name.into(),
        arguments: object.text,
        was_open: object.was_open,
    })
}

/// The call of an object that holds its name and its arguments; none are `{}`, unless they were cut off.
fn whole_call(name: String, arguments: Option<&str>, was_open: bool) -> Option<Repaired> {
    let arguments = match arguments {
        Some(value) => arguments_of(value)?,
        None if was_open => return None,
        None => Object::empty(),
    };
    Some(Repaired {
        name,
        was_open: was_open || arguments.was_open,
        arguments: arguments.text,
    })
}

/// The raw text from where the arguments begin. A bracket or an equals sign in front says that what begins there is the
/// value of one argument.
fn raw_arguments<'a>(name: &str, deltas: &str, raw: &'a str) -> Option<&'a str> {
    let behind_name = raw.find(name).map_or(0, |at| at + name.len());
    let start = match deltas.trim_start() {
        "" => "{",
        start => start,
    };
    [behind_name, 0].into_iter().find_map(|from| {
        let at = raw[from..].find(start)?;
        let between = &raw[from..from + at];
        (!between.contains(['<', '(', '='])).then(|| &raw[from + at..])
    })
}

struct Object {
    text: String,
    was_open: bool,
}

impl Object {
    fn empty() -> Self {
        Self {
            text: "{}".into(),
            was_open: false,
        }
    }
}

/// The object at the start of `text`. What follows it is of no account. A key whose value never came is not made up for:
/// calls have effects.
fn read_object(text: &str) -> Option<Object> {
    let text = text.trim_start();
    if !text.starts_with('{') {
        return None;
    }
    let mut repair = Repair::new(true);
    let mut object = String::with_capacity(text.len());
    repair.push(text, &mut object);
    if repair.is_broken() {
        return None;
    }
    let was_open = !repair.is_complete();
    if repair.lacks_value() {
        return None;
    }
    repair.close(&mut object);
    Some(Object {
        text: object,
        was_open,
    })
}

/// Arguments may be an object or a string that holds one.
fn arguments_of(value: &str) -> Option<Object> {
    match decode_string(value) {
        Some(text) if text.trim().is_empty() => Some(Object::empty()),
        Some(text) => read_object(&text),
        None if value.starts_with('{') => Some(Object {
            text: value.into(),
            was_open: false,
        }),
        None => None,
    }
}

/// The name in an object of a call, and the text of its arguments.
fn call_of(object: &str) -> Option<(String, Option<&str>)> {
    let (mut name, mut arguments) = (None, None);
    for (key, value) in members(object) {
        match key.as_str() {
            "name" => name = decode_string(value),
            "arguments" | "parameters" => arguments = Some(value),
            _ => {}
        }
    }
    Some((name?, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(deltas: &str, raw: &str) -> Option<(String, bool)> {
        repair_named("f", deltas, raw).map(|call| (call.arguments, call.was_open))
    }

    #[test]
    fn arguments_are_found_in_every_shape() {
        for (deltas, raw, arguments, was_open) in [
            (
                "{",
                r#"{"name": "f", "arguments": {'a': 1}}"#,
                r#"{"a": 1}"#,
                false,
            ),
            (
                "",
                r#"{"parameters": {a: 1,}, "name": "f"}"#,
                r#"{"a": 1}"#,
                false,
            ),
            (
                "",
                r#"{"name": "f", "arguments": "{'a': 1}"}"#,
                r#"{"a": 1}"#,
                false,
            ),
            (
                "{\"a\"",
                r#"{"name": "f", "arguments": {"a": [1"#,
                r#"{"a": [1]}"#,
                true,
            ),
            ("{", "f\n```json\n{'a': 1}\n```", r#"{"a": 1}"#, false),
            (
                "{\"a\": 1",
                "f{\"a\": 1 'b': 2}",
                r#"{"a": 1 ,"b": 2}"#,
                false,
            ),
            (
                "{\"a\": \"x",
                "<function=f><parameter=a>x",
                r#"{"a": "x"}"#,
                true,
            ),
        ] {
            let expected = Some((arguments.into(), was_open));
            assert_eq!(named(deltas, raw), expected, "{raw}");
        }
    }

    #[test]
    fn what_is_no_object_stays_what_it_is() {
        for (deltas, raw) in [
            ("", "f"),
            ("", ""),
            ("", r#"{"name": "f", "arguments": [1]}"#),
            ("", r#"{"name": "f", "arguments": "Paris"}"#),
            ("{", "f{\"a\": Paris}"),
            ("", r#"{"name": "f""#),
            ("", r#"{"name": "f", "arguments": {"a": 1, "b":"#),
            ("{\"a\": ", "f(a={'x': 1, b"),
            ("", "<function=f><parameter=a>{\"x\": 1}"),
        ] {
            assert_eq!(named(deltas, raw), None, "{raw}");
        }
    }

    #[test]
    fn a_call_without_a_readable_name_is_read_as_a_whole() {
        let call = repair_unnamed("{'name': 'f', 'arguments': {'a': None}}").expect("a call");
        assert_eq!(
            (call.name.as_str(), call.arguments.as_str()),
            ("f", "{\"a\": null}")
        );
        assert_eq!(
            repair_unnamed("{'name': 'f'}").expect("a call").arguments,
            "{}"
        );
        for raw in ["{'name': 'f'", "{'arguments': {}}", "hello", "{'name': 1}"] {
            assert_eq!(repair_unnamed(raw), None, "{raw}");
        }
    }
}
