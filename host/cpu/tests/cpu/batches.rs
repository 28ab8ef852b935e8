//! What must change nothing, not a bit: company, chunks, block tables, block sizes, the number of threads.

use candle_core::quantized::GgmlDType;
use proptest::prelude::*;
use weir_engine::{Batch, EngineError, ModelRunner};

use crate::{
    checkpoints::{Chunk, behind, decoders, execute, file, load, scattered},
    made_up::deepseek,
};

/// Plain, windows and caps and norms behind, biases, norms of heads, fused matrices and partial rope, experts, latent
/// attention with experts in groups and beside a shared one.
const NAMES: [&str; 7] = [
    "llama",
    "gemma2",
    "qwen2",
    "qwen3",
    "phi4-mini",
    "qwen3-moe",
    "deepseek-v3",
];
const BLOCK_SIZE: usize = 4;

/// Tokens of a sequence, each below the vocabulary of the tiny models.
fn tokens(seed: u32, count: usize) -> Vec<u32> {
    let token = |at: u32| at.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503) >> 16;
    (1..=count as u32).map(|at| token(at) % 96).collect()
}

#[test]
fn a_row_says_in_company_what_it_says_alone() {
    for (path, _) in decoders() {
        let mut runner = load(&path, BLOCK_SIZE, 2);
        let prompts = [tokens(1, 37), tokens(2, 1), tokens(3, 70), tokens(4, 20)];
        let mut first = 0;
        let tables = prompts.each_ref().map(|prompt| {
            let table = scattered(first, prompt.len().div_ceil(BLOCK_SIZE));
            first += table.len();
            table
        });
        let alone: Vec<Vec<f32>> = prompts
            .iter()
            .map(|prompt| behind(&mut runner, prompt, &scattered(0, 20), &[prompt.len()]).remove(0))
            .collect();
        let row = |index: usize, start: usize, end: usize| Chunk {
            sequence: index as u64,
            context_len: start,
            tokens: &prompts[index][start..end],
            block_table: &tables[index],
            wants_logits: end == prompts[index].len(),
        };
        assert!(execute(&mut runner, &[row(0, 0, 36), row(3, 0, 5)]).is_empty());
        let mixed = [row(0, 36, 37), row(1, 0, 1), row(2, 0, 51), row(3, 5, 20)];
        let mixed = execute(&mut runner, &mixed);
        let last = execute(&mut runner, &[row(2, 51, 70)]);
        assert_eq!(
            mixed,
            [&alone[..2], &alone[3..]].concat(),
            "{}",
            path.display()
        );
        assert_eq!(last, alone[2..3], "{}", path.display());
    }
}

#[test]
fn neither_threads_nor_block_sizes_matter() {
    for name in NAMES {
        let tokens = tokens(5, 100);
        let ends = [1, 30, 31, 99, 100];
        let right = behind(
            &mut load(&file(name), 4, 1),
            &tokens,
            &scattered(0, 25),
            &ends,
        );
        assert!(right.iter().flatten().all(|logit| logit.is_finite()));
        for threads in [2, 3, 7] {
            let found = behind(
                &mut load(&file(name), 4, threads),
                &tokens,
                &scattered(9, 25),
                &ends,
            );
            assert_eq!(found, right, "{name} on {threads} threads");
        }
    }
}

/// As where all tokens of a prompt are scored.
#[test]
fn rows_of_one_sequence_in_one_batch_are_computed_one_behind_the_other() {
    for name in NAMES {
        let tokens = tokens(9, 60);
        let table = scattered(0, 15);
        let ends: Vec<usize> = (20..=60).collect();
        let right = behind(&mut load(&file(name), 4, 1), &tokens, &table, &ends);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let row = |(start, &end): (usize, &usize)| Chunk {
            sequence: 0,
            context_len: start,
            tokens: &tokens[start..end],
            block_table: &table,
            wants_logits: true,
        };
        let rows: Vec<Chunk<'_>> = starts.zip(&ends).map(row).collect();
        for threads in [1, 2] {
            let found = execute(&mut load(&file(name), 4, threads), &rows);
            assert_eq!(found, right, "{name} on {threads} threads");
        }
    }
}

/// Rows of int8 beside each other, in the matrices of experts and of heads.
#[test]
fn quantized_experts_and_latents_say_the_same_however_they_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    deepseek(GgmlDType::Q4_1).write(&path);
    let tokens = tokens(8, 100);
    let right = behind(&mut load(&path, 4, 1), &tokens, &scattered(0, 25), &[100]);
    for (threads, ends) in [(1, vec![1, 2, 50, 100]), (3, vec![37, 99, 100])] {
        let mut runner = load(&path, 4, threads);
        let found = behind(&mut runner, &tokens, &scattered(7, 25), &ends);
        assert_eq!(found.last(), right.last(), "{threads} threads, {ends:?}");
    }
    // Beside other rows, a decode and a prefill, which visit the same experts.
    let mut runner = load(&path, 4, 2);
    let tables = [scattered(0, 25), scattered(25, 25)];
    let row = |sequence: usize, start: usize, end: usize| Chunk {
        sequence: sequence as u64,
        context_len: start,
        tokens: &tokens[start..end],
        block_table: &tables[sequence],
        wants_logits: end == 100,
    };
    assert!(execute(&mut runner, &[row(0, 0, 99)]).is_empty());
    assert!(execute(&mut runner, &[row(1, 0, 30)]).is_empty());
    let found = execute(&mut runner, &[row(0, 99, 100), row(1, 30, 100)]);
    assert_eq!(found, [right.clone(), right].concat());
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let mut runner = load(&file("llama"), BLOCK_SIZE, 2);
    let tokens = tokens(6, 5);
    let good = Chunk {
        sequence: 3,
        context_len: 0,
        tokens: &tokens,
        block_table: &[0, 1],
        wants_logits: true,
    };
    for (chunk, message) in [
        (
            Chunk {
                block_table: &[0],
                ..good
            },
            "sequence 3 has 1 blocks, too few for 5 tokens",
        ),
        (
            Chunk {
                tokens: &[96],
                ..good
            },
            "token 96 is not in the vocabulary of 96",
        ),
    ] {
        let batch = Batch {
            embedded: Vec::new(),
            tokens: chunk.tokens.to_vec(),
            rows: vec![weir_engine::BatchRow {
                sequence: weir_engine::SequenceId(3),
                context_len: 0,
                len: chunk.tokens.len(),
                block_table: chunk.block_table.to_vec(),
                wants_logits: true,
            }],
        };
        let refused = runner.execute(&batch);
        assert_eq!(refused, Err(EngineError::Runner(message.to_owned())));
    }
    assert!(execute(&mut runner, &[]).is_empty());
    assert_eq!(execute(&mut runner, &[good]).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn neither_chunks_nor_block_tables_matter(
        name in proptest::sample::select(&NAMES[..]),
        length in 1usize..120,
        cuts in proptest::collection::btree_set(1usize..120, 0..8),
        first in 0usize..60,
    ) {
        let mut runner = load(&file(name), BLOCK_SIZE, 2);
        let tokens = tokens(length as u32, length);
        let whole = behind(&mut runner, &tokens, &scattered(0, 30), &[length]);
        let mut ends: Vec<usize> = cuts.into_iter().filter(|&cut| cut < length).collect();
        ends.push(length);
        let parts = behind(&mut runner, &tokens, &scattered(first, 30), &ends);
        prop_assert_eq!(parts.last(), whole.last());
    }
}
