//! The calls of one choice: which text and which tags are content, a call's start, its parts, its end.
//!
//! What [`super`] promises is kept here and, for what stands in a call, in [`super::parameters`]. A state that cannot take
//! a tag gives itself up for one that can, so that every tag is taken at last.

use alloc::{borrow::ToOwned, collections::BTreeSet, string::String, vec::Vec};

use super::{
    Names, Spelling, Tag, TagRole, XmlFormat, head::Head, tag_scanner::TagReader, value::Value,
};
use crate::{
    fragment_buffer::FragmentBuffer,
    grammar::{forced_tools, strict_tools_on_offer},
    schema_types::ToolTypes,
    types::{Event, Fragment, FragmentKind, RequestContext},
};

#[derive(Debug)]
pub(super) struct Calls {
    pub(super) format: &'static XmlFormat,
    strict: bool,
    /// Whether calls are forced: then every tag stands where it must, and in a value only its own end tag is one.
    pub(super) forced: bool,
    pub(super) tools: ToolTypes,
    pub(super) state: State,
    pub(super) next_index: u32,
    /// Whether any tag came: white space at the end is content otherwise.
    pub(super) marked: bool,
    /// Whether a block is open.
    pub(super) in_block: bool,
    /// Whether a block's start came and the separator after it did not, in a format that has one.
    pub(super) in_type: bool,
    /// White space outside calls since the last tag; in a type, text too.
    pub(super) blank: FragmentBuffer,
    /// What the model wrote of the open call, blocks' tags aside.
    pub(super) raw: FragmentBuffer,
    /// The tool and the parameters of the open call so far.
    pub(super) tool: String,
    pub(super) parameters: BTreeSet<String>,
    /// The value that is being read.
    pub(super) value: Option<Value>,
}

/// Where the text stands. A number is where in `raw` something starts whose meaning is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Outside calls, white space alone since the last tag.
    Blank,
    /// Outside calls, after text.
    Content,
    /// In the tag that starts a call; `bare` if only the name can prove that it is one.
    CallHead { bare: bool },
    /// After the start of a call that no block encloses: a tag of a call must follow, or it is text.
    BareCall,
    /// In a call's name, which no tag encloses.
    CallName,
    /// In a call, outside parameters.
    Call,
    /// In a parameter's start, after a value that it ends if it is one.
    ParameterHead { from: usize },
    /// After a parameter's name, before the tag that starts its value.
    NameEnded,
    /// In a value.
    Value,
    /// In a value, after a tag that ends it if what follows may follow that tag.
    ValueEnd { role: TagRole, from: usize },
    /// In a call that failed; `begun` if its `CallBegin` is out.
    Failed { begun: bool },
}

/// A tag with a name in it that is longer than this is none: so much is withheld for it at most.
const LONGEST_HEAD: usize = 512;
pub(super) const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

impl TagReader for Calls {
    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) {
        let mut rest = text;
        while !rest.is_empty() {
            let taken = self.take(rest, kind, events);
            rest = &rest[taken..];
        }
    }

    fn tag(&mut self, tag: usize, written: &[Fragment], events: &mut Vec<Event>) {
        let role = self.format.tags[tag].role;
        match self.state {
            State::Blank | State::Content => self.tag_outside(tag, written, events),
            State::BareCall if proves_call(role) => {
                let name = self.tool.clone();
                self.begin(name, events);
                self.tag_in_call(tag, written, events);
            }
            State::CallHead { .. } | State::BareCall => {
                self.refuse_call(events);
                self.tag(tag, written, events);
            }
            State::CallName => {
                if matches!(role, TagRole::NameEnd | TagRole::ValueStart) {
                    // A parameter's start is missing: where the call's name ends, nothing tells.
                    self.start_calls();
                    self.state = State::Failed { begun: false };
                } else {
                    self.end_call_name(events);
                }
                self.tag(tag, written, events);
            }
            State::Call => self.tag_in_call(tag, written, events),
            State::ParameterHead { from } => self.tag_in_head(tag, written, from, events),
            State::NameEnded if role == TagRole::ValueStart => {
                self.keep(written);
                self.state = State::Value;
            }
            State::NameEnded => {
                self.state = State::Failed { begun: true };
                self.tag(tag, written, events);
            }
            State::Value => self.tag_in_value(role, written, events),
            State::ValueEnd { role: end, from } => {
                if end == role {
                    self.keep(written);
                } else if may_follow(end, role) {
                    self.end_value(end, events);
                    self.tag(tag, written, events);
                } else {
                    self.resume_value(from, events);
                    self.tag(tag, written, events);
                }
            }
            State::Failed { .. } => self.tag_in_failed(tag, written, events),
        }
    }
}

/// Whether a tag that follows the start of a call shows that it is one.
fn proves_call(next: TagRole) -> bool {
    use TagRole::{BlockEnd, CallEnd, ParameterStart};
    matches!(next, ParameterStart | CallEnd | BlockEnd)
}

/// Whether a tag may stand after one that ends a value. What ends a call may follow what ends its last parameter.
fn may_follow(end: TagRole, next: TagRole) -> bool {
    use TagRole::{BlockEnd, BlockStart, CallEnd, CallStart, ParameterEnd, ParameterStart};
    match end {
        ParameterEnd => matches!(
            next,
            ParameterStart | CallEnd | BlockEnd | BlockStart | CallStart
        ),
        CallEnd => matches!(next, BlockEnd | BlockStart | CallStart),
        _ => matches!(next, BlockStart | CallStart | BlockEnd),
    }
}

impl Calls {
    pub(super) fn new(format: &'static XmlFormat, context: &RequestContext) -> Self {
        Self {
            format,
            strict: context.strict_markers,
            forced: forced_tools(context).next().is_some() || strict_tools_on_offer(context),
            tools: ToolTypes::new(&context.tools),
            state: State::Blank,
            next_index: 0,
            marked: false,
            in_block: false,
            in_type: false,
            blank: FragmentBuffer::default(),
            raw: FragmentBuffer::default(),
            tool: String::new(),
            parameters: BTreeSet::new(),
            value: None,
        }
    }

    pub(super) fn in_value(&self) -> bool {
        matches!(self.state, State::Value | State::ValueEnd { .. })
    }

    /// Takes some text, in which no tag stands, and returns how many bytes.
    fn take(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let space = text.len() - text.trim_start_matches(WHITE_SPACE).len();
        match self.state {
            State::Blank if self.in_type => {
                self.blank.push(text, kind);
                if self.blank.text().len() > LONGEST_HEAD {
                    self.refuse_type(events);
                }
                text.len()
            }
            State::Blank => {
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
            State::CallHead { .. } | State::ParameterHead { .. }
                if self.format.names == Names::InTag =>
            {
                self.head(text, kind, events)
            }
            State::CallHead { .. } | State::Failed { .. } => {
                self.raw.push(text, kind);
                text.len()
            }
            State::CallName => {
                self.raw.push(text, kind);
                if self.raw.text().len() > LONGEST_HEAD {
                    self.start_calls();
                    self.state = State::Failed { begun: false };
                }
                text.len()
            }
            State::ParameterHead { from } => {
                self.raw.push(text, kind);
                if self.raw.text().len() - from > LONGEST_HEAD {
                    self.refuse_parameter(from, events);
                }
                text.len()
            }
            State::Call | State::BareCall | State::NameEnded | State::ValueEnd { .. } => {
                self.raw.push(&text[..space], kind);
                if space < text.len() {
                    self.text_for_a_tag(events);
                }
                space
            }
            State::Value => {
                self.raw.push(text, kind);
                if let Some(value) = &mut self.value {
                    value.push(text, events);
                }
                text.len()
            }
        }
    }

    /// Text comes where a tag should stand.
    fn text_for_a_tag(&mut self, events: &mut Vec<Event>) {
        match self.state {
            State::BareCall => self.refuse_call(events),
            // Where the tag that starts a value is missing, the value is there all the same.
            State::NameEnded => self.state = State::Value,
            State::ValueEnd { from, .. } => self.resume_value(from, events),
            _ => self.state = State::Failed { begun: true },
        }
    }

    pub(super) fn keep(&mut self, written: &[Fragment]) {
        for fragment in written {
            self.raw.push(&fragment.text, fragment.kind);
        }
    }

    fn tag_outside(&mut self, tag: usize, written: &[Fragment], events: &mut Vec<Event>) {
        let Tag { role, spelling, .. } = self.format.tags[tag];
        if self.in_type && role != TagRole::Separator {
            self.refuse_type(events);
        }
        let in_tag = self.format.names == Names::InTag;
        let bare = spelling == Spelling::Text && !self.in_block;
        if role == TagRole::CallStart && (!bare || !self.strict) {
            self.raw.clear();
            if in_tag {
                self.keep(written);
                self.state = State::CallHead { bare };
            } else {
                self.state = State::CallName;
            }
            return;
        }
        if bare && !matches!(role, TagRole::BlockStart | TagRole::BlockEnd) {
            for fragment in written {
                self.text(&fragment.text, fragment.kind, events);
            }
            return;
        }
        self.marked = true;
        self.blank.clear();
        self.state = State::Blank;
        match role {
            TagRole::BlockStart => {
                self.in_block = true;
                let is_separator = |tag: &Tag| tag.role == TagRole::Separator;
                self.in_type = self.format.tags.iter().any(is_separator);
            }
            TagRole::BlockEnd => self.in_block = false,
            TagRole::Separator => self.in_type = false,
            _ => {}
        }
    }

    /// What came since the block's start is no call's type.
    fn refuse_type(&mut self, events: &mut Vec<Event>) {
        self.in_type = false;
        let typed = self.blank.take();
        for fragment in typed {
            self.text(&fragment.text, fragment.kind, events);
        }
    }

    /// The tag that starts a call is none after all.
    pub(super) fn refuse_call(&mut self, events: &mut Vec<Event>) {
        if self.state == (State::CallHead { bare: false }) {
            self.start_calls();
            self.state = State::Failed { begun: false };
            return;
        }
        let raw = self.raw.take();
        events.extend(self.blank.take().into_iter().map(Event::Content));
        events.extend(raw.into_iter().map(Event::Content));
        self.state = State::Content;
    }

    /// White space before a call is markup.
    fn start_calls(&mut self) {
        self.marked = true;
        self.blank.clear();
    }

    /// The rest of a tag with a name in it, up to its `>`.
    fn head(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
        let end = text.find(['>', '\n', '<']).unwrap_or(text.len());
        let closed = text[end..].starts_with('>');
        let taken = end + usize::from(closed);
        self.raw.push(&text[..taken], kind);
        let from = match self.state {
            State::ParameterHead { from } => Some(from),
            _ => None,
        };
        let too_long = self.raw.text().len() - from.unwrap_or(0) > LONGEST_HEAD;
        if end == text.len() && !too_long {
            return taken;
        }
        let whole = closed && !too_long;
        match from {
            Some(from) if whole && self.open_value(from, events) => {}
            Some(from) => self.refuse_parameter(from, events),
            None if whole && self.open_call(events) => {}
            None => self.refuse_call(events),
        }
        taken
    }

    /// Takes the start tag of a call, which is whole, if it is one: begins the call, or awaits what proves it.
    fn open_call(&mut self, events: &mut Vec<Event>) -> bool {
        let name = self.head_from(0).name;
        let bare = self.state == (State::CallHead { bare: true });
        if name.is_empty() || (bare && !self.tools.offers(&name)) {
            return false;
        }
        if bare {
            self.tool = name;
            self.state = State::BareCall;
        } else {
            self.begin(name, events);
        }
        true
    }

    /// The head that starts at this byte of `raw` and ends with it.
    pub(super) fn head_from(&self, from: usize) -> Head {
        let written = &self.raw.text()[from..];
        let starts = self.format.tags.iter().map(|tag| tag.text);
        let start = starts
            .filter(|start| written.starts_with(start))
            .map(str::len);
        let start = start.max().unwrap_or(0);
        Head::read(&written[start..], self.format.string_attribute)
    }

    /// The name of a call that no tag encloses ended.
    pub(super) fn end_call_name(&mut self, events: &mut Vec<Event>) {
        self.start_calls();
        let name = self.raw.text().trim_matches(WHITE_SPACE);
        if name.is_empty() || name.contains(['\n', '{']) {
            self.state = State::Failed { begun: false };
        } else {
            let name = name.to_owned();
            self.begin(name, events);
        }
    }

    pub(super) fn begin(&mut self, name: String, events: &mut Vec<Event>) {
        self.start_calls();
        self.tool.clone_from(&name);
        self.parameters.clear();
        let index = self.next_index;
        self.next_index += 1;
        events.push(Event::CallBegin {
            index,
            id: None,
            name,
        });
        self.state = State::Call;
    }

    pub(super) fn index(&self) -> u32 {
        self.next_index.saturating_sub(1)
    }

    fn tag_in_call(&mut self, tag: usize, written: &[Fragment], events: &mut Vec<Event>) {
        match self.format.tags[tag].role {
            TagRole::ParameterStart => {
                let from = self.raw.text().len();
                self.keep(written);
                self.state = State::ParameterHead { from };
            }
            TagRole::CallEnd => self.end_call(events),
            TagRole::BlockStart | TagRole::BlockEnd | TagRole::CallStart => {
                self.end_call(events);
                self.tag(tag, written, events);
            }
            TagRole::ParameterEnd => self.keep(written),
            TagRole::NameEnd | TagRole::ValueStart | TagRole::Separator => {
                self.keep(written);
                self.state = State::Failed { begun: true };
            }
        }
    }

    pub(super) fn end_call(&mut self, events: &mut Vec<Event>) {
        let index = self.index();
        let delta = if self.parameters.is_empty() {
            "{}"
        } else {
            "}"
        };
        let delta = delta.into();
        events.push(Event::CallArguments { index, delta });
        events.push(Event::CallEnd { index });
        self.raw.clear();
        self.state = State::Blank;
    }

    fn tag_in_failed(&mut self, tag: usize, written: &[Fragment], events: &mut Vec<Event>) {
        match self.format.tags[tag].role {
            TagRole::CallEnd => {
                if self.format.names == Names::InTag {
                    self.keep(written);
                }
                self.abandon(true, events);
            }
            TagRole::BlockStart | TagRole::BlockEnd | TagRole::CallStart => {
                self.abandon(true, events);
                self.tag(tag, written, events);
            }
            _ => self.keep(written),
        }
    }

    /// Abandons the open call if there is one; `closed` when a tag says so, which makes white space before it markup.
    pub(super) fn abandon(&mut self, closed: bool, events: &mut Vec<Event>) {
        let begun = match self.state {
            State::Blank | State::Content => return,
            State::CallHead { .. } | State::BareCall | State::CallName => false,
            State::Failed { begun } => begun,
            _ => true,
        };
        let mut raw = self.raw.text().trim_start_matches(WHITE_SPACE);
        if closed {
            raw = raw.trim_end_matches(WHITE_SPACE);
        }
        if begun || !raw.is_empty() {
            let index = self.next_index - u32::from(begun);
            let raw = raw.to_owned();
            events.push(Event::CallAbandoned { index, raw });
        }
        self.raw.clear();
        self.value = None;
        self.state = State::Blank;
    }
}
