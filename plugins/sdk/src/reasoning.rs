//! The reasoning parser of every family that writes its reasoning between two markers, before the answer.
//!
//! Invariants: the first end marker ends the reasoning; one that comes before any of the answer is markup, a later one is
//! content; line breaks next to the markers are markup; everything else is verbatim. Whether the output starts inside
//! reasoning is read from the prompt, and only where the prompt says nothing from the family. A tool marker is reasoning
//! like any other text, except where [`ReasoningFormat::tool_marker_ends`] says otherwise.

use alloc::{borrow::Cow, string::String, vec::Vec};

use crate::{
    fragment_buffer::FragmentBuffer,
    grammar::Segment,
    marker_scanner::{MarkerReader, MarkerScanner},
    types::{Event, FinishReason, Fragment, FragmentKind, RequestContext},
};

/// How a family marks its reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasoningFormat {
    /// What starts a turn in the prompt; empty if that is not known. Only what follows the last one is read, so that the
    /// reasoning of earlier turns and what a user writes about markers say nothing.
    pub turn: Cow<'static, str>,
    /// The start marker; empty for families that have none.
    pub start: Cow<'static, str>,
    /// The end marker.
    pub end: Cow<'static, str>,
    /// Whether the output starts inside reasoning when the prompt holds neither marker.
    pub starts_inside: bool,
    /// Whether a control fragment that is a marker of the tool parser behind ends the reasoning too: for families that
    /// are known to leave out the end marker before a call.
    pub tool_marker_ends: bool,
}

impl ReasoningFormat {
    /// Whether an output that follows this prompt starts inside reasoning: the last marker there says so.
    pub fn starts_inside(&self, prompt_tail: &str) -> bool {
        self.opened_by(prompt_tail).unwrap_or(self.starts_inside)
    }

    /// Whether the last marker of the turn that this prompt starts is the start marker; `None` if there is no marker.
    fn opened_by(&self, prompt_tail: &str) -> Option<bool> {
        let find = |text: &str, marker: &str| {
            Some(marker)
                .filter(|marker| !marker.is_empty())
                .and_then(|marker| text.rfind(marker))
        };
        let turn = &prompt_tail[find(prompt_tail, &self.turn).unwrap_or(0)..];
        let (started, ended) = (find(turn, &self.start), find(turn, &self.end));
        started.max(ended).map(|_| started > ended)
    }

    /// How an answer with reasoning in front is forced: the reasoning freely, up to its end marker. Where the model
    /// decides whether it reasons, it still may.
    pub fn grammar(&self, context: &RequestContext) -> Segment {
        let rest = Segment::Until(String::from(&*self.end));
        let reasoning = match self.opened_by(&context.prompt_tail) {
            Some(false) => return Segment::Answer,
            None if !self.starts_inside && self.start.is_empty() => return Segment::Answer,
            None if !self.starts_inside => {
                Segment::sequence([Segment::marker(&*self.start), rest]).optional()
            }
            _ => rest,
        };
        Segment::sequence([reasoning, Segment::Answer])
    }
}

/// Further markers of a family that writes them in more than one way; each means the same as the format's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct OtherMarkers {
    /// Start markers.
    pub starts: &'static [&'static str],
    /// End markers.
    pub ends: &'static [&'static str],
}

/// One choice's parsing.
#[derive(Debug)]
pub struct MarkedReasoning {
    scanner: MarkerScanner,
    splitter: Splitter,
}

#[derive(Debug)]
struct Splitter {
    /// End markers, then start markers.
    markers: Vec<Cow<'static, str>>,
    /// How many of them are end markers.
    ends: usize,
    /// Control fragments that end the reasoning as the end marker does and are content themselves.
    enders: Vec<String>,
    state: State,
    /// White space that becomes markup if a marker follows.
    blank: FragmentBuffer,
    /// Whether the prompt ends with the end marker: line breaks that the output starts with stand next to it.
    ended_by_prompt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// White space alone so far, in an output that starts outside.
    LeadingContent,
    /// White space alone so far, in an output that starts inside, or after the start marker.
    LeadingReasoning,
    /// After some reasoning.
    Reasoning,
    /// Line breaks alone since the end marker.
    AfterEnd,
    /// In the answer.
    Content,
}

impl MarkedReasoning {
    /// A parser of this format for one choice of this request.
    pub fn new(format: &ReasoningFormat, context: &RequestContext) -> Self {
        Self::with_others(format, OtherMarkers::default(), context)
    }

    /// The same for a family that has `others` too.
    pub fn with_others(
        format: &ReasoningFormat,
        others: OtherMarkers,
        context: &RequestContext,
    ) -> Self {
        let borrowed = |marker: &&'static str| Cow::Borrowed(*marker);
        let ends = [format.end.clone()].into_iter();
        let ends: Vec<_> = ends.chain(others.ends.iter().map(borrowed)).collect();
        let start = Some(format.start.clone()).filter(|start| !start.is_empty());
        let starts = start.into_iter().chain(others.starts.iter().map(borrowed));
        let ends_count = ends.len();
        let markers: Vec<_> = ends.into_iter().chain(starts).collect();
        Self {
            scanner: MarkerScanner::new(markers.iter().cloned(), context.strict_markers),
            splitter: Splitter {
                enders: if format.tool_marker_ends {
                    context.tool_markers.clone()
                } else {
                    Vec::new()
                },
                state: if format.starts_inside(&context.prompt_tail) {
                    State::LeadingReasoning
                } else {
                    State::LeadingContent
                },
                blank: FragmentBuffer::default(),
                ended_by_prompt: context
                    .prompt_tail
                    .trim_end_matches(LINE_BREAKS)
                    .ends_with(&*format.end),
                markers,
                ends: ends_count,
            },
        }
    }

    /// Whether the answer began: every fragment from here on is content as it is, and nothing is held back.
    pub fn is_over(&self) -> bool {
        self.splitter.state == State::Content
    }

    /// See [`crate::Parser::push`].
    pub fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.scanner.push(fragment, &mut self.splitter, events);
    }

    /// See [`crate::Parser::finish`].
    pub fn finish(&mut self, _: FinishReason, events: &mut Vec<Event>) {
        self.scanner.finish(&mut self.splitter, events);
        self.splitter.release(events);
    }
}

impl MarkerReader for Splitter {
    fn literal(&self) -> bool {
        self.state == State::Content
    }

    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        if self.ends_reasoning(text, kind) {
            self.before_end(events);
            self.state = State::Content;
        }
        match self.state {
            State::LeadingContent | State::LeadingReasoning => {
                let space = prefix(text, &[' ', '\t', '\r', '\n']);
                self.blank.push(&text[..space], kind);
                if space < text.len() {
                    self.lead_out(events);
                }
                space
            }
            State::Reasoning => self.reasoning(text, kind, events),
            State::AfterEnd => {
                let breaks = prefix(text, LINE_BREAKS);
                if breaks < text.len() {
                    self.state = State::Content;
                }
                breaks
            }
            State::Content => {
                events.push(Event::Content(Fragment::new(text, kind)));
                text.len()
            }
        }
    }

    fn marker(&mut self, marker: usize, kind: FragmentKind, events: &mut Vec<Event>) {
        match (self.state, marker >= self.ends) {
            (State::LeadingContent | State::LeadingReasoning, true) => {
                self.blank.clear();
                self.state = State::LeadingReasoning;
            }
            (State::LeadingReasoning | State::Reasoning, false) => {
                self.before_end(events);
                self.state = State::AfterEnd;
            }
            // Before any of the answer: an end without reasoning, or the end marker once more.
            (State::LeadingContent | State::AfterEnd, false) => {
                self.blank.clear();
                self.state = State::AfterEnd;
            }
            // Any other marker is text where it stands.
            _ => {
                let text = self.markers[marker].clone();
                let mut taken = 0;
                while taken < text.len() {
                    taken += self.text(&text[taken..], kind, events);
                }
            }
        }
    }
}

const LINE_BREAKS: &[char] = &['\r', '\n'];

impl Splitter {
    /// Whether this is a tool marker that ends the reasoning.
    fn ends_reasoning(&self, text: &str, kind: FragmentKind) -> bool {
        kind == FragmentKind::Control
            && matches!(self.state, State::LeadingReasoning | State::Reasoning)
            && self.enders.iter().any(|marker| marker == text)
    }

    /// The first character that is not white space came, and no marker before it.
    fn lead_out(&mut self, events: &mut Vec<Event>) {
        if self.state == State::LeadingContent {
            self.release(events);
            self.state = State::Content;
        } else {
            // Line breaks after the start marker are markup, wherever that stood.
            let text = join(self.blank.take());
            push_reasoning(text.trim_start_matches(LINE_BREAKS), events);
            self.state = State::Reasoning;
        }
    }

    /// Holds back line breaks: an end marker may follow.
    fn reasoning(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let kept = text.trim_end_matches(LINE_BREAKS);
        if !kept.is_empty() {
            let mut reasoning = join(self.blank.take());
            reasoning.push_str(kept);
            push_reasoning(&reasoning, events);
        }
        self.blank.push(&text[kept.len()..], kind);
        text.len()
    }

    /// The end marker came: line breaks before it are markup, and so are those at the very start.
    fn before_end(&mut self, events: &mut Vec<Event>) {
        let text = join(self.blank.take());
        push_reasoning(text.trim_matches(LINE_BREAKS), events);
    }

    /// Hands out what is held back, as nothing more comes.
    fn release(&mut self, events: &mut Vec<Event>) {
        let markup = if self.state == State::LeadingContent && self.ended_by_prompt {
            prefix(self.blank.text(), LINE_BREAKS)
        } else {
            0
        };
        let held = self.blank.split_off(markup);
        self.blank.clear();
        match self.state {
            State::LeadingContent => events.extend(held.into_iter().map(Event::Content)),
            State::LeadingReasoning => {
                push_reasoning(join(held).trim_start_matches(LINE_BREAKS), events);
            }
            State::Reasoning => push_reasoning(&join(held), events),
            State::AfterEnd | State::Content => {}
        }
    }
}

/// How many bytes of these characters `text` starts with.
fn prefix(text: &str, characters: &[char]) -> usize {
    text.len() - text.trim_start_matches(characters).len()
}

fn join(fragments: Vec<Fragment>) -> String {
    fragments
        .into_iter()
        .map(|fragment| fragment.text)
        .collect()
}

fn push_reasoning(text: &str, events: &mut Vec<Event>) {
    if !text.is_empty() {
        events.push(Event::Reasoning { text: text.into() });
    }
}
