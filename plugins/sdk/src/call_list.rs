//! Calls as JSON behind a marker: an array of call objects, one such object, or the arguments of a call named before.
//!
//! Invariants: every object of an array is a call of its own, and a broken one costs its neighbours nothing: the list goes
//! on where the braces and brackets of the broken one are even again, or where it plainly never closed. What is no object
//! is handed out as text, apart from white space and commas. It knows no marker: markers are data inside the JSON of a
//! call that is not broken, see [`CallList::literal`].

use alloc::{borrow::ToOwned, string::String, sync::Arc, vec::Vec};

use crate::{
    fragment_buffer::FragmentBuffer,
    json_call::{CallKeys, JsonCall, Progress},
    json_text::WHITE_SPACE,
    types::{Event, Fragment, FragmentKind},
};

/// The lists of one choice, one after the other; closed at first.
#[derive(Debug)]
pub struct CallList {
    state: State,
    /// Whether a call object's `id` is the call's id.
    ids: bool,
    /// The keys of a call object, where they are others than the usual ones.
    keys: Option<Arc<CallKeys>>,
    /// Whether the open list is an array.
    array: bool,
    next_index: u32,
    /// What the model wrote of the open call.
    raw: FragmentBuffer,
    again: Vec<Fragment>,
}

#[derive(Debug)]
enum State {
    Closed,
    /// In an array, where an object or the end must come.
    Between,
    /// Before the arguments of a named call.
    Awaiting(JsonCall),
    /// In a call's JSON.
    Call(JsonCall),
    /// In a call that has its name and all of its arguments and lacks no more than closing brackets.
    Unclosed(JsonCall),
    /// In what is no call, so many braces and brackets deep; `begun` if its `CallBegin` is out.
    Skipping {
        depth: usize,
        begun: bool,
    },
    /// In arguments that are no JSON at all and end where the list is closed.
    Lost,
}

const BETWEEN: [char; 5] = [' ', '\t', '\r', '\n', ','];

impl CallList {
    /// A reader of lists; `ids` says whether an object's `id`, if it stands before the name, is the call's id.
    pub fn new(ids: bool) -> Self {
        Self {
            state: State::Closed,
            ids,
            keys: None,
            array: false,
            next_index: 0,
            raw: FragmentBuffer::default(),
            again: Vec::new(),
        }
    }

    /// The same reader, with these keys of a call object in place of the usual ones.
    #[must_use]
    pub fn with_keys(self, keys: Option<Arc<CallKeys>>) -> Self {
        Self { keys, ..self }
    }

    /// The index of the next call that begins.
    pub fn next_index(&self) -> u32 {
        self.next_index
    }

    /// Opens an array, whose `[` was taken.
    pub fn open_array(&mut self) {
        self.array = true;
        self.state = State::Between;
    }

    /// Opens one call object, which starts with the next byte.
    pub fn open_object(&mut self) {
        self.array = false;
        self.state = State::Call(self.object());
    }

    /// Begins a call whose arguments come next; white space before them is the format's.
    pub fn open_named(&mut self, name: &str, id: Option<String>, events: &mut Vec<Event>) {
        self.array = false;
        self.raw.push(name, FragmentKind::Text);
        let call = JsonCall::named_with_id(self.next_index, name, id, events);
        self.next_index += 1;
        self.state = State::Awaiting(call);
    }

    /// Whether a list is open; if not, text is not for this reader.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// Whether an object or the end of an array must come next.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// Whether markers are data here.
    pub fn literal(&self) -> bool {
        matches!(self.state, State::Call(_))
    }

    /// What is to be read again before anything else; see [`crate::marker_scanner::MarkerReader::again`].
    pub fn again(&mut self) -> Vec<Fragment> {
        core::mem::take(&mut self.again)
    }

    /// Takes text of an open list; see [`crate::marker_scanner::MarkerReader::text`].
    pub fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        match &self.state {
            State::Closed => 0,
            State::Between => self.between(text),
            State::Awaiting(_) => self.awaiting(text),
            State::Call(_) => self.call(text, kind, events),
            State::Unclosed(_) => self.unclosed(text, kind),
            State::Skipping { depth, begun } => self.skipping(text, kind, *depth, *begun, events),
            State::Lost => {
                self.raw.push(text, kind);
                text.len()
            }
        }
    }

    /// Closes the list where a marker stands.
    pub fn close(&mut self, events: &mut Vec<Event>) {
        match &mut self.state {
            State::Awaiting(call) => {
                call.end_without_arguments(events);
                self.raw.clear();
            }
            State::Unclosed(call) | State::Call(call)
                if call.has_all() && call.unproven_string() == 0 =>
            {
                call.end(events);
                self.raw.clear();
            }
            _ => self.abandon(&WHITE_SPACE, events),
        }
        self.state = State::Closed;
    }

    /// Closes the list where the model was cut off.
    pub fn cut(&mut self, events: &mut Vec<Event>) {
        self.abandon(&[], events);
        self.state = State::Closed;
    }

    /// The model stopped: if a string is open, it may hold the end of the call.
    pub fn distrust_open_string(&mut self) {
        if let State::Call(call) = &self.state
            && call.unproven_string() > 0
        {
            self.pick_up(call.scanner().depth(), call.begun(), call.unproven_string());
        }
    }

    fn object(&self) -> JsonCall {
        let call = if self.ids {
            JsonCall::object_with_id(self.next_index)
        } else {
            JsonCall::object(self.next_index)
        };
        call.with_keys(self.keys.clone())
    }

    fn between(&mut self, text: &str) -> usize {
        let space = text.len() - text.trim_start_matches(BETWEEN).len();
        match text.as_bytes().get(space) {
            None => {}
            Some(b']') => {
                self.state = State::Closed;
                return space + 1;
            }
            Some(b'{') => self.state = State::Call(self.object()),
            Some(_) => {
                self.state = State::Skipping {
                    depth: 0,
                    begun: false,
                }
            }
        }
        space
    }

    fn awaiting(&mut self, text: &str) -> usize {
        let space = text.len() - text.trim_start_matches(WHITE_SPACE).len();
        if space < text.len()
            && let State::Awaiting(call) = core::mem::replace(&mut self.state, State::Lost)
        {
            self.state = State::Call(call);
        }
        space
    }

    fn call(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let State::Call(call) = &mut self.state else {
            return 0;
        };
        let had_begun = call.begun();
        let (used, progress) = call.push(text, kind, &mut self.raw, events);
        let begun = call.begun();
        self.next_index += u32::from(begun && !had_begun);
        match progress {
            Progress::Open => {}
            Progress::Complete => {
                self.raw.clear();
                self.element_ended();
            }
            Progress::Failed { unproven } => {
                self.failed(unproven, text.as_bytes().get(used), events)
            }
        }
        used
    }

    /// The JSON of a call ended or broke, before the byte `next`, and is no call.
    fn failed(&mut self, unproven: usize, next: Option<&u8>, events: &mut Vec<Event>) {
        let State::Call(call) = &self.state else {
            return;
        };
        let (scanner, begun) = (call.scanner(), call.begun());
        // Neither can stand there inside an object: the call never closed, and this is the next one or the array's end.
        let never_closed = self.array
            && match next {
                Some(b'{') => self.raw.text().trim_end_matches(WHITE_SPACE).ends_with(','),
                Some(b']') => !scanner.in_array(),
                _ => false,
            };
        if scanner.is_value() || never_closed {
            self.state = State::Skipping { depth: 0, begun };
            self.abandon(&BETWEEN, events);
            self.element_ended();
        } else if unproven == 0 && call.has_all() {
            if let State::Call(call) = core::mem::replace(&mut self.state, State::Lost) {
                self.state = State::Unclosed(call);
            }
        } else {
            self.pick_up(scanner.depth(), begun, unproven);
        }
    }

    /// After the arguments, where a closing bracket is missing: anything but white space before the list is closed is no
    /// such slip.
    fn unclosed(&mut self, text: &str, kind: FragmentKind) -> usize {
        let space = text.len() - text.trim_start_matches(WHITE_SPACE).len();
        self.raw.push(&text[..space], kind);
        if space < text.len()
            && let State::Unclosed(call) = &self.state
        {
            self.pick_up(call.scanner().depth(), true, 0);
        }
        space
    }

    /// Goes on after a call that broke so deep, with the bytes that may not have been meant as JSON.
    fn pick_up(&mut self, depth: usize, begun: bool, unproven: usize) {
        self.state = if depth == 0 {
            State::Lost
        } else {
            State::Skipping { depth, begun }
        };
        self.again = self.raw.split_off(self.raw.text().len() - unproven);
    }

    /// Counts braces and brackets and nothing else: after a break nobody knows which quotes are paired.
    fn skipping(
        &mut self,
        text: &str,
        kind: FragmentKind,
        mut depth: usize,
        begun: bool,
        events: &mut Vec<Event>,
    ) -> usize {
        for (at, byte) in text.bytes().enumerate() {
            let end = match byte {
                b'{' | b']' if depth == 0 => at,
                b'{' | b'[' => {
                    depth += 1;
                    continue;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    if depth > 0 {
                        continue;
                    }
                    at + 1
                }
                _ => continue,
            };
            self.raw.push(&text[..end], kind);
            self.abandon(&BETWEEN, events);
            self.element_ended();
            return end;
        }
        self.raw.push(text, kind);
        self.state = State::Skipping { depth, begun };
        text.len()
    }

    fn element_ended(&mut self) {
        self.state = if self.array {
            State::Between
        } else {
            State::Closed
        };
    }

    /// Abandons the open call if there is one, without these characters at its end.
    fn abandon(&mut self, trimmed: &[char], events: &mut Vec<Event>) {
        let begun = match &self.state {
            State::Closed | State::Between => return,
            State::Awaiting(call) | State::Call(call) | State::Unclosed(call) => call.begun(),
            State::Skipping { begun, .. } => *begun,
            // Only a named call has arguments that are no JSON at all.
            State::Lost => true,
        };
        let raw = self.raw.text().trim_end_matches(trimmed);
        if begun || !raw.is_empty() {
            let index = self.next_index - u32::from(begun);
            let raw = raw.to_owned();
            events.push(Event::CallAbandoned { index, raw });
        }
        self.raw.clear();
    }
}
