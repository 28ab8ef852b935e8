//! The tool parser of families that write `call:NAME{KEY:VALUE,...}` between markers, strings between delimiters that
//! are markers, too; a family is a [`BraceFormat`].
//!
//! Invariants: arguments stream as JSON while they are written; in a string every marker but its delimiter is data; text
//! outside calls is content, verbatim, and a stretch of it between markers that is white space alone is dropped; what
//! cannot be read abandons its call and costs the neighbours nothing, even where a forgotten delimiter swallowed an end
//! marker. What a value is, [`crate::brace_value`] knows.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use crate::{
    brace_value::{BraceValue, Progress},
    chained::ToolStage,
    fragment_buffer::FragmentBuffer,
    grammar::Segment,
    marker_scanner::{MarkerReader, MarkerScanner},
    types::{Event, FinishReason, Fragment, FragmentKind, Text, Tool},
};

/// How a family marks its calls.
#[derive(Debug)]
pub struct BraceFormat {
    /// Starts a call.
    pub start: &'static str,
    /// Ends a call.
    pub end: &'static str,
    /// Stands before and after a string.
    pub delimiter: &'static str,
}

/// What stands between the markers of a forced call of this tool, see [`crate::forced_calls`]. Its arguments are forced as
/// JSON, which these formats are read with, too: no segment says what a schema means in the family's own notation.
pub fn forced_body(tool: &Tool) -> Segment {
    Segment::sequence([
        Segment::Literal([PREFIX, ":", tool.name.as_str()].concat()),
        Segment::arguments(tool),
    ])
}

/// One choice's parsing.
#[derive(Debug)]
pub struct BraceCalls {
    scanner: MarkerScanner,
    calls: Calls,
}

#[derive(Debug)]
struct Calls {
    format: &'static BraceFormat,
    state: State,
    next_index: u32,
    /// Whether any marker came: white space at the end is content otherwise.
    marked: bool,
    /// Whether a call is whole and its end marker did not come yet.
    end_awaited: bool,
    /// White space outside calls since the last marker.
    blank: FragmentBuffer,
    /// What the model wrote of the open call, without the markers around it.
    raw: FragmentBuffer,
    again: Vec<Fragment>,
}

#[derive(Debug)]
enum State {
    /// Outside calls, white space alone since the last marker.
    Blank,
    /// Outside calls, after text.
    Content,
    /// In a call before the bracket of its arguments.
    Head,
    /// In the arguments of a call that has begun.
    Arguments(BraceValue),
    /// In a call that failed; `begun` if its `CallBegin` is out.
    Failed { begun: bool },
}

const START: usize = 0;
const END: usize = 1;
const DELIMITER: usize = 2;
/// What stands before a colon and the name.
const PREFIX: &str = "call";
const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

impl BraceCalls {
    /// A parser of this format.
    pub fn new(format: &'static BraceFormat, strict_markers: bool) -> Self {
        let markers = [format.start, format.end, format.delimiter];
        Self {
            scanner: MarkerScanner::new(markers, strict_markers),
            calls: Calls {
                format,
                state: State::Blank,
                next_index: 0,
                marked: false,
                end_awaited: false,
                blank: FragmentBuffer::default(),
                raw: FragmentBuffer::default(),
                again: Vec::new(),
            },
        }
    }
}

impl ToolStage for BraceCalls {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.scanner.push(fragment, &mut self.calls, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        // A piece of an end marker where one must come is markup, not text.
        if self.calls.end_awaited && matches!(self.calls.state, State::Blank) {
            self.scanner.discard_part(|marker| marker == END);
        }
        self.scanner.finish(&mut self.calls, events);
        // A model that stopped inside a string forgot the delimiter; one that was cut off may be quoting a marker.
        if reason != FinishReason::Length {
            self.calls.fail_in_string();
            self.scanner.finish(&mut self.calls, events);
            self.calls.complete_unclosed(events);
        }
        self.calls.finish(events);
    }
}

impl MarkerReader for Calls {
    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        match &mut self.state {
            State::Blank => {
                let space = leading_space(text);
                self.blank.push(&text[..space], kind);
                if space < text.len() {
                    events.extend(self.blank.take().into_iter().map(Event::Content));
                    self.state = State::Content;
                }
                space
            }
            State::Content => {
                events.push(Event::Content(Fragment::new(text, kind)));
                text.len()
            }
            State::Head => self.head(text, kind, events),
            State::Arguments(_) => self.arguments(text, kind, events),
            State::Failed { .. } => {
                self.raw.push(text, kind);
                text.len()
            }
        }
    }

    fn marker(&mut self, marker: usize, kind: FragmentKind, events: &mut Vec<Event>) {
        let format = self.format;
        let text = [format.start, format.end, format.delimiter][marker];
        if let State::Arguments(value) = &mut self.state
            && value.is_data(marker == DELIMITER)
        {
            let mut delta = Text::default();
            value.data(text, &mut delta);
            self.raw.push(text, kind);
            self.argue(delta, events);
            return;
        }
        if marker == DELIMITER {
            self.delimiter(text, kind, events);
            return;
        }
        self.marked = true;
        self.end_awaited = false;
        self.blank.clear();
        self.complete_unclosed(events);
        if marker == END {
            self.complete_name_alone(events);
        }
        self.abandon(true, events);
        self.state = if marker == START {
            State::Head
        } else {
            State::Blank
        };
    }

    fn again(&mut self) -> Vec<Fragment> {
        core::mem::take(&mut self.again)
    }
}

impl Calls {
    /// The name ends where the arguments begin.
    fn head(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let Some(bracket) = text.find(['{', '(']) else {
            self.raw.push(text, kind);
            return text.len();
        };
        self.raw.push(&text[..bracket], kind);
        match name(self.raw.text()).map(|(_, name)| name.to_owned()) {
            Some(name) => {
                self.begin(name, events);
                let mut delta = Text::default();
                let parentheses = text[bracket..].starts_with('(');
                self.state = State::Arguments(BraceValue::new(parentheses, &mut delta));
                self.argue(delta, events);
            }
            None => self.state = State::Failed { begun: false },
        }
        self.raw.push(&text[bracket..=bracket], kind);
        bracket + 1
    }

    fn begin(&mut self, name: String, events: &mut Vec<Event>) {
        events.push(Event::CallBegin {
            index: self.next_index,
            id: None,
            name,
        });
        self.next_index += 1;
    }

    /// Sends a piece of the open call's arguments.
    fn argue(&self, delta: Text, events: &mut Vec<Event>) {
        if !delta.is_empty() {
            let index = self.next_index - 1;
            events.push(Event::CallArguments { index, delta });
        }
    }

    fn arguments(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let State::Arguments(value) = &mut self.state else {
            return 0;
        };
        let mut delta = Text::default();
        let (used, progress) = value.push(text, &mut delta);
        self.raw.push(&text[..used], kind);
        self.argue(delta, events);
        match progress {
            Progress::Open => {}
            Progress::Complete => {
                self.completed(events);
                self.end_awaited = true;
            }
            Progress::Broken => self.fail(),
        }
        used
    }

    /// The delimiter where it is not data. Outside calls it marks nothing: a control token there is dropped, as it would
    /// be where nobody keeps special tokens, and text is text.
    fn delimiter(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) {
        match &mut self.state {
            State::Blank | State::Content if kind == FragmentKind::Control => {}
            State::Blank | State::Content => {
                let mut taken = 0;
                while taken < text.len() {
                    taken += self.text(&text[taken..], kind, events);
                }
            }
            State::Head | State::Failed { .. } => self.raw.push(text, kind),
            State::Arguments(value) => {
                let mut delta = Text::default();
                if value.delimiter(text, &mut delta) == Progress::Broken {
                    self.fail();
                    // It is read behind what is read again.
                    self.again.push(Fragment::new(text, kind));
                } else {
                    self.raw.push(text, kind);
                    self.argue(delta, events);
                }
            }
        }
    }

    /// The arguments are whole.
    fn completed(&mut self, events: &mut Vec<Event>) {
        events.push(Event::CallEnd {
            index: self.next_index - 1,
        });
        self.raw.clear();
        self.state = State::Blank;
    }

    /// The arguments are broken: what may not have been meant as a string is read again for markers.
    fn fail(&mut self) {
        if let State::Arguments(value) = &self.state {
            let unproven = value.unproven_string();
            self.again = self.raw.split_off(self.raw.text().len() - unproven);
            self.state = State::Failed { begun: true };
        }
    }

    /// The model stopped: if a string is open, it may hold the end of the call.
    fn fail_in_string(&mut self) {
        if let State::Arguments(value) = &self.state
            && value.is_data(false)
        {
            self.fail();
        }
    }

    /// A marker or the end came in the arguments: if they lack no more than their last bracket, the call is whole.
    fn complete_unclosed(&mut self, events: &mut Vec<Event>) {
        if let State::Arguments(value) = &mut self.state {
            let mut delta = Text::default();
            if value.end(&mut delta) {
                self.argue(delta, events);
                self.completed(events);
            }
        }
    }

    /// The end marker came: a name behind its prefix is a call without arguments.
    fn complete_name_alone(&mut self, events: &mut Vec<Event>) {
        if matches!(self.state, State::Head)
            && let Some((true, name)) = name(self.raw.text())
        {
            self.begin(name.to_owned(), events);
            self.argue("{}".into(), events);
            self.completed(events);
        }
    }

    /// Abandons the open call if there is one; `closed` when a marker says so, which makes white space before it markup.
    fn abandon(&mut self, closed: bool, events: &mut Vec<Event>) {
        let begun = match &self.state {
            State::Blank | State::Content => return,
            State::Head => false,
            State::Arguments(_) => true,
            State::Failed { begun } => *begun,
        };
        let mut raw = self.raw.text().trim_start_matches(WHITE_SPACE);
        if closed {
            raw = raw.trim_end_matches(WHITE_SPACE);
        }
        if begun || !raw.is_empty() {
            events.push(Event::CallAbandoned {
                index: self.next_index - u32::from(begun),
                raw: raw.to_owned(),
            });
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

/// The name that stands before the arguments, and whether the prefix, or its colon alone, stands before that.
fn name(head: &str) -> Option<(bool, &str)> {
    let head = head.trim_matches(WHITE_SPACE);
    let behind_prefix = head.strip_prefix(PREFIX).unwrap_or(head);
    let named = behind_prefix
        .trim_start_matches(WHITE_SPACE)
        .strip_prefix(':');
    let name = named.map_or(head, |name| name.trim_start_matches(WHITE_SPACE));
    let odd = |c: char| c.is_whitespace() || "\"'`<>[]{}(),".contains(c);
    (!name.is_empty() && !name.contains(odd)).then_some((named.is_some(), name))
}

fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start_matches(WHITE_SPACE).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    static FORMAT: BraceFormat = BraceFormat {
        start: "<c>",
        end: "</c>",
        delimiter: "<s>",
    };

    /// What goes out for each piece: argument deltas, joined.
    fn steps(pieces: &[&str]) -> Vec<String> {
        let mut calls = BraceCalls::new(&FORMAT, false);
        let step = |piece: &&str| {
            let mut events = Vec::new();
            calls.push(&Fragment::new(*piece, FragmentKind::Text), &mut events);
            let delta = |event: &Event| match event {
                Event::CallArguments { delta, .. } => Some(delta.as_str().to_owned()),
                _ => None,
            };
            events.iter().filter_map(delta).collect()
        };
        pieces.iter().map(step).collect()
    }

    #[test]
    fn only_what_is_not_settled_is_withheld() {
        let pieces = [
            "<c>call:f{k",
            "ey :tru",
            "e, n: 12",
            "34 ,t: 12 mon",
            "keys  ",
            ",s:<",
            "s>a\"<",
            "b<s",
            ">}",
        ];
        let expected = [
            "{\"k",
            "ey\":",
            "true,\"n\":",
            "1234,\"t\":\"12 mon",
            "keys",
            "\",\"s\":",
            "\"a\\\"",
            "<b",
            "\"}",
        ];
        assert_eq!(steps(&pieces), expected);
    }

    #[test]
    fn names_stand_behind_a_prefix_or_alone() {
        assert_eq!(name(" call: f-1.x "), Some((true, "f-1.x")));
        assert_eq!(name(":f"), Some((true, "f")));
        assert_eq!(name("caller"), Some((false, "caller")));
        for odd in ["", "call:", "call: two words", "{", "call:\"f\""] {
            assert_eq!(name(odd), None, "{odd}");
        }
    }
}
