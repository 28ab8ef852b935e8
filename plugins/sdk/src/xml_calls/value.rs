//! One parameter's value on its way from markup to a member of the arguments.
//!
//! Invariants: a string goes out as it comes, escaped; what may still be of another type is held back until it cannot be,
//! or until it ends; a JSON value keeps its bytes. One line break at either end is the template's where the format has
//! such. It knows no tags.

use alloc::{string::String, vec::Vec};

use crate::{
    json_scanner::is_plain,
    json_text::{is_json, may_be_in_number, push_escaped},
    schema_types::Types,
    types::{Event, Text},
};

/// A value that is being read.
#[derive(Debug)]
pub(super) struct Value {
    index: u32,
    types: Types,
    /// What stands before the value in the arguments, until it went out.
    before: String,
    /// What came of a value that may yet not be a string; `None` when it is a string.
    held: Option<String>,
    /// With how much white space `held` starts.
    space: usize,
    /// Whether a line break at either end is the template's.
    line_breaks: bool,
    /// Whether nothing came yet.
    at_start: bool,
    /// Whether a line break is withheld, because the end may follow.
    line_break: bool,
    /// Whether the parameter came before: the first one stands.
    repeated: bool,
}

const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
/// So much of a value tells whether it may be JSON. What it is, is known at its end.
const LONGEST_LOOK: usize = 64;

impl Value {
    /// A value of a call's parameter that may have these types. `before` is what the arguments hold up to it.
    pub(super) fn new(index: u32, types: Types, before: String, line_breaks: bool) -> Self {
        Self {
            index,
            types,
            before,
            held: Some(String::new()),
            space: 0,
            line_breaks,
            at_start: true,
            line_break: false,
            repeated: false,
        }
    }

    /// A value that is passed over.
    pub(super) fn repeated(self) -> Self {
        Self {
            repeated: true,
            ..self
        }
    }

    /// Says what is known before any of it came.
    pub(super) fn open(mut self, events: &mut Vec<Event>) -> Self {
        if self.types == Types::STRING {
            self.become_string(events);
        }
        self
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, text: &str, events: &mut Vec<Event>) {
        if self.repeated || text.is_empty() {
            return;
        }
        let mut text = text;
        if self.at_start && self.line_breaks {
            text = text.strip_prefix('\n').unwrap_or(text);
        }
        self.at_start = false;
        match &mut self.held {
            None => self.push_string(text, events),
            Some(held) => {
                held.push_str(text);
                let rest = &held[self.space..];
                self.space += rest.len() - rest.trim_start_matches(WHITE_SPACE).len();
                if self.types.has(Types::STRING) && !may_be_json(&held[self.space..], self.types) {
                    self.become_string(events);
                }
            }
        }
    }

    /// The value is a string: what is held of it goes out.
    fn become_string(&mut self, events: &mut Vec<Event>) {
        let held = self.held.take().unwrap_or_default();
        if !self.repeated {
            self.before.push('"');
            let before = core::mem::take(&mut self.before);
            send(self.index, before.as_str().into(), events);
            self.push_string(&held, events);
        }
    }

    fn push_string(&mut self, text: &str, events: &mut Vec<Event>) {
        let kept = match text.strip_suffix('\n') {
            Some(kept) if self.line_breaks => kept,
            _ => text,
        };
        let withheld = self.line_break && !text.is_empty();
        if !text.is_empty() {
            self.line_break = kept.len() < text.len();
        }
        if !withheld && kept.bytes().all(is_plain) {
            send(self.index, kept.into(), events);
            return;
        }
        let mut delta = Text::with_capacity(kept.len() + 8);
        if withheld {
            delta.push_str("\\n");
        }
        push_escaped(kept, &mut delta);
        send(self.index, delta, events);
    }

    /// Whether what came of it is a whole value by itself: a string may be, whatever came.
    pub(super) fn is_whole(&self) -> bool {
        match &self.held {
            Some(held) if !self.types.has(Types::STRING) => {
                json(held.trim_matches(WHITE_SPACE), self.types).is_some()
            }
            _ => true,
        }
    }

    /// The value ended.
    pub(super) fn close(&mut self, events: &mut Vec<Event>) {
        if self.repeated {
            return;
        }
        let Some(held) = self.held.take() else {
            send(self.index, "\"".into(), events);
            return;
        };
        let mut delta = core::mem::take(&mut self.before);
        if let Some(value) = json(held.trim_matches(WHITE_SPACE), self.types) {
            delta.push_str(value);
        } else {
            let kept = match held.strip_suffix('\n') {
                Some(kept) if self.line_breaks => kept,
                _ => &held,
            };
            delta.push('"');
            push_escaped(kept, &mut delta);
            delta.push('"');
        }
        send(self.index, delta.as_str().into(), events);
    }
}

fn send(index: u32, delta: Text, events: &mut Vec<Event>) {
    if !delta.is_empty() {
        events.push(Event::CallArguments { index, delta });
    }
}

/// The JSON value that `text` is, if it is of one of these types. `null` is taken wherever no string is: nothing else can
/// be meant. A schema's `integer` is any number, which keeps its bytes.
fn json(text: &str, types: Types) -> Option<&str> {
    if types != Types::ANY {
        let nothing = types.has(Types::NULL) || !types.has(Types::STRING);
        match text {
            "True" | "TRUE" if types.has(Types::BOOLEAN) => return Some("true"),
            "False" | "FALSE" if types.has(Types::BOOLEAN) => return Some("false"),
            "null" | "None" | "Null" | "NULL" if nothing => return Some("null"),
            // A string as the markup has it, not as JSON has it.
            _ if text.starts_with('"') => return None,
            _ => {}
        }
    }
    let of = Types::of_value(text);
    (of != Types::NONE && types.has(of) && is_json(text)).then_some(text)
}

/// Whether a value that starts with `text`, which does not start with white space, may be of a type other than string.
fn may_be_json(text: &str, types: Types) -> bool {
    let looked_at = &text[..text.floor_char_boundary(LONGEST_LOOK)];
    let text = looked_at.trim_end_matches(WHITE_SPACE);
    let begins = |words: &[&str]| words.iter().any(|word| word.starts_with(text));
    match text.as_bytes().first() {
        None => true,
        Some(b'{') => types.has(Types::OBJECT),
        Some(b'[') => types.has(Types::ARRAY),
        Some(b'"') => types == Types::ANY,
        Some(b'-' | b'0'..=b'9') => types.has(Types::NUMBER) && text.bytes().all(may_be_in_number),
        Some(b't' | b'f') => types.has(Types::BOOLEAN) && begins(&["true", "false"]),
        Some(b'n') => types.has(Types::NULL) && begins(&["null"]),
        Some(b'T' | b'F') => {
            types.has(Types::BOOLEAN)
                && types != Types::ANY
                && begins(&["True", "TRUE", "False", "FALSE"])
        }
        Some(b'N') => {
            types.has(Types::NULL) && types != Types::ANY && begins(&["None", "Null", "NULL"])
        }
        Some(_) => false,
    }
}
