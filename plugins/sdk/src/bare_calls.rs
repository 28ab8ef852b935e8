//! The tool parser of every family that writes calls as bare JSON objects, one after the other, with no marker at their
//! ends; a family is a [`BareFormat`].
//!
//! What is a call: an object with a string `name` and arguments (an object, or a string that holds one); where a marker
//! announced calls, or the name is that of an offered tool, the name alone is enough. Any other object is content, and so
//! is what merely starts like one; nothing else of the text is held back for long.
//!
//! Invariants: text outside calls is content, verbatim; a stretch of it next to a call that is white space and separators
//! alone is the format's own, and so are the brackets of an array that holds nothing but calls. Where the family writes its
//! arrays anywhere and in Markdown fences, so is a fence next to calls; any other fence is text. A call whose JSON breaks
//! goes on until its braces balance, a call begins, a marker comes or the text ends; it costs its neighbours nothing, even
//! when a forgotten quote swallowed the next call.

use alloc::{borrow::ToOwned, string::String, sync::Arc, vec::Vec};

use crate::{
    fragment_buffer::FragmentBuffer,
    json_call::{JsonCall, Progress},
    marker_scanner::{MarkerReader, MarkerScanner},
    types::{Event, FinishReason, Fragment, FragmentKind, RequestContext},
};

/// The markers of a family. None begins another one.
#[derive(Debug)]
pub struct BareFormat {
    /// Announce calls: an object right behind them is one if it has a name.
    pub announcing: &'static [&'static str],
    /// End calls, or the message.
    pub ending: &'static [&'static str],
    /// Whether an array of calls may stand behind text, and in a Markdown fence; otherwise it stands at the start, next to
    /// a marker or to calls.
    pub wrapped: bool,
}

/// One choice's parsing.
#[derive(Debug)]
pub struct BareCalls {
    scanner: MarkerScanner,
    calls: Calls,
}

#[derive(Debug)]
struct Calls {
    /// See [`BareFormat::wrapped`].
    wrapped: bool,
    /// So many of the markers announce calls; they are the first ones.
    announcing: usize,
    /// The names of the offered tools.
    offered: Arc<[String]>,
    /// Whether only white space, separators and brackets came since the last call or marker: they are in `blank`.
    clear: bool,
    /// Whether a marker announced calls and no text came since.
    announced: bool,
    /// Whether any call or marker came: what is blank at the end is content otherwise.
    marked: bool,
    array: Wrapper,
    fence: Wrapper,
    /// So many bytes of a fence's opening or end came.
    backticks: usize,
    blank: FragmentBuffer,
    next_index: u32,
    /// The object that is being read and may be a call; what came of it is in `raw`.
    object: Option<JsonCall>,
    raw: FragmentBuffer,
    failed: Option<Failed>,
    again: Vec<Fragment>,
}

/// The array or the fence around calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrapper {
    Absent,
    /// It opened, and no call came yet.
    Possible,
    Open,
}

/// How a fence opens; `json` may be left out.
const FENCE: &[u8] = b"```json";
/// How a fence ends.
const FENCE_END: usize = 3;

/// A call that began and broke, and goes on.
#[derive(Debug, Default)]
struct Failed {
    raw: String,
    /// How many braces are to be closed.
    braces: usize,
}

const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
const SEPARATORS: [char; 2] = [';', ','];

impl BareCalls {
    /// A parser of this format.
    pub fn new(format: &'static BareFormat, context: &RequestContext) -> Self {
        let markers = format.announcing.iter().chain(format.ending).copied();
        Self {
            scanner: MarkerScanner::new(markers, context.strict_markers),
            calls: Calls {
                wrapped: format.wrapped,
                announcing: format.announcing.len(),
                offered: context.tools.iter().map(|tool| tool.name.clone()).collect(),
                clear: true,
                announced: false,
                marked: false,
                array: Wrapper::Absent,
                fence: Wrapper::Absent,
                backticks: 0,
                blank: FragmentBuffer::default(),
                next_index: 0,
                object: None,
                raw: FragmentBuffer::default(),
                failed: None,
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
        while reason != FinishReason::Length && self.calls.distrust_open_string(events) {
            self.scanner.finish(&mut self.calls, events);
        }
        self.calls.finish(events);
    }
}

impl MarkerReader for Calls {
    fn literal(&self) -> bool {
        self.object.is_some()
    }

    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        if self.object.is_some() {
            return self.object(text, kind, events);
        }
        // All of it at once, or the scanner would look for markers in what is left again and again.
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            at += if self.object.is_some() {
                // The object started in this text, so what is to be read again stands here.
                let used = self.object(rest, kind, events);
                let again = self.again();
                used - again.iter().map(|f| f.text.len()).sum::<usize>()
            } else if self.failed.is_some() {
                self.failed(rest, events)
            } else if self.clear {
                self.blank(rest, kind, events)
            } else {
                self.content(rest, kind, events)
            };
        }
        at
    }

    fn marker(&mut self, marker: usize, _: FragmentKind, events: &mut Vec<Event>) {
        self.abandon(true, events);
        self.marked = true;
        self.end_blank(events);
        self.clear = true;
        self.announced = marker < self.announcing;
    }

    fn again(&mut self) -> Vec<Fragment> {
        core::mem::take(&mut self.again)
    }
}

impl Calls {
    /// Text next to a call or a marker, or at the start.
    fn blank(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        for (at, character) in text.char_indices() {
            if self.wrapped && self.in_fence_marker(character) {
                if self.backticks == 0 {
                    self.blank.clear();
                    return at + 1;
                }
                continue;
            }
            match character {
                // Half the opening of a fence is none.
                _ if self.backticks > 0 => {
                    self.blank.push(&text[..at], kind);
                    self.release(events);
                    return at;
                }
                ' ' | '\t' | '\r' | '\n' => {}
                ';' | ',' if self.marked => {}
                '[' if self.array == Wrapper::Absent => self.array = Wrapper::Possible,
                // An array of calls ends, or one that was announced and is empty.
                ']' if self.array == Wrapper::Open
                    || (self.announced && self.array == Wrapper::Possible) =>
                {
                    self.array = Wrapper::Absent;
                    self.blank.clear();
                    return at + 1;
                }
                _ => {
                    self.blank.push(&text[..at], kind);
                    if character == '{' {
                        self.start();
                    } else {
                        self.release(events);
                    }
                    return at;
                }
            }
        }
        self.blank.push(text, kind);
        text.len()
    }

    /// Text after other text.
    fn content(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let wrapped = self.wrapped;
        // Bytes: all but a few fragments hold none of these, and a search by characters costs more than the rest of a push.
        let starts = |byte: u8| byte == b'{' || wrapped && matches!(byte, b'[' | b'`');
        let length = text.bytes().position(starts).unwrap_or(text.len());
        if length > 0 {
            events.push(Event::Content(Fragment::new(&text[..length], kind)));
        }
        match text.as_bytes().get(length) {
            None => return length,
            Some(b'{') => {
                self.start();
                return length;
            }
            Some(b'[') => self.array = Wrapper::Possible,
            Some(_) => self.backticks = 1,
        }
        self.clear = true;
        self.blank.push(&text[length..=length], kind);
        length + 1
    }

    /// Whether a character next to calls belongs to what opens or ends a fence. No more `backticks` are awaited behind an
    /// end, which is taken with its last one, and before what stands in a fence.
    fn in_fence_marker(&mut self, character: char) -> bool {
        let taken = self.backticks;
        let ending = self.fence == Wrapper::Open;
        if FENCE
            .get(taken)
            .is_some_and(|byte| char::from(*byte) == character)
            && (taken > 0 || self.fence != Wrapper::Possible && self.array != Wrapper::Possible)
        {
            self.backticks += 1;
            if ending && self.backticks == FENCE_END {
                self.fence = Wrapper::Absent;
                self.backticks = 0;
            }
            return true;
        }
        let opened = !ending && (taken == FENCE_END || taken == FENCE.len());
        if opened && (character == '[' || character == '{' || WHITE_SPACE.contains(&character)) {
            self.fence = Wrapper::Possible;
            self.backticks = 0;
        }
        false
    }

    /// Text in a broken call.
    fn failed(&mut self, text: &str, events: &mut Vec<Event>) -> usize {
        let Some(failed) = &mut self.failed else {
            return 0;
        };
        let length = text.find(['{', '}']).unwrap_or(text.len());
        failed.raw.push_str(&text[..length]);
        match text[length..].chars().next() {
            Some('}') => {
                failed.raw.push('}');
                failed.braces -= 1;
                if failed.braces == 0 {
                    self.abandon(true, events);
                }
                length + 1
            }
            Some(_) => {
                self.start();
                length
            }
            None => length,
        }
    }

    /// An object starts with the next character.
    fn start(&mut self) {
        self.object = Some(if self.announced && self.failed.is_none() {
            JsonCall::object(self.next_index)
        } else {
            JsonCall::possible(self.next_index, Arc::clone(&self.offered))
        });
    }

    /// Takes text of the object, and returns how much; what was no string is to be read again.
    fn object(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let Some(call) = &mut self.object else {
            return 0;
        };
        let said = events.len();
        let had_begun = call.begun();
        let (used, progress) = call.push(text, kind, &mut self.raw, events);
        if call.begun() && !had_begun {
            self.begun(said, events);
        }
        match progress {
            Progress::Open => {}
            Progress::Complete => {
                self.object = None;
                self.raw.clear();
            }
            Progress::Failed { unproven } => self.no_call(unproven, events),
        }
        used
    }

    /// The object turned out to be a call; what it said so far stands from `said` on.
    fn begun(&mut self, said: usize, events: &mut Vec<Event>) {
        if let Some(failed) = self.failed.take() {
            events.insert(said, failed.abandoned(self.next_index - 1, true));
        }
        self.next_index += 1;
        self.marked = true;
        self.clear = true;
        self.blank.clear();
        for wrapper in [&mut self.array, &mut self.fence] {
            if *wrapper == Wrapper::Possible {
                *wrapper = Wrapper::Open;
            }
        }
    }

    /// The object is no call, or one that broke. So many of the last bytes are no part of it and to be read again.
    fn no_call(&mut self, unproven: usize, events: &mut Vec<Event>) {
        let Some(call) = self.object.take() else {
            return;
        };
        self.again = self.raw.split_off(self.raw.text().len() - unproven);
        if call.begun() {
            self.failed = Some(Failed::default());
        }
        if let Some(failed) = &mut self.failed {
            failed.raw.push_str(self.raw.text());
            failed.braces += call.open_objects();
            self.raw.clear();
            if failed.braces == 0 {
                self.abandon(true, events);
            }
        } else {
            self.release(events);
            events.extend(self.raw.take().into_iter().map(Event::Content));
        }
    }

    /// What is blank is text.
    fn release(&mut self, events: &mut Vec<Event>) {
        events.extend(self.blank.take().into_iter().map(Event::Content));
        self.clear = false;
        self.announced = false;
        self.fence = Wrapper::Absent;
        self.backticks = 0;
        if self.array == Wrapper::Possible {
            self.array = Wrapper::Absent;
        }
    }

    /// Nothing follows what is blank that could say what it is.
    fn end_blank(&mut self, events: &mut Vec<Event>) {
        let possible = [self.array, self.fence].contains(&Wrapper::Possible);
        if !self.marked || possible || self.backticks > 0 {
            self.release(events);
        }
        self.blank.clear();
        self.array = Wrapper::Absent;
        self.fence = Wrapper::Absent;
    }

    /// The model stopped: if a string is open, it may hold the end of the call, or the next one.
    fn distrust_open_string(&mut self, events: &mut Vec<Event>) -> bool {
        let unproven = self.object.as_ref().map_or(0, JsonCall::unproven_string);
        if unproven > 0 {
            self.no_call(unproven, events);
        }
        unproven > 0
    }

    /// Abandons the broken call if there is one; `closed` when its end is known.
    fn abandon(&mut self, closed: bool, events: &mut Vec<Event>) {
        if let Some(failed) = self.failed.take() {
            events.push(failed.abandoned(self.next_index - 1, closed));
        }
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        self.no_call(0, events);
        self.abandon(false, events);
        self.end_blank(events);
    }
}

impl Failed {
    fn abandoned(self, index: u32, closed: bool) -> Event {
        let mut raw = self.raw.as_str();
        if closed {
            raw = raw
                .trim_end_matches(WHITE_SPACE.as_slice())
                .trim_end_matches(SEPARATORS.as_slice())
                .trim_end_matches(WHITE_SPACE.as_slice());
        }
        let raw = raw.to_owned();
        Event::CallAbandoned { index, raw }
    }
}
