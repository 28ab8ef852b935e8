//! The tool parser of every family that writes a call's parameters as markup; a family is an [`XmlFormat`].
//!
//! The parameters become the arguments, a JSON object that is built as it streams: `{"K": V, "L": W}`. What V is, the
//! tool's JSON Schema says (see [`crate::schema_types`]): a string goes out as it comes, anything else when it ends.
//!
//! Invariants, where the markup leaves a choice:
//! - Inside a value every tag is data, except what ends the value for certain: an end tag that is followed, white space
//!   aside, by a tag that may come after it, or by the end of the output. So a value may quote end tags. Where the
//!   value's own end tag is missing, the call's end counts in the same way, and so does the start of a parameter that the
//!   tool has and the call has not yet. A value that quotes a whole call ends early; nothing tells it from the real end.
//!   Where calls are forced nothing is missing: there a value ends with its own end tag alone, as the grammar has it.
//! - A call that lacks no more than end tags when the model stops, or when the next call begins, is a call. Cut off by
//!   length it is abandoned, and so is one that holds anything but parameters.
//! - Of a parameter that comes twice the first stands: it went out already.
//! - Tags around calls are markup wherever they stand; what they enclose besides calls is content. Without them the start
//!   of a call counts only if it names a tool on offer and a parameter, an end tag or the end of the output follows: an
//!   answer may speak of its own tools. The tags of a call are its raw text.

use alloc::vec::Vec;

use crate::types::{Event, FinishReason, Fragment, RequestContext};

mod calls;
mod ending;
mod head;
mod parameters;
mod tag_scanner;
mod value;

use calls::Calls;
use tag_scanner::TagScanner;

/// How a family writes its calls.
#[derive(Debug)]
pub struct XmlFormat {
    /// Every tag. Each starts with `<`, holds no other `<`, and none begins another one.
    pub tags: &'static [Tag],
    /// How names are written.
    pub names: Names,
    /// Whether the template writes a line break at either end of a value.
    pub line_breaks: bool,
    /// The attribute of a parameter whose `true` says that the value is a string and whose `false` says that it is JSON;
    /// empty for formats that have none.
    pub string_attribute: &'static str,
}

/// A piece of markup.
#[derive(Debug, Clone, Copy)]
pub struct Tag {
    /// How it is written; for a tag with a name in it, what stands before the name.
    pub text: &'static str,
    /// What it does.
    pub role: TagRole,
    /// What a tokenizer makes of it.
    pub spelling: Spelling,
}

/// What a tokenizer makes of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// One added token. It never becomes content.
    Token,
    /// Ordinary text. Outside calls and what encloses them it is content.
    Text,
    /// Ordinary text around this added token. It never becomes content.
    Around(&'static str),
}

/// Where the names of tools and parameters stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// In the tag, up to its `>`, quoted or not; attributes may follow a quoted name. The tag's text ends where the name
    /// begins: `<function=`, `<invoke name=`.
    InTag,
    /// After the tag, up to the next tag.
    AfterTag,
}

/// What a tag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagRole {
    /// Stands before a call or all calls.
    BlockStart,
    /// Stands after a call or all calls.
    BlockEnd,
    /// Stands between a call's type and the call: text since the block's start is markup too.
    Separator,
    /// Starts a call.
    CallStart,
    /// Ends a call.
    CallEnd,
    /// Starts a parameter; with [`Names::AfterTag`], its name.
    ParameterStart,
    /// Ends a parameter's name, for formats where another tag starts the value.
    NameEnd,
    /// Starts a parameter's value, for those formats.
    ValueStart,
    /// Ends a parameter's value.
    ParameterEnd,
}

impl Tag {
    /// A tag that is one added token.
    pub const fn token(text: &'static str, role: TagRole) -> Self {
        Self {
            text,
            role,
            spelling: Spelling::Token,
        }
    }

    /// A tag that is ordinary text.
    pub const fn text(text: &'static str, role: TagRole) -> Self {
        Self {
            text,
            role,
            spelling: Spelling::Text,
        }
    }

    /// A tag that is ordinary text around an added token.
    pub const fn around(token: &'static str, text: &'static str, role: TagRole) -> Self {
        Self {
            text,
            role,
            spelling: Spelling::Around(token),
        }
    }
}

/// One choice's parsing.
#[derive(Debug)]
pub struct XmlCalls {
    scanner: TagScanner,
    calls: Calls,
}

impl XmlCalls {
    /// A parser of this format for one choice of this request.
    pub fn new(format: &'static XmlFormat, context: &RequestContext) -> Self {
        Self {
            scanner: TagScanner::new(format.tags, context.strict_markers),
            calls: Calls::new(format, context),
        }
    }

    /// See [`crate::Parser::push`].
    pub fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.scanner.push(fragment, &mut self.calls, events);
    }

    /// See [`crate::Parser::finish`].
    pub fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        let held = self.scanner.take_held();
        self.calls.finish(&held, reason, events);
    }
}
