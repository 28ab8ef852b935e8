//! The decoder held to transformers: tiny checkpoints of every family, and the logits that library computes of them.
//!
//! tests/reference/tiny_models writes tests/tiny_models, a folder a model: its checkpoint as safetensors and as GGUF,
//! and golden.json with rows of logits. Every file must give every row, however its prompts are cut and batched.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;
use weir_engine::ModelRunner;
use weir_model::{CandleRunner, Checkpoint, KvCapacity, ModelError, RunnerOptions};

use crate::{
    edited_checkpoints::{entries, root, with_config},
    tiny_llama::{BLOCK_SIZE, Chunk, NUM_BLOCKS, batch, distance},
};

/// Of a row's largest golden logit. What is promised is 1e-4; but gelu in place of its tanh approximation shows as 1.6e-4.
const TOLERANCE: f32 = 2e-5;
/// Longer than the prompts; phi3-longrope-short turns by its short factors up to 512 tokens.
const MAX_MODEL_LEN: usize = 128;

/// Tokens, the golden logits by how many of the tokens are before them, and the golden hidden states, pooled.
struct Prompt {
    tokens: Vec<u32>,
    rows: BTreeMap<usize, Vec<f32>>,
    last: Vec<f32>,
    mean: Vec<f32>,
}

/// Something to load, and what it must compute.
struct Golden {
    name: String,
    path: PathBuf,
    prompts: Vec<Prompt>,
    /// Deleted when it is dropped, if `path` is a copy.
    _copy: Option<TempDir>,
}

#[test]
fn whole_prompts_give_the_golden_logits() {
    judge("whole_prompts_give_the_golden_logits", |prompts| {
        let alone = |index: usize, &end: &usize| {
            let mut ends = vec![Vec::new(); prompts.len()];
            ends[index] = vec![end];
            ends
        };
        let each = prompts.iter().enumerate();
        each.flat_map(|(index, prompt)| prompt.rows.keys().map(move |end| alone(index, end)))
            .collect()
    });
}

#[test]
fn chunks_of_seven_give_the_golden_logits() {
    judge("chunks_of_seven_give_the_golden_logits", |prompts| {
        each_alone(prompts, 7)
    });
}

#[test]
fn token_by_token_gives_the_golden_logits() {
    judge("token_by_token_gives_the_golden_logits", |prompts| {
        each_alone(prompts, 1)
    });
}

#[test]
fn prompts_together_in_uneven_chunks_give_the_golden_logits() {
    judge(
        "prompts_together_in_uneven_chunks_give_the_golden_logits",
        |_| {
            // A decode beside a prefill, both ways round, and chunks that end within a block.
            let first = vec![6, 7, 21, 37, 48, 49, 64, 68, 69, 70];
            vec![vec![first, vec![5, 9, 10, 11, 22, 23]]]
        },
    );
}

#[test]
fn hidden_states_give_the_golden_vectors() {
    if !rerun_on_one_thread("hidden_states_give_the_golden_vectors") {
        return;
    }
    for golden in goldens() {
        let mut runner = load(&golden.path).unwrap();
        for prompt in &golden.prompts {
            let outcome = compare_vectors(&mut runner, prompt);
            assert_eq!(outcome, Ok(()), "{}", golden.name);
        }
    }
}

/// The prompt's last hidden states in chunks of seven, pooled both ways.
fn compare_vectors(runner: &mut CandleRunner, prompt: &Prompt) -> Result<(), String> {
    let tables = scattered_tables(std::slice::from_ref(prompt));
    let (mut all, mut hidden) = (Vec::new(), Vec::new());
    for (number, tokens) in prompt.tokens.chunks(7).enumerate() {
        let chunk = Chunk {
            sequence: 0,
            context_len: 7 * number,
            tokens,
            block_table: &tables[0],
            wants_logits: true,
        };
        let told = runner.hidden_into(&batch(&[chunk]), &mut hidden);
        told.map_err(|error| error.to_string())?;
        all.extend_from_slice(&hidden);
    }
    let size = runner.hidden_size().unwrap();
    let sum = |index: usize| all.iter().skip(index).step_by(size).sum::<f32>();
    let mean = (0..size).map(|index| sum(index) / prompt.tokens.len() as f32);
    close(&mean.collect::<Vec<f32>>(), &prompt.mean)?;
    close(&all[all.len() - size..], &prompt.last)
}

/// Each prompt by itself, in chunks of one length.
fn each_alone(prompts: &[Prompt], length: usize) -> Vec<Vec<Vec<usize>>> {
    let chunks = |index: usize| {
        let mut ends = vec![Vec::new(); prompts.len()];
        let tokens = prompts[index].tokens.len();
        ends[index] = (length..tokens).step_by(length).chain([tokens]).collect();
        ends
    };
    (0..prompts.len()).map(chunks).collect()
}

/// Runs every checkpoint by the schedules that `cut` makes of its prompts and names all that miss the golden logits.
///
/// A schedule holds, for each prompt, where its chunks end; chunks at the same place of their lists are one batch.
fn judge(test: &str, cut: impl Fn(&[Prompt]) -> Vec<Vec<Vec<usize>>>) {
    if !rerun_on_one_thread(test) {
        return;
    }
    let mut failures = Vec::new();
    for golden in goldens() {
        let prompts = &golden.prompts;
        let outcome = match load(&golden.path) {
            Ok(mut runner) => cut(prompts)
                .iter()
                .try_for_each(|ends| compare(&mut runner, prompts, ends)),
            Err(error) => Err(error.to_string()),
        };
        failures.extend(
            outcome
                .err()
                .map(|error| format!("{}: {error}", golden.name)),
        );
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Whether this process has candle on one thread already; if not, runs the test in one that has.
///
/// candle's threads meet at a spinning barrier after every product. The products here are so small that on a busy
/// machine the tests take a hundred times as long with two threads.
fn rerun_on_one_thread(test: &str) -> bool {
    const THREADS: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(THREADS).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("golden::{test}"), "--nocapture"])
        .env(THREADS, "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let passed = String::from_utf8_lossy(&output.stdout);
    assert!(passed.contains("1 passed"), "no test has the name {test}");
    false
}

fn load(path: &Path) -> Result<CandleRunner, ModelError> {
    let options = RunnerOptions {
        kv_capacity: KvCapacity::Blocks(NUM_BLOCKS),
        block_size: BLOCK_SIZE,
        max_model_len: Some(MAX_MODEL_LEN),
        end_token_ids: Vec::new(),
    };
    CandleRunner::load(&Checkpoint::open(path)?, options, &mut |_| {})
}

fn compare(
    runner: &mut CandleRunner,
    prompts: &[Prompt],
    ends: &[Vec<usize>],
) -> Result<(), String> {
    let tables = scattered_tables(prompts);
    let mut starts = vec![0; prompts.len()];
    let mut compared = 0;
    for step in 0..ends.iter().map(Vec::len).max().unwrap_or(0) {
        let mut chunks = Vec::new();
        let mut golden = Vec::new();
        for (index, prompt) in prompts.iter().enumerate() {
            let Some(&end) = ends[index].get(step) else {
                continue;
            };
            golden.extend(prompt.rows.get(&end).map(|row| (end, row)));
            chunks.push(Chunk {
                sequence: index as u64,
                context_len: starts[index],
                tokens: &prompt.tokens[starts[index]..end],
                block_table: &tables[index],
                wants_logits: prompt.rows.contains_key(&end),
            });
            starts[index] = end;
        }
        let found = runner.execute(&batch(&chunks));
        let mut found = found.map_err(|error| error.to_string())?;
        for (row, (end, golden)) in found.rows_mut().zip(&golden) {
            close(row, golden).map_err(|error| format!("behind {end} tokens: {error}"))?;
        }
        compared += golden.len();
    }
    assert!(compared > 0, "a schedule that compares nothing");
    Ok(())
}

fn close(row: &[f32], golden: &[f32]) -> Result<(), String> {
    if row.len() != golden.len() {
        return Err(format!("{} numbers, not {}", row.len(), golden.len()));
    }
    let largest = golden.iter().map(|logit| logit.abs()).fold(0.0, f32::max);
    let off = distance(row, golden) / largest;
    // A logit that is no number must not pass.
    if row.iter().all(|logit| logit.is_finite()) && off <= TOLERANCE {
        return Ok(());
    }
    Err(format!("off by {off:.1e} of the largest logit"))
}

/// Block tables that share the blocks, none beside the next.
fn scattered_tables(prompts: &[Prompt]) -> Vec<Vec<u32>> {
    let mut blocks = (0..NUM_BLOCKS).map(|index| ((index * 7 + 3) % NUM_BLOCKS) as u32);
    let mut table = |prompt: &Prompt| {
        let count = prompt.tokens.len().div_ceil(BLOCK_SIZE);
        blocks.by_ref().take(count).collect()
    };
    prompts.iter().map(&mut table).collect()
}

/// Everything that can be loaded: each folder, each GGUF file in it, and the folder with the config.json of today's
/// transformers where there is one.
fn goldens() -> Vec<Golden> {
    let root = root();
    let mut found = Vec::new();
    // Encoders have texts in the place of prompts; another test holds them to their vectors.
    let decoders = entries(&root)
        .into_iter()
        .filter(|folder| golden(folder).get("prompts").is_some());
    for folder in decoders {
        let mut add = |original: &Path, path: PathBuf, copy| {
            let name = original.strip_prefix(&root).unwrap().display().to_string();
            found.push(Golden {
                name,
                path,
                prompts: golden_prompts(&folder),
                _copy: copy,
            });
        };
        for path in entries(&folder) {
            if path.extension().is_some_and(|kind| kind == "gguf") {
                add(&path, path.clone(), None);
            } else if path.ends_with("transformers5") {
                let copy = with_config(&folder, &crate::edited_checkpoints::config(&path));
                add(&path, copy.path().to_owned(), Some(copy));
            }
        }
        add(&folder, folder.clone(), None);
    }
    assert!(!found.is_empty(), "no checkpoint in {}", root.display());
    found
}

fn golden(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("golden.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn golden_prompts(folder: &Path) -> Vec<Prompt> {
    let golden = golden(folder);
    let prompts = golden["prompts"].as_array().unwrap().iter();
    prompts.map(golden_prompt).collect()
}

fn golden_prompt(prompt: &Value) -> Prompt {
    let numbers = |list: &Value| -> Vec<f64> {
        let list = list.as_array().unwrap().iter();
        list.map(|number| number.as_f64().unwrap()).collect()
    };
    let floats = |list: &Value| numbers(list).into_iter().map(|number| number as f32);
    let row = |row: &Value| {
        let before = row["position"].as_u64().unwrap() as usize + 1;
        (before, floats(&row["logits"]).collect())
    };
    Prompt {
        tokens: numbers(&prompt["tokens"])
            .into_iter()
            .map(|token| token as u32)
            .collect(),
        rows: prompt["rows"].as_array().unwrap().iter().map(row).collect(),
        last: floats(&prompt["last"]).collect(),
        mean: floats(&prompt["mean"]).collect(),
    }
}
