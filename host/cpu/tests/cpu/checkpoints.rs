//! The tiny checkpoints of tests/tiny_models, and batches to run them with.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;
use weir_cpu::CpuRunner;
use weir_engine::{Batch, BatchRow, ModelRunner, SequenceId};
use weir_model::{Checkpoint, KvCapacity, RunnerOptions};

pub const NUM_BLOCKS: usize = 96;
/// Longer than the prompts; phi3-longrope-short turns by its short factors up to 512 tokens.
pub const MAX_MODEL_LEN: usize = 128;

/// Tokens, the golden logits by how many of the tokens are before them, and the golden hidden states, pooled.
pub struct Prompt {
    pub tokens: Vec<u32>,
    pub rows: BTreeMap<usize, Vec<f32>>,
    pub last: Vec<f32>,
    pub mean: Vec<f32>,
}

/// Every tiny GGUF file of a decoder, with its prompts.
pub fn decoders() -> Vec<(PathBuf, Vec<Prompt>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models");
    let mut found = Vec::new();
    for folder in entries(&root) {
        for path in entries(&folder) {
            if path.extension().is_none_or(|kind| kind != "gguf") {
                continue;
            }
            let checkpoint = Checkpoint::open(&path).unwrap();
            // An encoder is no decoder.
            if checkpoint.describe().is_ok() {
                found.push((path, prompts(&folder)));
            }
        }
    }
    found
}

/// The file of one of them.
pub fn file(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models");
    root.join(name).join("model.gguf")
}

/// What both runners are told.
pub fn options(block_size: usize) -> RunnerOptions {
    RunnerOptions {
        kv_capacity: KvCapacity::Blocks(NUM_BLOCKS),
        block_size,
        max_model_len: Some(MAX_MODEL_LEN),
        end_token_ids: Vec::new(),
    }
}

/// A runner of a file.
pub fn load(path: &Path, block_size: usize, threads: usize) -> CpuRunner {
    let checkpoint = Checkpoint::open(path).unwrap();
    CpuRunner::load(&checkpoint, options(block_size), Some(threads), &mut |_| {}).unwrap()
}

/// One row of a batch and its tokens.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    pub sequence: u64,
    pub context_len: usize,
    pub tokens: &'a [u32],
    pub block_table: &'a [u32],
    pub wants_logits: bool,
}

/// Runs chunks as one batch and returns the rows of logits.
pub fn execute(runner: &mut dyn ModelRunner, chunks: &[Chunk<'_>]) -> Vec<Vec<f32>> {
    let row = |chunk: &Chunk<'_>| BatchRow {
        sequence: SequenceId(chunk.sequence),
        context_len: chunk.context_len,
        len: chunk.tokens.len(),
        block_table: chunk.block_table.to_vec(),
        wants_logits: chunk.wants_logits,
    };
    let batch = Batch {
        embedded: Vec::new(),
        tokens: chunks
            .iter()
            .flat_map(|chunk| chunk.tokens.to_vec())
            .collect(),
        rows: chunks.iter().map(row).collect(),
    };
    let mut logits = runner.execute(&batch).unwrap();
    logits.rows_mut().map(|row| row.to_vec()).collect()
}

/// The logits behind each of `ends` of a sequence, computed in chunks that end there.
pub fn behind(
    runner: &mut dyn ModelRunner,
    tokens: &[u32],
    block_table: &[u32],
    ends: &[usize],
) -> Vec<Vec<f32>> {
    let mut start = 0;
    let mut rows = Vec::new();
    for &end in ends {
        let chunk = Chunk {
            sequence: 0,
            context_len: start,
            tokens: &tokens[start..end],
            block_table,
            wants_logits: true,
        };
        rows.extend(execute(runner, &[chunk]));
        start = end;
    }
    rows
}

/// `count` blocks, none beside the next, from the `first` of an order of all blocks on.
pub fn scattered(first: usize, count: usize) -> Vec<u32> {
    let block = |at: usize| (at * 37 + 11) % NUM_BLOCKS;
    (first..first + count).map(|at| block(at) as u32).collect()
}

/// The largest difference of two rows, of the largest logit of the second.
pub fn distance(row: &[f32], right: &[f32]) -> f32 {
    assert_eq!(row.len(), right.len());
    let largest = right.iter().map(|logit| logit.abs()).fold(0.0, f32::max);
    let pairs = row.iter().zip(right);
    // A logit that is no number must not pass.
    let off = pairs.map(|(a, b)| {
        if a.is_finite() {
            (a - b).abs()
        } else {
            f32::MAX
        }
    });
    off.fold(0.0, f32::max) / largest
}

/// How far the pooled hidden states of a prompt are from the golden ones, computed in chunks of one length beside another
/// sequence: the largest difference of an element, of the golden vector's largest.
pub fn pooled_distance(
    runner: &mut dyn ModelRunner,
    prompt: &Prompt,
    chunk: usize,
    block_size: usize,
) -> f32 {
    let count = prompt.tokens.len().div_ceil(block_size);
    let tables = [scattered(0, count), scattered(count, count)];
    let size = runner.hidden_size().unwrap();
    assert_eq!(size, prompt.last.len());
    let (mut own, mut hidden) = (Vec::new(), Vec::new());
    for start in (0..prompt.tokens.len()).step_by(chunk) {
        let tokens = &prompt.tokens[start..prompt.tokens.len().min(start + chunk)];
        let row = |sequence: usize, wants_logits| BatchRow {
            sequence: SequenceId(sequence as u64),
            context_len: start,
            len: tokens.len(),
            block_table: tables[sequence].clone(),
            wants_logits,
        };
        let batch = Batch {
            embedded: Vec::new(),
            tokens: [tokens, tokens].concat(),
            rows: vec![row(1, start % 2 == 0), row(0, true)],
        };
        runner.hidden_into(&batch, &mut hidden).unwrap();
        assert_eq!(hidden.len(), batch.wanted_tokens() * size);
        own.extend_from_slice(&hidden[hidden.len() - tokens.len() * size..]);
    }
    let sum = |index: usize| own.iter().skip(index).step_by(size).sum::<f32>();
    let mean = (0..size).map(|index| sum(index) / prompt.tokens.len() as f32);
    let mean: Vec<f32> = mean.collect();
    let last = &own[own.len() - size..];
    for (found, golden) in [(last, &prompt.last), (&mean, &prompt.mean)] {
        let cosine = cosine(found, golden);
        assert!(cosine >= 0.9999, "cosine {cosine}");
    }
    distance(last, &prompt.last).max(distance(&mean, &prompt.mean))
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

/// What is in a folder, in order.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A folder's prompts and their golden logits.
pub fn prompts(folder: &Path) -> Vec<Prompt> {
    let text = std::fs::read_to_string(folder.join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let prompts = golden["prompts"].as_array().unwrap().iter();
    prompts.map(prompt).collect()
}

fn prompt(prompt: &Value) -> Prompt {
    let numbers = |list: &Value| -> Vec<f64> {
        let list = list.as_array().unwrap().iter();
        list.map(|number| number.as_f64().unwrap()).collect()
    };
    let floats = |list: &Value| numbers(list).into_iter().map(|number| number as f32);
    let row = |row: &Value| {
        let before = row["position"].as_u64().unwrap() as usize + 1;
        (before, floats(&row["logits"]).collect())
    };
    let tokens = numbers(&prompt["tokens"]).into_iter();
    Prompt {
        tokens: tokens.map(|token| token as u32).collect(),
        rows: prompt["rows"].as_array().unwrap().iter().map(row).collect(),
        last: floats(&prompt["last"]).collect(),
        mean: floats(&prompt["mean"]).collect(),
    }
}
