//! How a format is forced: what a model must write, as a tree of typed segments (see `wit/v0.1`).
//!
//! Invariant: a tree is finite and small; [`Segment::from_list`] refuses any other, so that it
//! may be walked by recursion. It says
//! nothing about tokens or about the engine that enforces it: which markers are tokens is the tokenizer's to know.

use thiserror::Error;

/// Segments of one grammar, at most: a request with a hundred tools stays far below.
pub const MAX_SEGMENTS: usize = 20_000;

/// How deep segments may nest.
pub const MAX_DEPTH: usize = 64;

/// A part of what the model writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A marker: one token where the tokenizer has it, its text where not.
    Marker(String),
    /// Exactly this text.
    Literal(String),
    /// A JSON value that matches this JSON Schema, as text.
    Json(String),
    /// Text that matches this regular expression as a whole.
    Pattern(String),
    /// Free text up to and with the first of this marker.
    Until(String),
    /// Free text, perhaps empty, in which none of these markers stands.
    TextWithout(Vec<String>),
    /// The answer itself: what the next parser or the response format asks for, free text if nothing does.
    Answer,
    /// One after the other.
    Sequence(Vec<Segment>),
    /// One of them.
    Alternative(Vec<Segment>),
    /// The segment again and again.
    Repeat {
        /// What is repeated.
        segment: Box<Segment>,
        /// Stands between two of them.
        separator: Option<Box<Segment>>,
        /// At least so often.
        min: u32,
        /// At most so often.
        max: Option<u32>,
    },
    /// A rule body in llguidance's Lark syntax.
    Lark(String),
}

/// Why a plugin's grammar is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GrammarError {
    /// Without a segment there is nothing to force.
    #[error("a grammar without segments")]
    Empty,
    /// See [`MAX_SEGMENTS`] and [`MAX_DEPTH`].
    #[error("a grammar of more than {MAX_SEGMENTS} segments, or nested deeper than {MAX_DEPTH}")]
    TooLarge,
    /// A reference that is not to an earlier segment.
    #[error("segment {0} refers to a segment that does not stand before it")]
    Reference(usize),
    /// A segment that stands in two places, or in none.
    #[error("segment {0} stands in no place, or in more than one")]
    NotATree(usize),
    /// Fewer at most than at least.
    #[error("segment {0} repeats at most less often than at least")]
    Repetition(usize),
}

/// One segment of a list whose parts are named by their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlatSegment {
    /// A segment without parts.
    Leaf(Segment),
    /// One after the other.
    Sequence(Vec<u32>),
    /// One of them.
    Alternative(Vec<u32>),
    /// The segment again and again.
    Repeat {
        /// What is repeated.
        segment: u32,
        /// Stands between two of them.
        separator: Option<u32>,
        /// At least so often.
        min: u32,
        /// At most so often.
        max: Option<u32>,
    },
}

impl Segment {
    /// The tree of a list in which parts stand before what they are parts of and the last one is the whole.
    ///
    /// # Errors
    /// When the list is no such tree.
    pub fn from_list(list: Vec<FlatSegment>) -> Result<Self, GrammarError> {
        if list.len() > MAX_SEGMENTS {
            return Err(GrammarError::TooLarge);
        }
        let mut built: Vec<Option<(Segment, usize)>> = Vec::with_capacity(list.len());
        for (place, flat) in list.into_iter().enumerate() {
            let entry = build(place, flat, &mut built)?;
            built.push(Some(entry));
        }
        let (root, _) = built.pop().flatten().ok_or(GrammarError::Empty)?;
        match built.iter().position(Option::is_some) {
            Some(unused) => Err(GrammarError::NotATree(unused)),
            None => Ok(root),
        }
    }
}

/// A segment with its depth, made of earlier ones, which it takes.
fn build(
    place: usize,
    flat: FlatSegment,
    built: &mut [Option<(Segment, usize)>],
) -> Result<(Segment, usize), GrammarError> {
    let mut depth = 0;
    let mut take = |index: u32| {
        let index = index as usize;
        let part = built.get_mut(index).ok_or(GrammarError::Reference(place))?;
        let (segment, inner) = part.take().ok_or(GrammarError::NotATree(index))?;
        depth = depth.max(inner);
        Ok(segment)
    };
    let segment = match flat {
        FlatSegment::Leaf(segment) => segment,
        FlatSegment::Sequence(parts) => {
            Segment::Sequence(parts.into_iter().map(take).collect::<Result<_, _>>()?)
        }
        FlatSegment::Alternative(parts) => {
            Segment::Alternative(parts.into_iter().map(take).collect::<Result<_, _>>()?)
        }
        FlatSegment::Repeat {
            segment,
            separator,
            min,
            max,
        } => {
            if max.is_some_and(|max| max < min) {
                return Err(GrammarError::Repetition(place));
            }
            Segment::Repeat {
                segment: Box::new(take(segment)?),
                separator: separator.map(&mut take).transpose()?.map(Box::new),
                min,
                max,
            }
        }
    };
    if depth + 1 > MAX_DEPTH {
        return Err(GrammarError::TooLarge);
    }
    Ok((segment, depth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(text: &str) -> FlatSegment {
        FlatSegment::Leaf(Segment::Literal(text.to_owned()))
    }

    #[test]
    fn a_list_becomes_its_tree() {
        let list = vec![
            leaf("a"),
            leaf("b"),
            FlatSegment::Repeat {
                segment: 0,
                separator: Some(1),
                min: 1,
                max: None,
            },
            leaf("c"),
            FlatSegment::Sequence(vec![2, 3]),
        ];
        let literal = |text: &str| Segment::Literal(text.to_owned());
        let repeat = Segment::Repeat {
            segment: Box::new(literal("a")),
            separator: Some(Box::new(literal("b"))),
            min: 1,
            max: None,
        };
        let tree = Segment::Sequence(vec![repeat, literal("c")]);
        assert_eq!(Segment::from_list(list), Ok(tree));
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let sequence = |parts: &[u32]| FlatSegment::Sequence(parts.to_vec());
        let repeat = FlatSegment::Repeat {
            segment: 0,
            separator: None,
            min: 2,
            max: Some(1),
        };
        let cases = [
            (vec![], GrammarError::Empty),
            (vec![sequence(&[0])], GrammarError::Reference(0)),
            (vec![leaf("a"), sequence(&[7])], GrammarError::Reference(1)),
            (
                vec![leaf("a"), sequence(&[0, 0])],
                GrammarError::NotATree(0),
            ),
            (vec![leaf("a"), leaf("b")], GrammarError::NotATree(0)),
            (vec![leaf("a"), repeat], GrammarError::Repetition(1)),
        ];
        for (list, error) in cases {
            assert_eq!(Segment::from_list(list), Err(error));
        }
        let mut deep = vec![leaf("a")];
        deep.extend((0..100).map(|index| sequence(&[index])));
        assert_eq!(Segment::from_list(deep), Err(GrammarError::TooLarge));
        let many = vec![leaf("a"); MAX_SEGMENTS + 1];
        assert_eq!(Segment::from_list(many), Err(GrammarError::TooLarge));
    }
}
