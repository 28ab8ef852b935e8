//! The trait a tool parser, a reasoning parser, or a format that is both implements.

use alloc::{string::String, vec::Vec};

use crate::{
    grammar::Segment,
    types::{Event, FinishReason, Fragment, ParserInfo, RequestContext},
};

/// One choice's parsing; the value is the session: made per request and choice, never reused.
///
/// Whatever the chunking of the fragments, the events must fold to the same message: adjacent content, reasoning and
/// argument pieces are joined, everything else is in order.
pub trait Parser: Sized + 'static {
    /// Says at load what this parser is. `config` is JSON text (`{}` when the user gave none).
    ///
    /// # Errors
    /// A message for the user when `config` is unusable; the plugin is then refused.
    fn describe(config: &str) -> Result<ParserInfo, String>;

    /// A session for one choice of one request. `config` is one that [`Parser::describe`] took.
    fn new(config: &str, context: &RequestContext) -> Self;

    /// Takes the next fragment and appends what it means to `events`.
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>);

    /// Says that nothing more comes and appends what was held back. Called once.
    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>);

    /// How this format's answers are forced for a request: what the tool choice asks for, written as this parser reads it.
    /// `None` when the format cannot be forced, or nothing is to be forced.
    fn grammar(_config: &str, _context: &RequestContext) -> Option<Segment> {
        None
    }
}
