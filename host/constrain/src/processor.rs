//! A compiled grammar as the engine's logits processor.
//!
//! Behind each token a mask thread takes the grammar on: it says first which tokens are forced, then which may follow, while
//! the model computes the logits. Invariants: at most one job of a sequence is under way; masks depend on the tokens alone,
//! never on when a job is done. Where llguidance gives up every token is forbidden, and the engine asks why.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use toktrie::SimpleVob;
use weir_engine::{Constraint, Form, Gbnf, LogitsProcessor};
use weir_output::Segment;
use weir_prompt::Vocabulary;

use crate::{
    Answer,
    compilation::Compiled,
    follower::Follower,
    gbnf,
    mask_threads::MaskThreads,
    measurements::MaskMeasurements,
    turn::{Ends, Exchange, Outcome, Teller},
};

/// Tokens of one word of a mask.
const WORD: usize = 32;

/// A grammar that sequences are kept to.
#[derive(Clone)]
pub(crate) struct GrammarConstraint {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) threads: Arc<MaskThreads>,
    pub(crate) measured: Arc<MaskMeasurements>,
    /// The model's own end token, which a finished grammar ends with.
    pub(crate) end_token: u32,
    pub(crate) source: Arc<Source>,
}

/// What was compiled, for engines that compile it themselves.
pub(crate) struct Source {
    pub(crate) segment: Segment,
    pub(crate) answer: Answer,
    pub(crate) vocabulary: Arc<Vocabulary>,
}

impl Source {
    /// The answer alone, where nothing stands around it.
    fn bare(&self) -> Option<&Segment> {
        match (&self.segment, &self.answer) {
            (Segment::Answer, Answer::Segment(answer)) => Some(answer),
            _ => None,
        }
    }
}

impl fmt::Debug for GrammarConstraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrammarConstraint")
    }
}

impl Constraint for GrammarConstraint {
    fn processor(&self, end_tokens: &[u32]) -> Box<dyn LogitsProcessor> {
        let mut end_tokens = end_tokens.to_vec();
        end_tokens.sort_by_key(|end| *end != self.end_token);
        Box::new(GrammarMask {
            constraint: self.clone(),
            ends: Ends {
                tokens: end_tokens.into(),
                within: None,
            },
            exchange: Arc::default(),
            ahead: VecDeque::new(),
            state: State::Fresh,
            waited: Duration::ZERO,
        })
    }

    fn form(&self) -> Option<Form> {
        Some(match self.source.bare()? {
            Segment::Json(schema) => Form::Json(schema.clone()),
            Segment::Pattern(pattern) => Form::Regex(pattern.clone()),
            Segment::Alternative(parts) => {
                let texts = parts.iter().map(|part| match part {
                    Segment::Literal(text) => Some(text.clone()),
                    _ => None,
                });
                Form::Choice(texts.collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    fn gbnf(&self) -> Result<Gbnf, String> {
        let Source {
            segment,
            answer,
            vocabulary,
        } = &*self.source;
        gbnf::gbnf(segment, answer, vocabulary)
    }
}

struct GrammarMask {
    constraint: GrammarConstraint,
    ends: Ends,
    exchange: Arc<Exchange>,
    /// Forced tokens that are not accepted yet; the grammar is behind them already.
    ahead: VecDeque<u32>,
    state: State,
    /// What the engine's thread waited for since the last mask.
    waited: Duration,
}

enum State {
    /// No job has begun.
    Fresh,
    /// A job is under way, and what it forces is not known here.
    Begun,
    /// What it forces is known here.
    Forced,
    /// What it found out is here.
    Settled(Box<Outcome>),
}

impl GrammarMask {
    /// Learns what is forced, if that is known in time; answers how long that took. None if there was nothing to learn.
    fn learn_forced(&mut self, patience: Duration) -> Option<Duration> {
        self.prepare();
        let State::Begun = self.state else {
            return None;
        };
        let began = Instant::now();
        if let Some(forced) = self.exchange.take_forced(patience) {
            self.ahead = forced.into();
            self.state = State::Forced;
        }
        Some(began.elapsed())
    }

    /// The same for a step that cannot do without.
    fn await_forced(&mut self) {
        let waited = self.learn_forced(Duration::MAX);
        self.waited += waited.unwrap_or_default();
    }

    /// What the last job found out.
    fn settle(&mut self) -> &mut Outcome {
        self.await_forced();
        if !matches!(self.state, State::Settled(_)) {
            let began = Instant::now();
            self.state = State::Settled(Box::new(self.exchange.take_turn()));
            self.waited += began.elapsed();
        }
        match &mut self.state {
            State::Settled(outcome) => outcome,
            _ => unreachable!("it was settled just now"),
        }
    }

    /// Begins a job: what is forced is found out first, and which tokens may follow when that is known of all sequences.
    fn begin(&self, follower: impl FnOnce() -> Follower + Send + 'static) {
        let (teller, ends) = (Teller::new(&self.exchange), self.ends.clone());
        let measured = Arc::clone(&self.constraint.measured);
        let threads = Arc::clone(&self.constraint.threads);
        self.constraint.threads.run_first(move || {
            if let Some((teller, follower)) = teller.advance(follower(), &ends) {
                threads.run_then(move || teller.allow(follower, &ends, &measured));
            }
        });
    }

    fn fail(&mut self, reason: String) {
        self.state = State::Settled(Box::new(Err(reason)));
    }
}

impl LogitsProcessor for GrammarMask {
    fn prepare(&mut self) {
        let State::Fresh = self.state else {
            return;
        };
        let compiled = Arc::clone(&self.constraint.compiled);
        self.begin(move || Follower::new(compiled));
        self.state = State::Begun;
    }

    fn apply(&mut self, logits: &mut [f32]) {
        self.await_forced();
        if let Some(&forced) = self.ahead.front() {
            return allow_one(forced, logits);
        }
        match self.settle() {
            Ok(turn) => allow(&turn.mask, logits),
            Err(_) => logits.fill(f32::NEG_INFINITY),
        }
        let waited = std::mem::take(&mut self.waited);
        self.constraint.measured.wait.observe_duration(waited);
    }

    fn close(&mut self, tokens: usize) {
        self.ends.within = Some(tokens);
    }

    fn accept(&mut self, token: u32) {
        self.await_forced();
        if self.ahead.front() == Some(&token) {
            self.ahead.pop_front();
            return;
        }
        if self.ends.tokens.contains(&token) {
            return;
        }
        if !self.ahead.is_empty() {
            return self.fail(format!("token {token} stands where another is forced"));
        }
        self.settle();
        let settled = std::mem::replace(&mut self.state, State::Begun);
        let mut follower = match settled {
            State::Settled(outcome) => match *outcome {
                Ok(turn) => turn.follower,
                Err(reason) => return self.fail(reason),
            },
            other => {
                self.state = other;
                return;
            }
        };
        self.begin(move || {
            // An error stays in the matcher, and the turn says so.
            let _ = follower.attempt(|matcher| matcher.consume_token(token));
            follower
        });
    }

    fn forced(&mut self, patience: Duration) -> Option<u32> {
        if let Some(waited) = self.learn_forced(patience) {
            self.constraint
                .measured
                .forced_wait
                .observe_duration(waited);
        }
        self.ahead.front().copied()
    }

    fn failure(&self) -> Option<String> {
        match &self.state {
            State::Settled(outcome) => (**outcome).as_ref().err().cloned(),
            _ => None,
        }
    }
}

fn allow_one(token: u32, logits: &mut [f32]) {
    let kept = logits.get(token as usize).copied();
    logits.fill(f32::NEG_INFINITY);
    if let (Some(kept), Some(logit)) = (kept, logits.get_mut(token as usize)) {
        *logit = kept;
    }
}

/// Forbids what the mask does not allow, a word at a time: most words are empty or full.
fn allow(mask: &SimpleVob, logits: &mut [f32]) {
    let words = mask.as_slice();
    for (index, logits) in logits.chunks_mut(WORD).enumerate() {
        match words.get(index).copied().unwrap_or(0) {
            0 => logits.fill(f32::NEG_INFINITY),
            u32::MAX => {}
            word => {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    let allowed = word & (1 << bit) != 0;
                    *logit = if allowed { *logit } else { f32::NEG_INFINITY };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_forbids_what_it_does_not_allow() {
        let mut mask = SimpleVob::alloc(100);
        mask.allow_range(32..=63);
        for token in [3, 64, 99] {
            mask.allow_token(token);
        }
        // Rows may be longer than the vocabulary.
        let mut logits = [1.0; 130];
        allow(&mask, &mut logits);
        let allowed: Vec<u32> = (0..130).filter(|id| logits[*id as usize] == 1.0).collect();
        let expected = [3].into_iter().chain(32..=64).chain([99]);
        assert_eq!(allowed, expected.collect::<Vec<_>>());
        allow_one(99, &mut logits);
        assert_eq!(logits.iter().filter(|logit| **logit == 1.0).count(), 1);
        allow_one(200, &mut logits);
        assert!(logits.iter().all(|logit| *logit == f32::NEG_INFINITY));
    }
}
