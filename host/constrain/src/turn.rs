//! What a mask thread finds out behind each token, and where the engine's thread waits for it.
//!
//! Invariant: whoever waits is woken, whatever becomes of the job: it tells in any case, at the latest when it is dropped.

use std::{
    fmt::Display,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use llguidance::Matcher;
use toktrie::SimpleVob;

use crate::{ending::ending, follower::Follower, measurements::MaskMeasurements};

/// A sequence's grammar where it stands, and what may come next.
pub(crate) struct Turn {
    pub(crate) follower: Follower,
    /// A bit a token; end tokens included.
    pub(crate) mask: SimpleVob,
}

/// A turn, or why there is none.
pub(crate) type Outcome = Result<Turn, String>;

/// How a sequence is to end.
#[derive(Clone)]
pub(crate) struct Ends {
    /// Tokens that end it; the first is the one to force.
    pub(crate) tokens: Arc<[u32]>,
    /// It is to end within so many tokens from here on, if it can.
    pub(crate) within: Option<usize>,
}

/// What a job has told so far.
#[derive(Default)]
struct Told {
    /// Tokens that must come next, which the turn's follower has consumed already.
    forced: Option<Vec<u32>>,
    turn: Option<Outcome>,
}

/// Where a job tells and a sequence listens.
#[derive(Default)]
pub(crate) struct Exchange {
    told: Mutex<Told>,
    changed: Condvar,
}

impl Exchange {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is forced; None if that is not known in time.
    pub(crate) fn take_forced(&self, patience: Duration) -> Option<Vec<u32>> {
        self.take(patience, |told| told.forced.take())
    }

    /// The turn; waits as long as it takes.
    pub(crate) fn take_turn(&self) -> Outcome {
        let turn = self.take(Duration::MAX, |told| told.turn.take());
        turn.unwrap_or_else(|| Err("nobody computed a mask".to_owned()))
    }

    fn take<T>(&self, patience: Duration, take: impl Fn(&mut Told) -> Option<T>) -> Option<T> {
        let began = Instant::now();
        let mut told = self.told();
        loop {
            if let Some(taken) = take(&mut told) {
                return Some(taken);
            }
            told = match patience {
                Duration::MAX => {
                    let waited = self.changed.wait(told);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
                patience => {
                    let left = patience.saturating_sub(began.elapsed());
                    if left == Duration::ZERO {
                        return None;
                    }
                    let waited = self.changed.wait_timeout(told, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// A job's side of an exchange.
pub(crate) struct Teller {
    exchange: Arc<Exchange>,
    told_forced: bool,
    done: bool,
}

impl Teller {
    pub(crate) fn new(exchange: &Arc<Exchange>) -> Self {
        Self {
            exchange: Arc::clone(exchange),
            told_forced: false,
            done: false,
        }
    }

    /// Takes the grammar on and says what is forced: an ending, where that is asked for and there is one of so many tokens. None
    /// when the turn is over by that, because it failed.
    pub(crate) fn advance(
        mut self,
        mut follower: Follower,
        ends: &Ends,
    ) -> Option<(Self, Follower)> {
        match follower.attempt(|matcher| forced(matcher, ends)) {
            Ok(forced) => {
                self.told_forced = true;
                self.exchange.told().forced = Some(forced);
                self.exchange.changed.notify_all();
                Some((self, follower))
            }
            Err(reason) => {
                self.end(Err(reason));
                None
            }
        }
    }

    /// Says which tokens may follow.
    pub(crate) fn allow(
        mut self,
        mut follower: Follower,
        ends: &Ends,
        measured: &MaskMeasurements,
    ) {
        let began = Instant::now();
        let mask = follower.attempt(|matcher| mask(matcher, &ends.tokens));
        measured.mask.observe_duration(began.elapsed());
        self.end(match mask {
            Ok(mask) if mask.is_zero() => Err("a stop token is the only way to go on".to_owned()),
            Ok(mask) => Ok(Turn { follower, mask }),
            Err(reason) => Err(reason),
        });
    }

    fn end(&mut self, outcome: Outcome) {
        let mut told = self.exchange.told();
        // What was told may have been taken; the next job's is not to be answered for it.
        if !self.told_forced {
            told.forced = Some(Vec::new());
        }
        told.turn = Some(outcome);
        self.done = true;
        drop(told);
        self.exchange.changed.notify_all();
    }
}

/// The tokens that must come next, which the matcher has consumed then.
fn forced(matcher: &mut Matcher, ends: &Ends) -> Result<Vec<u32>, String> {
    let mut forced = matcher.consume_ff_tokens();
    if let Some(error) = matcher.get_error() {
        return Err(error);
    }
    if matcher.is_stopped() {
        // Nothing but an end can follow, so nobody needs to ask the model for one.
        forced.extend(ends.tokens.first());
    } else if let (Some(within), Some(end)) = (ends.within, ends.tokens.first()) {
        let left = within.saturating_sub(forced.len());
        forced.extend(ending(matcher, *end, left).unwrap_or_default());
    }
    Ok(forced)
}

/// Which tokens may follow. End tokens may where the grammar may end; those that are control tokens also where it names them,
/// as a format does whose calls end with one.
fn mask(matcher: &mut Matcher, end_tokens: &[u32]) -> Result<SimpleVob, String> {
    fn say<T, E: Display>(result: Result<T, E>) -> Result<T, String> {
        result.map_err(|error| error.to_string())
    }
    let mut mask = say(matcher.compute_mask_or_eos())?;
    let may_end = matcher.is_stopped() || say(matcher.is_accepting())?;
    let environment = say(matcher.tok_env())?;
    let trie = environment.tok_trie();
    // llguidance puts in its own, whether it ends this sequence or not.
    let own = trie.eos_token();
    if !end_tokens.contains(&own) {
        mask.disallow_token(own);
    }
    for &end in end_tokens {
        if end as usize >= mask.len() {
            continue;
        }
        if may_end {
            mask.allow_token(end);
        } else if !trie.is_special_token(end) {
            mask.disallow_token(end);
        }
    }
    Ok(mask)
}

impl Drop for Teller {
    fn drop(&mut self) {
        if !self.done {
            self.end(Err("computing a mask panicked".to_owned()));
        }
    }
}
