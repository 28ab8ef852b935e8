//! Grammars compiled by the thread, each once, and kept.
//!
//! Invariants: what compiles does so on a thread with a large stack of its own, at most [`limits::MAX_COMPILING`] at a time,
//! and nobody waits longer than [`limits::COMPILE_TIME`] for it; one that takes longer is refused to all who ask until it is
//! done, and keeps its place until then. Two who ask for the same grammar at once wait for the same thread. A panic is an
//! error. What is kept is bounded by entries and bytes; the least recently used goes first.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use llguidance::{Matcher, ParserFactory, api::TopLevelGrammar};

use crate::{
    ConstrainError,
    follower::{FreeFuel, Lexers},
    limits,
};

/// A grammar at its start; each sequence goes on from its own copy.
pub(crate) struct Compiled {
    pub(crate) matcher: Matcher,
    pub(crate) lexers: Lexers,
    /// Bytes of memory, about.
    bytes: usize,
}

type Outcome = Result<Arc<Compiled>, ConstrainError>;

/// Compiles and keeps.
pub(crate) struct Compiler {
    factory: ParserFactory,
    free_fuel: FreeFuel,
    kept: Mutex<Kept>,
    /// Some compilation has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Kept {
    grammars: HashMap<Arc<str>, Entry>,
    compiling: usize,
    bytes: usize,
    clock: u64,
}

struct Entry {
    state: State,
    bytes: usize,
    last_use: u64,
}

enum State {
    Compiling { since: Instant },
    Done(Outcome),
}

impl Compiler {
    pub(crate) fn new(factory: ParserFactory) -> Self {
        Self {
            factory,
            free_fuel: FreeFuel::default(),
            kept: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// The grammar, compiled now or before.
    pub(crate) fn compile(self: &Arc<Self>, grammar: TopLevelGrammar) -> Outcome {
        let text = serde_json::to_string(&grammar);
        let text = text.map_err(|error| ConstrainError::Internal(error.to_string()))?;
        if text.len() > limits::MAX_GRAMMAR_BYTES {
            return Err(ConstrainError::Grammar(format!(
                "with all schemas it has {} bytes, the limit is {}",
                text.len(),
                limits::MAX_GRAMMAR_BYTES
            )));
        }
        self.compile_text(Arc::from(text), grammar)
    }

    fn compile_text(self: &Arc<Self>, text: Arc<str>, grammar: TopLevelGrammar) -> Outcome {
        let came = Instant::now();
        let mut grammar = Some(grammar);
        let mut kept = self.kept();
        loop {
            kept.clock += 1;
            let clock = kept.clock;
            let since = match kept.grammars.get_mut(&text) {
                Some(entry) => {
                    entry.last_use = clock;
                    match &entry.state {
                        State::Done(outcome) => return outcome.clone(),
                        State::Compiling { since } => Some(*since),
                    }
                }
                None => None,
            };
            let too_late = match since {
                Some(_) => ConstrainError::TooSlow(limits::COMPILE_TIME),
                None => ConstrainError::Busy,
            };
            if since.is_none()
                && kept.compiling < limits::MAX_COMPILING
                && let Some(grammar) = grammar.take()
            {
                self.start(&mut kept, &text, grammar)?;
                continue;
            }
            let left = limits::COMPILE_TIME.saturating_sub(since.unwrap_or(came).elapsed());
            if left == Duration::ZERO {
                return Err(too_late);
            }
            let waited = self.ended.wait_timeout(kept, left);
            (kept, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Starts a thread, which tells the outcome to whoever waits.
    fn start(
        self: &Arc<Self>,
        kept: &mut Kept,
        text: &Arc<str>,
        grammar: TopLevelGrammar,
    ) -> Result<(), ConstrainError> {
        let (compiler, key) = (Arc::clone(self), Arc::clone(text));
        let work = move || {
            let compiled = catch_unwind(AssertUnwindSafe(|| compiler.compile_here(grammar)));
            let outcome = compiled.unwrap_or_else(|_| {
                Err(ConstrainError::Internal(
                    "its compilation panicked".to_owned(),
                ))
            });
            compiler.end(&key, outcome);
        };
        let thread = thread::Builder::new()
            .name("weir-compile".to_owned())
            .stack_size(limits::COMPILE_STACK)
            .spawn(work);
        thread.map_err(|error| ConstrainError::Internal(error.to_string()))?;
        kept.compiling += 1;
        let since = Instant::now();
        let entry = Entry {
            state: State::Compiling { since },
            bytes: 0,
            last_use: kept.clock,
        };
        kept.grammars.insert(Arc::clone(text), entry);
        Ok(())
    }

    fn compile_here(&self, grammar: TopLevelGrammar) -> Outcome {
        let parser = self.factory.create_parser(grammar);
        let parser = parser.map_err(|error| refusal(&format!("{error:#}")))?;
        let bytes = parser.parser.lexer_stats().num_bytes;
        let mut matcher = Matcher::new(Ok(parser));
        if let Some(warning) = matcher.grammar_warnings().into_iter().next() {
            return Err(refusal(&warning));
        }
        // The first mask shows whether anything can be written at all, and what it finds out each copy knows.
        matcher
            .compute_mask_or_eos()
            .map_err(|error| refusal(&format!("{error:#}")))?;
        let mut ahead = matcher.deep_clone();
        ahead.consume_ff_tokens();
        match ahead.get_error() {
            None => Ok(Arc::new(Compiled {
                matcher,
                lexers: Lexers::new(&self.free_fuel),
                bytes,
            })),
            Some(_) => Err(ConstrainError::Grammar(
                "what must be written first is too long, or never ends".to_owned(),
            )),
        }
    }

    fn end(&self, text: &Arc<str>, outcome: Outcome) {
        let mut kept = self.kept();
        kept.compiling -= 1;
        let bytes = text.len() + outcome.as_ref().map_or(0, |compiled| compiled.bytes);
        if let Some(entry) = kept.grammars.get_mut(text) {
            entry.state = State::Done(outcome);
            entry.bytes = bytes;
            kept.bytes += bytes;
        }
        kept.evict();
        drop(kept);
        self.ended.notify_all();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn evict(&mut self) {
        while self.grammars.len() > limits::CACHE_ENTRIES || self.bytes > limits::CACHE_BYTES {
            let done = self.grammars.iter();
            let done = done.filter(|(_, entry)| matches!(entry.state, State::Done(_)));
            let oldest = done.min_by_key(|(_, entry)| entry.last_use);
            let Some(text) = oldest.map(|(text, _)| Arc::clone(text)) else {
                return;
            };
            if let Some(entry) = self.grammars.remove(&text) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

/// What llguidance says, without what it says of itself.
fn refusal(error: &str) -> ConstrainError {
    let said = error.split("<non-verbose/>").next().unwrap_or_default();
    let said = match said {
        _ if said.contains("oneOf constraints are not supported") => {
            "\"oneOf\" is supported where types, or one required property with \"const\" or \"enum\", show that no value \
             matches two of its schemas; \"anyOf\" always is"
        }
        _ if said.contains("NoExtensionBias") => {
            "there is nothing to write that matches it: does a \"$ref\" lead to itself, or a rule name nothing but itself?"
        }
        said => said.trim(),
    };
    ConstrainError::Grammar(said.chars().take(500).collect())
}

#[cfg(test)]
mod tests;
