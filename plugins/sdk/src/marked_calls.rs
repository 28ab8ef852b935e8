//! The tool parser of every family that writes calls as JSON between markers; a family is a [`CallFormat`].
//!
//! Invariants: text outside calls is content, verbatim; a stretch of it between markers that is white space alone is the
//! format's own and dropped; no marker is ever content; a broken call costs its neighbours nothing, even when it is a
//! forgotten quote that swallowed an end marker. A Markdown fence around a call's JSON is markup.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use crate::{
    fragment_buffer::FragmentBuffer,
    id_with_name,
    json_call::{JsonCall, Progress},
    json_text::{WHITE_SPACE, leading_space},
    marker_scanner::{MarkerReader, MarkerScanner},
    owned_formats::OwnedCallFormat,
    types::{Event, FinishReason, Fragment, FragmentKind},
};

/// How a family marks its calls.
#[derive(Debug)]
pub struct CallFormat {
    /// Every marker; none begins another one.
    pub markers: &'static [&'static str],
    /// What the marker of the same index does.
    pub roles: &'static [MarkerRole],
    /// Where the name stands.
    pub name: NamePlace,
}

/// What a marker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerRole {
    /// Starts a call.
    CallStart,
    /// Ends a call.
    CallEnd,
    /// Stands between the call's type and its name, or between its name and its JSON.
    Separator,
    /// Stands around all calls; ends a call that has no end marker.
    Block,
}

/// Where a call's name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamePlace {
    /// In the JSON: `{"name": ..., "arguments": {...}}`.
    Body,
    /// Behind the start marker, on the line before the JSON, which is the arguments alone.
    Start,
    /// After the separator, on the line before the JSON, which is the arguments alone. Where no name stands there, what
    /// stands before the separator is the name, if it is not the type `function`.
    AfterSeparator,
    /// Before the separator; the JSON after it is the arguments alone. Where nothing or `function` stands before it, a
    /// name may follow as in [`NamePlace::AfterSeparator`]; a tool may be called `function`, too.
    BeforeSeparator,
    /// Before the separator, in the call's id, as [`crate::id_with_name`] reads it; else like [`NamePlace::BeforeSeparator`].
    InId,
}

/// One choice's parsing.
#[derive(Debug)]
pub struct MarkedCalls {
    scanner: MarkerScanner,
    calls: Calls,
}

#[derive(Debug)]
struct Calls {
    format: OwnedCallFormat,
    state: State,
    next_index: u32,
    /// Whether any marker came: white space at the end is content otherwise.
    marked: bool,
    /// Whether a call is whole and its end marker did not come yet.
    end_awaited: bool,
    /// White space outside calls since the last marker.
    blank: FragmentBuffer,
    /// What the model wrote of the open call, without markers.
    raw: FragmentBuffer,
    again: Vec<Fragment>,
}

#[derive(Debug)]
enum State {
    /// Outside calls, white space alone since the last marker. So many backticks may still close a fence.
    Blank { fence: u8 },
    /// Outside calls, after text.
    Content,
    /// In a call before the separator.
    Type,
    /// After the separator in the name, which starts at this byte of `raw`; if none stands there it is `default`.
    Name { start: usize, default: String },
    /// Between name or start marker, and the JSON. The call has begun if its name is known.
    Opening { fence: Fence, call: JsonCall },
    /// In the JSON, where markers are data.
    Json { fenced: bool, call: JsonCall },
    /// In a call that has its name and all of its arguments and lacks no more than closing brackets.
    Unclosed { call: JsonCall },
    /// In a call that failed; `begun` if its `CallBegin` is out.
    Failed { begun: bool },
}

/// How much of an opening fence came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    Absent,
    Backticks,
    Language,
    Complete,
}

const FENCE_BACKTICKS: u8 = 3;
/// The only type of a call there is.
const TYPE: &str = "function";

impl MarkedCalls {
    /// A parser of this format.
    pub fn new(format: impl Into<OwnedCallFormat>, strict_markers: bool) -> Self {
        let format = format.into();
        let markers = format.markers.iter().map(|(marker, _)| marker.clone());
        Self {
            scanner: MarkerScanner::new(markers, strict_markers),
            calls: Calls {
                format,
                state: State::Blank { fence: 0 },
                next_index: 0,
                marked: false,
                end_awaited: false,
                blank: FragmentBuffer::default(),
                raw: FragmentBuffer::default(),
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
        // A piece of an end marker where one must come is markup, not text.
        if self.calls.end_awaited && matches!(self.calls.state, State::Blank { .. }) {
            let markers = &self.calls.format.markers;
            self.scanner.discard_part(|marker| {
                matches!(markers[marker].1, MarkerRole::CallEnd | MarkerRole::Block)
            });
        }
        self.scanner.finish(&mut self.calls, events);
        // A model that stopped inside a string forgot the quote; one that was cut off may be quoting a marker.
        if reason != FinishReason::Length {
            self.calls.distrust_open_string();
            self.scanner.finish(&mut self.calls, events);
            self.calls.end_unclosed(events);
        }
        self.calls.finish(events);
    }
}

impl MarkerReader for Calls {
    fn literal(&self) -> bool {
        matches!(self.state, State::Json { .. })
    }

    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        match &self.state {
            State::Blank { fence } => self.blank(text, kind, *fence, events),
            State::Content => {
                events.push(Event::Content(Fragment::new(text, kind)));
                text.len()
            }
            State::Type | State::Failed { .. } => {
                self.raw.push(text, kind);
                text.len()
            }
            State::Name { start, .. } => self.name(text, kind, *start, events),
            State::Opening { .. } => self.opening(text, kind, events),
            State::Json { .. } => self.json(text, kind, events),
            State::Unclosed { .. } => self.unclosed(text, kind),
        }
    }

    fn marker(&mut self, marker: usize, _: FragmentKind, events: &mut Vec<Event>) {
        self.marked = true;
        self.end_awaited = false;
        self.blank.clear();
        self.end_unclosed(events);
        match self.format.markers[marker].1 {
            MarkerRole::CallStart => {
                self.abandon(true, events);
                self.state = match self.format.name {
                    NamePlace::Body => State::Opening {
                        fence: Fence::Absent,
                        call: JsonCall::object(self.next_index).with_keys(self.format.keys.clone()),
                    },
                    NamePlace::Start => State::Name {
                        start: 0,
                        default: String::new(),
                    },
                    NamePlace::AfterSeparator | NamePlace::BeforeSeparator | NamePlace::InId => {
                        State::Type
                    }
                };
            }
            MarkerRole::Separator => match self.state {
                State::Type => self.separate(events),
                State::Content => self.state = State::Blank { fence: 0 },
                _ => {}
            },
            MarkerRole::CallEnd | MarkerRole::Block => self.close(events),
        }
    }

    fn again(&mut self) -> Vec<Fragment> {
        core::mem::take(&mut self.again)
    }
}

impl Calls {
    /// Text outside calls, where only white space came since the last marker.
    fn blank(
        &mut self,
        text: &str,
        kind: FragmentKind,
        fence: u8,
        events: &mut Vec<Event>,
    ) -> usize {
        let space = leading_space(text);
        if space > 0 {
            self.blank.push(&text[..space], kind);
            return space;
        }
        if fence > 0 && text.starts_with('`') {
            self.state = State::Blank { fence: fence - 1 };
            return 1;
        }
        events.extend(self.blank.take().into_iter().map(Event::Content));
        self.state = State::Content;
        0
    }

    /// The name ends with its line, or where a fence or the JSON starts.
    fn name(
        &mut self,
        text: &str,
        kind: FragmentKind,
        start: usize,
        events: &mut Vec<Event>,
    ) -> usize {
        if start == self.raw.text().len() {
            let space = leading_space(text);
            if space > 0 {
                self.raw.push(&text[..space], kind);
                if let State::Name { start, .. } = &mut self.state {
                    *start += space;
                }
                return space;
            }
        }
        let length = text.find(['\n', '`', '{']).unwrap_or(text.len());
        self.raw.push(&text[..length], kind);
        if length < text.len() {
            self.name_ended(events);
        }
        length
    }

    /// The separator came: the name stands before it or comes now.
    fn separate(&mut self, events: &mut Vec<Event>) {
        let before = self.raw.text().trim_matches(WHITE_SPACE).to_owned();
        if self.format.name == NamePlace::InId && !before.is_empty() {
            let (name, id) = id_with_name::split(&before);
            self.begin(name, id, events);
            return;
        }
        let named_before = self.format.name != NamePlace::AfterSeparator;
        if named_before && !before.is_empty() && before != TYPE {
            self.begin(&before, None, events);
            return;
        }
        // What stood before it is the format's own, as little of the call as a marker, unless it proves to be the name.
        self.raw.clear();
        let default = if named_before || before != TYPE {
            before
        } else {
            String::new()
        };
        self.state = State::Name { start: 0, default };
    }

    /// The end of the name after the separator came.
    fn name_ended(&mut self, events: &mut Vec<Event>) {
        self.settle_name();
        let name = self.raw.text().trim_matches(WHITE_SPACE).to_owned();
        self.begin(&name, None, events);
    }

    /// If no name came after the separator, what stood before it is the name after all.
    fn settle_name(&mut self) {
        if let State::Name { start, default } = &self.state
            && self.raw.text().len() == *start
        {
            self.raw.clear();
            self.raw.push(default, FragmentKind::Text);
        }
    }

    /// Begins a call of this name, and of this id if the model wrote one; no name is no call.
    fn begin(&mut self, name: &str, id: Option<&str>, events: &mut Vec<Event>) {
        if name.is_empty() {
            self.state = State::Failed { begun: false };
            return;
        }
        self.state = State::Opening {
            fence: Fence::Absent,
            call: JsonCall::named_with_id(self.next_index, name, id.map(String::from), events),
        };
        self.next_index += 1;
    }

    /// White space and the opening fence.
    fn opening(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let State::Opening { fence, .. } = &mut self.state else {
            return text.len();
        };
        for (at, character) in text.char_indices() {
            *fence = match (character, *fence) {
                (' ' | '\t' | '\r' | '\n', Fence::Absent) => Fence::Absent,
                (' ' | '\t' | '\r' | '\n', _) => Fence::Complete,
                ('`', Fence::Absent | Fence::Backticks) => Fence::Backticks,
                ('a'..='z' | 'A'..='Z', Fence::Backticks | Fence::Language) => Fence::Language,
                _ => {
                    self.raw.push(&text[..at], kind);
                    self.opened(character, events);
                    return at;
                }
            };
        }
        self.raw.push(text, kind);
        text.len()
    }

    /// The first character that is neither white space nor of the opening fence.
    fn opened(&mut self, first: char, events: &mut Vec<Event>) {
        let blank = State::Blank { fence: 0 };
        if let State::Opening { fence, mut call } = core::mem::replace(&mut self.state, blank) {
            if first == '`' && call.begun() {
                // The fence closes at once.
                call.end_without_arguments(events);
                self.raw.clear();
                self.state = State::Blank {
                    fence: FENCE_BACKTICKS,
                };
            } else if first == '{' || call.begun() {
                self.state = State::Json {
                    fenced: fence != Fence::Absent,
                    call,
                };
            } else {
                self.state = State::Failed { begun: false };
            }
        }
    }

    fn json(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let State::Json { fenced, call } = &mut self.state else {
            return text.len();
        };
        let fence = if *fenced { FENCE_BACKTICKS } else { 0 };
        let had_begun = call.begun();
        let (used, progress) = call.push(text, kind, &mut self.raw, events);
        let begun = call.begun();
        if begun && !had_begun {
            self.next_index += 1;
        }
        match progress {
            Progress::Open => {}
            Progress::Complete => {
                self.raw.clear();
                self.end_awaited = true;
                self.state = State::Blank { fence };
            }
            Progress::Failed { unproven: 0 } if call.has_all() => {
                let blank = State::Blank { fence };
                if let State::Json { call, .. } = core::mem::replace(&mut self.state, blank) {
                    self.state = State::Unclosed { call };
                }
            }
            Progress::Failed { unproven } => {
                self.state = State::Failed { begun };
                self.again = self.raw.split_off(self.raw.text().len() - unproven);
            }
        }
        used
    }

    /// After the arguments, where a closing bracket is missing: anything but white space before the next marker is no such
    /// slip.
    fn unclosed(&mut self, text: &str, kind: FragmentKind) -> usize {
        let space = leading_space(text);
        self.raw.push(&text[..space], kind);
        if space < text.len() {
            self.state = State::Failed { begun: true };
        }
        space
    }

    /// A marker or the end came where closing brackets were missing: the call is whole without them.
    fn end_unclosed(&mut self, events: &mut Vec<Event>) {
        let all_but_brackets = match &self.state {
            State::Unclosed { .. } => true,
            State::Json { call, .. } => call.has_all() && call.unproven_string() == 0,
            _ => false,
        };
        if all_but_brackets
            && let State::Unclosed { call } | State::Json { call, .. } = &mut self.state
        {
            call.end(events);
            self.raw.clear();
            self.state = State::Blank { fence: 0 };
        }
    }

    /// The model stopped: if a string is open, it may hold the end of the call.
    fn distrust_open_string(&mut self) {
        if let State::Json { call, .. } = &self.state
            && call.unproven_string() > 0
        {
            let (begun, unproven) = (call.begun(), call.unproven_string());
            self.state = State::Failed { begun };
            self.again = self.raw.split_off(self.raw.text().len() - unproven);
        }
    }

    /// The marker that ends a call came.
    fn close(&mut self, events: &mut Vec<Event>) {
        if let State::Name { .. } = self.state {
            self.name_ended(events);
        }
        match &mut self.state {
            State::Opening { call, .. } if call.begun() => {
                call.end_without_arguments(events);
                self.raw.clear();
            }
            _ => self.abandon(true, events),
        }
        self.state = State::Blank { fence: 0 };
    }

    /// Abandons the open call if there is one; `closed` when a marker says so, which makes white space before it markup.
    fn abandon(&mut self, closed: bool, events: &mut Vec<Event>) {
        self.settle_name();
        let begun = match &self.state {
            State::Blank { .. } | State::Content => return,
            State::Type | State::Name { .. } => false,
            State::Opening { call, .. } | State::Json { call, .. } => call.begun(),
            State::Unclosed { .. } => true,
            State::Failed { begun } => *begun,
        };
        let mut raw = self.raw.text().trim_start_matches(WHITE_SPACE);
        if closed {
            raw = raw.trim_end_matches(WHITE_SPACE);
        }
        if begun || !raw.is_empty() {
            let index = self.next_index - u32::from(begun);
            let raw = raw.to_owned();
            events.push(Event::CallAbandoned { index, raw });
        }
        self.raw.clear();
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        if !self.marked {
            events.extend(self.blank.take().into_iter().map(Event::Content));
        }
        self.abandon(false, events);
    }
}
