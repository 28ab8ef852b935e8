//! Patterns compiled to one Thompson automaton: states that take a character, states that fork, states that match.
//!
//! Built from the end: a node is compiled knowing the state behind it. Size is bounded by [`MAX_STATES`], all patterns
//! together. It holds no position in any text; that is `search`.

use alloc::{format, string::String, vec::Vec};

use super::syntax::{self, Letters, Node, Ranges};

/// The most states of all patterns together.
pub const MAX_STATES: usize = 20_000;

/// Patterns with what replaces them.
#[derive(Debug)]
pub struct Rules {
    /// The patterns.
    pub program: Program,
    /// One a pattern; none where a search ends at the first match.
    pub replacements: Vec<String>,
}

/// The state with this number.
pub type StateId = u32;

/// One state of the automaton.
#[derive(Debug, Clone, Copy)]
pub enum State {
    /// Goes on to `next` with a character of the class.
    Take {
        /// Index of the class.
        class: u32,
        /// The state behind it.
        next: StateId,
    },
    /// Is in both states at once.
    Fork(StateId, StateId),
    /// The pattern with this index matched.
    Match(u32),
}

/// The automaton of all patterns.
#[derive(Debug, Default)]
pub struct Program {
    states: Vec<State>,
    classes: Vec<Ranges>,
    starts: Vec<StateId>,
    letters: Letters,
}

impl Program {
    /// No patterns.
    pub fn new() -> Self {
        Self::default()
    }

    /// No patterns; in those to come, letters stand for this.
    pub fn of(letters: Letters) -> Self {
        Self {
            letters,
            ..Self::default()
        }
    }

    /// Adds a pattern; it takes the next index.
    ///
    /// # Errors
    /// Where and why it is no pattern, that it is too large, or that it matches the empty text.
    pub fn add(&mut self, pattern: &str) -> Result<(), String> {
        let node = syntax::parse(pattern, self.letters)?;
        self.add_node(&node)
    }

    /// Adds exactly this text as a pattern; it takes the next index.
    ///
    /// # Errors
    /// That it is empty or too large.
    pub fn add_phrase(&mut self, text: &str) -> Result<(), String> {
        self.add_node(&syntax::phrase(text, self.letters))
    }

    fn add_node(&mut self, node: &Node) -> Result<(), String> {
        if matches_empty(node) {
            return Err("it matches the empty text".into());
        }
        let last = self.state(State::Match(self.starts.len() as u32))?;
        let start = self.compile(node, last)?;
        self.starts.push(start);
        Ok(())
    }

    /// The first state of every pattern, by index.
    pub fn starts(&self) -> &[StateId] {
        &self.starts
    }

    /// How many states there are.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether there is no state.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The state with this number.
    pub fn get(&self, id: StateId) -> State {
        self.states[id as usize]
    }

    /// Whether the class with this index has `c`.
    pub fn class_has(&self, class: u32, c: char) -> bool {
        let ranges = &self.classes[class as usize];
        ranges.iter().any(|(low, high)| (*low..=*high).contains(&c))
    }

    fn state(&mut self, state: State) -> Result<StateId, String> {
        if self.states.len() == MAX_STATES {
            return Err(format!(
                "the patterns need more than {MAX_STATES} states; use smaller counts"
            ));
        }
        self.states.push(state);
        Ok((self.states.len() - 1) as StateId)
    }

    fn class(&mut self, ranges: &Ranges) -> u32 {
        let known = self.classes.iter().position(|class| class == ranges);
        let index = known.unwrap_or_else(|| {
            self.classes.push(ranges.clone());
            self.classes.len() - 1
        });
        index as u32
    }

    /// Compiles `node` in front of `next` and answers its first state.
    fn compile(&mut self, node: &Node, next: StateId) -> Result<StateId, String> {
        match node {
            Node::Class(ranges) => {
                let class = self.class(ranges);
                self.state(State::Take { class, next })
            }
            Node::Sequence(nodes) => nodes
                .iter()
                .rev()
                .try_fold(next, |next, node| self.compile(node, next)),
            Node::Alternatives(nodes) => {
                let mut first = None;
                for node in nodes.iter().rev() {
                    let start = self.compile(node, next)?;
                    first = Some(match first {
                        None => start,
                        Some(others) => self.state(State::Fork(start, others))?,
                    });
                }
                Ok(first.unwrap_or(next))
            }
            Node::Repeat { node, min, max } => {
                let mut start = match max {
                    None => self.compile_star(node, next)?,
                    Some(max) => self.compile_optional(node, max - min, next)?,
                };
                for _ in 0..*min {
                    start = self.compile(node, start)?;
                }
                Ok(start)
            }
        }
    }

    fn compile_star(&mut self, node: &Node, next: StateId) -> Result<StateId, String> {
        let fork = self.state(State::Fork(next, next))?;
        let body = self.compile(node, fork)?;
        self.states[fork as usize] = State::Fork(body, next);
        Ok(fork)
    }

    /// Up to `count` times: each copy may be left out together with those behind it.
    fn compile_optional(
        &mut self,
        node: &Node,
        count: u32,
        next: StateId,
    ) -> Result<StateId, String> {
        let mut start = next;
        for _ in 0..count {
            let body = self.compile(node, start)?;
            start = self.state(State::Fork(body, next))?;
        }
        Ok(start)
    }
}

fn matches_empty(node: &Node) -> bool {
    match node {
        Node::Class(_) => false,
        Node::Sequence(nodes) => nodes.iter().all(matches_empty),
        Node::Alternatives(nodes) => nodes.iter().any(matches_empty),
        Node::Repeat { node, min, .. } => *min == 0 || matches_empty(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_or_too_large_is_refused() {
        for pattern in ["a*", "a?|b", "(a?){3}", "(a|b*)(c?)"] {
            let error = Program::new().add(pattern).expect_err(pattern);
            assert!(error.contains("empty"), "{pattern}: {error}");
        }
        let error = Program::new()
            .add("((a{256}){256}){256}")
            .expect_err("too large");
        assert!(error.contains("states"), "{error}");
    }
}
