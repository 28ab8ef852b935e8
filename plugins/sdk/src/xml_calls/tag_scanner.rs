//! Finds a format's tags in a stream of fragments, across the borders of tokens.
//!
//! Unlike [`crate::marker_scanner`], a tag here may be one token, ordinary text, or text around one token, so what is
//! withheld may be of several kinds. Invariants: every tag starts with `<` and holds no other one; what could still become
//! a tag is withheld, nothing else is; the pieces depend on the text and its kinds, never on how it was cut. A control
//! fragment is never cut. With strict markers a token counts only as a control fragment.

use alloc::vec::Vec;

use super::{Spelling, Tag};
use crate::{
    fragment_buffer::FragmentBuffer,
    types::{Event, Fragment, FragmentKind},
};

/// Takes the pieces a [`TagScanner`] finds.
pub(super) trait TagReader {
    /// Takes text in which no tag stands.
    fn text(&mut self, text: &str, kind: FragmentKind, events: &mut Vec<Event>);

    /// Takes the tag of this index, as it was written.
    fn tag(&mut self, tag: usize, written: &[Fragment], events: &mut Vec<Event>);
}

#[derive(Debug)]
pub(super) struct TagScanner {
    tags: &'static [Tag],
    strict: bool,
    /// What begins a tag and ends in the middle of it.
    held: FragmentBuffer,
}

/// What a text that starts with `<` is.
enum Found {
    Tag(usize),
    Prefix,
    Nothing,
}

impl TagScanner {
    pub(super) fn new(tags: &'static [Tag], strict: bool) -> Self {
        Self {
            tags,
            strict,
            held: FragmentBuffer::default(),
        }
    }

    /// Reads the next fragment.
    pub(super) fn push<R: TagReader>(
        &mut self,
        fragment: &Fragment,
        reader: &mut R,
        events: &mut Vec<Event>,
    ) {
        if fragment.kind == FragmentKind::Control {
            self.control(&fragment.text, reader, events);
        } else {
            self.text(&fragment.text, fragment.kind, reader, events);
        }
    }

    /// Hands out what is withheld: nothing more comes.
    pub(super) fn take_held(&mut self) -> Vec<Fragment> {
        self.held.take()
    }

    /// A control fragment is, as a whole, a tag, a part of one, or text.
    fn control<R: TagReader>(&mut self, text: &str, reader: &mut R, events: &mut Vec<Event>) {
        let begun = self.held.text().len();
        self.held.push(text, FragmentKind::Control);
        match self.find() {
            Found::Tag(tag) => self.hand_out_tag(tag, reader, events),
            Found::Prefix => {}
            Found::Nothing if begun > 0 => {
                // The part before it is text; it may start a tag by itself.
                let own = self.held.split_off(begun);
                self.hand_out_text(reader, events);
                for fragment in own {
                    self.control(&fragment.text, reader, events);
                }
            }
            Found::Nothing => self.hand_out_text(reader, events),
        }
    }

    fn text<R: TagReader>(
        &mut self,
        text: &str,
        kind: FragmentKind,
        reader: &mut R,
        events: &mut Vec<Event>,
    ) {
        let mut rest = text;
        while !rest.is_empty() {
            if self.held.text().is_empty() {
                // Most text holds no tag and goes on as it is.
                let plain = rest.find('<').unwrap_or(rest.len());
                let plain = self.plain(rest, plain);
                if plain > 0 {
                    reader.text(&rest[..plain], kind, events);
                    rest = &rest[plain..];
                    continue;
                }
            }
            let length = rest.chars().next().map_or(0, char::len_utf8);
            if rest.starts_with('<') && !self.held.text().is_empty() {
                self.hand_out_text(reader, events);
            }
            self.held.push(&rest[..length], kind);
            rest = &rest[length..];
            match self.find() {
                Found::Tag(tag) => self.hand_out_tag(tag, reader, events),
                Found::Prefix => {}
                Found::Nothing => self.hand_out_text(reader, events),
            }
        }
    }

    /// How much of `text` is no tag for sure, given that nothing before byte `at` is: a `<` that starts no tag is text.
    fn plain(&self, text: &str, at: usize) -> usize {
        let mut at = at;
        loop {
            let rest = &text[at..];
            let may_be = |tag: &Tag| tag.text.starts_with(rest) || rest.starts_with(tag.text);
            if rest.is_empty() || self.tags.iter().any(may_be) {
                return at;
            }
            at += 1 + rest[1..].find('<').unwrap_or(rest.len() - 1);
        }
    }

    /// What stands in `held`.
    fn find(&self) -> Found {
        let text = self.held.text();
        let mut prefix = false;
        for (index, tag) in self.tags.iter().enumerate() {
            if tag.text.starts_with(text) && self.counts(tag) {
                if tag.text.len() == text.len() {
                    return Found::Tag(index);
                }
                prefix = true;
            }
        }
        if prefix {
            Found::Prefix
        } else {
            Found::Nothing
        }
    }

    /// Whether what stands in `held`, which spells this tag or its beginning, has the kinds that the tag must have.
    fn counts(&self, tag: &Tag) -> bool {
        let length = self.held.text().len();
        let control = self.held.control_from();
        if !self.strict {
            return true;
        }
        match tag.spelling {
            Spelling::Token => control == Some(0) && length == tag.text.len(),
            Spelling::Text => control.is_none(),
            Spelling::Around(token) => match tag.text.find(token) {
                Some(start) => control == Some(start) || (control.is_none() && length <= start),
                None => false,
            },
        }
    }

    fn hand_out_tag<R: TagReader>(&mut self, tag: usize, reader: &mut R, events: &mut Vec<Event>) {
        let written = self.held.take();
        reader.tag(tag, &written, events);
    }

    fn hand_out_text<R: TagReader>(&mut self, reader: &mut R, events: &mut Vec<Event>) {
        for fragment in self.held.take() {
            reader.text(&fragment.text, fragment.kind, events);
        }
    }
}
