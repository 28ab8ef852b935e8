//! From what a session appended to what the contract's `push` answers: the cheap word for the usual case.
//!
//! Nearly every fragment is passed on as it is or held back. The author of a plugin need not know: events that say no
//! more than that are recognised here and never cross the border as text.

use alloc::vec::Vec;

use crate::types::{Action, Event, Fragment};

/// What a push of a parser means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, or nothing yet.
    Hold,
    /// The fragment as it is, is content.
    Content,
    /// The fragment's text as it is, is reasoning.
    Reasoning,
    /// The fragment's text as it is, belongs to the open call's arguments.
    Arguments,
    /// The events say it.
    Events,
}

impl Outcome {
    /// What these events, which follow from this fragment, are in short.
    pub fn of(fragment: &Fragment, events: &[Event]) -> Self {
        match events {
            [] => Self::Hold,
            [Event::Content(content)] if content == fragment => Self::Content,
            [Event::Reasoning { text }] if *text == fragment.text => Self::Reasoning,
            [Event::CallArguments { delta, .. }] if *delta == fragment.text => Self::Arguments,
            _ => Self::Events,
        }
    }
}

/// What a push of a post-processor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostOutcome {
    /// Nothing, or nothing yet.
    Hold,
    /// The event goes on as it is.
    Pass,
    /// The actions say it.
    Actions,
}

impl PostOutcome {
    /// What these actions, which follow from this event, are in short.
    pub fn of(event: &Event, actions: &[Action]) -> Self {
        match actions {
            [] => Self::Hold,
            [Action::Emit(emitted)] if emitted == event => Self::Pass,
            _ => Self::Actions,
        }
    }
}

/// A session and what it said that the host has not taken yet.
#[derive(Debug)]
pub struct Running<S, T> {
    /// The session.
    pub session: S,
    /// Its events or actions. Kept from push to push, so that its memory is taken once.
    pub said: Vec<T>,
}

impl<S, T> Running<S, T> {
    /// A session that said nothing yet.
    pub fn new(session: S) -> Self {
        Self {
            session,
            said: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::types::FragmentKind;

    #[test]
    fn what_is_passed_on_as_it_is_has_a_short_word() {
        let fragment = Fragment::new("ab", FragmentKind::Control);
        let arguments = |delta: &str| Event::CallArguments {
            index: 3,
            delta: delta.into(),
        };
        let content = Event::Content(fragment.clone());
        let plain = Event::Content(Fragment::new("ab", FragmentKind::Text));
        let cases = [
            (vec![], Outcome::Hold),
            (vec![content.clone()], Outcome::Content),
            (vec![plain], Outcome::Events),
            (
                vec![Event::Reasoning { text: "ab".into() }],
                Outcome::Reasoning,
            ),
            (vec![arguments("ab")], Outcome::Arguments),
            (vec![arguments("a")], Outcome::Events),
            (vec![content.clone(), content.clone()], Outcome::Events),
        ];
        for (events, outcome) in cases {
            assert_eq!(Outcome::of(&fragment, &events), outcome, "{events:?}");
        }
        let emit = Action::Emit(content.clone());
        let stop = Action::Stop("ab".into());
        assert_eq!(PostOutcome::of(&content, &[]), PostOutcome::Hold);
        assert_eq!(PostOutcome::of(&content, &[emit]), PostOutcome::Pass);
        assert_eq!(PostOutcome::of(&content, &[stop]), PostOutcome::Actions);
    }
}
