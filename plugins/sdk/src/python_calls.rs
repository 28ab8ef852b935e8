//! The tool parser of every family that writes calls in Python: `[f(a=1, b="x"), g()]`, behind a marker or bare.
//!
//! What is a list of calls: `[`, a name, `(` and then a keyword with its `=`, or `)`. It stands at the start, next to a
//! marker or another list, or at the start of a line; in the middle of a line it is one only if the name is that of an
//! offered tool, because prose and code are full of brackets. A link to a function (`[f()](...)`) is none. Positional
//! arguments make no call, and what a call is given is never evaluated: see [`crate::python_arguments`].
//!
//! Invariants: text outside calls is content, verbatim, and nothing of it is held back but what may still become a call;
//! white space that stands alone next to a list or a marker is the format's own, and so are brackets and commas of a list
//! with a call in it. A call that broke goes on to the comma or bracket behind its parenthesis, and costs its neighbours
//! nothing, even when a forgotten quote swallowed the next call. Markers are data in strings.

use alloc::{
    borrow::{Cow, ToOwned},
    string::String,
    vec::Vec,
};

use crate::{
    fragment_buffer::FragmentBuffer,
    marker_scanner::{MarkerReader, MarkerScanner},
    python_arguments::{PythonArguments, Step},
    types::{Event, FinishReason, Fragment, FragmentKind, RequestContext, Text},
};

/// The longest name of a tool in bytes: it is withheld until it is certain.
const LONGEST_NAME: usize = 256;

/// One choice's parsing.
#[derive(Debug)]
pub struct PythonCalls {
    scanner: MarkerScanner,
    calls: Calls,
}

#[derive(Debug)]
struct Calls {
    /// The names of the offered tools.
    offered: Vec<String>,
    state: State,
    /// Whether only white space came since the start, a marker or a list: it is in `blank`.
    clear: bool,
    /// Whether only white space came since the last line break.
    line_start: bool,
    /// Whether any call or marker came: what is blank at the end is content otherwise.
    marked: bool,
    /// Whether a call of any name makes the open bracket a list.
    any_name: bool,
    /// Whether the open list has a call in it.
    proven: bool,
    /// Whether the open call's `CallBegin` is out.
    begun: bool,
    /// White space and brackets that are the format's if a call follows.
    blank: FragmentBuffer,
    /// The open call, or what may become one.
    raw: FragmentBuffer,
    /// How long the name is with which `raw` starts.
    name_length: usize,
    next_index: u32,
    again: Vec<Fragment>,
}

#[derive(Debug)]
enum State {
    Outside,
    /// Behind the bracket.
    Opened,
    Name,
    Arguments(PythonArguments),
    /// Behind the first call of a list, which is one without arguments; `closed` if its bracket came.
    Empty {
        closed: bool,
    },
    /// Behind a call or what stood in place of one.
    Between,
    /// In what is no call any more, so many brackets deep.
    Skipping {
        depth: usize,
    },
}

const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

impl PythonCalls {
    /// A parser with these markers, which stand around lists or end the message.
    ///
    /// # Panics
    /// When a marker is empty or begins another one.
    pub fn new(markers: Vec<Cow<'static, str>>, context: &RequestContext) -> Self {
        Self {
            scanner: MarkerScanner::new(markers, context.strict_markers),
            calls: Calls {
                offered: context.tools.iter().map(|tool| tool.name.clone()).collect(),
                state: State::Outside,
                clear: true,
                line_start: true,
                marked: false,
                any_name: false,
                proven: false,
                begun: false,
                blank: FragmentBuffer::default(),
                raw: FragmentBuffer::default(),
                name_length: 0,
                next_index: 0,
                again: Vec::new(),
            },
        }
    }

    /// See [`crate::Parser::push`].
    pub fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.scanner.push(fragment, &mut self.calls, events);
    }

    /// See [`crate::Parser::finish`].
    pub fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.scanner.finish(&mut self.calls, events);
        // A model that stopped inside a string forgot the quote; one that was cut off may be quoting anything.
        while reason != FinishReason::Length && self.calls.distrust_open_string() {
            self.scanner.finish(&mut self.calls, events);
        }
        self.calls.close(false, events);
        if !self.calls.marked {
            let blank = self.calls.blank.take();
            events.extend(blank.into_iter().map(Event::Content));
        }
    }
}

impl MarkerReader for Calls {
    fn literal(&self) -> bool {
        matches!(&self.state, State::Arguments(arguments) if arguments.in_string())
    }

    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        if self.literal() {
            // Behind the string there may be a marker.
            return self.arguments(text, kind, events);
        }
        // All of it at once, or the scanner would look for markers in what is left again and again.
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            at += match &self.state {
                State::Outside => self.outside(rest, kind, events),
                State::Opened | State::Between => self.between(rest, kind, events),
                State::Name => self.name(rest, kind, events),
                State::Arguments(_) => self.arguments(rest, kind, events),
                State::Empty { closed } => self.empty(rest, kind, *closed, events),
                State::Skipping { depth } => self.skipping(rest, kind, *depth, events),
            };
            let again = self.again.iter().map(|f| f.text.len()).sum::<usize>();
            if again > at {
                break;
            }
            // It stands in this text.
            self.again.clear();
            at -= again;
        }
        at
    }

    fn marker(&mut self, _: usize, _: FragmentKind, events: &mut Vec<Event>) {
        self.close(true, events);
        self.blank.clear();
        self.clear = true;
        self.marked = true;
    }

    fn again(&mut self) -> Vec<Fragment> {
        core::mem::take(&mut self.again)
    }
}

impl Calls {
    fn outside(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let start = text.bytes().position(|byte| byte == b'[');
        let length = start.unwrap_or(text.len());
        let before = &text[..length];
        if !self.clear {
            self.content(before, kind, events);
        } else if before.trim_matches(WHITE_SPACE).is_empty() {
            self.blank.push(before, kind);
        } else {
            self.release(events);
            self.content(before, kind, events);
        }
        if length == text.len() {
            return length;
        }
        self.any_name = self.clear || self.line_start;
        self.blank.push("[", kind);
        self.state = State::Opened;
        length + 1
    }

    /// Before a name.
    fn between(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let behind_call = matches!(self.state, State::Between);
        let blank = |c: char| WHITE_SPACE.contains(&c) || (behind_call && c == ',');
        let length = text.len() - text.trim_start_matches(blank).len();
        self.blank.push(&text[..length], kind);
        match text[length..].chars().next() {
            None => length,
            Some(']') if behind_call && self.proven => {
                self.list_ended();
                length + 1
            }
            Some(next) if is_of_a_name(next) => {
                self.state = State::Name;
                length
            }
            Some(_) => {
                self.no_list(events);
                length
            }
        }
    }

    fn name(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let length = text.find(|c| !is_of_a_name(c)).unwrap_or(text.len());
        self.raw.push(&text[..length], kind);
        let name = self.raw.text();
        let any = self.any_name || self.proven;
        let possible = any || self.offered.iter().any(|offered| offered.starts_with(name));
        if name.len() > LONGEST_NAME || !possible {
            self.no_list(events);
            return length;
        }
        match text.as_bytes().get(length) {
            None => length,
            Some(b'(') if any || self.offered.iter().any(|offered| offered == name) => {
                self.name_length = name.len();
                self.raw.push("(", kind);
                self.state = State::Arguments(PythonArguments::new());
                length + 1
            }
            Some(_) => {
                self.no_list(events);
                length
            }
        }
    }

    fn arguments(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let State::Arguments(arguments) = &mut self.state else {
            return 0;
        };
        let mut delta = Text::default();
        let (used, step) = arguments.push(text, &mut delta);
        self.raw.push(&text[..used], kind);
        if !self.begun && !self.proven && step == Step::Complete && delta == "{}" {
            self.state = State::Empty { closed: false };
            return used;
        }
        if !delta.is_empty() {
            self.begin(events);
            let index = self.next_index - 1;
            events.push(Event::CallArguments { index, delta });
        }
        match step {
            Step::More => {}
            Step::Complete => self.call_ended(events),
            Step::Broken => self.broken(events),
        }
        used
    }

    /// Behind `[f()`: a link if `](` follows.
    fn empty(
        &mut self,
        text: &str,
        kind: FragmentKind,
        closed: bool,
        events: &mut Vec<Event>,
    ) -> usize {
        match text.as_bytes()[0] {
            b']' if !closed => {
                self.raw.push("]", kind);
                self.state = State::Empty { closed: true };
                return 1;
            }
            b'(' if closed => self.no_list(events),
            _ => self.empty_call(closed, events),
        }
        0
    }

    /// What was a list with a call without arguments, or the start of one, is that.
    fn empty_call(&mut self, closed: bool, events: &mut Vec<Event>) {
        self.begin(events);
        events.push(Event::CallArguments {
            index: self.next_index - 1,
            delta: "{}".into(),
        });
        self.call_ended(events);
        if closed {
            self.list_ended();
        }
    }

    /// Counts brackets and nothing else: after a break nobody knows which quotes are paired.
    fn skipping(
        &mut self,
        text: &str,
        kind: FragmentKind,
        mut depth: usize,
        events: &mut Vec<Event>,
    ) -> usize {
        let mut length = text.len();
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b',' if depth == 0 => length = at,
                // The call never closed, and this is the list's end.
                b']' if depth <= 1 => length = at,
                // Prose need not close its brackets.
                b'\n' if depth == 0 || !self.begun => length = at,
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if length < text.len() {
                break;
            }
        }
        self.state = State::Skipping { depth };
        if self.begun {
            self.raw.push(&text[..length], kind);
        } else {
            self.content(&text[..length], kind, events);
        }
        if length < text.len() {
            let line_ended = text.as_bytes()[length] == b'\n';
            self.abandon(true, events);
            self.state = if line_ended && !self.proven {
                State::Outside
            } else {
                State::Between
            };
        }
        length
    }

    /// Begins the open call if that is still to be done.
    fn begin(&mut self, events: &mut Vec<Event>) {
        if self.begun {
            return;
        }
        events.push(Event::CallBegin {
            index: self.next_index,
            id: None,
            name: self.raw.text()[..self.name_length].to_owned(),
        });
        self.next_index += 1;
        self.begun = true;
        self.proven = true;
        self.marked = true;
        self.blank.clear();
    }

    fn call_ended(&mut self, events: &mut Vec<Event>) {
        let index = self.next_index - 1;
        events.push(Event::CallEnd { index });
        self.begun = false;
        self.raw.clear();
        self.state = State::Between;
    }

    /// The open call broke: the next character cannot stand there.
    fn broken(&mut self, events: &mut Vec<Event>) {
        let State::Arguments(arguments) = &self.state else {
            return;
        };
        let depth = arguments.depth();
        if self.begun {
            let proven = self.raw.text().len() - arguments.unproven_string();
            self.again = self.raw.split_off(proven);
        } else {
            if self.proven {
                self.blank.clear();
            }
            self.release(events);
        }
        self.state = State::Skipping { depth };
    }

    /// The model stopped: if a string is open, it may hold the end of the call, or the next one.
    fn distrust_open_string(&mut self) -> bool {
        let open = self.literal();
        if open {
            self.broken(&mut Vec::new());
        }
        open
    }

    /// The bracket of a list with calls was taken.
    fn list_ended(&mut self) {
        self.blank.clear();
        self.raw.clear();
        self.proven = false;
        self.clear = true;
        self.line_start = false;
        self.state = State::Outside;
    }

    /// What may have become a list, or gone on as one, is text.
    fn no_list(&mut self, events: &mut Vec<Event>) {
        self.release(events);
        self.proven = false;
        self.state = State::Outside;
    }

    /// What is held back is text.
    fn release(&mut self, events: &mut Vec<Event>) {
        for fragment in self.blank.take().into_iter().chain(self.raw.take()) {
            self.content(&fragment.text, fragment.kind, events);
        }
        self.clear = false;
    }

    fn content(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        for byte in text.bytes() {
            self.line_start = match byte {
                b'\n' => true,
                b' ' | b'\t' | b'\r' => self.line_start,
                _ => false,
            };
        }
        events.push(Event::Content(Fragment::new(text, kind)));
    }

    /// Abandons the open call if it has begun; `ended` when its end is known.
    fn abandon(&mut self, ended: bool, events: &mut Vec<Event>) {
        if !self.begun {
            return;
        }
        let raw = self.raw.text();
        let raw = if ended {
            raw.trim_end_matches(WHITE_SPACE)
        } else {
            raw
        };
        events.push(Event::CallAbandoned {
            index: self.next_index - 1,
            raw: raw.to_owned(),
        });
        self.begun = false;
        self.raw.clear();
    }

    /// Nothing more comes of what is open; `ended` by a marker.
    fn close(&mut self, ended: bool, events: &mut Vec<Event>) {
        self.abandon(ended, events);
        match &self.state {
            State::Empty { closed } => self.empty_call(*closed, events),
            State::Outside => {}
            _ => {
                // A comma announced a call: what came of it, if anything, is all there is to say.
                let only_blank = self.raw.text().is_empty() || self.blank.text().contains(',');
                if self.proven && only_blank {
                    self.blank.clear();
                }
                self.no_list(events);
            }
        }
        self.proven = false;
        self.state = State::Outside;
    }
}

/// Whether a character may stand in a tool's name.
fn is_of_a_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.')
}
