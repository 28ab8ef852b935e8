//! The order `logits`: what the model thinks of given tokens, computed as the engine would: prompts in ragged chunks, then a
//! token of each sequence a step, all sequences in one batch.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::PathBuf,
};

use serde::Deserialize;
use serde_json::{Value, json};
use weir_engine::{Batch, BatchRow, Logits, ModelRunner, RunnerInfo, SequenceId};

use super::OrderError;

/// Tokens to compute, and which logits to tell of.
///
/// A sequence's first `from` + 1 tokens are its prompt; every later token is computed in a step of its own. The logits
/// behind the prompt's last token and behind each later one are rows: sequence by sequence, in the order of the tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogitsOrder {
    /// Token ids of each sequence.
    pub sequences: Vec<Vec<u32>>,
    /// Of each sequence the position of its prompt's last token, counted from 0.
    pub from: Vec<usize>,
    /// Tokens computed in one step at most.
    #[serde(default = "default_tokens_per_step")]
    pub max_num_batched_tokens: usize,
    /// Where the rows go, f32 in little endian, `(rows, vocab_size)`; none are kept without it.
    #[serde(default)]
    pub output: Option<PathBuf>,
}

fn default_tokens_per_step() -> usize {
    512
}

/// How far a sequence is.
struct Progress<'a> {
    tokens: &'a [u32],
    from: usize,
    block_table: Vec<u32>,
    computed: usize,
    first_row: usize,
}

/// Computes it. The answer holds `rows`, and of each row `argmax` and `gap`: how far the logit of the token that follows in the
/// order stands below the highest one, 0 if it is the highest, null behind the last token.
pub(super) fn compute(
    runner: &mut dyn ModelRunner,
    order: &LogitsOrder,
) -> Result<Value, OrderError> {
    let info = runner.info().clone();
    let mut sequences = plan(order, &info)?;
    let rows: usize = sequences.iter().map(|s| s.tokens.len() - s.from).sum();
    let unwritable = |reason: io::Error| OrderError::File {
        path: order
            .output
            .clone()
            .unwrap_or_default()
            .display()
            .to_string(),
        reason,
    };
    let mut file = match &order.output {
        Some(path) => Some(File::create(path).map_err(&unwritable)?),
        None => None,
    };
    let mut argmax = vec![0_u32; rows];
    let mut gaps = vec![None; rows];
    let mut logits = Logits::default();
    loop {
        let (batch, wanted) = next_step(&sequences, order.max_num_batched_tokens);
        if batch.rows.is_empty() {
            break;
        }
        runner.execute_into(&batch, &mut logits)?;
        check_shape(&logits, (wanted.len(), info.vocab_size))?;
        for (computed, &(row, next)) in logits.rows_mut().zip(&wanted) {
            argmax[row] = highest(computed);
            gaps[row] = next.map(|next| computed[argmax[row] as usize] - computed[next as usize]);
            if let Some(file) = &mut file {
                write_row(file, row, computed).map_err(&unwritable)?;
            }
        }
        for row in &batch.rows {
            sequences[row.sequence.0 as usize].computed += row.len;
        }
    }
    for sequence in 0..sequences.len() {
        runner.release(SequenceId(sequence as u64));
    }
    Ok(json!({"rows": rows, "argmax": argmax, "gap": gaps}))
}

/// Gives every sequence its blocks, each beside those of the others, so that none lies in one piece.
fn plan<'a>(order: &'a LogitsOrder, info: &RunnerInfo) -> Result<Vec<Progress<'a>>, OrderError> {
    let impossible = |reason: String| Err(OrderError::Impossible(reason));
    if order.from.len() != order.sequences.len() || order.max_num_batched_tokens == 0 {
        return impossible(format!(
            "{} sequences need as many positions in `from`, not {}, and max_num_batched_tokens at least 1",
            order.sequences.len(),
            order.from.len()
        ));
    }
    let mut sequences = Vec::new();
    let mut rows = 0;
    for (number, (tokens, &from)) in order.sequences.iter().zip(&order.from).enumerate() {
        let len = tokens.len();
        if from >= len || len > info.max_model_len {
            return impossible(format!(
                "sequence {number} has {len} tokens: more than its `from`, {from}, and at most {} are possible",
                info.max_model_len
            ));
        }
        if let Some(token) = tokens
            .iter()
            .find(|&&token| token as usize >= info.vocab_size)
        {
            let vocab = info.vocab_size;
            return impossible(format!(
                "sequence {number} holds token {token}, outside the vocabulary of {vocab} tokens"
            ));
        }
        sequences.push(Progress {
            tokens,
            from,
            block_table: Vec::new(),
            computed: 0,
            first_row: rows,
        });
        rows += len - from;
    }
    let needed = |sequence: &Progress<'_>| sequence.tokens.len().div_ceil(info.block_size);
    let blocks: usize = sequences.iter().map(needed).sum();
    if blocks > info.num_blocks {
        let there = info.num_blocks;
        return impossible(format!(
            "the sequences need {blocks} KV blocks, there are {there}"
        ));
    }
    for block in 0..blocks as u32 {
        let next = sequences
            .iter_mut()
            .filter(|sequence| sequence.block_table.len() < needed(sequence))
            .min_by_key(|sequence| sequence.block_table.len());
        if let Some(sequence) = next {
            sequence.block_table.push(block);
        }
    }
    Ok(sequences)
}

/// The next batch under the budget, and for each row that wants logits its number among all rows and the token that follows.
fn next_step(sequences: &[Progress<'_>], budget: usize) -> (Batch, Vec<(usize, Option<u32>)>) {
    let mut batch = Batch::default();
    let mut wanted = Vec::new();
    for (number, sequence) in (0..).zip(sequences) {
        let start = sequence.computed;
        let prompt = (sequence.from + 1).saturating_sub(start).max(1);
        let left = sequence.tokens.len() - start;
        let len = prompt.min(left).min(budget - batch.tokens.len());
        if len == 0 {
            continue;
        }
        let end = start + len;
        let wants_logits = end > sequence.from;
        if wants_logits {
            let row = sequence.first_row + end - 1 - sequence.from;
            wanted.push((row, sequence.tokens.get(end).copied()));
        }
        batch.tokens.extend_from_slice(&sequence.tokens[start..end]);
        batch.rows.push(BatchRow {
            sequence: SequenceId(number),
            context_len: start,
            len,
            block_table: sequence.block_table.clone(),
            wants_logits,
        });
    }
    (batch, wanted)
}

fn check_shape(logits: &Logits, expected: (usize, usize)) -> Result<(), OrderError> {
    let shape = logits.shape();
    if expected.0 > 0 && shape != expected {
        let reason = format!("the runner's logits are {shape:?}, not {expected:?}");
        return Err(OrderError::Impossible(reason));
    }
    Ok(())
}

/// The first of the highest.
fn highest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

fn write_row(file: &mut File, row: usize, logits: &[f32]) -> io::Result<()> {
    let bytes: Vec<u8> = logits
        .iter()
        .flat_map(|logit| logit.to_le_bytes())
        .collect();
    file.seek(SeekFrom::Start((row * bytes.len()) as u64))?;
    file.write_all(&bytes)
}
