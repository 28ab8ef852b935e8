//! Notes what validation reads of a request while a schema is made; at all other times a note costs a look.
//!
//! So the schema is made by the very code that judges requests, and nobody writes down twice which fields there are. A body
//! that is brought into another request's spelling and read as one is noted by its own fields; where it hands a value on under
//! the same name, how the other reads it counts.

use std::cell::RefCell;

/// How a field is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// As any value; what is right, its reader alone knows.
    Any,
    /// A number.
    Number {
        /// The smallest.
        min: f64,
        /// Whether the smallest itself is out of range.
        above: bool,
        /// The largest.
        max: f64,
    },
    /// Any whole number.
    Integer,
    /// A whole number within a range.
    Count {
        /// The smallest.
        min: usize,
        /// The largest.
        max: usize,
    },
    /// True or false.
    Boolean,
    /// A string.
    Text,
    /// An object whose fields are read in the same way.
    Object,
    /// Known and not built.
    NotBuilt,
    /// Accepted and not looked at.
    WithoutEffect,
}

/// A field by its path from the body, and how it is read.
pub(crate) type Note = (String, Kind);

/// The notes of each body that was begun, in order.
type Bodies = Vec<Vec<Note>>;

/// The number of what is no body: notes of it are not kept.
pub(crate) const NO_BODY: usize = usize::MAX;

thread_local! {
    static BODIES: RefCell<Option<Bodies>> = const { RefCell::new(None) };
}

/// A body's reading begins; answers its number, which its notes bear.
pub(crate) fn begin_body() -> usize {
    BODIES.with_borrow_mut(|bodies| {
        let Some(bodies) = bodies else { return 0 };
        bodies.push(Vec::new());
        bodies.len() - 1
    })
}

/// Notes a field of a body unless it is noted already.
pub(crate) fn note(body: usize, path: impl FnOnce() -> String, kind: Kind) {
    BODIES.with_borrow_mut(|bodies| {
        let Some(notes) = bodies.as_mut().and_then(|bodies| bodies.get_mut(body)) else {
            return;
        };
        let path = path();
        if notes.iter().all(|(known, _)| *known != path) {
            notes.push((path, kind));
        }
    });
}

/// What is noted on this thread of the first body that `read` begins, in the order of reading.
pub(crate) fn during(read: impl FnOnce()) -> Vec<Note> {
    BODIES.set(Some(Vec::new()));
    read();
    let mut bodies = BODIES.take().unwrap_or_default().into_iter();
    let mut notes = bodies.next().unwrap_or_default();
    // What stands in a list is no field of the body.
    notes.retain(|(path, _)| !path.contains('['));
    let others: Vec<Note> = bodies.flatten().collect();
    for (path, kind) in notes.iter_mut().filter(|(_, kind)| *kind == Kind::Any) {
        let known = |other: &&Note| other.0 == *path && other.1 != Kind::Any;
        if let Some((_, other)) = others.iter().find(known) {
            *kind = *other;
        }
    }
    notes
}
