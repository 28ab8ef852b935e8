//! Perplexity of a text by the CPU runner, over the windows that llama.cpp's llama-perplexity takes with a stride.
//!
//! `perplexity MODEL.gguf TEXT` prints one JSON object. A window is 512 of the text's ids, those around a text included, and
//! begins 256 behind the one before, as long as a text goes on behind it. Every token of a window's second half is scored by
//! what the model says of it behind all that precede it in the window: first 256 tokens in one chunk, then one step a
//! token, so that prefill and decode are both judged. So all of a text but its first 256 tokens, and what fills no window, is
//! scored once. It stands here because it needs the tokenizer of a GGUF file, which only the server's wiring reads.

use std::path::PathBuf;

use clap::Parser;
use serde_json::json;
use weir_cpu::CpuRunner;
use weir_engine::{Batch, BatchRow, ModelRunner, SequenceId};
use weir_model::{Checkpoint, KvCapacity, RunnerOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const WINDOW: usize = 512;
/// From a window's start to the next one's: what is scored of each.
const STRIDE: usize = WINDOW / 2;
/// Tokens that are read before the first that is scored.
const UNSCORED: usize = WINDOW - STRIDE;
const BLOCK_SIZE: usize = 32;

/// Perplexity of a text by the CPU runner, over llama-perplexity's windows of 512 tokens with a stride of 256
#[derive(Parser)]
struct Arguments {
    /// The model
    model: PathBuf,
    /// The text; one line feed at its end does not count
    text: PathBuf,
    /// Threads to compute with [default: as many as the process may use cores]
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let text = std::fs::read_to_string(&arguments.text)?;
    let tokenizer = weir_server::wiring::tokenizer(&arguments.model)?;
    let ids = tokenizer.encode(text.strip_suffix('\n').unwrap_or(&text), true)?;
    // A text that ends where a window does has no more of them.
    let windows: Vec<&[u32]> = (0..ids.len().saturating_sub(WINDOW))
        .step_by(STRIDE)
        .filter_map(|start| ids.get(start..start + WINDOW))
        .collect();
    if windows.is_empty() {
        return Err(format!(
            "the text has {} tokens, which is not more than a window's {WINDOW}",
            ids.len()
        )
        .into());
    }
    let options = RunnerOptions {
        kv_capacity: KvCapacity::Blocks(windows.len() * WINDOW / BLOCK_SIZE),
        block_size: BLOCK_SIZE,
        max_model_len: None,
        end_token_ids: Vec::new(),
    };
    let checkpoint = Checkpoint::open(&arguments.model)?;
    let mut runner = CpuRunner::load(&checkpoint, options, arguments.threads, &mut |_| {})?;
    let losses = losses(&mut runner, &windows)?;
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    let report = json!({
        "tokens": ids.len(),
        "windows": windows.len(),
        "scored": losses.len(),
        "perplexity": mean.exp(),
    });
    println!("{report}");
    Ok(())
}

/// Negative log-probabilities of all scored tokens; the windows are computed beside each other.
fn losses(runner: &mut CpuRunner, windows: &[&[u32]]) -> Outcome<Vec<f64>> {
    let mut losses = Vec::new();
    let (mut context_len, mut len) = (0, UNSCORED);
    while context_len + len < WINDOW {
        let mut logits = runner.execute(&batch(windows, context_len, len))?;
        context_len += len;
        len = 1;
        for (window, logits) in windows.iter().zip(logits.rows_mut()) {
            losses.push(loss(logits, window[context_len] as usize));
        }
    }
    Ok(losses)
}

fn loss(logits: &[f32], token: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from(logit - largest).exp())
        .sum();
    sum.ln() - f64::from(logits[token] - largest)
}

/// The next `len` tokens of every window.
fn batch(windows: &[&[u32]], context_len: usize, len: usize) -> Batch {
    let blocks = WINDOW / BLOCK_SIZE;
    let tokens = windows
        .iter()
        .flat_map(|window| &window[context_len..context_len + len]);
    Batch {
        embedded: Vec::new(),
        tokens: tokens.copied().collect(),
        rows: (0..windows.len())
            .map(|row| BatchRow {
                sequence: SequenceId(row as u64),
                context_len,
                len,
                block_table: (row * blocks..(row + 1) * blocks)
                    .map(|block| block as u32)
                    .collect(),
                wants_logits: true,
            })
            .collect(),
    }
}
