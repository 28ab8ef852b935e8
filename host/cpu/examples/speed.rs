//! How fast the CPU runner is: `speed MODEL.gguf [THREADS]` prints tokens a second of prefill and of batched decode.
//!
//! Each figure is the best of some runs, so that what else the machine does counts little. It measures the runner
//! alone: no sampling, no server.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use weir_cpu::CpuRunner;
use weir_engine::{Batch, BatchRow, ModelRunner, SequenceId};
use weir_model::{Checkpoint, KvCapacity, RunnerOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BLOCK_SIZE: usize = 32;
const NUM_BLOCKS: usize = 512;
/// Tokens before the first that is decoded.
const CONTEXT: usize = 64;
const DECODED: usize = 64;
const RUNS: usize = 5;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: speed MODEL.gguf [THREADS]")?;
    let threads = arguments.next().map(|text| text.parse()).transpose()?;
    let options = RunnerOptions {
        kv_capacity: KvCapacity::Blocks(NUM_BLOCKS),
        block_size: BLOCK_SIZE,
        max_model_len: None,
        end_token_ids: Vec::new(),
    };
    let start = Instant::now();
    let checkpoint = Checkpoint::open(Path::new(&path))?;
    let mut runner = CpuRunner::load(&checkpoint, options, threads, &mut |_| {})?;
    println!("loaded in {:.2} s", start.elapsed().as_secs_f64());
    let limit = runner.info().max_model_len;
    for tokens in [512, 1536] {
        if tokens <= limit {
            let best = best(|| prefill(&mut runner, tokens))?;
            let rate = tokens as f64 / best.as_secs_f64();
            println!("prefill {tokens:>4}     {rate:>7.1} tok/s");
        }
    }
    for sequences in [1, 8, 32] {
        let best = best(|| decode(&mut runner, sequences))?;
        let rate = (sequences * DECODED) as f64 / best.as_secs_f64();
        println!("decode B = {sequences:<2}    {rate:>7.1} tok/s");
    }
    Ok(())
}

fn best(mut run: impl FnMut() -> Outcome<Duration>) -> Outcome<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        best = best.min(run()?);
    }
    Ok(best)
}

fn prefill(runner: &mut CpuRunner, tokens: usize) -> Outcome<Duration> {
    let batch = batch(runner, 1, 0, tokens);
    let start = Instant::now();
    runner.execute(&batch)?;
    Ok(start.elapsed())
}

fn decode(runner: &mut CpuRunner, sequences: usize) -> Outcome<Duration> {
    let context = batch(runner, sequences, 0, CONTEXT);
    runner.execute(&context)?;
    let start = Instant::now();
    for at in 0..DECODED {
        let step = batch(runner, sequences, CONTEXT + at, 1);
        runner.execute(&step)?;
    }
    Ok(start.elapsed())
}

/// So many sequences with `len` new tokens each, behind `context_len`.
fn batch(runner: &CpuRunner, sequences: usize, context_len: usize, len: usize) -> Batch {
    let vocab = runner.info().vocab_size;
    let blocks = NUM_BLOCKS / sequences;
    let token = |at: usize| ((at * 7919 + 13) % vocab) as u32;
    Batch {
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
