//! A call's parameters: where one starts, and what in a value ends it.

use alloc::{format, vec::Vec};

use super::{
    Names, TagRole,
    calls::{Calls, State},
    tag_scanner::TagReader,
    value::Value,
};
use crate::{
    json_text::json_string,
    types::{Event, Fragment},
};

impl Calls {
    /// A tag where a parameter's name is not yet whole.
    pub(super) fn tag_in_head(
        &mut self,
        tag: usize,
        written: &[Fragment],
        from: usize,
        events: &mut Vec<Event>,
    ) {
        let role = self.format.tags[tag].role;
        let ends_name = matches!(role, TagRole::NameEnd | TagRole::ValueStart);
        if ends_name && self.format.names == Names::AfterTag && self.open_value(from, events) {
            self.keep(written);
            if role == TagRole::NameEnd {
                self.state = State::NameEnded;
            }
        } else {
            self.refuse_parameter(from, events);
            self.tag(tag, written, events);
        }
    }

    /// Begins the value of the parameter whose head starts at this byte of `raw`, if it is one: after a value without its
    /// end tag, only what the tool has and the call has not.
    pub(super) fn open_value(&mut self, from: usize, events: &mut Vec<Event>) -> bool {
        let head = self.head_from(from);
        if head.name.is_empty() {
            return false;
        }
        let repeated = self.parameters.contains(&head.name);
        if let Some(open) = &mut self.value {
            if repeated || !self.tools.may_have(&self.tool, &head.name) {
                return false;
            }
            open.close(events);
        }
        let opening = if self.parameters.is_empty() {
            "{"
        } else {
            ", "
        };
        let before = format!("{opening}{}: ", json_string(&head.name));
        let schema = self.tools.of(&self.tool, &head.name);
        let types = head.types.unwrap_or(schema);
        let value = Value::new(self.index(), types, before, self.format.line_breaks);
        self.value = Some(if repeated {
            value.repeated()
        } else {
            self.parameters.insert(head.name);
            value.open(events)
        });
        self.state = State::Value;
        true
    }

    /// What starts at this byte of `raw` is no parameter: it is a part of the open value, or breaks the call.
    pub(super) fn refuse_parameter(&mut self, from: usize, events: &mut Vec<Event>) {
        if self.value.is_some() {
            self.resume_value(from, events);
        } else {
            self.state = State::Failed { begun: true };
        }
    }

    pub(super) fn tag_in_value(
        &mut self,
        role: TagRole,
        written: &[Fragment],
        events: &mut Vec<Event>,
    ) {
        let from = self.raw.text().len();
        let is_data = self.forced && !self.ends_forced_value(role);
        self.keep(written);
        match role {
            _ if is_data => self.resume_value(from, events),
            TagRole::ParameterEnd | TagRole::CallEnd | TagRole::BlockEnd => {
                self.state = State::ValueEnd { role, from };
            }
            TagRole::ParameterStart => self.state = State::ParameterHead { from },
            _ => self.resume_value(from, events),
        }
    }

    /// Whether a tag may end a value that is forced: its own end tag, behind the line break before it where there is one.
    fn ends_forced_value(&self, role: TagRole) -> bool {
        let at_its_place = !self.format.line_breaks || self.raw.text().ends_with('\n');
        let whole = self.value.as_ref().is_some_and(Value::is_whole);
        role == TagRole::ParameterEnd && at_its_place && whole
    }

    /// What starts at this byte of `raw` is a part of the value.
    pub(super) fn resume_value(&mut self, from: usize, events: &mut Vec<Event>) {
        if let Some(value) = &mut self.value {
            value.push(&self.raw.text()[from..], events);
        }
        self.state = State::Value;
    }

    /// A tag of this role ended the value.
    pub(super) fn end_value(&mut self, role: TagRole, events: &mut Vec<Event>) {
        if let Some(mut value) = self.value.take() {
            value.close(events);
        }
        self.state = State::Call;
        if role != TagRole::ParameterEnd {
            self.end_call(events);
        }
        if role == TagRole::BlockEnd {
            self.in_block = false;
        }
    }
}
