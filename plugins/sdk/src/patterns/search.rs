//! The search of one text: all threads of the automaton in lock step, one character at a time.
//!
//! Leftmost match first, of those the longest, of those the pattern named first; matches do not overlap. What is emitted
//! depends on the text alone, never on how it was cut. Held back is only the text from the earliest start of a live
//! thread on, and of that no more than [`MAX_MATCH`] bytes: a longer candidate loses its start, which is sent, and when
//! it does match, what is left of it is replaced. Per character the work is at most the number of states; text behind a
//! match that a longer candidate ran over and failed on is read again, once a match, so at most `MAX_MATCH` of it.
//!
//! A search that ends at the first match emits what is before the leftmost match, and nothing more. It ends as soon as no
//! earlier match is possible: where the match itself ends is then of no account.

use alloc::{string::String, sync::Arc, vec, vec::Vec};

use super::program::{Program, Rules, State, StateId};

/// The longest match, in bytes, that is replaced as a whole.
pub const MAX_MATCH: usize = 4096;

/// One text's search. Positions are byte offsets into the whole text.
pub struct Search {
    rules: Arc<Rules>,
    /// The text that was not emitted.
    held: String,
    /// Where `held` begins.
    held_at: usize,
    /// Up to where the threads have read.
    position: usize,
    threads: Threads,
    next: Threads,
    /// The best match so far, while threads may still find a better one.
    best: Option<Match>,
    on_match: OnMatch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnMatch {
    Replace,
    End,
    /// It ended at a match of the pattern with this index.
    Ended(u32),
}

#[derive(Debug, Clone, Copy)]
struct Match {
    start: usize,
    end: usize,
    rule: u32,
}

impl Match {
    fn is_better_than(&self, other: &Match) -> bool {
        let key = |found: &Match| (found.start, usize::MAX - found.end, found.rule);
        key(self) < key(other)
    }
}

/// Threads by ascending start, one a state: of two in the same state the earlier one has all the other's future.
struct Threads {
    list: Vec<(StateId, usize)>,
    seen: Vec<bool>,
    visited: Vec<StateId>,
}

impl Threads {
    fn new(states: usize) -> Self {
        Self {
            list: Vec::new(),
            seen: vec![false; states],
            visited: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.list.clear();
        for state in self.visited.drain(..) {
            self.seen[state as usize] = false;
        }
    }

    /// Adds a thread in `state` and in all states that take no character to reach. Answers the smallest index of a
    /// pattern that has matched.
    fn add(&mut self, program: &Program, state: StateId, start: usize) -> Option<u32> {
        let mut matched: Option<u32> = None;
        let first = self.visited.len();
        self.visit(state);
        // What is visited from here on is the stack of states to follow: nothing is popped, so it ends by itself.
        let mut follow = first;
        while let Some(&state) = self.visited.get(follow) {
            follow += 1;
            match program.get(state) {
                State::Take { .. } => self.list.push((state, start)),
                State::Fork(one, other) => {
                    self.visit(one);
                    self.visit(other);
                }
                State::Match(rule) => matched = Some(matched.map_or(rule, |found| found.min(rule))),
            }
        }
        matched
    }

    fn visit(&mut self, state: StateId) {
        let seen = &mut self.seen[state as usize];
        if !*seen {
            *seen = true;
            self.visited.push(state);
        }
    }
}

impl Search {
    /// The search of a new text that replaces what matches.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self::with(rules, OnMatch::Replace)
    }

    /// The search of a new text that ends at the first match.
    pub fn until_match(rules: Arc<Rules>) -> Self {
        Self::with(rules, OnMatch::End)
    }

    /// The index of the pattern at whose match the search ended.
    pub fn ended_at(&self) -> Option<u32> {
        match self.on_match {
            OnMatch::Ended(rule) => Some(rule),
            OnMatch::Replace | OnMatch::End => None,
        }
    }

    fn with(rules: Arc<Rules>, on_match: OnMatch) -> Self {
        let states = rules.program.len();
        Self {
            rules,
            held: String::new(),
            held_at: 0,
            position: 0,
            threads: Threads::new(states),
            next: Threads::new(states),
            best: None,
            on_match,
        }
    }

    /// Takes more text and appends what is certain.
    pub fn push(&mut self, text: &str, out: &mut String) {
        if self.ended_at().is_some() {
            return;
        }
        self.held.push_str(text);
        self.read(out);
        let earliest = self.threads.list.first().map(|(_, start)| *start);
        let keep = [earliest, self.best.map(|best| best.start)];
        let keep = keep.into_iter().flatten().min().unwrap_or(self.position);
        self.emit_until(keep, out);
    }

    /// Says that the text ends, and appends the rest.
    pub fn finish(&mut self, out: &mut String) {
        while let Some(best) = self.best.take() {
            self.replace(best, out);
            self.read(out);
        }
        self.emit_until(self.held_at + self.held.len(), out);
        self.threads.clear();
    }

    /// Lets the threads read all that is held, replacing what is certain to be a match.
    fn read(&mut self, out: &mut String) {
        while let Some(c) = self.held[self.position - self.held_at..].chars().next() {
            self.step(c);
            match self.best {
                Some(best) if self.is_certain(best) => {
                    self.best = None;
                    self.replace(best, out);
                }
                _ => self.forget_far_starts(),
            }
        }
    }

    /// Whether no thread can find a better match any more, or one that makes a difference where the search ends at it.
    fn is_certain(&self, best: Match) -> bool {
        let earliest = self.threads.list.first().map(|(_, start)| *start);
        let settled = match self.on_match {
            OnMatch::Replace => earliest.is_none(),
            OnMatch::End | OnMatch::Ended(_) => earliest.is_none_or(|start| start >= best.start),
        };
        settled || self.position - best.start >= MAX_MATCH
    }

    /// Moves all threads over `c`.
    fn step(&mut self, c: char) {
        let program = &self.rules.program;
        if self.best.is_none() {
            for start in program.starts() {
                self.threads.add(program, *start, self.position);
            }
        }
        self.position += c.len_utf8();
        for &(state, start) in &self.threads.list {
            if self.best.is_some_and(|best| start > best.start) {
                break;
            }
            let State::Take { class, next } = program.get(state) else {
                continue;
            };
            if !program.class_has(class, c) {
                continue;
            }
            if let Some(rule) = self.next.add(program, next, start) {
                let end = self.position;
                let found = Match { start, end, rule };
                if self.best.is_none_or(|best| found.is_better_than(&best)) {
                    self.best = Some(found);
                }
            }
        }
        self.threads.clear();
        core::mem::swap(&mut self.threads, &mut self.next);
    }

    /// Gives threads that started too far back a later start.
    fn forget_far_starts(&mut self) {
        if self.position - self.held_at <= MAX_MATCH {
            return;
        }
        let mut earliest = self.position - MAX_MATCH;
        while !self.held.is_char_boundary(earliest - self.held_at) {
            earliest += 1;
        }
        for (_, start) in &mut self.threads.list {
            if *start >= earliest {
                break;
            }
            *start = earliest;
        }
    }

    /// Emits what is before the match and its replacement; the text behind it is read again, or dropped at the end.
    fn replace(&mut self, found: Match, out: &mut String) {
        self.emit_until(found.start, out);
        if self.on_match != OnMatch::Replace {
            self.on_match = OnMatch::Ended(found.rule);
            self.held.clear();
            self.held_at = self.position;
            self.threads.clear();
            return;
        }
        out.push_str(&self.rules.replacements[found.rule as usize]);
        self.held.drain(..found.end - self.held_at);
        self.held_at = found.end;
        self.position = found.end;
        self.threads.clear();
    }

    fn emit_until(&mut self, end: usize, out: &mut String) {
        out.extend(self.held.drain(..end - self.held_at));
        self.held_at = end;
    }
}
