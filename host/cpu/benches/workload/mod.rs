//! What a runner is measured with: a prompt computed in the engine's chunks, and steps of so many sequences.
//!
//! Tokens are made up, as nothing is sampled; the numbers a model computes do not change its speed.

use std::{path::Path, time::Instant};

use weir_cpu::CpuRunner;
use weir_engine::{Batch, BatchRow, ModelRunner, SequenceId};
use weir_model::{Checkpoint, KvCapacity, RunnerOptions};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BLOCK_SIZE: usize = 32;
const NUM_BLOCKS: usize = 512;
/// Tokens of a step at most, as `max_num_batched_tokens` has it by default.
pub const CHUNK: usize = 512;
/// Tokens before the first that is decoded.
const CONTEXT: usize = 64;
/// Tokens decoded of each sequence.
pub const DECODED: usize = 64;

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A prompt of so many tokens, up to the logits behind the last.
    Prefill(usize),
    /// So many sequences, [`DECODED`] tokens each behind 64.
    Decode(usize),
}

impl Work {
    /// Tokens that count.
    pub fn tokens(self) -> usize {
        match self {
            Self::Prefill(tokens) => tokens,
            Self::Decode(sequences) => sequences * DECODED,
        }
    }

    /// The longest sequence.
    pub fn longest(self) -> usize {
        match self {
            Self::Prefill(tokens) => tokens,
            Self::Decode(_) => CONTEXT + DECODED,
        }
    }
}

/// Loads a model with room for every [`Work`] here.
pub fn load(path: &Path, threads: Option<usize>) -> Outcome<CpuRunner> {
    let options = RunnerOptions {
        kv_capacity: KvCapacity::Blocks(NUM_BLOCKS),
        block_size: BLOCK_SIZE,
        max_model_len: None,
        end_token_ids: Vec::new(),
    };
    let checkpoint = Checkpoint::open(path)?;
    Ok(CpuRunner::load(&checkpoint, options, threads, &mut |_| {})?)
}

/// What comes before the time that counts.
pub fn prepare(runner: &mut CpuRunner, work: Work) -> Outcome<()> {
    if let Work::Decode(sequences) = work {
        let step = CHUNK / sequences;
        for start in (0..CONTEXT).step_by(step) {
            let len = step.min(CONTEXT - start);
            runner.execute(&batch(runner, sequences, start, len))?;
        }
    }
    Ok(())
}

/// The work itself, behind [`prepare`]; seconds.
pub fn run(runner: &mut CpuRunner, work: Work) -> Outcome<f64> {
    let start = Instant::now();
    match work {
        Work::Prefill(tokens) => {
            for start in (0..tokens).step_by(CHUNK) {
                let len = CHUNK.min(tokens - start);
                let mut chunk = batch(runner, 1, start, len);
                chunk.rows[0].wants_logits = start + len == tokens;
                runner.execute(&chunk)?;
            }
        }
        Work::Decode(sequences) => {
            for at in 0..DECODED {
                runner.execute(&batch(runner, sequences, CONTEXT + at, 1))?;
            }
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

/// So many sequences with `len` new tokens each, behind `context_len`.
fn batch(runner: &CpuRunner, sequences: usize, context_len: usize, len: usize) -> Batch {
    let vocab = runner.info().vocab_size;
    let blocks = NUM_BLOCKS / sequences;
    let token = |at: usize| (((context_len + at) * 7919 + 13) % vocab) as u32;
    Batch {
        embedded: Vec::new(),
        tokens: (0..sequences * len).map(token).collect(),
        rows: (0..sequences)
            .map(|sequence| BatchRow {
                sequence: SequenceId(sequence as u64),
                context_len,
                len,
                block_table: (0..blocks)
                    .map(|block| (block * sequences + sequence) as u32)
                    .collect(),
                wants_logits: true,
            })
            .collect(),
    }
}
