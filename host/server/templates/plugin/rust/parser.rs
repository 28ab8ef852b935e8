//! A third-party tool parser for a made-up format: a line `#call NAME {arguments}` is a call, every other line is content.
//!
//! Invariant: the events fold to the same message however the text is cut. A line is held only while it may still be a
//! call; ordinary text goes on at once. It does not stream arguments: a call comes out when its line is complete.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{borrow::ToOwned, string::String, vec, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, FragmentKind, Parser, ParserInfo, RequestContext, Roles,
    json_scanner::is_object,
};

const MARKER: &str = "#call ";

/// One answer's parsing.
pub struct HashCall {
    /// The line so far, while it is or may become a call.
    held: String,
    /// Whether the line has turned out to be content.
    content_line: bool,
    calls: u32,
}

impl Parser for HashCall {
    fn describe(_config: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "{{name}}".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: false,
                tools: true,
            },
            markers: vec![MARKER.into()],
            ..ParserInfo::default()
        })
    }

    fn new(_config: &str, _context: &RequestContext) -> Self {
        Self {
            held: String::new(),
            content_line: false,
            calls: 0,
        }
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        for piece in fragment.text.split_inclusive('\n') {
            if self.content_line {
                content(piece, events);
            } else {
                self.held.push_str(piece);
                self.decide(events);
            }
            if piece.ends_with('\n') {
                self.content_line = false;
            }
        }
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        // Out of tokens in the middle of a call: it is not complete, whatever its text looks like.
        let whole = reason == FinishReason::Stop;
        let held = core::mem::take(&mut self.held);
        if held.starts_with(MARKER) {
            self.call(&held, whole, events);
        } else {
            content(&held, events);
        }
    }
}

impl HashCall {
    /// Holds on to a line that is or may become a call; anything else is content from here to the line's end.
    fn decide(&mut self, events: &mut Vec<Event>) {
        let is_call = self.held.starts_with(MARKER);
        if is_call && self.held.ends_with('\n') {
            let line = core::mem::take(&mut self.held);
            self.call(&line, true, events);
        } else if !is_call && !MARKER.starts_with(&self.held) {
            content(&core::mem::take(&mut self.held), events);
            self.content_line = true;
        }
    }

    fn call(&mut self, line: &str, whole: bool, events: &mut Vec<Event>) {
        let raw = line[MARKER.len()..].trim();
        let index = self.calls;
        let (name, arguments) = raw.split_once(' ').unwrap_or((raw, "{}"));
        if !whole || name.is_empty() || !is_object(arguments.trim()) {
            events.push(Event::CallAbandoned {
                index,
                raw: raw.to_owned(),
            });
            return;
        }
        self.calls += 1;
        events.push(Event::CallBegin {
            index,
            id: None,
            name: name.to_owned(),
        });
        events.push(Event::CallArguments {
            index,
            delta: arguments.trim().into(),
        });
        events.push(Event::CallEnd { index });
    }
}

fn content(text: &str, events: &mut Vec<Event>) {
    if !text.is_empty() {
        events.push(Event::Content(Fragment {
            text: text.into(),
            kind: FragmentKind::Text,
        }));
    }
}

weir_plugin_sdk::export_parser!(HashCall);

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out when the text is cut into pieces of `size` characters, content joined.
    fn fold(text: &str, size: usize) -> (String, Vec<Event>) {
        let mut parser = HashCall::new("{}", &RequestContext::default());
        let (characters, mut events) = (text.chars().collect::<Vec<_>>(), Vec::new());
        for piece in characters.chunks(size) {
            parser.push(
                &Fragment {
                    text: piece.iter().collect(),
                    kind: FragmentKind::Text,
                },
                &mut events,
            );
        }
        parser.finish(FinishReason::Stop, &mut events);
        let mut content = String::new();
        events.retain(|event| match event {
            Event::Content(fragment) => {
                content.push_str(&fragment.text);
                false
            }
            _ => true,
        });
        (content, events)
    }

    #[test]
    fn every_chunking_gives_the_same() {
        let text = "Looking.\n#call get_weather {\"city\": \"Paris\"}\n#caller is no call\nDone.\n#call now";
        let whole = fold(text, usize::MAX);
        assert_eq!(whole.0, "Looking.\n#caller is no call\nDone.\n");
        assert_eq!(whole.1.len(), 6);
        for size in 1..text.len() {
            assert_eq!(fold(text, size), whole, "in pieces of {size}");
        }
    }
}
