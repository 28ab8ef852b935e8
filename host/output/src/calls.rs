//! Calls on their way to the client: held until they are whole where that was asked for, numbered, given ids.
//!
//! [`CallHold`] stands behind the post-processors, and in front of each that does not want calls; [`CallNumbering`] comes
//! last. Invariants: the client sees
//! indices from 0 without gaps, each call opened once and ended once; in complete mode nothing of a call that did not
//! close as a JSON object. Argument bytes are passed on as they are, never re-serialised.

use serde::{Deserialize, Serialize};

use crate::{
    call_id::{CallIdFormat, CallIds},
    event::{Event, FinishReason, Fragment, FragmentKind},
};

/// How a call's arguments reach the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolCallStreaming {
    /// As the model writes them; an abandoned call's deltas stand.
    #[default]
    Incremental,
    /// Each call at once, when it closed and its arguments are a JSON object; an abandoned call's raw text is content.
    Complete,
    /// For an answer that is not streamed and would be streamed as `Incremental`: as `Complete`, but a call that was cut off
    /// when the tokens ran out stands as far as it came, as it does in a stream.
    #[serde(skip)]
    Folded,
}

/// Whether `text` is one JSON object and nothing else. Any depth of nesting is fine: serde_json skips values with a
/// stack of its own on the heap, not by recursion.
pub fn is_json_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Turns abandoned calls into what the mode says, and holds calls until they are whole in complete mode.
#[derive(Debug, Default)]
pub(crate) struct CallHold {
    streaming: ToolCallStreaming,
    /// A call that is abandoned now was cut off, and stands.
    cut_calls_stand: bool,
    open: Vec<OpenCall>,
}

/// A call that began and has not ended. In incremental mode its arguments were sent on and are not kept here.
#[derive(Debug)]
struct OpenCall {
    index: u32,
    id: Option<String>,
    name: String,
    arguments: String,
}

impl CallHold {
    pub(crate) fn new(streaming: ToolCallStreaming) -> Self {
        Self {
            streaming,
            cut_calls_stand: false,
            open: Vec::new(),
        }
    }

    /// Learns how generation ended, before the last events.
    pub(crate) fn end(&mut self, reason: FinishReason) {
        self.cut_calls_stand =
            self.streaming == ToolCallStreaming::Folded && reason == FinishReason::Length;
    }

    pub(crate) fn push(&mut self, event: Event, events: &mut Vec<Event>) {
        let complete = self.streaming != ToolCallStreaming::Incremental;
        match event {
            Event::CallBegin { index, id, name } if complete => {
                self.open.push(OpenCall {
                    index,
                    id,
                    name,
                    arguments: String::new(),
                });
            }
            Event::CallBegin { index, .. } => {
                self.open.push(OpenCall {
                    index,
                    id: None,
                    name: String::new(),
                    arguments: String::new(),
                });
                events.push(event);
            }
            Event::CallArguments { index, delta } if complete => {
                if let Some(call) = self.open.iter_mut().find(|call| call.index == index) {
                    call.arguments.push_str(&delta);
                }
            }
            Event::CallEnd { index } => {
                if let Some(call) = self.take(index) {
                    if complete {
                        release(call, events)
                    } else {
                        events.push(event)
                    }
                }
            }
            Event::CallAbandoned { index, raw } => match self.take(index) {
                Some(_) if !complete => events.push(Event::CallAbandoned { index, raw }),
                Some(call) if self.cut_calls_stand => {
                    begin(call, events);
                    events.push(Event::CallAbandoned { index, raw });
                }
                Some(call) => {
                    push_content(if raw.is_empty() { call.arguments } else { raw }, events)
                }
                None => push_content(raw, events),
            },
            Event::CallArguments { .. } | Event::Content(_) | Event::Reasoning { .. } => {
                events.push(event)
            }
        }
    }

    fn take(&mut self, index: u32) -> Option<OpenCall> {
        let position = self.open.iter().position(|call| call.index == index)?;
        Some(self.open.remove(position))
    }
}

fn release(call: OpenCall, events: &mut Vec<Event>) {
    let index = call.index;
    if is_json_object(&call.arguments) {
        begin(call, events);
        events.push(Event::CallEnd { index });
    } else {
        push_content(call.arguments, events);
    }
}

/// What was held of a call.
fn begin(call: OpenCall, events: &mut Vec<Event>) {
    let OpenCall {
        index,
        id,
        name,
        arguments: delta,
    } = call;
    events.push(Event::CallBegin { index, id, name });
    events.push(Event::CallArguments { index, delta });
}

fn push_content(text: String, events: &mut Vec<Event>) {
    if !text.is_empty() {
        events.push(Event::Content(Fragment {
            text,
            kind: FragmentKind::Text,
        }));
    }
}

/// Numbers calls as the client sees them and gives them ids. Post-processors stand before it and may have dropped a
/// call's begin: what remains of such a call is dropped too. Empty pieces of text are dropped.
#[derive(Debug)]
pub(crate) struct CallNumbering {
    ids: CallIds,
    format: CallIdFormat,
    next: u32,
    /// Indices of open calls: the plugin's and the client's.
    open: Vec<(u32, u32)>,
}

impl CallNumbering {
    pub(crate) fn new(ids: CallIds, format: CallIdFormat) -> Self {
        Self {
            ids,
            format,
            next: 0,
            open: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, event: Event, events: &mut Vec<Event>) {
        match event {
            Event::CallBegin { index, id, name } => {
                let id = id
                    .filter(|id| !id.is_empty())
                    .unwrap_or_else(|| self.ids.next_id(self.format));
                self.open.push((index, self.next));
                events.push(Event::CallBegin {
                    index: self.next,
                    id: Some(id),
                    name,
                });
                self.next += 1;
            }
            Event::CallArguments { index, delta } => {
                if let Some(index) = self.client_index(index).filter(|_| !delta.is_empty()) {
                    events.push(Event::CallArguments { index, delta });
                }
            }
            Event::CallEnd { index } => {
                if let Some(index) = self.close(index) {
                    events.push(Event::CallEnd { index });
                }
            }
            Event::CallAbandoned { index, raw } => match self.close(index) {
                Some(index) => events.push(Event::CallAbandoned { index, raw }),
                None => push_content(raw, events),
            },
            Event::Content(Fragment { ref text, .. }) | Event::Reasoning { ref text } => {
                if !text.is_empty() {
                    events.push(event);
                }
            }
        }
    }

    /// Ends the calls that nobody ended.
    pub(crate) fn finish(&mut self, events: &mut Vec<Event>) {
        let open = self.open.drain(..);
        events.extend(open.map(|(_, index)| Event::CallAbandoned {
            index,
            raw: String::new(),
        }));
    }

    fn client_index(&self, plugin_index: u32) -> Option<u32> {
        self.open
            .iter()
            .rev()
            .find(|(index, _)| *index == plugin_index)
            .map(|(_, client)| *client)
    }

    fn close(&mut self, plugin_index: u32) -> Option<u32> {
        let position = self
            .open
            .iter()
            .rposition(|(index, _)| *index == plugin_index)?;
        Some(self.open.remove(position).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(index: u32, id: Option<&str>, name: &str) -> Event {
        Event::CallBegin {
            index,
            id: id.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    fn arguments(index: u32, delta: &str) -> Event {
        Event::CallArguments {
            index,
            delta: delta.to_owned(),
        }
    }

    fn abandoned(index: u32, raw: &str) -> Event {
        Event::CallAbandoned {
            index,
            raw: raw.to_owned(),
        }
    }

    fn content(text: &str) -> Event {
        Event::Content(Fragment {
            text: text.to_owned(),
            kind: FragmentKind::Text,
        })
    }

    fn hold(streaming: ToolCallStreaming, input: &[Event]) -> Vec<Event> {
        let mut hold = CallHold::new(streaming);
        let mut events = Vec::new();
        for event in input {
            hold.push(event.clone(), &mut events);
        }
        events
    }

    #[test]
    fn json_objects_of_any_depth_are_told_from_the_rest() {
        for good in [
            "{}",
            " {\"a\": [1, 1e5, -0.0, null]}\n",
            r#"{"s":"\ud83d\ude00 \/"}"#,
        ] {
            assert!(is_json_object(good), "{good}");
        }
        for bad in [
            "",
            "[]",
            "1",
            "\"{}\"",
            "{",
            "{}{}",
            "{'a':1}",
            "{\"a\":}",
            "{\"a\":01}",
        ] {
            assert!(!is_json_object(bad), "{bad}");
        }
        let depth = 200_000;
        let deep = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(is_json_object(&deep));
        assert!(!is_json_object(&deep[..deep.len() - 1]));
    }

    #[test]
    fn complete_mode_holds_calls_until_they_are_whole() {
        let input = [
            begin(0, None, "a"),
            arguments(0, "{\"x\""),
            content("between"),
            arguments(0, ":1}"),
            Event::CallEnd { index: 0 },
            begin(1, None, "b"),
            arguments(1, "{"),
            abandoned(1, "b {"),
            begin(2, None, "c"),
            arguments(2, "[1]"),
            Event::CallEnd { index: 2 },
        ];
        let whole = [
            begin(0, None, "a"),
            arguments(0, "{\"x\":1}"),
            Event::CallEnd { index: 0 },
        ];
        let expected: Vec<Event> = [content("between")]
            .into_iter()
            .chain(whole)
            .chain([content("b {"), content("[1]")])
            .collect();
        assert_eq!(hold(ToolCallStreaming::Complete, &input), expected);
    }

    #[test]
    fn a_call_that_was_cut_off_stands_where_a_stream_would_have_it() {
        let held = [begin(0, None, "a"), arguments(0, "{"), arguments(0, "\"x")];
        let folded = |reason: FinishReason, streaming: ToolCallStreaming| {
            let mut hold = CallHold::new(streaming);
            let mut events = Vec::new();
            for event in &held {
                hold.push(event.clone(), &mut events);
            }
            hold.end(reason);
            hold.push(abandoned(0, "<call>a{\"x"), &mut events);
            events
        };
        let text = [content("<call>a{\"x")];
        let stands = [
            begin(0, None, "a"),
            arguments(0, "{\"x"),
            abandoned(0, "<call>a{\"x"),
        ];
        use {FinishReason as End, ToolCallStreaming as Mode};
        assert_eq!(folded(End::Length, Mode::Folded), stands);
        assert_eq!(folded(End::Stop, Mode::Folded), text);
        assert_eq!(folded(End::Length, Mode::Complete), text);
        // And so it passes a second one.
        let mut second = CallHold::new(Mode::Folded);
        second.end(End::Length);
        let mut events = Vec::new();
        for event in stands.clone() {
            second.push(event, &mut events);
        }
        assert_eq!(events, stands);
    }

    #[test]
    fn incremental_mode_changes_only_calls_that_never_began() {
        let input = [
            begin(0, None, "a"),
            arguments(0, "{"),
            abandoned(0, "a {"),
            abandoned(1, "junk"),
            abandoned(1, ""),
        ];
        let expected = [
            begin(0, None, "a"),
            arguments(0, "{"),
            abandoned(0, "a {"),
            content("junk"),
        ];
        assert_eq!(hold(ToolCallStreaming::Incremental, &input), expected);
    }

    #[test]
    fn numbering_closes_gaps_gives_ids_and_drops_orphans() {
        let mut numbering = CallNumbering::new(CallIds::Counting(0), CallIdFormat::Any);
        let mut events = Vec::new();
        let input = [
            arguments(0, "{}"),
            Event::CallEnd { index: 0 },
            begin(1, Some("own"), "a"),
            arguments(1, ""),
            Event::CallEnd { index: 1 },
            content(""),
            begin(4, None, "b"),
        ];
        for event in input {
            numbering.push(event, &mut events);
        }
        numbering.finish(&mut events);
        let id = "call_000000000000000000000000";
        let expected = [
            begin(0, Some("own"), "a"),
            Event::CallEnd { index: 0 },
            begin(1, Some(id), "b"),
            abandoned(1, ""),
        ];
        assert_eq!(events, expected);
    }
}
