//! Greedy continuation of token ids, for checking the reference runner by hand against another engine.
//!
//! Usage: `greedy MODEL.gguf COUNT IDS_FILE...`, where a file holds token ids separated by white space. Prints the
//! generated ids of each file on one line, and the speed of prefill and decode on stderr. It does not tokenize.

use std::{path::Path, time::Instant};

use weir_engine::{Batch, BatchRow, ModelRunner, SequenceId};
use weir_model::{CandleRunner, Checkpoint, KvCapacity, RunnerOptions};

type Failure = Box<dyn std::error::Error>;

const BLOCK_SIZE: usize = 16;
const PREFILL_CHUNK: usize = 512;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: greedy MODEL.gguf COUNT IDS_FILE...".into());
    };
    let count: usize = count.parse()?;
    let options = RunnerOptions {
        kv_capacity: KvCapacity::Blocks(512),
        block_size: BLOCK_SIZE,
        max_model_len: None,
        end_token_ids: Vec::new(),
    };
    let mut runner =
        CandleRunner::load(&Checkpoint::open(Path::new(&model))?, options, &mut |_| {})?;
    for file in arguments {
        let text = std::fs::read_to_string(&file)?;
        let prompt = text
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<Vec<u32>, _>>()?;
        let generated = generate(&mut runner, &prompt, count)?;
        println!(
            "{}",
            generated
                .iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        );
    }
    Ok(())
}

fn generate(runner: &mut CandleRunner, prompt: &[u32], count: usize) -> Result<Vec<u32>, Failure> {
    let start = Instant::now();
    let mut context_len = 0;
    let mut next = None;
    for chunk in prompt.chunks(PREFILL_CHUNK) {
        next = step(runner, context_len, chunk)?;
        context_len += chunk.len();
    }
    let prefill = prompt.len() as f64 / start.elapsed().as_secs_f64();

    let start = Instant::now();
    let mut generated = Vec::new();
    while let Some(token) = next {
        generated.push(token);
        if generated.len() == count || runner.info().eos_token_ids.contains(&token) {
            break;
        }
        next = step(runner, context_len, &[token])?;
        context_len += 1;
    }
    let decode = generated.len().saturating_sub(1) as f64 / start.elapsed().as_secs_f64();
    eprintln!(
        "{} prompt tokens: prefill {prefill:.1} tok/s, decode {decode:.1} tok/s",
        prompt.len()
    );
    Ok(generated)
}

/// Runs one sequence's next tokens and returns the likeliest token behind them.
fn step(
    runner: &mut CandleRunner,
    context_len: usize,
    tokens: &[u32],
) -> Result<Option<u32>, Failure> {
    let blocks = (context_len + tokens.len()).div_ceil(BLOCK_SIZE) as u32;
    let row = BatchRow {
        sequence: SequenceId(0),
        context_len,
        len: tokens.len(),
        block_table: (0..blocks).collect(),
        wants_logits: true,
    };
    let mut logits = runner.execute(&Batch {
        embedded: Vec::new(),
        tokens: tokens.to_vec(),
        rows: vec![row],
    })?;
    let row = logits.rows_mut().next();
    Ok(row.and_then(|row| {
        let best = row
            .iter()
            .enumerate()
            .max_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map(|(token, _)| token as u32)
    }))
}
