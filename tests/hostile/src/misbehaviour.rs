//! Each way to misbehave, by its name in the configuration.

use alloc::{vec, vec::Vec};
use core::hint::black_box;

use weir_plugin_sdk::{Event, Fragment, FragmentKind};

/// More events than a host takes from one call.
const FLOOD_EVENTS: usize = 100_000;

/// More text than a host takes from one call.
const FLOOD_BYTES: usize = 6 << 20;

/// Where it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// While the plugin describes itself.
    Describe,
    /// While a session is made.
    New,
    /// With a fragment.
    Push,
    /// At the end.
    Finish,
}

/// One way to misbehave; it may leave events.
type Act = fn(&mut Vec<Event>);

/// What happens, and where.
#[derive(Debug, Clone, Copy)]
pub struct Misbehaviour {
    place: Place,
    act: Option<Act>,
}

/// Every mode.
const MODES: [(&str, Act); 12] = [
    ("\"mode\":\"loop\"", run_forever),
    ("\"mode\":\"recurse\"", recurse),
    ("\"mode\":\"memory\"", eat_memory),
    ("\"mode\":\"panic\"", panic),
    ("\"mode\":\"many-events\"", flood_with_events),
    ("\"mode\":\"long-text\"", flood_with_text),
    ("\"mode\":\"gap\"", skip_an_index),
    ("\"mode\":\"unopened\"", speak_for_no_call),
    ("\"mode\":\"reuse\"", use_an_index_twice),
    ("\"mode\":\"empty\"", say_nothing),
    ("\"mode\":\"unclosed\"", leave_open),
    ("\"mode\":\"forgetful\"", hide_what_comes_whole),
];

impl Misbehaviour {
    /// Reads the configuration.
    pub fn of(config: &str) -> Self {
        let place = if config.contains("\"in\":\"describe\"") {
            Place::Describe
        } else if config.contains("\"in\":\"new\"") {
            Place::New
        } else if config.contains("\"in\":\"finish\"") {
            Place::Finish
        } else {
            Place::Push
        };
        let mode = MODES.iter().find(|(name, _)| config.contains(name));
        Self {
            place,
            act: mode.map(|(_, act)| *act),
        }
    }

    /// Misbehaves if this is the place.
    pub fn act(&self, place: Place, events: &mut Vec<Event>) {
        if let (true, Some(act)) = (place == self.place, self.act) {
            act(events);
        }
    }
}

fn run_forever(_: &mut Vec<Event>) {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn recurse(events: &mut Vec<Event>) {
    // Something must be left to do after the inner call, or the compiler makes it a loop.
    let frame = black_box([0_u8; 64]);
    if black_box(true) {
        recurse(black_box(&mut *events));
    }
    black_box((frame, events));
}

fn eat_memory(_: &mut Vec<Event>) {
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1_u8; 1 << 20]);
        black_box(&eaten);
    }
}

fn panic(_: &mut Vec<Event>) {
    panic!("as configured");
}

fn flood_with_events(events: &mut Vec<Event>) {
    events.extend((0..FLOOD_EVENTS).map(|_| Event::Reasoning { text: "".into() }));
}

fn flood_with_text(events: &mut Vec<Event>) {
    let text = "x".repeat(FLOOD_BYTES);
    events.push(Event::Content(Fragment::new(text, FragmentKind::Text)));
}

fn skip_an_index(events: &mut Vec<Event>) {
    events.push(begin(1));
}

fn speak_for_no_call(events: &mut Vec<Event>) {
    events.push(Event::CallArguments {
        index: 0,
        delta: "{}".into(),
    });
}

fn use_an_index_twice(events: &mut Vec<Event>) {
    events.extend([begin(0), Event::CallEnd { index: 0 }, begin(0)]);
}

fn say_nothing(events: &mut Vec<Event>) {
    events.push(Event::Content(Fragment::new("", FragmentKind::Text)));
}

fn leave_open(events: &mut Vec<Event>) {
    events.push(begin(0));
}

/// The bug that parsers have most: a marker is looked for in each fragment by itself.
fn hide_what_comes_whole(events: &mut Vec<Event>) {
    const MARKER: &str = "<hidden>";
    if let Some(Event::Content(fragment)) = events.last_mut() {
        fragment.text = fragment.text.replace(MARKER, "").into();
        if fragment.text.is_empty() {
            events.pop();
        }
    }
}

fn begin(index: u32) -> Event {
    Event::CallBegin {
        index,
        id: None,
        name: "f".into(),
    }
}
