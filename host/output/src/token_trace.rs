//! Which tokens an answer's content came from, for the log-probabilities that are told beside it.
//!
//! The pipeline holds text back, drops markers, and cuts where a stop string begins, so tokens and content do not run side
//! by side. Here the text of every token is kept until events account for it: content is looked for in it, and the tokens
//! that any of it came from are told with that event.
//!
//! Invariants: a token is told at most once, in order; without parsers and post-processors that change text, exactly the
//! tokens of which the content holds a byte are told, under every chunking, whole even where the content ends inside one.
//! Tokens of reasoning, of calls and of markers are not told. Where a post-processor has rewritten the content, what is told
//! with it is everything since the content before: its text came from no token. Where reasoning passes by what a tool parser
//! holds back and gives up later, tokens of the same letters may be taken for each other.
//! It knows neither ids nor probabilities: a token is its number in the order of pushes.

use std::collections::VecDeque;

use crate::event::{Event, Fragment, FragmentKind};

/// A token that content came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracedToken {
    /// How many tokens were pushed before it.
    pub number: usize,
    /// Which of the events of this push its text begins in or has a part in first; None for one without text at the end.
    pub event: Option<usize>,
    /// Bytes of that event's text before the token's.
    pub offset: usize,
    /// It has no text: a special token that answers do not show. It goes along with its neighbours.
    pub hidden: bool,
}

/// The bookkeeping of one choice.
#[derive(Debug, Default)]
pub(crate) struct TokenTrace {
    pushed: usize,
    /// Tokens whose text has not come yet: parts of a character, and those without any.
    waiting: Vec<Owner>,
    /// What the detokenizer gave and no event has accounted for yet.
    text: String,
    /// The text's pieces, in order.
    pieces: VecDeque<Piece>,
    /// What the last event was.
    last: Sort,
    told: Vec<TracedToken>,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    number: usize,
    hidden: bool,
}

/// Text that came at once.
#[derive(Debug)]
struct Piece {
    len: usize,
    /// The tokens it came from; none once they are told.
    owners: Vec<Owner>,
    control: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sort {
    #[default]
    Content,
    Reasoning,
    Call,
}

impl TokenTrace {
    /// Takes the next token and what the detokenizer made of it; `hidden` is one that never has text.
    pub(crate) fn push(&mut self, hidden: bool, fragments: &[Fragment]) {
        let owner = Owner {
            number: self.pushed,
            hidden,
        };
        self.pushed += 1;
        let Some((last, before)) = fragments.split_last() else {
            self.waiting.push(owner);
            return;
        };
        // A control token ends a character that others have begun: that is theirs.
        before.iter().for_each(|fragment| self.add(fragment));
        self.waiting.push(owner);
        self.add(last);
    }

    /// Takes what the detokenizer had left.
    pub(crate) fn flush(&mut self, fragments: &[Fragment]) {
        fragments.iter().for_each(|fragment| self.add(fragment));
    }

    fn add(&mut self, fragment: &Fragment) {
        self.text.push_str(&fragment.text);
        self.pieces.push_back(Piece {
            len: fragment.text.len(),
            owners: std::mem::take(&mut self.waiting),
            control: fragment.kind == FragmentKind::Control,
        });
    }

    /// Accounts for the events of a push; `first` is the number of the first of them.
    pub(crate) fn settle(&mut self, events: &[Event], first: usize) {
        for (index, event) in events.iter().enumerate() {
            let (sort, text) = match event {
                Event::Content(fragment) => (Sort::Content, fragment.text.as_str()),
                Event::Reasoning { text } => (Sort::Reasoning, text.as_str()),
                Event::CallBegin { .. }
                | Event::CallArguments { .. }
                | Event::CallEnd { .. }
                | Event::CallAbandoned { .. } => (Sort::Call, ""),
            };
            let markers = std::mem::replace(&mut self.last, sort) != sort;
            if sort != Sort::Call {
                let told = (sort == Sort::Content).then_some(first + index);
                let last = index + 1 == events.len();
                match (told, self.find(text, markers, last)) {
                    (Some(event), Some(start)) => self.tell(start, start + text.len(), event),
                    (Some(event), None) => self.tell(0, self.text.len(), event),
                    (None, Some(start)) => self.skip(start, start + text.len()),
                    (None, None) => {}
                }
            }
        }
        if self.last == Sort::Call && !events.is_empty() {
            // What a parser holds back behind a piece of a call belongs to the call.
            self.text.clear();
            self.pieces.clear();
        }
    }

    /// Says that nothing more comes. Tokens without text stand at the end of an answer that was not cut.
    pub(crate) fn end(&mut self, cut: bool) {
        let waiting = std::mem::take(&mut self.waiting);
        let hidden = waiting.into_iter().filter(|owner| owner.hidden && !cut);
        self.told.extend(hidden.map(|owner| TracedToken {
            number: owner.number,
            event: None,
            offset: 0,
            hidden: true,
        }));
    }

    /// What was told since the last time.
    pub(crate) fn take(&mut self) -> Vec<TracedToken> {
        std::mem::take(&mut self.told)
    }

    /// Where an event's text stands in what is left, if it does: mostly at the very beginning. Behind a marker, which may hold
    /// the same letters, it stands as late as possible, if no other event must find its own text behind it.
    fn find(&self, text: &str, behind_marker: bool, last: bool) -> Option<usize> {
        if !behind_marker && self.text.starts_with(text) {
            return Some(0);
        }
        let control = self.leading_control();
        if control > 0 && self.text[control..].starts_with(text) {
            return Some(control);
        }
        match last {
            true => self.text.rfind(text),
            false => self.text.find(text),
        }
    }

    /// How much of the beginning are control tokens.
    fn leading_control(&self) -> usize {
        let control = self.pieces.iter().take_while(|piece| piece.control);
        control.map(|piece| piece.len).sum()
    }

    /// Tells the tokens of `start..end` with an event and forgets everything up to `end`. A piece that reaches beyond it stays,
    /// without its tokens.
    fn tell(&mut self, start: usize, end: usize, event: usize) {
        let mut from = 0;
        while from < end
            && let Some(mut piece) = self.pieces.pop_front()
        {
            let to = from + piece.len;
            if to > start {
                let owners = std::mem::take(&mut piece.owners);
                let offset = from.saturating_sub(start);
                self.told
                    .extend(owners.into_iter().map(|owner| TracedToken {
                        number: owner.number,
                        event: Some(event),
                        offset,
                        hidden: owner.hidden,
                    }));
            }
            if to > end {
                piece.len = to - end;
                self.pieces.push_front(piece);
                break;
            }
            from = to;
        }
        self.text.drain(..end);
    }

    /// Forgets `start..end` alone: reasoning passes by what a tool parser holds back. A piece that reaches beyond it stays with
    /// its tokens: its other part may be content yet.
    fn skip(&mut self, start: usize, end: usize) {
        let mut from = 0;
        self.pieces.retain_mut(|piece| {
            let to = from + piece.len;
            let skipped = to.min(end).saturating_sub(from.max(start));
            piece.len -= skipped;
            from = to;
            piece.len > 0
        });
        self.text.drain(start..end);
    }
}
