//! Takes `<response>` and `</response>`, which ERNIE writes around its answer, off the content.
//!
//! Invariants: the tags and the line breaks next to them are markup wherever they stand, all other content is verbatim;
//! calls pass as they are, and tags in their arguments are data, because it reads what the tool parser left as content.

use alloc::vec::Vec;

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, FragmentKind,
    chained::ToolStage,
    fragment_buffer::FragmentBuffer,
    marked_calls::MarkedCalls,
    marker_scanner::{MarkerReader, MarkerScanner},
};

/// The tags around an answer.
pub(crate) const TAGS: [&str; 2] = ["<response>", "</response>"];
const LINE_BREAKS: [char; 2] = ['\r', '\n'];

/// A tool parser whose content loses the tags.
#[derive(Debug)]
pub(crate) struct Untagged {
    calls: MarkedCalls,
    scanner: MarkerScanner,
    stripper: Stripper,
    /// What the tool parser says of a fragment; empty between two.
    said: Vec<Event>,
}

#[derive(Debug, Default)]
struct Stripper {
    /// Whether line breaks alone came since the last tag.
    behind_tag: bool,
    /// Line breaks that are markup if a tag follows.
    breaks: FragmentBuffer,
}

impl Untagged {
    /// What `calls` reads, without the tags.
    pub(crate) fn new(calls: MarkedCalls, strict_markers: bool) -> Self {
        Self {
            calls,
            scanner: MarkerScanner::new(TAGS, strict_markers),
            stripper: Stripper::default(),
            said: Vec::new(),
        }
    }

    fn strip(&mut self, events: &mut Vec<Event>) {
        for event in self.said.drain(..) {
            if let Event::Content(fragment) = event {
                self.scanner.push(&fragment, &mut self.stripper, events);
            } else {
                // No tag goes on behind a call.
                self.scanner.finish(&mut self.stripper, events);
                self.stripper.release(events);
                events.push(event);
            }
        }
    }
}

impl ToolStage for Untagged {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.calls.push(fragment, &mut self.said);
        if self.stripper.is_idle() && !self.scanner.is_holding() && is_plain(&self.said) {
            events.append(&mut self.said);
        } else {
            self.strip(events);
        }
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.calls.finish(reason, &mut self.said);
        self.strip(events);
        self.scanner.finish(&mut self.stripper, events);
        self.stripper.release(events);
    }
}

impl MarkerReader for Stripper {
    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let mut kept = text;
        if self.behind_tag {
            kept = text.trim_start_matches(LINE_BREAKS);
            self.behind_tag = kept.is_empty();
        }
        let shown = kept.trim_end_matches(LINE_BREAKS);
        if !shown.is_empty() {
            self.release(events);
            events.push(Event::Content(Fragment::new(shown, kind)));
        }
        self.breaks.push(&kept[shown.len()..], kind);
        text.len()
    }

    fn marker(&mut self, _: usize, _: FragmentKind, _: &mut Vec<Event>) {
        self.breaks.clear();
        self.behind_tag = true;
    }
}

/// Whether this is text without a character that means anything here: nearly all of an answer, and passed on at once.
fn is_plain(said: &[Event]) -> bool {
    let plain = |text: &str| {
        !text
            .bytes()
            .any(|byte| matches!(byte, b'<' | b'\r' | b'\n'))
    };
    matches!(said, [Event::Content(fragment)] if plain(&fragment.text))
}

impl Stripper {
    /// Whether it has nothing in mind.
    fn is_idle(&self) -> bool {
        !self.behind_tag && self.breaks.text().is_empty()
    }

    /// Hands out line breaks that are content after all.
    fn release(&mut self, events: &mut Vec<Event>) {
        events.extend(self.breaks.take().into_iter().map(Event::Content));
    }
}
