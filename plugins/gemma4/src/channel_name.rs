//! Takes the name of Gemma 4's thinking channel, `thought` on a line of its own, off the reasoning.
//!
//! Invariants: only the start of the reasoning is looked at, and only what may still become the name is withheld; all
//! else passes as it is, in order. A part of the name at the very end is dropped with it. There is no other channel.

use alloc::vec::Vec;

use weir_plugin_sdk::{Event, Text};

const NAME: &str = "thought";
const LINE_BREAKS: [char; 2] = ['\r', '\n'];

/// How much of the name came.
#[derive(Debug, Default)]
pub(crate) struct ChannelName {
    /// So many bytes of it are withheld.
    came: usize,
    past: bool,
}

impl ChannelName {
    /// Whether nothing of it can come any more.
    pub(crate) fn is_past(&self) -> bool {
        self.past
    }

    /// Hands on what was said, without the name.
    pub(crate) fn strip(&mut self, said: impl Iterator<Item = Event>, events: &mut Vec<Event>) {
        for event in said {
            match event {
                Event::Reasoning { text } if !self.past => self.reasoning(&text, events),
                other => {
                    // All of the name is the name even if no reasoning follows it.
                    if !self.past && self.came < NAME.len() {
                        reason(&NAME[..self.came], events);
                    }
                    self.past = true;
                    events.push(other);
                }
            }
        }
    }

    fn reasoning(&mut self, text: &Text, events: &mut Vec<Event>) {
        let missing = &NAME[self.came..];
        if missing.starts_with(text.as_str()) {
            self.came += text.len();
            return;
        }
        self.past = true;
        match text.strip_prefix(missing) {
            Some(rest) if rest.starts_with(LINE_BREAKS) => {
                reason(rest.trim_start_matches(LINE_BREAKS), events);
            }
            _ => {
                reason(&NAME[..self.came], events);
                reason(text, events);
            }
        }
    }
}

fn reason(text: &str, events: &mut Vec<Event>) {
    if !text.is_empty() {
        events.push(Event::Reasoning { text: text.into() });
    }
}
