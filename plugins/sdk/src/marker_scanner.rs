//! Finds a family's markers in a stream of fragments and hands the pieces to a [`MarkerReader`].
//!
//! Invariants: what could still become a marker is withheld, nothing else is; the pieces depend on the text and its
//! kinds, never on how the text was cut; the work is linear in the text. A control fragment is atomic: it is a marker or
//! it is text of kind control, and no marker spans it. With strict markers nothing but a control fragment is a marker.

use alloc::{borrow::Cow, vec::Vec};

use crate::types::{Event, Fragment, FragmentKind};

/// Takes the pieces a [`MarkerScanner`] finds.
pub trait MarkerReader {
    /// Whether markers are data at this point (inside a JSON value, say); the reader then gets all text as it is.
    fn literal(&self) -> bool {
        false
    }

    /// Takes some of `text` and returns how many bytes; what it left comes again. Only a reader that changed its state,
    /// so that it reads the same text differently, may take none. To stay linear it takes as much as it can.
    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize;

    /// Takes the marker of this index, written as a fragment of this kind.
    fn marker(&mut self, marker: usize, kind: FragmentKind, events: &mut Vec<Event>);

    /// What the reader wants to read again before anything else, because it took it for something it was not. Asked
    /// after each piece. No marker goes on past the end of such a fragment.
    fn again(&mut self) -> Vec<Fragment> {
        Vec::new()
    }
}

/// Streaming scanner for a set of markers.
#[derive(Debug)]
pub struct MarkerScanner {
    markers: Vec<Cow<'static, str>>,
    /// The bytes that markers start with, each once: nearly all text is none of them.
    first_bytes: Vec<u8>,
    strict: bool,
    /// Text or unknown that begins a marker and ends in the middle of it.
    held: Option<Fragment>,
}

/// A fragment that is being read.
struct Input<'a> {
    text: Cow<'a, str>,
    kind: FragmentKind,
    /// How far it was read.
    at: usize,
    /// Up to here no marker begins, so readers may take text bit by bit without another search for markers each time.
    plain_to: usize,
    /// Whether no marker can go on past its end.
    last: bool,
}

impl<'a> Input<'a> {
    fn new(text: impl Into<Cow<'a, str>>, kind: FragmentKind) -> Self {
        Self {
            text: text.into(),
            kind,
            at: 0,
            plain_to: 0,
            last: false,
        }
    }

    fn last(fragment: Fragment) -> Self {
        Self {
            last: true,
            ..Self::new(fragment.text, fragment.kind)
        }
    }
}

/// What stands at the start of a text.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// So many bytes of text without any marker.
    Text(usize),
    /// The marker of this index.
    Marker(usize),
    /// All of the text begins a marker.
    Prefix,
}

impl MarkerScanner {
    /// A scanner for `markers`, none of which is empty or begins another one.
    ///
    /// # Panics
    /// When a marker is empty or begins another one; see [`check_markers`].
    pub fn new<M: Into<Cow<'static, str>>>(
        markers: impl IntoIterator<Item = M>,
        strict: bool,
    ) -> Self {
        let markers: Vec<_> = markers.into_iter().map(Into::into).collect();
        if let Err(message) = check_markers(&markers) {
            panic!("{message}");
        }
        let mut first_bytes = Vec::new();
        for byte in markers.iter().map(|marker| marker.as_bytes()[0]) {
            if !first_bytes.contains(&byte) {
                first_bytes.push(byte);
            }
        }
        Self {
            markers,
            first_bytes,
            strict,
            held: None,
        }
    }

    /// The text of the marker of this index.
    pub fn marker(&self, marker: usize) -> &str {
        &self.markers[marker]
    }

    /// Whether a text is withheld that may become a marker.
    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Reads the next fragment.
    pub fn push<R: MarkerReader>(
        &mut self,
        fragment: &Fragment,
        reader: &mut R,
        events: &mut Vec<Event>,
    ) {
        let mut input = Input::new(fragment.text.as_str(), fragment.kind);
        if let Some(mut held) = self.held.take() {
            // Only text is withheld, so the same kind is text too.
            if held.kind == fragment.kind {
                held.text.push_str(&fragment.text);
                input = Input::new(held.text, held.kind);
            } else {
                self.read_all(Input::last(held), reader, events);
            }
        }
        self.read_all(input, reader, events);
    }

    /// Forgets what is withheld if it is the beginning of a marker that is meant.
    pub fn discard_part(&mut self, meant: impl Fn(usize) -> bool) {
        let held = self.held.as_ref().map_or("", |held| &held.text);
        let is_part = |marker: &str| !held.is_empty() && marker.starts_with(held);
        if (0..self.markers.len()).any(|marker| meant(marker) && is_part(&self.markers[marker])) {
            self.held = None;
        }
    }

    /// Reads what is withheld, and what the reader wants to read again, as all there will ever be.
    pub fn finish<R: MarkerReader>(&mut self, reader: &mut R, events: &mut Vec<Event>) {
        if let Some(held) = self.held.take() {
            self.read_all(Input::last(held), reader, events);
        }
        for fragment in reader.again() {
            self.read_all(Input::last(fragment), reader, events);
        }
    }

    /// Reads a fragment and all that the reader wants to read again on the way.
    fn read_all<R: MarkerReader>(
        &mut self,
        input: Input<'_>,
        reader: &mut R,
        events: &mut Vec<Event>,
    ) {
        // The next input is the last one; an empty stack allocates nothing.
        let mut stack = Vec::new();
        let mut next = Some(input);
        while let Some(mut input) = next {
            let again = self.read(&mut input, reader, events);
            if !again.is_empty() {
                stack.push(input);
                stack.extend(again.into_iter().rev().map(Input::last));
            }
            next = stack.pop();
        }
    }

    /// Reads a fragment to its end, or until the reader wants something again.
    fn read<R: MarkerReader>(
        &mut self,
        input: &mut Input<'_>,
        reader: &mut R,
        events: &mut Vec<Event>,
    ) -> Vec<Fragment> {
        let kind = input.kind;
        while input.at < input.text.len() {
            let rest = &input.text[input.at..];
            input.at += if reader.literal() {
                reader.text(rest, kind, events)
            } else if input.at < input.plain_to {
                let length = input.plain_to - input.at;
                reader.text(&rest[..length], kind, events)
            } else {
                match self.find(rest, kind, input.last) {
                    Found::Text(length) => {
                        input.plain_to = input.at + length;
                        reader.text(&rest[..length], kind, events)
                    }
                    Found::Marker(marker) => {
                        reader.marker(marker, kind, events);
                        self.markers[marker].len()
                    }
                    Found::Prefix => {
                        self.held = Some(Fragment::new(rest, kind));
                        rest.len()
                    }
                }
            };
            let again = reader.again();
            if !again.is_empty() {
                return again;
            }
        }
        Vec::new()
    }

    /// What stands at the start of `text`, which is not empty.
    fn find(&self, text: &str, kind: FragmentKind, last: bool) -> Found {
        if kind == FragmentKind::Control {
            return self
                .markers
                .iter()
                .position(|marker| *marker == text)
                .map_or(Found::Text(text.len()), Found::Marker);
        }
        if self.strict {
            return Found::Text(text.len());
        }
        for (at, byte) in text.bytes().enumerate() {
            if !self.first_bytes.contains(&byte) {
                continue;
            }
            // The first byte of a marker is the first of a character, so this is a border.
            let rest = &text[at..];
            let found = self.markers.iter().position(|m| rest.starts_with(&**m));
            let prefix = !last && self.markers.iter().any(|m| m.starts_with(rest));
            return match (at, found, prefix) {
                (0, Some(marker), _) => Found::Marker(marker),
                (0, None, true) => Found::Prefix,
                (_, None, false) => continue,
                (_, _, _) => Found::Text(at),
            };
        }
        Found::Text(text.len())
    }
}

/// Checks that a scanner can be made for these markers; for those that come from a configuration.
///
/// # Errors
/// When there is an empty one, or one begins another.
pub fn check_markers<M: AsRef<str>>(markers: &[M]) -> Result<(), &'static str> {
    let begins_another = |index: usize, marker: &str| {
        let mut others = markers.iter().enumerate();
        others.any(|(other, text)| other != index && text.as_ref().starts_with(marker))
    };
    for (index, marker) in markers.iter().enumerate() {
        if marker.as_ref().is_empty() {
            return Err("a marker is empty");
        }
        if begins_another(index, marker.as_ref()) {
            return Err("a marker begins another one");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use std::format;

    use super::*;

    #[derive(Default)]
    struct Trace(String);

    impl MarkerReader for Trace {
        fn text(&mut self, text: &str, _: FragmentKind, _: &mut Vec<Event>) -> usize {
            self.0.push_str(text);
            text.len()
        }

        fn marker(&mut self, marker: usize, _: FragmentKind, _: &mut Vec<Event>) {
            self.0.push_str(&format!("[{marker}]"));
        }
    }

    const MARKERS: &[&str] = &["<think>", "</think>", "<<a"];

    fn trace(strict: bool, fragments: &[(&str, FragmentKind)]) -> String {
        let mut scanner = MarkerScanner::new(MARKERS.iter().copied(), strict);
        let mut trace = Trace::default();
        for (text, kind) in fragments {
            scanner.push(&Fragment::new(*text, *kind), &mut trace, &mut Vec::new());
        }
        scanner.finish(&mut trace, &mut Vec::new());
        trace.0
    }

    #[test]
    fn only_a_possible_marker_is_withheld() {
        let mut scanner = MarkerScanner::new(MARKERS.iter().copied(), false);
        let mut trace = Trace::default();
        let steps = [
            ("a<", "a"),
            ("/", "a"),
            ("/b", "a<//b"),
            ("<", "a<//b"),
            ("<", "a<//b"),
            ("t", "a<//b<"),
            ("hink", "a<//b<"),
            (">c", "a<//b<[0]c"),
            ("<<<a", "a<//b<[0]c<[2]"),
        ];
        for (text, seen) in steps {
            let fragment = Fragment::new(text, FragmentKind::Text);
            scanner.push(&fragment, &mut trace, &mut Vec::new());
            assert_eq!(trace.0, seen, "after {text}");
        }
    }

    /// Takes one character at a time.
    #[derive(Default)]
    struct Slow(Trace);

    impl MarkerReader for Slow {
        fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>) -> usize {
            let length = text.chars().next().map_or(0, char::len_utf8);
            self.0.text(&text[..length], kind, events)
        }

        fn marker(&mut self, marker: usize, kind: FragmentKind, events: &mut Vec<Event>) {
            self.0.marker(marker, kind, events);
        }
    }

    #[test]
    fn a_fragment_is_searched_once_however_slowly_it_is_read() {
        let plain = "a<é".repeat(200_000);
        let mut scanner = MarkerScanner::new(MARKERS.iter().copied(), false);
        let mut slow = Slow::default();
        let fragment = Fragment::new(format!("{plain}<think>{plain}<"), FragmentKind::Text);
        scanner.push(&fragment, &mut slow, &mut Vec::new());
        assert_eq!(slow.0.0, format!("{plain}[0]{plain}"));
    }

    #[test]
    fn control_fragments_are_atomic() {
        use FragmentKind::{Control, Text, Unknown};
        assert_eq!(trace(false, &[("<think>", Control)]), "[0]");
        assert_eq!(trace(false, &[("<thi", Text), ("nk>", Control)]), "<think>");
        assert_eq!(trace(false, &[("<thi", Text), ("nk>", Unknown)]), "<think>");
        assert_eq!(trace(false, &[("x<think>", Control)]), "x<think>");
        assert_eq!(trace(false, &[("<", Text), ("<think>", Control)]), "<[0]");
    }

    #[test]
    fn strict_markers_are_control_fragments() {
        use FragmentKind::{Control, Text, Unknown};
        let fragments = [
            ("<think>", Text),
            ("<think>", Unknown),
            ("<think>", Control),
        ];
        assert_eq!(trace(true, &fragments), "<think><think>[0]");
    }

    #[test]
    #[should_panic(expected = "begins another one")]
    fn markers_that_begin_each_other_are_refused() {
        MarkerScanner::new(["<a", "<ab"], false);
    }
}
