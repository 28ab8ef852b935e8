//! The tool parser of every family that writes its calls as a JSON array behind a marker; some also write one object
//! there, or a name and its arguments. A family is a [`ListFormat`].
//!
//! Invariants: text outside calls is content, verbatim; a stretch of it between markers that is white space alone is the
//! format's own and dropped; no marker is ever content. A name is one word: a second one behind it, or anything else that
//! starts neither JSON nor a name, makes all of it content. A call whose end nothing marks ends with the model's stop.
//! A marker that is an ordinary word is one only where an array of objects follows; until then it is held back.

use alloc::{string::String, vec::Vec};

use crate::{
    call_list::CallList,
    fragment_buffer::FragmentBuffer,
    json_text::{WHITE_SPACE, leading_space},
    marker_scanner::{MarkerReader, MarkerScanner},
    owned_formats::OwnedListFormat,
    types::{Event, FinishReason, Fragment, FragmentKind},
};

/// How a family marks its calls.
#[derive(Debug)]
pub struct ListFormat {
    /// Every marker; none begins another one.
    pub markers: &'static [&'static str],
    /// What the marker of the same index does.
    pub roles: &'static [ListRole],
    /// Whether a name may stand behind the start marker, with the call's arguments behind it.
    pub names: bool,
    /// Whether the `id` of a call object is the call's id.
    pub ids: bool,
}

/// What a marker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListRole {
    /// Starts calls.
    Start,
    /// An ordinary word that starts calls where an array of objects follows, and is text anywhere else.
    Word,
    /// Ends calls.
    End,
    /// May stand before all of an answer, and is text anywhere else.
    Lead,
    /// Stands between a call's name and its arguments.
    Arguments,
    /// Stands between a call's name and its id.
    Id,
}

/// One choice's parsing.
#[derive(Debug)]
pub struct ListedCalls {
    scanner: MarkerScanner,
    calls: Calls,
}

#[derive(Debug)]
struct Calls {
    format: OwnedListFormat,
    state: State,
    list: CallList,
    /// Whether any marker came: white space at the end is content otherwise.
    marked: bool,
    /// Whether any of the answer came, or what stands before it.
    started: bool,
    /// Whether a list is whole and its end marker did not come yet.
    end_awaited: bool,
    /// White space outside calls since the last marker or call, and the word that may start calls.
    blank: FragmentBuffer,
    /// The name of the call that has not begun, and white space behind it.
    name: String,
    id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside calls, white space alone since the last marker or call.
    Blank,
    /// Outside calls, after text.
    Content,
    /// After the start marker.
    Start,
    /// After a word that may start calls.
    Word,
    /// After such a word and a bracket.
    WordAndBracket,
    /// In a name, or in the white space behind it.
    Name,
    /// In an id.
    Id,
    /// In the list, which is open.
    List,
}

impl ListedCalls {
    /// A parser of this format.
    pub fn new(format: impl Into<OwnedListFormat>, strict_markers: bool) -> Self {
        let format = format.into();
        let markers = format.markers.iter().map(|(marker, _)| marker.clone());
        Self {
            scanner: MarkerScanner::new(markers, strict_markers),
            calls: Calls {
                state: State::Blank,
                list: CallList::new(format.ids).with_keys(format.keys.clone()),
                format,
                marked: false,
                started: false,
                end_awaited: false,
                blank: FragmentBuffer::default(),
                name: String::new(),
                id: String::new(),
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
        if self.calls.end_awaited && self.calls.state == State::Blank {
            let markers = &self.calls.format.markers;
            self.scanner
                .discard_part(|marker| markers[marker].1 == ListRole::End);
        }
        self.scanner.finish(&mut self.calls, events);
        // A model that stopped inside a string forgot the quote; one that was cut off may be quoting a marker.
        if reason != FinishReason::Length {
            self.calls.list.distrust_open_string();
            self.scanner.finish(&mut self.calls, events);
        }
        self.calls.finish(reason, events);
    }
}

impl MarkerReader for Calls {
    fn literal(&self) -> bool {
        self.state == State::List && self.list.literal()
    }

    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        match self.state {
            State::List => {
                let used = self.list.text(text, kind, events);
                if !self.list.is_open() {
                    self.state = State::Blank;
                    self.end_awaited = true;
                }
                used
            }
            State::Content => {
                events.push(Event::Content(Fragment::new(text, kind)));
                text.len()
            }
            State::Blank => self.blank(text, kind, events),
            State::Start => self.start(text),
            State::Word | State::WordAndBracket => self.word(text, kind, events),
            State::Name => self.name(text, events),
            State::Id => self.id(text, events),
        }
    }

    fn marker(&mut self, marker: usize, kind: FragmentKind, events: &mut Vec<Event>) {
        self.end_awaited = false;
        self.release_word(events);
        let role = self.format.markers[marker].1;
        let leads = role == ListRole::Lead && self.state == State::Blank && !self.started;
        self.started |= role != ListRole::End;
        match role {
            ListRole::Word => return self.word_came(marker, kind, events),
            ListRole::Lead if !leads => return self.as_text(marker, kind, events),
            _ => {}
        }
        self.marked = true;
        self.blank.clear();
        match (role, self.state) {
            (ListRole::Start, _) => {
                self.close(events);
                self.state = State::Start;
            }
            (ListRole::End, _) => {
                self.close(events);
                self.state = State::Blank;
            }
            (ListRole::Arguments, State::Name | State::Id) => self.begin(events),
            (ListRole::Id, State::Name) => self.state = State::Id,
            // Out of its place it is markup that says nothing.
            (_, State::Content) => self.state = State::Blank,
            _ => {}
        }
    }

    fn again(&mut self) -> Vec<Fragment> {
        self.list.again()
    }
}

impl Calls {
    /// Text outside calls, where only white space came since the last marker or call.
    fn blank(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let space = leading_space(text);
        self.blank.push(&text[..space], kind);
        if space < text.len() {
            events.extend(self.blank.take().into_iter().map(Event::Content));
            self.state = State::Content;
            self.started = true;
        }
        space
    }

    fn start(&mut self, text: &str) -> usize {
        let space = leading_space(text);
        let Some(first) = text[space..].chars().next() else {
            return space;
        };
        match first {
            '[' => {
                self.list.open_array();
                self.state = State::List;
                return space + 1;
            }
            '{' => {
                self.list.open_object();
                self.state = State::List;
            }
            _ if self.format.names && is_of_a_name(first) => self.state = State::Name,
            _ => self.state = State::Content,
        }
        space
    }

    /// A word that may start calls.
    fn word_came(&mut self, marker: usize, kind: FragmentKind, events: &mut Vec<Event>) {
        if self.state == State::List && !self.list.is_between() {
            return self.as_text(marker, kind, events);
        }
        self.close(events);
        self.blank.push(&self.format.markers[marker].0, kind);
        self.state = State::Word;
    }

    /// Takes a marker as the text that it is where it stands.
    fn as_text(&mut self, marker: usize, kind: FragmentKind, events: &mut Vec<Event>) {
        let text = self.format.markers[marker].0.clone();
        let mut taken = 0;
        while taken < text.len() {
            taken += self.text(&text[taken..], kind, events);
        }
    }

    /// Behind a word: an array of objects, or the word is text.
    fn word(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let space = leading_space(text);
        self.blank.push(&text[..space], kind);
        match (text.as_bytes().get(space), self.state) {
            (None, _) => {}
            (Some(b'['), State::Word) => {
                self.blank.push("[", kind);
                self.state = State::WordAndBracket;
                return space + 1;
            }
            (Some(b'{' | b']'), State::WordAndBracket) => {
                self.marked = true;
                self.blank.clear();
                self.list.open_array();
                self.state = State::List;
            }
            _ => self.release_word(events),
        }
        space
    }

    /// The word that might have started calls is text.
    fn release_word(&mut self, events: &mut Vec<Event>) {
        if matches!(self.state, State::Word | State::WordAndBracket) {
            events.extend(self.blank.take().into_iter().map(Event::Content));
            self.state = State::Content;
        }
    }

    fn name(&mut self, text: &str, events: &mut Vec<Event>) -> usize {
        let mut ended = self.name.ends_with(WHITE_SPACE);
        for (at, character) in text.char_indices() {
            if WHITE_SPACE.contains(&character) {
                ended = true;
            } else if character == '{' {
                self.name.push_str(&text[..at]);
                self.begin(events);
                return at;
            } else if ended || !is_of_a_name(character) {
                self.name.push_str(&text[..at]);
                self.disown_name(self.name.len(), events);
                self.state = State::Content;
                return at;
            }
        }
        self.name.push_str(text);
        text.len()
    }

    fn id(&mut self, text: &str, events: &mut Vec<Event>) -> usize {
        let length = text.find('{').unwrap_or(text.len());
        self.id.push_str(&text[..length]);
        if length < text.len() {
            self.begin(events);
        }
        length
    }

    /// Begins the call whose name came.
    fn begin(&mut self, events: &mut Vec<Event>) {
        let id = Some(self.id.trim_matches(WHITE_SPACE)).filter(|id| !id.is_empty());
        let name = self.name.trim_end_matches(WHITE_SPACE);
        self.list.open_named(name, id.map(String::from), events);
        self.name.clear();
        self.id.clear();
        self.state = State::List;
    }

    /// What was taken for a name is none.
    fn disown_name(&mut self, length: usize, events: &mut Vec<Event>) {
        if length > 0 {
            events.push(Event::CallAbandoned {
                index: self.list.next_index(),
                raw: self.name[..length].into(),
            });
        }
        self.name.clear();
    }

    /// A marker ends what is open.
    fn close(&mut self, events: &mut Vec<Event>) {
        if self.state == State::Id {
            self.begin(events);
        }
        let name = self.name.trim_end_matches(WHITE_SPACE).len();
        self.disown_name(name, events);
        self.list.close(events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.release_word(events);
        if !self.marked {
            events.extend(self.blank.take().into_iter().map(Event::Content));
        }
        if self.state == State::Id {
            if reason == FinishReason::Length {
                // Half an id is none.
                self.id.clear();
            }
            self.begin(events);
        }
        self.disown_name(self.name.len(), events);
        if reason == FinishReason::Length {
            self.list.cut(events);
        } else {
            self.list.close(events);
        }
    }
}

/// Whether a character may stand in a name that nothing but its place tells from prose.
fn is_of_a_name(character: char) -> bool {
    !character.is_whitespace() && !"[](){}<>\"'`,;!?".contains(character)
}
