//! One call whose arguments are JSON: from the text of its body to call events.
//!
//! The body is either `{"name": ..., "arguments": {...}}`, keys in any order, or, where the format wrote the name before
//! it, the arguments alone. Invariants: argument bytes go out as they arrive and as they were written; a call ends only
//! with arguments that are a JSON object; a string that holds an object is unwrapped; no or empty arguments are `{}`.
//! Where no marker says that the object is a call, the call begins only when its name or its arguments prove it.
//! It knows no marker and keeps no text: the caller keeps `raw`, the text of the whole call.

use alloc::{borrow::ToOwned, string::String, sync::Arc, vec::Vec};
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

/// What a family calls the members of a call object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallKeys {
    /// The name's key; any of these.
    pub name: Vec<String>,
    /// The arguments' key; any of these.
    pub arguments: Vec<String>,
}

/// One call's state.
#[derive(Debug)]
pub struct JsonCall {
    index: u32,
    scanner: JsonScanner,
    /// Whether the body is the arguments alone.
    arguments_only: bool,
    begun: bool,
    /// The keys, where they are others than `name`, and `arguments` or `parameters`.
    keys: Option<Arc<CallKeys>>,
    /// Whether an `id` before the name is the call's id.
    ids: bool,
    id: Option<String>,
    /// Names that prove a call; any does when there is no such list.
    proving: Option<Arc<[String]>>,
    /// The name that came and proves nothing.
    unproven_name: Option<String>,
    arguments: Arguments,
    /// The member whose value comes or is being read, and where in `raw` the value starts.
    member: Option<(Member, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Name,
    Id,
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
            keys: None,
            ids: false,
            id: None,
            proving: None,
            unproven_name: None,
            arguments: Arguments::Missing,
            member: None,
        }
    }

    /// An object that may be a call: it is one if its name is one of `proving`, or if it has a name and arguments that are
    /// an object or a string that stands for one.
    pub fn possible(index: u32, proving: Arc<[String]>) -> Self {
        Self {
            proving: Some(proving),
            ..Self::object(index)
        }
    }

    /// A call like that of [`Self::object`], whose object may hold its `id` too. It is the call's id if it stands before
    /// the name: the call begins with the name.
    pub fn object_with_id(index: u32) -> Self {
        Self {
            ids: true,
            ..Self::object(index)
        }
    }

    /// The same call, with these keys in place of the usual ones.
    #[must_use]
    pub fn with_keys(self, keys: Option<Arc<CallKeys>>) -> Self {
        Self { keys, ..self }
    }

    /// A call whose name stood before its arguments; it begins at once.
    pub fn named(index: u32, name: &str, events: &mut Vec<Event>) -> Self {
        Self::named_with_id(index, name, None, events)
    }

    /// A call whose name, and id if there is one, stood before its arguments; it begins at once.
    pub fn named_with_id(
        index: u32,
        name: &str,
        id: Option<String>,
        events: &mut Vec<Event>,
    ) -> Self {
        events.push(Event::CallBegin {
            index,
            id,
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

    /// The scanner of the call's JSON, for who picks up what is left of a broken one.
    pub fn scanner(&self) -> &JsonScanner {
        &self.scanner
    }

    /// Whether a string is open, and how many of the bytes taken last it may be.
    pub fn unproven_string(&self) -> usize {
        self.scanner.unproven_string()
    }

    /// How many objects of the JSON are open.
    pub fn open_objects(&self) -> usize {
        self.scanner.open_objects()
    }

    /// Whether its name and all of its arguments came.
    pub fn has_all(&self) -> bool {
        self.begun && self.arguments == Arguments::Sent
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
                self.value_starts(Member::Arguments, rest.as_bytes()[0], events);
            }
            let (used, step) = self.scan(rest);
            raw.push(&rest[..used], kind);
            taken += used;
            self.stream(&rest[..used], events);
            match step {
                Step::More => return (taken, Progress::Open),
                Step::Broken => return (taken, self.failed()),
                Step::Complete => return (taken, self.completed(raw.text(), events)),
                Step::Key => self.key_ended(raw.text()),
                Step::ValueStart => {
                    let next = text.as_bytes()[taken];
                    if let Some((member, start)) = &mut self.member {
                        *start = raw.text().len();
                        let member = *member;
                        self.value_starts(member, next, events);
                    }
                }
                Step::ValueEnd => self.value_ended(raw.text(), events),
            }
        }
    }

    /// Takes bytes up to the next step that matters: the members of arguments that are the whole body do not.
    fn scan(&mut self, text: &str) -> (usize, Step) {
        let (mut taken, mut step) = self.scanner.scan(text);
        while self.arguments_only && matches!(step, Step::Key | Step::ValueStart | Step::ValueEnd) {
            let (used, next) = self.scanner.scan(&text[taken..]);
            taken += used;
            step = next;
        }
        (taken, step)
    }

    fn failed(&self) -> Progress {
        Progress::Failed {
            unproven: self.scanner.unproven_string(),
        }
    }

    fn key_ended(&mut self, raw: &str) {
        let literal = &raw[raw.len() - self.scanner.unproven_string()..];
        let member = match decode_string(literal).map(|key| self.meaning(&key)) {
            Some(Member::Name) if !self.begun && self.unproven_name.is_none() => Member::Name,
            Some(Member::Id) if self.ids => Member::Id,
            Some(Member::Arguments) if self.arguments == Arguments::Missing => Member::Arguments,
            _ => Member::Other,
        };
        self.member = Some((member, raw.len()));
    }

    /// What a member of this key is.
    fn meaning(&self, key: &str) -> Member {
        match (&self.keys, key) {
            (Some(keys), _) if keys.name.iter().any(|name| name == key) => Member::Name,
            (Some(keys), _) if keys.arguments.iter().any(|name| name == key) => Member::Arguments,
            (None, "name") => Member::Name,
            (None, "arguments" | "parameters") => Member::Arguments,
            (_, "id") => Member::Id,
            _ => Member::Other,
        }
    }

    fn value_starts(&mut self, member: Member, first: u8, events: &mut Vec<Event>) {
        if member == Member::Arguments {
            self.arguments = match first {
                b'{' => Arguments::Streaming,
                b'"' => Arguments::Missing,
                _ => Arguments::Unusable,
            };
            if self.arguments == Arguments::Streaming {
                self.begin_proven(events);
            }
        }
    }

    /// Begins the call whose name came and is proven now.
    fn begin_proven(&mut self, events: &mut Vec<Event>) {
        if let Some(name) = self.unproven_name.take() {
            self.begin(name, events);
        }
    }

    fn begin(&mut self, name: String, events: &mut Vec<Event>) {
        self.begun = true;
        events.push(Event::CallBegin {
            index: self.index,
            id: self.id.take(),
            name,
        });
    }

    /// Sends bytes of an arguments object.
    fn stream(&mut self, text: &str, events: &mut Vec<Event>) {
        let inside = matches!(self.member, Some((Member::Arguments, _)));
        if inside && self.begun && self.arguments == Arguments::Streaming && !text.is_empty() {
            events.push(Event::CallArguments {
                index: self.index,
                delta: text.into(),
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
            Member::Id => self.id = decode_string(&raw[start..]).filter(|id| !id.is_empty()),
            Member::Arguments => self.arguments_ended(start, raw, events),
            Member::Other => {}
        }
    }

    fn name_ended(&mut self, literal: &str, raw: &str, events: &mut Vec<Event>) {
        let Some(name) = decode_string(literal).filter(|name| !name.is_empty()) else {
            return;
        };
        let proven = match &self.proving {
            Some(names) => names.contains(&name),
            None => true,
        };
        let held = match &self.arguments {
            Arguments::Held(range) => Some(&raw[range.clone()]),
            _ => None,
        };
        if proven || held.is_some_and(|value| whole_arguments(value).is_some()) {
            self.begin(name, events);
            if let Some(value) = held {
                self.send(value, events);
            }
        } else {
            self.unproven_name = Some(name);
        }
    }

    fn arguments_ended(&mut self, start: usize, raw: &str, events: &mut Vec<Event>) {
        let named = self.begun || self.unproven_name.is_some();
        match (&self.arguments, named) {
            (Arguments::Streaming, true) => self.arguments = Arguments::Sent,
            (Arguments::Missing, true) => self.send(&raw[start..], events),
            (Arguments::Streaming | Arguments::Missing, false) => {
                self.arguments = Arguments::Held(start..raw.len());
            }
            _ => {}
        }
    }

    /// Sends whole arguments, if they can be any.
    fn send(&mut self, value: &str, events: &mut Vec<Event>) {
        let Some(delta) = whole_arguments(value) else {
            self.arguments = Arguments::Unusable;
            return;
        };
        self.begin_proven(events);
        self.arguments = Arguments::Sent;
        events.push(Event::CallArguments {
            index: self.index,
            delta: delta.into(),
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

    /// Ends a call that has begun; arguments that never came are `{}`.
    pub fn end(&mut self, events: &mut Vec<Event>) {
        let index = self.index;
        if self.arguments == Arguments::Missing {
            events.push(Event::CallArguments {
                index,
                delta: "{}".into(),
            });
        }
        events.push(Event::CallEnd { index });
    }
}

/// The arguments that a whole value, an object or a string, stands for: the object, or the one that the string holds.
fn whole_arguments(value: &str) -> Option<String> {
    if !value.starts_with('"') {
        return Some(value.to_owned());
    }
    let text = decode_string(value)?;
    match text.trim() {
        "" => Some(String::from("{}")),
        object if is_object(object) => Some(object.to_owned()),
        _ => None,
    }
}
