//! What tests of parsers are written with: requests that force calls, forced answers written out, and what was read of them.
//!
//! Behind the feature `testing`, which only dev-dependencies ask for: none of it is in a component. It panics where a test
//! should fail, and it recurses on segments, which are the tests' own.

use alloc::{string::String, vec::Vec};

use crate::{
    grammar::Segment,
    json_scanner::is_object,
    parser::Parser,
    types::{Event, FinishReason, Fragment, FragmentKind, RequestContext, Tool, ToolChoice},
};

/// A tool with this schema that is not strict.
pub fn tool(name: &str, parameters: &str) -> Tool {
    Tool {
        name: name.into(),
        description: None,
        parameters: parameters.into(),
        strict: false,
    }
}

/// A request that forces a call of one of these tools, and no second one.
pub fn required(tools: impl IntoIterator<Item = Tool>) -> RequestContext {
    RequestContext {
        tools: tools.into_iter().collect(),
        tool_choice: ToolChoice::Required,
        ..RequestContext::default()
    }
}

/// A fragment of ordinary text.
pub fn text(text: &str) -> Fragment {
    Fragment::new(text, FragmentKind::Text)
}

/// Content of ordinary text.
pub fn content(content: &str) -> Event {
    Event::Content(text(content))
}

/// A call begins whose id the host makes.
pub fn begin(index: u32, name: &str) -> Event {
    Event::CallBegin {
        index,
        id: None,
        name: name.into(),
    }
}

/// A piece of a call's arguments.
pub fn arguments(index: u32, delta: &str) -> Event {
    let delta = delta.into();
    Event::CallArguments { index, delta }
}

/// A whole call whose arguments came in one piece.
pub fn call(index: u32, name: &str, delta: &str) -> [Event; 3] {
    let end = Event::CallEnd { index };
    [begin(index, name), arguments(index, delta), end]
}

/// What a parser makes of each fragment, and at last of the end.
pub fn steps<P: Parser>(
    config: &str,
    context: &RequestContext,
    fragments: &[Fragment],
) -> Vec<Vec<Event>> {
    let mut parser = P::new(config, context);
    let mut steps = Vec::new();
    for fragment in fragments {
        let mut events = Vec::new();
        parser.push(fragment, &mut events);
        steps.push(events);
    }
    let mut events = Vec::new();
    parser.finish(FinishReason::Stop, &mut events);
    steps.push(events);
    steps
}

/// All that a parser makes of these fragments.
pub fn events<P: Parser>(
    config: &str,
    context: &RequestContext,
    fragments: &[Fragment],
) -> Vec<Event> {
    steps::<P>(config, context, fragments).concat()
}

/// What was read of an answer that is reasoning and calls and nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The reasoning.
    pub reasoning: String,
    /// Names and arguments.
    pub calls: Vec<(String, String)>,
}

impl Read {
    /// Reads these events, which must be whole.
    pub fn of(events: &[Event]) -> Self {
        check_contract(events);
        let mut read = Self::default();
        for event in events {
            match (event, read.calls.last_mut()) {
                (Event::Reasoning { text }, _) => read.reasoning.push_str(text),
                (Event::CallBegin { name, .. }, _) => {
                    read.calls.push((name.clone(), String::new()));
                }
                (Event::CallArguments { delta, .. }, Some((_, arguments))) => {
                    arguments.push_str(delta);
                }
                (Event::CallEnd { .. }, Some(_)) => {}
                other => panic!("neither reasoning nor a call: {other:?}"),
            }
        }
        read
    }
}

/// An answer that a grammar lets a model write.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// Stands where text is free.
    pub text: &'a str,
    /// Stand where JSON is asked for, in turn.
    pub json: &'a [&'a str],
    /// Whether what may be left out is written.
    pub optional: bool,
    /// How many calls there are where any number may be. The first alternative stands in the first of them, and so on.
    pub calls: usize,
}

impl Written<'_> {
    /// The answer, markers as control tokens.
    pub fn fragments(&self, segment: &Segment) -> Vec<Fragment> {
        let mut fragments = Vec::new();
        self.write(segment, 0, &mut self.json.iter().cycle(), &mut fragments);
        fragments
    }

    /// The answer as text.
    pub fn all(&self, segment: &Segment) -> String {
        let fragments = self.fragments(segment);
        fragments.iter().map(|part| part.text.as_str()).collect()
    }

    fn write<'j>(
        &self,
        segment: &Segment,
        turn: usize,
        json: &mut impl Iterator<Item = &'j &'j str>,
        out: &mut Vec<Fragment>,
    ) {
        match segment {
            Segment::Marker(marker) => {
                out.push(Fragment::new(marker.as_str(), FragmentKind::Control));
            }
            Segment::Literal(literal) => out.push(text(literal)),
            Segment::Until(end) => {
                out.push(text(self.text));
                out.push(Fragment::new(end.as_str(), FragmentKind::Control));
            }
            Segment::Json(_) => out.extend(json.next().map(|json| text(json))),
            Segment::Sequence(parts) => {
                for part in parts {
                    self.write(part, turn, json, out);
                }
            }
            Segment::Alternative(parts) => {
                self.write(&parts[turn % parts.len()], turn, json, out);
            }
            Segment::Repeat {
                segment,
                separator,
                min,
                max,
            } => {
                let count = match max {
                    Some(_) if !self.optional => *min as usize,
                    Some(max) => *max as usize,
                    None => self.calls,
                };
                for turn in 0..count {
                    if let Some(separator) = separator.as_deref().filter(|_| turn > 0) {
                        self.write(separator, turn, json, out);
                    }
                    self.write(segment, turn, json, out);
                }
            }
            Segment::Answer => {}
            Segment::Pattern(_) | Segment::TextWithout(_) | Segment::Lark(_) => {
                panic!("nothing to write for {segment:?}")
            }
        }
    }
}

/// The events with adjacent pieces of content of one kind, of reasoning and of one call's arguments joined.
pub fn joined(events: Vec<Event>) -> Vec<Event> {
    let mut joined: Vec<Event> = Vec::new();
    for event in events {
        match (joined.last_mut(), &event) {
            (Some(Event::Content(last)), Event::Content(next)) if last.kind == next.kind => {
                last.text.push_str(&next.text);
            }
            (Some(Event::Reasoning { text }), Event::Reasoning { text: next }) => {
                text.push_str(next);
            }
            (
                Some(Event::CallArguments { index, delta }),
                Event::CallArguments {
                    index: next_index,
                    delta: next,
                },
            ) if *index == *next_index => delta.push_str(next),
            _ => joined.push(event),
        }
    }
    joined
}

/// Cuts text before the characters that `cut` picks; control fragments stay whole.
pub fn cut(input: &[Fragment], mut cut: impl FnMut() -> bool) -> Vec<Fragment> {
    let mut chunks: Vec<Fragment> = Vec::new();
    for fragment in input {
        let mut fresh = true;
        for character in fragment.text.chars() {
            let control = fragment.kind == FragmentKind::Control;
            if fresh || (!control && cut()) {
                chunks.push(Fragment::new("", fragment.kind));
            }
            fresh = false;
            if let Some(last) = chunks.last_mut() {
                last.text.push(character);
            }
        }
    }
    chunks
}

/// What the contract says of the order of call events, and what a finished call promises.
pub fn check_contract(events: &[Event]) {
    let mut next = 0;
    let mut open: Option<String> = None;
    for event in events {
        match event {
            Event::CallBegin { index, name, .. } => {
                assert!(open.is_none() && *index == next && !name.is_empty());
                open = Some(String::new());
                next += 1;
            }
            Event::CallArguments { index, delta } => {
                assert!(*index + 1 == next && !delta.is_empty());
                match &mut open {
                    Some(arguments) => arguments.push_str(delta),
                    None => panic!("arguments of no open call: {event:?}"),
                }
            }
            Event::CallEnd { index } => {
                assert_eq!(*index + 1, next);
                let arguments = open.take();
                assert!(arguments.as_deref().is_some_and(is_object), "{arguments:?}");
            }
            Event::CallAbandoned { index, .. } => {
                assert_eq!(*index + u32::from(open.take().is_some()), next);
            }
            Event::Content(Fragment { text, .. }) | Event::Reasoning { text } => {
                assert!(!text.is_empty());
            }
        }
    }
    assert!(open.is_none(), "a call stays open");
}

/// Numbers that look random and are the same every time (a linear congruential generator).
#[derive(Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one, less than `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}
