//! A runner without a model: replays scripts, the same way every time. Serves `weir serve --model replay:FILE` and tests.
//!
//! Invariants: a sequence keeps its script through preemption and however it is batched; the next token depends on the
//! script and the position alone. It keeps no KV: it needs every token of a sequence from position 0, so it cannot serve
//! sequences whose first tokens came from a prefix cache, and says so.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use crate::{
    batch::{Batch, BatchRow, Logits},
    error::EngineError,
    request::SequenceId,
    runner::{ModelRunner, RunnerInfo},
};

/// The scripted token's logit, over zeros: beyond what bias and penalties move.
const SCRIPTED_LOGIT: f32 = 1e6;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeScript {
    /// Replay this for prompts that contain these tokens in a row; None replays it in turn with the others that have None.
    pub matches: Option<Vec<u32>>,
    /// The answer, without an end token: that follows by itself.
    pub tokens: Vec<u32>,
}

/// Replays [`FakeScript`]s.
pub struct FakeRunner {
    info: RunnerInfo,
    scripts: Vec<FakeScript>,
    replays: HashMap<SequenceId, Replay>,
    /// Scripts without `matches` handed out so far.
    turns: usize,
    pace: Option<Pace>,
}

/// One sequence's state.
enum Replay {
    /// The prompt has not ended yet; its tokens so far.
    Reading(Vec<u32>),
    /// The prompt had `prompt_len` tokens; `script` is None if none fits.
    Answering {
        script: Option<usize>,
        prompt_len: usize,
    },
}

/// Spaces steps evenly.
struct Pace {
    period: Duration,
    last_step: Option<Instant>,
}

impl FakeRunner {
    /// A runner that replays `scripts`: the first whose `matches` occurs in the prompt, else those without one in turn, else
    /// nothing but an end token. With `tokens_per_second` a step takes as long as one token then does; a rate that is no
    /// positive number counts as none.
    pub fn new(info: RunnerInfo, scripts: Vec<FakeScript>, tokens_per_second: Option<f64>) -> Self {
        let period =
            tokens_per_second.and_then(|rate| Duration::try_from_secs_f64(rate.recip()).ok());
        let pace = period.map(|period| Pace {
            period,
            last_step: None,
        });
        Self {
            info,
            scripts,
            replays: HashMap::new(),
            turns: 0,
            pace,
        }
    }

    /// The token behind this row, if the row ends its sequence's known tokens.
    fn next_token(&mut self, row: &BatchRow, tokens: &[u32]) -> Result<Option<u32>, EngineError> {
        let end = row.context_len + row.len;
        let replay = self
            .replays
            .entry(row.sequence)
            .or_insert_with(|| Replay::Reading(Vec::new()));
        if let Replay::Reading(prompt) = replay {
            if prompt.len() < row.context_len {
                return Err(EngineError::Runner(
                    "a replay must see the prompt from its first token".into(),
                ));
            }
            // A preempted sequence begins anew.
            prompt.truncate(row.context_len);
            prompt.extend_from_slice(tokens);
            if !row.wants_logits {
                return Ok(None);
            }
            let script = choose(&self.scripts, prompt, &mut self.turns);
            *replay = Replay::Answering {
                script,
                prompt_len: end,
            };
        }
        match *replay {
            Replay::Answering { script, prompt_len } if row.wants_logits => {
                let answer = script.map_or(&[][..], |index| &self.scripts[index].tokens);
                let position = end.checked_sub(prompt_len);
                let scripted = position.and_then(|position| answer.get(position));
                let Some(&token) = scripted.or(self.info.eos_token_ids.first()) else {
                    return Err(EngineError::Runner(
                        "the replay is over and there is no end token".into(),
                    ));
                };
                Ok(Some(token))
            }
            _ => Ok(None),
        }
    }
}

impl ModelRunner for FakeRunner {
    fn info(&self) -> &RunnerInfo {
        &self.info
    }

    fn execute(&mut self, batch: &Batch) -> Result<Logits, EngineError> {
        let vocab = self.info.vocab_size;
        let mut logits = vec![0.0; batch.logit_rows() * vocab];
        let mut rows = logits.chunks_exact_mut(vocab);
        for (row, tokens) in batch.rows_with_tokens() {
            let Some(token) = self.next_token(row, tokens)? else {
                continue;
            };
            let logit = rows
                .next()
                .and_then(|logits| logits.get_mut(token as usize));
            let Some(logit) = logit else {
                let message =
                    format!("script token {token} is outside the vocabulary of {vocab} tokens");
                return Err(EngineError::Runner(message));
            };
            *logit = SCRIPTED_LOGIT;
        }
        if let Some(pace) = &mut self.pace {
            pace.wait();
        }
        Ok(Logits::new(logits, vocab))
    }

    fn release(&mut self, sequence: SequenceId) {
        self.replays.remove(&sequence);
    }
}

impl Pace {
    /// Sleeps what is left of the period since the last step.
    fn wait(&mut self) {
        if let Some(last_step) = self.last_step {
            thread::sleep(self.period.saturating_sub(last_step.elapsed()));
        }
        self.last_step = Some(Instant::now());
    }
}

/// The script for a prompt; counts a turn if it is one of those without `matches`.
fn choose(scripts: &[FakeScript], prompt: &[u32], turns: &mut usize) -> Option<usize> {
    let occurs =
        |part: &[u32]| part.is_empty() || prompt.windows(part.len()).any(|window| window == part);
    if let Some(index) = scripts
        .iter()
        .position(|script| script.matches.as_deref().is_some_and(occurs))
    {
        return Some(index);
    }
    let in_turn = scripts
        .iter()
        .filter(|script| script.matches.is_none())
        .count();
    let turn = turns.checked_rem(in_turn)?;
    *turns += 1;
    scripts
        .iter()
        .enumerate()
        .filter(|(_, script)| script.matches.is_none())
        .nth(turn)
        .map(|(index, _)| index)
}
