//! How fast the CPU runner is: `speed MODEL.gguf [THREADS]` prints tokens a second of prefill and of batched decode.
//!
//! Each figure is the best of some runs, so that what else the machine does counts little; beside it stands the rate by
//! the processor's time, as if all threads had had a core each, for a machine that is never quiet. It measures the
//! runner alone: no sampling, no server.

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
    let threads = threads.unwrap_or(std::thread::available_parallelism()?.get());
    let limit = runner.info().max_model_len;
    for tokens in [512, 1536] {
        if tokens <= limit {
            let best = best(|| prefill(&mut runner, tokens))?;
            report(&format!("prefill {tokens:>4}  "), tokens, threads, best);
        }
    }
    for sequences in [1, 8, 32] {
        let best = best(|| decode(&mut runner, sequences))?;
        let tokens = sequences * DECODED;
        report(&format!("decode B = {sequences:<2}"), tokens, threads, best);
    }
    Ok(())
}

/// Time by the wall clock and by the processor, of all threads together.
#[derive(Clone, Copy)]
struct Taken {
    wall: Duration,
    processor: Duration,
}

fn report(what: &str, tokens: usize, threads: usize, taken: Taken) {
    let wall = tokens as f64 / taken.wall.as_secs_f64();
    let processor = (tokens * threads) as f64 / taken.processor.as_secs_f64();
    println!("{what}  {wall:>7.1} tok/s  {processor:>7.1} by processor time");
}

/// The least time of some runs, of either kind.
fn best(mut run: impl FnMut() -> Outcome<Taken>) -> Outcome<Taken> {
    let mut best = run()?;
    for _ in 1..RUNS {
        let next = run()?;
        best.wall = best.wall.min(next.wall);
        best.processor = best.processor.min(next.processor);
    }
    Ok(best)
}

fn timed(run: impl FnOnce() -> Outcome<()>) -> Outcome<Taken> {
    let (start, before) = (Instant::now(), processor_time()?);
    run()?;
    Ok(Taken {
        wall: start.elapsed(),
        processor: processor_time()?.saturating_sub(before),
    })
}

/// Of all threads: what /proc tells in nanoseconds of each.
fn processor_time() -> Outcome<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().unwrap_or_default();
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn prefill(runner: &mut CpuRunner, tokens: usize) -> Outcome<Taken> {
    let batch = batch(runner, 1, 0, tokens);
    timed(|| Ok(runner.execute(&batch).map(drop)?))
}

fn decode(runner: &mut CpuRunner, sequences: usize) -> Outcome<Taken> {
    let context = batch(runner, sequences, 0, CONTEXT);
    runner.execute(&context)?;
    timed(|| {
        for at in 0..DECODED {
            let step = batch(runner, sequences, CONTEXT + at, 1);
            runner.execute(&step)?;
        }
        Ok(())
    })
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
