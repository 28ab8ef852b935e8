//! A runner without a model: replays scripts, the same way every time. Serves `weir serve --model replay:FILE` and tests.
//!
//! Invariants: a sequence keeps its script through preemption and however it is batched; the next token depends on the
//! script and the position alone. Its KV is the tokens themselves: it reads a prompt back from the blocks, so a prefix
//! that another sequence computed serves it as well as one of its own.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    batch::{Batch, BatchRow, Logits},
    error::EngineError,
    request::SequenceId,
    runner::{ModelRunner, RunnerInfo},
};

/// The scripted token's logit, over zeros: beyond what bias and penalties move.
const SCRIPTED_LOGIT: f32 = 1e6;

/// Elements of a hidden state.
const HIDDEN: usize = 16;

/// How late a paced step may be and still be followed by those behind it at their own ticks.
const LATEST_STEP: Duration = Duration::from_millis(20);

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
    /// Sequences that have had several rows in a step: their prompts are scored.
    scored: HashSet<SequenceId>,
    /// Tokens of each block that was written, from its first position.
    blocks: HashMap<u32, Vec<u32>>,
    /// Scripts without `matches` handed out so far.
    turns: usize,
    pace: Option<Pace>,
}

/// One sequence's state once its prompt has ended, as far as that is known: `script` is None if none fits.
#[derive(Clone, Copy)]
struct Replay {
    script: Option<usize>,
    prompt_len: usize,
}

/// Ends steps at the multiples of a period since 1970: whoever has this machine's clock can tell how late a token is.
struct Pace {
    period: Duration,
    /// The tick of the next step, since 1970.
    next: Duration,
}

impl FakeRunner {
    /// A runner that replays `scripts`: the first whose `matches` occurs in the prompt, else those without one in turn, else
    /// nothing but an end token. With `tokens_per_second` steps end as often, at the multiples of one token's time since 1970; a
    /// rate that is no positive number counts as none.
    pub fn new(info: RunnerInfo, scripts: Vec<FakeScript>, tokens_per_second: Option<f64>) -> Self {
        let period =
            tokens_per_second.and_then(|rate| Duration::try_from_secs_f64(rate.recip()).ok());
        let pace = period.map(|period| Pace {
            period,
            next: Duration::ZERO,
        });
        Self {
            info,
            scripts,
            replays: HashMap::new(),
            scored: HashSet::new(),
            blocks: HashMap::new(),
            turns: 0,
            pace,
        }
    }

    /// Writes a row's new tokens into its blocks.
    fn write(&mut self, row: &BatchRow, tokens: &[u32]) -> Result<(), EngineError> {
        for (position, &token) in (row.context_len..).zip(tokens) {
            let slot = position % self.info.block_size;
            let id = block_at(row, position, self.info.block_size)?;
            let block = self.blocks.entry(id).or_default();
            if block.len() < slot {
                return Err(missing(row, position - 1));
            }
            block.truncate(slot);
            block.push(token);
        }
        Ok(())
    }

    /// Reads a row's tokens back, from position 0 to its last new one.
    fn read(&self, row: &BatchRow) -> Result<Vec<u32>, EngineError> {
        let len = row.context_len + row.len;
        let block_size = self.info.block_size;
        let token = |position| {
            let block = self.blocks.get(&block_at(row, position, block_size)?);
            let token = block.and_then(|block| block.get(position % block_size));
            token.copied().ok_or_else(|| missing(row, position))
        };
        (0..len).map(token).collect()
    }

    /// The token behind a row that wants logits. The first such row of a sequence ends its prompt. Only where its prompt is
    /// scored the next may show that it goes on: by a token that the script does not begin with.
    fn next_token(&mut self, row: &BatchRow, last: Option<&u32>) -> Result<u32, EngineError> {
        let len = row.context_len + row.len;
        let known = self.replays.get(&row.sequence).copied();
        let scored = self.scored.contains(&row.sequence);
        let replay = match known {
            Some(replay) if !scored || self.explains(&replay, len, last) => replay,
            _ => {
                let prompt = self.read(row)?;
                let turn = known.and_then(|replay| replay.script);
                let replay = Replay {
                    script: choose(&self.scripts, &prompt, turn, &mut self.turns),
                    prompt_len: len,
                };
                self.replays.insert(row.sequence, replay);
                replay
            }
        };
        let token = self.token_at(&replay, len);
        token.ok_or_else(|| {
            EngineError::Runner("the replay is over and there is no end token".into())
        })
    }

    /// What a replay says at a position.
    fn token_at(&self, replay: &Replay, position: usize) -> Option<u32> {
        let script = replay.script.map(|index| &self.scripts[index].tokens);
        let at = position.checked_sub(replay.prompt_len);
        let scripted = script.zip(at).and_then(|(script, at)| script.get(at));
        scripted.or(self.info.eos_token_ids.first()).copied()
    }

    /// Whether a scored sequence of `len` tokens, this the last, may be a prompt and what was said behind it.
    fn explains(&self, replay: &Replay, len: usize, last: Option<&u32>) -> bool {
        len != replay.prompt_len + 1 || self.token_at(replay, len - 1) == last.copied()
    }
}

/// The block that holds a row's position.
fn block_at(row: &BatchRow, position: usize, block_size: usize) -> Result<u32, EngineError> {
    let block = row.block_table.get(position / block_size);
    block.copied().ok_or_else(|| missing(row, position))
}

fn missing(row: &BatchRow, position: usize) -> EngineError {
    let sequence = row.sequence.0;
    EngineError::Runner(format!(
        "sequence {sequence} has no token at position {position} in its KV blocks"
    ))
}

impl ModelRunner for FakeRunner {
    fn info(&self) -> &RunnerInfo {
        &self.info
    }

    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError> {
        let vocab = self.info.vocab_size;
        let logits = logits.resize(batch.logit_rows(), vocab);
        logits.fill(0.0);
        let mut rows = logits.chunks_exact_mut(vocab);
        for (index, (row, tokens)) in batch.rows_with_tokens().enumerate() {
            self.write(row, tokens)?;
            if !row.wants_logits {
                continue;
            }
            let next = batch.rows.get(index + 1);
            if next.is_some_and(|next| next.sequence == row.sequence) {
                // In the middle of a scored prompt. There every token is as likely as any other.
                self.scored.insert(row.sequence);
                rows.next();
                continue;
            }
            let token = self.next_token(row, tokens.last())?;
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
        Ok(())
    }

    fn hidden_size(&self) -> Option<usize> {
        Some(HIDDEN)
    }

    /// A token's hidden state counts the tokens up to it, by their ids modulo [`HIDDEN`]: alike for texts that are alike.
    fn hidden_into(&mut self, batch: &Batch, hidden: &mut Vec<f32>) -> Result<(), EngineError> {
        hidden.clear();
        for (row, tokens) in batch.rows_with_tokens() {
            self.write(row, tokens)?;
            if !row.wants_logits {
                continue;
            }
            let mut counts = [0.0; HIDDEN];
            for (position, token) in self.read(row)?.into_iter().enumerate() {
                counts[token as usize % HIDDEN] += 1.0;
                if position >= row.context_len {
                    hidden.extend_from_slice(&counts);
                }
            }
        }
        if let Some(pace) = &mut self.pace {
            pace.wait();
        }
        Ok(())
    }

    fn release(&mut self, sequence: SequenceId) {
        self.replays.remove(&sequence);
        self.scored.remove(&sequence);
    }
}

impl Pace {
    /// Sleeps until the step's tick. A step that is late moves none behind it, unless it is so late that there was no work or
    /// the machine cannot keep up, or somebody has set the clock: then the next tick from now on is its own.
    fn wait(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let coming = now.saturating_add(self.period);
        if now > self.next.saturating_add(LATEST_STEP) || self.next > coming {
            let since_tick = now.as_nanos() % self.period.as_nanos().max(1);
            self.next = coming.saturating_sub(Duration::from_nanos_u128(since_tick));
        }
        thread::sleep(self.next.saturating_sub(now));
        self.next = self.next.saturating_add(self.period);
    }
}

/// The script for a prompt; counts a turn if it is one of those without `matches`, unless `turn` was taken for it before.
fn choose(
    scripts: &[FakeScript],
    prompt: &[u32],
    turn: Option<usize>,
    turns: &mut usize,
) -> Option<usize> {
    let occurs =
        |part: &[u32]| part.is_empty() || prompt.windows(part.len()).any(|window| window == part);
    if let Some(index) = scripts
        .iter()
        .position(|script| script.matches.as_deref().is_some_and(occurs))
    {
        return Some(index);
    }
    if turn.is_some() {
        return turn;
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
