//! Every family held to the logits that transformers computes of its tiny checkpoint, however its prompts are
//! cut and batched. The files hold floats, so what is off is attention in int16: 2^-16 of each key's norm and of each value's largest element,
//! which shows as up to 2.8e-4 of the largest logit (KV in f16 showed as 1.1e-3).

use weir_cpu::CpuRunner;

use crate::checkpoints::{
    Chunk, Prompt, decoders, distance, execute, load, pooled_distance, scattered,
};

/// Of a row's largest logit.
const TOLERANCE: f32 = 6e-4;
const BLOCK_SIZE: usize = 4;

/// Runs every checkpoint by the schedules that `cut` makes of its prompts and names all that miss the golden logits.
///
/// A schedule holds, for each prompt, where its chunks end; chunks at the same place of their lists are one batch.
fn judge(threads: usize, cut: impl Fn(&[Prompt]) -> Vec<Vec<Vec<usize>>>) {
    let mut failures = Vec::new();
    let checkpoints = decoders();
    assert!(checkpoints.len() >= 20, "only {} files", checkpoints.len());
    for (path, prompts) in checkpoints {
        let mut runner = load(&path, BLOCK_SIZE, threads);
        let off = cut(&prompts)
            .iter()
            .map(|ends| run(&mut runner, &prompts, ends))
            .fold(0.0, f32::max);
        if off > TOLERANCE {
            failures.push(format!("{}: off by {off:.1e}", path.display()));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn run(runner: &mut CpuRunner, prompts: &[Prompt], ends: &[Vec<usize>]) -> f32 {
    let mut first = 0;
    let mut tables = Vec::new();
    for prompt in prompts {
        let count = prompt.tokens.len().div_ceil(BLOCK_SIZE);
        tables.push(scattered(first, count));
        first += count;
    }
    let mut starts = vec![0; prompts.len()];
    let (mut compared, mut off) = (0, 0.0f32);
    for step in 0..ends.iter().map(Vec::len).max().unwrap_or(0) {
        let mut chunks = Vec::new();
        let mut golden = Vec::new();
        for (index, prompt) in prompts.iter().enumerate() {
            let Some(&end) = ends[index].get(step) else {
                continue;
            };
            golden.extend(prompt.rows.get(&end));
            chunks.push(Chunk {
                sequence: index as u64,
                context_len: starts[index],
                tokens: &prompt.tokens[starts[index]..end],
                block_table: &tables[index],
                wants_logits: prompt.rows.contains_key(&end),
            });
            starts[index] = end;
        }
        for (row, golden) in execute(runner, &chunks).iter().zip(&golden) {
            off = off.max(distance(row, golden));
        }
        compared += golden.len();
    }
    assert!(compared > 0, "a schedule that compares nothing");
    off
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

#[test]
fn whole_prompts_give_the_golden_logits() {
    judge(2, |prompts| {
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
    judge(1, |prompts| each_alone(prompts, 7));
}

#[test]
fn token_by_token_gives_the_golden_logits() {
    judge(1, |prompts| each_alone(prompts, 1));
}

#[test]
fn prompts_together_in_uneven_chunks_give_the_golden_logits() {
    judge(3, |_| {
        // A decode beside a prefill, both ways round, and chunks that end within a block.
        let first = vec![6, 7, 21, 37, 48, 49, 64, 68, 69, 70];
        vec![vec![first, vec![5, 9, 10, 11, 22, 23]]]
    });
}

#[test]
fn hidden_states_give_the_golden_vectors() {
    for (path, prompts) in decoders() {
        let mut runner = load(&path, BLOCK_SIZE, 2);
        for (prompt, chunk) in prompts
            .iter()
            .flat_map(|prompt| [(prompt, 128), (prompt, 7)])
        {
            let off = pooled_distance(&mut runner, prompt, chunk, BLOCK_SIZE);
            assert!(off <= TOLERANCE, "{}: off by {off:.1e}", path.display());
        }
    }
}
