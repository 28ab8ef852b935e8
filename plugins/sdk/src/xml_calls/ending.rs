//! The end of the output: what is withheld is told from text, and a call is whole, cut off or abandoned.

use alloc::{string::String, vec::Vec};

use super::{
    Tag, TagRole,
    calls::{Calls, State, WHITE_SPACE},
    tag_scanner::TagReader,
    value::Value,
};
use crate::types::{Event, FinishReason, Fragment};

impl Calls {
    /// Whether what is withheld at the end is a piece of an end tag where one must come.
    fn may_end_with(&self, held: &str) -> bool {
        let awaited = match self.state {
            State::Blank => self.in_block,
            State::Call | State::BareCall | State::ValueEnd { .. } => true,
            State::Value => held.starts_with("</"),
            _ => false,
        };
        let ends = |tag: &Tag| {
            use TagRole::{BlockEnd, CallEnd, ParameterEnd};
            matches!(tag.role, ParameterEnd | CallEnd | BlockEnd) && tag.text.starts_with(held)
        };
        awaited && self.format.tags.iter().any(ends)
    }

    /// The model stopped: a call that lacks no more than end tags is whole.
    fn stop(&mut self, events: &mut Vec<Event>) {
        match self.state {
            State::Value if self.value.as_ref().is_some_and(Value::is_whole) => {
                self.end_value(TagRole::CallEnd, events);
            }
            State::ValueEnd { .. } => self.end_value(TagRole::CallEnd, events),
            State::Call => self.end_call(events),
            State::BareCall => {
                let name = self.tool.clone();
                self.begin(name, events);
                self.end_call(events);
            }
            State::CallName if self.tools.offers(self.raw.text().trim_matches(WHITE_SPACE)) => {
                self.end_call_name(events);
                self.end_call(events);
            }
            _ => {}
        }
    }

    /// Nothing more comes than `held`, which was withheld as it may have become a tag.
    pub(super) fn finish(
        &mut self,
        held: &[Fragment],
        reason: FinishReason,
        events: &mut Vec<Event>,
    ) {
        let cut = reason == FinishReason::Length;
        let text: String = held.iter().map(|fragment| &*fragment.text).collect();
        if cut && self.in_value() {
            self.keep(held);
        } else if text.is_empty() || !self.may_end_with(&text) {
            for fragment in held {
                self.text(&fragment.text, fragment.kind, events);
            }
        }
        if !cut {
            self.stop(events);
        }
        if matches!(self.state, State::CallHead { bare: true } | State::BareCall) {
            self.refuse_call(events);
        }
        if !self.marked || self.in_type {
            events.extend(self.blank.take().into_iter().map(Event::Content));
        }
        self.abandon(false, events);
    }
}
