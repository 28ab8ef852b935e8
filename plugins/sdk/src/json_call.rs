//! One call whose arguments are JSON: from the text of its body to call events.
//!
//! The body is either `{"name": ..., "arguments": {...}}`, keys in any order, or, where the format wrote the name before
//! it, the arguments alone. Invariants: argument bytes go out as they arrive and as they were written; a call ends only
//! with arguments that are a JSON object; a string that holds an object is unwrapped; no or empty arguments are `{}`.
//! It knows no marker and keeps no text: the caller keeps `raw`, the text of the whole call.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::ops::Range;

use crate::{
    fragment_buffer::FragmentBuffer,
    json_scanner::{JsonScanner, Step, decode_string, is_object},
    types::{Event, FragmentKind},
};

/// Where a call's JSON stands after [`JsonCall::push`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Open,
    /// It ended and the call is complete: its `CallEnd` is out.
    Complete,
    /// It ended or broke, and it is no call. So many of the bytes taken last may not have been meant as JSON: they are a
    /// string that nothing proves to have ended where it did.
    Failed {
        /// How many bytes.
        unproven: usize,
    },
}

/// One call's state.
#[derive(Debug)]
pub struct JsonCall {
    index: u32,
    scanner: JsonScanner,
    /// Whether the body is the arguments alone.
    arguments_only: bool,
    begun: bool,
    arguments: Arguments,
    /// The member whose value comes or is being read, and where in `raw` the value starts.
    member: Option<(Member, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Name,
    Arguments,
    Other,
}

/// What is known of the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Arguments {
    /// No such key yet.
    Missing,
    /// An object, sent as it arrives if the call has begun.
    Streaming,
    /// Ended before the name came: where it stands in `raw`.
    Held(Range<usize>),
    /// All of them were sent.
    Sent,
    /// Not a JSON object: the call will fail.
    Unusable,
}

impl JsonCall {
    /// A call whose body is an object with its name and arguments. `index` is its index if it begins.
    pub fn object(index: u32) -> Self {
        Self {
            index,
            scanner: JsonScanner::new(),
            arguments_only: false,
            begun: false,
            arguments: Arguments::Missing,
            member: None,
        }
    }

    /// A call whose name stood before its arguments; it begins at once.
    pub fn named(index: u32, name: &str, events: &mut Vec<Event>) -> Self {
        events.push(Event::CallBegin {
            index,
            id: None,
            name: name.to_owned(),
        });
        Self {
            arguments_only: true,
            begun: true,
            ..Self::object(index)
        }
    }

    /// Whether the call's `CallBegin` is out.
    pub fn begun(&self) -> bool {
        self.begun
    }

    /// Whether a string is open, and how many of the bytes taken last it may be.
    pub fn unproven_string(&self) -> usize {
        self.scanner.unproven_string()
    }

    /// Ends a call that has begun and has no arguments: they are `{}`.
    pub fn end_without_arguments(&mut self, events: &mut Vec<Event>) {
        self.arguments = Arguments::Missing;
        self.end(events);
    }

    /// Takes bytes of `text` until the JSON ends, breaks or the text is used up, and returns how many. They are appended
    /// to `raw`, which holds all of this call so far.
    pub fn push(
        &mut self,
        text: &str,
        kind: FragmentKind,
        raw: &mut FragmentBuffer,
        events: &mut Vec<Event>,
    ) -> (usize, Progress) {
        let mut taken = 0;
        loop {
            let rest = &text[taken..];
            if self.arguments_only && self.member.is_none() && !rest.is_empty() {
                self.member = Some((Member::Arguments, raw.text().len()));
                self.value_starts(Member::Arguments, rest.as_bytes()[0]);
            }
            let (used, step) = self.scanner.scan(rest);
            raw.push(&rest[..used], kind);
            taken += used;
            self.stream(&rest[..used], events);
            match step {
                Step::More => return (taken, Progress::Open),
                Step::Broken => return (taken, self.failed()),
                Step::Complete => return (taken, self.completed(raw.text(), events)),
                Step::Key | Step::ValueStart | Step::ValueEnd if self.arguments_only => {}
                Step::Key => self.key_ended(raw.text()),
                Step::ValueStart => {
                    let next = text.as_bytes()[taken];
                    if let Some((member, start)) = &mut self.member {
                        *start = raw.text().len();
                        let member = *member;
                        self.value_starts(member, next);
                    }
                }
                Step::ValueEnd => self.value_ended(raw.text(), events),
            }
        }
    }

    fn failed(&self) -> Progress {
        Progress::Failed {
            unproven: self.scanner.unproven_string(),
        }
    }

    fn key_ended(&mut self, raw: &str) {
        let literal = &raw[raw.len() - self.scanner.unproven_string()..];
        let member = match decode_string(literal).as_deref() {
            Some("name") if !self.begun => Member::Name,
            Some("arguments" | "parameters") if self.arguments == Arguments::Missing => {
                Member::Arguments
            }
            _ => Member::Other,
        };
        self.member = Some((member, raw.len()));
    }

    fn value_starts(&mut self, member: Member, first: u8) {
        if member == Member::Arguments {
            self.arguments = match first {
                b'{' => Arguments::Streaming,
                b'"' => Arguments::Missing,
                _ => Arguments::Unusable,
            };
        }
    }

    /// Sends bytes of an arguments object.
    fn stream(&mut self, text: &str, events: &mut Vec<Event>) {
        let inside = matches!(self.member, Some((Member::Arguments, _)));
        if inside && self.begun && self.arguments == Arguments::Streaming && !text.is_empty() {
            events.push(Event::CallArguments {
                index: self.index,
                delta: text.to_owned(),
            });
        }
    }

    /// A member's value ended; `raw` ends with it.
    fn value_ended(&mut self, raw: &str, events: &mut Vec<Event>) {
        let Some((member, start)) = self.member.take() else {
            return;
        };
        match member {
            Member::Name => self.name_ended(&raw[start..], raw, events),
            Member::Arguments => self.arguments_ended(start, raw, events),
            Member::Other => {}
        }
    }

    fn name_ended(&mut self, literal: &str, raw: &str, events: &mut Vec<Event>) {
        let Some(name) = decode_string(literal).filter(|name| !name.is_empty()) else {
            return;
        };
        self.begun = true;
        events.push(Event::CallBegin {
            index: self.index,
            id: None,
            name,
        });
        if let Arguments::Held(range) = self.arguments.clone() {
            self.send(&raw[range], events);
        }
    }

    fn arguments_ended(&mut self, start: usize, raw: &str, events: &mut Vec<Event>) {
        match (&self.arguments, self.begun) {
            (Arguments::Streaming, true) => self.arguments = Arguments::Sent,
            (Arguments::Missing, true) => self.send(&raw[start..], events),
            (Arguments::Streaming | Arguments::Missing, false) => {
                self.arguments = Arguments::Held(start..raw.len());
            }
            _ => {}
        }
    }

    /// Sends whole arguments: an object, or a string that holds one.
    fn send(&mut self, value: &str, events: &mut Vec<Event>) {
        let delta = if value.starts_with('"') {
            let text = decode_string(value).unwrap_or_default();
            match text.trim() {
                "" => String::from("{}"),
                object if is_object(object) => object.to_owned(),
                _ => {
                    self.arguments = Arguments::Unusable;
                    return;
                }
            }
        } else {
            value.to_owned()
        };
        self.arguments = Arguments::Sent;
        events.push(Event::CallArguments {
            index: self.index,
            delta,
        });
    }

    /// The JSON ended; `raw` ends with it.
    fn completed(&mut self, raw: &str, events: &mut Vec<Event>) -> Progress {
        if self.arguments_only {
            self.value_ended(raw, events);
        }
        if !self.begun || self.arguments == Arguments::Unusable {
            return Progress::Failed { unproven: 0 };
        }
        self.end(events);
        Progress::Complete
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        let index = self.index;
        if self.arguments == Arguments::Missing {
            events.push(Event::CallArguments {
                index,
                delta: String::from("{}"),
            });
        }
        events.push(Event::CallEnd { index });
    }
}
