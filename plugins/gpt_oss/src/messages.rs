//! Harmony's messages, one after the other: from markers and text to events, for both roles in one pass.
//!
//! Invariants: no marker and nothing that reads as a header is ever handed out; the texts of messages are, verbatim, but
//! for line breaks around a reasoning message, also where the marker between header and text is missing. Messages of one
//! destination are joined by one line break. A recipient makes a call only of a text that starts as JSON may, and only
//! where calls are asked for; its channel decides about any other. White space alone between messages is the format's
//! own. Stopping ends a message as its end marker would, because engines keep that marker back.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, FragmentKind, RequestContext, ToolChoice,
    fragment_buffer::FragmentBuffer,
    json_call::{JsonCall, Progress},
    marker_scanner::{MarkerReader, MarkerScanner},
};

use crate::header::{Header, Section, is_role, text_start};

/// Every marker of the format.
pub const MARKERS: [&str; 7] = [
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|channel|>",
    "<|constrain|>",
    "<|return|>",
    "<|call|>",
];
/// Starts a message's header. As the following, the index of a marker.
pub const START: usize = 0;
/// Ends a message.
pub const END: usize = 1;
/// Ends a header and starts its message's text.
pub const MESSAGE: usize = 2;
/// Starts the channel section of a header.
pub const CHANNEL: usize = 3;
/// Starts the type section of a header.
pub const CONSTRAIN: usize = 4;
/// Ends the last message.
pub const RETURN: usize = 5;
/// Ends a call.
pub const CALL: usize = 6;

/// One choice's parsing.
#[derive(Debug)]
pub struct Messages {
    scanner: MarkerScanner,
    reader: Reader,
}

#[derive(Debug)]
struct Reader {
    /// Whether a recipient makes a call.
    calls: bool,
    state: State,
    header: Header,
    /// The header's open section, or what may become one.
    section: FragmentBuffer,
    /// How many bytes of the header's open section stand in the prompt.
    prompted: usize,
    /// White space that is dropped if markup or JSON follows.
    blank: FragmentBuffer,
    /// What the model wrote of the open call.
    raw: FragmentBuffer,
    /// Line breaks that are dropped if the reasoning message ends.
    breaks: String,
    again: Vec<Fragment>,
    /// Whether nothing of the open message was handed out yet.
    fresh: bool,
    said_content: bool,
    said_reasoning: bool,
    /// Whether any marker came: white space alone is content otherwise.
    marked: bool,
    next_index: u32,
}

#[derive(Debug)]
enum State {
    /// Outside messages; `section` holds what may be the role of a header that no start marker announced.
    Outside,
    /// In this section of a header.
    Header(Section),
    Reasoning,
    Content,
    /// Before the first character of a message to this tool.
    Opening {
        tool: String,
        analysis: bool,
    },
    /// In a call's JSON, where markers are data unless they are control fragments.
    Json(JsonCall),
    /// In a call that failed.
    Failed,
}

/// Where an output starts, as far as its prompt decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At a message's header.
    Header,
    /// In a reasoning message.
    Reasoning,
    /// In the answer.
    Content,
    /// In the middle of a header or of a call.
    Other,
}

const LINE_BREAKS: [char; 2] = ['\r', '\n'];
const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

impl Messages {
    /// A parser for one choice of this request.
    pub fn new(context: &RequestContext) -> Self {
        let mut reader = Reader {
            calls: context.tool_choice != ToolChoice::None,
            state: State::Outside,
            header: Header::default(),
            section: FragmentBuffer::default(),
            prompted: 0,
            blank: FragmentBuffer::default(),
            raw: FragmentBuffer::default(),
            breaks: String::new(),
            again: Vec::new(),
            fresh: true,
            said_content: false,
            said_reasoning: false,
            marked: false,
            next_index: 0,
        };
        reader.follow(&context.prompt_tail);
        Self {
            scanner: MarkerScanner::new(MARKERS, context.strict_markers),
            reader,
        }
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        match self.reader.state {
            State::Outside => Place::Header,
            State::Reasoning => Place::Reasoning,
            State::Content => Place::Content,
            _ => Place::Other,
        }
    }

    /// See [`weir_plugin_sdk::Parser::push`].
    pub fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.scanner.push(fragment, &mut self.reader, events);
    }

    /// See [`weir_plugin_sdk::Parser::finish`].
    pub fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        let stopped = reason == FinishReason::Stop;
        self.scanner.finish(&mut self.reader, events);
        // Each turn leaves a header or a string behind, so there are few.
        while self.reader.rereads(stopped) {
            self.scanner.finish(&mut self.reader, events);
        }
        self.reader.finish(stopped, events);
    }
}

impl MarkerReader for Reader {
    fn literal(&self) -> bool {
        matches!(self.state, State::Json(_))
    }

    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        match self.state {
            State::Reasoning => self.reasoning(text, events),
            State::Content => self.content(Fragment::new(text, kind), events),
            State::Json(_) => return self.json(text, kind, events),
            State::Outside => return self.outside(text, kind, events),
            State::Opening { .. } => return self.opening(text, kind, events),
            State::Header(_) => self.section.push(text, kind),
            State::Failed => self.raw.push(text, kind),
        }
        text.len()
    }

    fn marker(&mut self, marker: usize, kind: FragmentKind, events: &mut Vec<Event>) {
        self.marked = true;
        let section = match self.state {
            State::Header(section) => Some(section),
            State::Outside => {
                let header = matches!(marker, MESSAGE | CHANNEL | CONSTRAIN);
                let role = self.section.text();
                if role.is_empty() || (header && is_role(role, true)) {
                    self.blank.clear();
                } else {
                    self.release(events);
                }
                Some(Section::Role)
            }
            _ => None,
        };
        match (marker, section) {
            (CHANNEL, Some(section)) => self.section_ends(section, Section::Channel),
            (CONSTRAIN, Some(section)) => self.section_ends(section, Section::Type),
            (MESSAGE, Some(section)) => {
                self.section_ends(section, Section::Type);
                self.begin(false);
            }
            // Stray ones in the middle of a message.
            (CONSTRAIN | MESSAGE, None) => {}
            (CHANNEL, None) => {
                self.end(true, events);
                self.state = State::Header(Section::Channel);
            }
            _ => {
                if self.message_without_marker(true) {
                    self.again.push(Fragment::new(MARKERS[marker], kind));
                    return;
                }
                self.end(true, events);
                if marker == START {
                    self.state = State::Header(Section::Role);
                }
            }
        }
    }

    fn again(&mut self) -> Vec<Fragment> {
        core::mem::take(&mut self.again)
    }
}

impl Reader {
    /// Takes the place where an output after this prompt starts; nothing of the prompt is handed out.
    fn follow(&mut self, prompt_tail: &str) {
        let last = |marker: usize| prompt_tail.rfind(MARKERS[marker]);
        let Some(start) = last(START).or_else(|| last(CHANNEL)) else {
            return;
        };
        let prompt = Fragment::new(&prompt_tail[start..], FragmentKind::Unknown);
        MarkerScanner::new(MARKERS, false).push(&prompt, self, &mut Vec::new());
        match self.state {
            State::Header(Section::Role) => {
                self.header.read(Section::Role, self.section.text());
                self.section.clear();
                self.state = State::Outside;
            }
            // Whoever began a call in the prompt reads its rest as text.
            State::Json(_) | State::Failed => self.state = State::Content,
            _ => {}
        }
        if matches!(self.state, State::Outside) {
            self.section.clear();
        }
        self.prompted = self.section.text().len();
        self.blank.clear();
        self.raw.clear();
        self.breaks.clear();
        self.again.clear();
        (self.said_content, self.said_reasoning) = (false, false);
        (self.marked, self.next_index) = (false, 0);
    }

    /// Text outside messages: content, unless it may be a role.
    fn outside(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        if self.section.text().is_empty() {
            let space = leading_space(text);
            if space > 0 {
                self.blank.push(&text[..space], kind);
                return space;
            }
        }
        self.section.push(text, kind);
        if !is_role(self.section.text(), false) {
            self.release(events);
            self.state = State::Content;
        }
        text.len()
    }

    /// Hands out as content what is held outside messages.
    fn release(&mut self, events: &mut Vec<Event>) {
        self.fresh = true;
        let mut held = self.blank.take();
        held.extend(self.section.take());
        for fragment in held {
            self.content(fragment, events);
        }
    }

    fn content(&mut self, fragment: Fragment, events: &mut Vec<Event>) {
        if self.fresh && self.said_content {
            events.push(Event::Content(Fragment::new("\n", FragmentKind::Text)));
        }
        (self.fresh, self.said_content) = (false, true);
        events.push(Event::Content(fragment));
    }

    /// Holds back line breaks: the message may end after them.
    fn reasoning(&mut self, text: &str, events: &mut Vec<Event>) {
        let text = if self.fresh {
            text.trim_start_matches(LINE_BREAKS)
        } else {
            text
        };
        let kept = text.trim_end_matches(LINE_BREAKS);
        if !kept.is_empty() {
            let mut reasoning = core::mem::take(&mut self.breaks);
            if self.fresh && self.said_reasoning {
                reasoning.push('\n');
            }
            (self.fresh, self.said_reasoning) = (false, true);
            reasoning.push_str(kept);
            events.push(Event::Reasoning {
                text: reasoning.into(),
            });
        }
        self.breaks.push_str(&text[kept.len()..]);
    }

    /// The open section of the header ended and this one follows.
    fn section_ends(&mut self, section: Section, next: Section) {
        self.header.read(section, self.section.text());
        self.section.clear();
        self.prompted = 0;
        self.state = State::Header(next);
    }

    /// The header ended. A call of which the prompt has `begun` the text is none.
    fn begin(&mut self, begun: bool) {
        let header = core::mem::take(&mut self.header);
        self.fresh = !begun;
        let tool = header.tool().filter(|_| self.calls && !begun);
        self.state = match tool.map(ToOwned::to_owned) {
            Some(tool) => State::Opening {
                tool,
                analysis: header.analysis,
            },
            None => text_state(header.analysis),
        };
    }

    /// Begins the message of a header that ended without a message marker, if there is one: its text stands at the end
    /// of the header and is to be read again, but for what the prompt has of it.
    fn message_without_marker(&mut self, stopped: bool) -> bool {
        let State::Header(section) = self.state else {
            return false;
        };
        let start = text_start(section, self.section.text(), !stopped);
        let begun = start < self.prompted;
        self.again = self.section.split_off(start.max(self.prompted));
        self.section_ends(section, Section::Type);
        let is_call = stopped && self.calls && !begun && self.header.tool().is_some();
        if self.again.is_empty() && !is_call {
            return false;
        }
        self.begin(begun);
        true
    }

    /// Before the first character of a message to a tool.
    fn opening(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let space = leading_space(text);
        if space > 0 {
            self.blank.push(&text[..space], kind);
            return space;
        }
        if let State::Opening { tool, analysis } = &mut self.state {
            self.state = if text.starts_with(['{', '"']) {
                self.blank.clear();
                let call = JsonCall::named(self.next_index, tool, events);
                self.next_index += 1;
                State::Json(call)
            } else {
                self.again = self.blank.take();
                text_state(*analysis)
            };
        }
        0
    }

    fn json(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        if kind == FragmentKind::Control
            && let Some(marker) = MARKERS.iter().position(|marker| *marker == text)
        {
            self.marker(marker, kind, events);
            return text.len();
        }
        let State::Json(call) = &mut self.state else {
            return 0;
        };
        let (used, progress) = call.push(text, kind, &mut self.raw, events);
        match progress {
            Progress::Open => {}
            Progress::Complete => {
                self.raw.clear();
                self.state = State::Outside;
            }
            Progress::Failed { unproven } => self.fail(unproven),
        }
        used
    }

    /// The open call is none; so many bytes of it may not have been meant as JSON and are to be read again.
    fn fail(&mut self, unproven: usize) {
        self.again = self.raw.split_off(self.raw.text().len() - unproven);
        self.state = State::Failed;
    }

    /// A message ended, because the model said so if `stopped`.
    fn end(&mut self, stopped: bool, events: &mut Vec<Event>) {
        match core::mem::replace(&mut self.state, State::Outside) {
            State::Opening { tool, .. } if stopped => {
                JsonCall::named(self.next_index, &tool, events).end_without_arguments(events);
                self.next_index += 1;
            }
            State::Json(_) | State::Failed => {
                let raw = self.raw.text();
                let raw = if stopped {
                    raw.trim_end_matches(WHITE_SPACE)
                } else {
                    raw
                };
                events.push(Event::CallAbandoned {
                    index: self.next_index - 1,
                    raw: raw.to_owned(),
                });
            }
            State::Reasoning if !stopped && !self.fresh && !self.breaks.is_empty() => {
                let text = core::mem::take(&mut self.breaks);
                events.push(Event::Reasoning { text: text.into() });
            }
            _ => {}
        }
        self.header = Header::default();
        self.section.clear();
        self.blank.clear();
        self.raw.clear();
        self.breaks.clear();
    }

    /// Nothing more comes: whether there is something to read again, as something else than it was taken for.
    fn rereads(&mut self, stopped: bool) -> bool {
        if let State::Json(call) = &self.state {
            // A model that stopped inside a string forgot the quote; one that was cut off may be quoting a marker.
            if stopped {
                let unproven = call.unproven_string();
                self.fail(unproven);
            }
            return stopped;
        }
        self.message_without_marker(stopped)
    }

    fn finish(&mut self, stopped: bool, events: &mut Vec<Event>) {
        if matches!(self.state, State::Outside) {
            if self.marked && self.section.text().is_empty() {
                self.blank.clear();
            }
            self.release(events);
        }
        self.end(stopped, events);
    }
}

/// The state in the text of a message that is no call.
fn text_state(analysis: bool) -> State {
    if analysis {
        State::Reasoning
    } else {
        State::Content
    }
}

fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start_matches(WHITE_SPACE).len()
}
