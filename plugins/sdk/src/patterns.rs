//! Patterns in a stream of text: a small regular language, compiled to one automaton, searched in linear time.
//!
//! [`syntax`] is the language, [`program`] the automaton, [`search`] one text's search, which replaces what matches or
//! ends at it. What comes out depends on the text alone, never on how it was cut. Post-processors that look for something
//! share it; it knows no events.

pub mod program;
pub mod search;
pub mod syntax;
