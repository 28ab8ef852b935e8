//! How a batch is cut up must not change what it computes: chunks, company and block tables make no difference.

use crate::tiny_llama::{
    BLOCK_SIZE, Chunk, NUM_BLOCKS, TinyLlama, VOCAB, batch, distance, execute, logits_behind,
    prompt,
};
use candle_core::quantized::gguf_file::Value;
use proptest::prelude::*;
use weir_engine::{EngineError, ModelRunner};

const TOLERANCE: f32 = 1e-4;
const IN_ORDER: [u32; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const SCATTERED: [u32; 10] = [17, 3, 22, 8, 0, 19, 11, 5, 23, 14];

#[test]
fn a_token_depends_on_its_whole_context_and_its_order() {
    let mut runner = TinyLlama::new().load().unwrap();
    let tokens = prompt(1, 13);
    let whole = logits_behind(&mut runner, &tokens, &IN_ORDER, &[13]);
    assert!(whole.iter().all(|logit| logit.is_finite()));
    let mut first_changed = tokens.clone();
    first_changed[0] = (tokens[0] + 1) % VOCAB as u32;
    assert!(
        distance(
            &whole,
            &logits_behind(&mut runner, &first_changed, &IN_ORDER, &[13])
        ) > 0.01
    );
    let mut swapped = tokens.clone();
    swapped.swap(3, 9);
    assert!(
        distance(
            &whole,
            &logits_behind(&mut runner, &swapped, &IN_ORDER, &[13])
        ) > 0.01
    );
}

#[test]
fn token_by_token_equals_one_chunk() {
    let mut runner = TinyLlama::new().load().unwrap();
    let tokens = prompt(2, 30);
    let whole = logits_behind(&mut runner, &tokens, &IN_ORDER, &[30]);
    let each: Vec<usize> = (1..=30).collect();
    assert!(
        distance(
            &whole,
            &logits_behind(&mut runner, &tokens, &SCATTERED, &each)
        ) < TOLERANCE
    );
}

#[test]
fn a_prompt_longer_than_a_query_tile_equals_its_chunks() {
    let mut model = TinyLlama::new();
    model.set("llama.context_length", Value::U32(400));
    let mut runner = model.load_with_blocks(80).unwrap();
    let tokens = prompt(3, 300);
    let blocks: Vec<u32> = (0..80).rev().collect();
    let whole = logits_behind(&mut runner, &tokens, &blocks, &[300]);
    let parts = logits_behind(&mut runner, &tokens, &blocks, &[50, 51, 127, 299, 300]);
    assert!(distance(&whole, &parts) < TOLERANCE);
}

#[test]
fn a_ragged_batch_equals_each_sequence_alone() {
    let mut runner = TinyLlama::new().load().unwrap();
    let prompts = [prompt(4, 9), prompt(5, 1), prompt(6, 17)];
    let alone: Vec<_> = prompts
        .iter()
        .map(|tokens| logits_behind(&mut runner, tokens, &IN_ORDER, &[tokens.len()]))
        .collect();

    let tables: [&[u32]; 3] = [&[4, 20, 9], &[13], &[2, 21, 7, 16, 0]];
    let row = |index: usize, start: usize, end: usize, wants_logits: bool| Chunk {
        sequence: index as u64,
        context_len: start,
        tokens: &prompts[index][start..end],
        block_table: tables[index],
        wants_logits,
    };
    // The first sequence's prefill, then its decode beside a whole prompt and a chunk, then the last chunk.
    assert!(execute(&mut runner, &[row(0, 0, 8, false)]).is_empty());
    let mixed = execute(
        &mut runner,
        &[row(0, 8, 9, true), row(1, 0, 1, true), row(2, 0, 11, false)],
    );
    let last = execute(&mut runner, &[row(2, 11, 17, true)]);
    assert_eq!(mixed.len(), 2);
    for (together, alone) in mixed.iter().chain(&last).zip(&alone) {
        assert!(distance(together, alone) < TOLERANCE);
    }
}

/// As where all tokens of a prompt are scored.
#[test]
fn rows_of_one_sequence_in_one_batch_are_computed_one_behind_the_other() {
    let mut runner = TinyLlama::new().load().unwrap();
    let tokens = prompt(11, 20);
    let ends: Vec<usize> = (7..=20).collect();
    let right: Vec<Vec<f32>> = ends
        .iter()
        .map(|&end| logits_behind(&mut runner, &tokens[..end], &IN_ORDER, &[end]))
        .collect();
    let table: &[u32] = &[4, 20, 9, 1, 13];
    let row = |start: usize, end: usize| Chunk {
        sequence: 0,
        context_len: start,
        tokens: &tokens[start..end],
        block_table: table,
        wants_logits: true,
    };
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let rows: Vec<Chunk<'_>> = starts
        .zip(&ends)
        .map(|(start, &end)| row(start, end))
        .collect();
    let found = execute(&mut runner, &rows);
    assert_eq!(found.len(), right.len());
    for (found, right) in found.iter().zip(&right) {
        assert!(distance(found, right) < TOLERANCE);
    }
}

#[test]
fn an_empty_batch_gives_no_logits() {
    let mut runner = TinyLlama::new().load().unwrap();
    assert!(execute(&mut runner, &[]).is_empty());
}

#[test]
fn an_untied_head_and_rope_factors_are_used() {
    let tokens = prompt(7, 20);
    let mut model = TinyLlama::new();
    let plain = logits_behind(&mut model.load().unwrap(), &tokens, &IN_ORDER, &[20]);
    model.vector("rope_freqs.weight", 8);
    let scaled = logits_behind(&mut model.load().unwrap(), &tokens, &IN_ORDER, &[20]);
    assert!(distance(&plain, &scaled) > 1e-3);
    model.matrix("output.weight", VOCAB, 64);
    let untied = logits_behind(&mut model.load().unwrap(), &tokens, &IN_ORDER, &[20]);
    assert!(distance(&scaled, &untied) > 1e-3);
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let mut runner = TinyLlama::new().load().unwrap();
    let tokens = prompt(8, 5);
    let good = |block_table| Chunk {
        sequence: 3,
        context_len: 0,
        tokens: &tokens,
        block_table,
        wants_logits: true,
    };
    let cases = [
        (
            batch(&[good(&[0])]),
            "sequence 3 has 1 blocks, too few for 5 tokens",
        ),
        (batch(&[good(&[0, 24])]), "sequence 3 names block 24 of 24"),
        (
            batch(&[Chunk {
                context_len: 60,
                ..good(&IN_ORDER)
            }]),
            "sequence 3 has 65 tokens, the limit is 64",
        ),
        (
            batch(&[Chunk {
                tokens: &[],
                ..good(&IN_ORDER)
            }]),
            "sequence 3 has no new tokens",
        ),
        (
            batch(&[Chunk {
                tokens: &[96],
                ..good(&IN_ORDER)
            }]),
            "token 96 is not in the vocabulary of 96",
        ),
    ];
    for (batch, message) in cases {
        assert_eq!(
            runner.execute(&batch),
            Err(EngineError::Runner(message.to_owned()))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn neither_chunks_nor_block_tables_matter(
        length in 1usize..40,
        cuts in proptest::collection::btree_set(1usize..40, 0..6),
        table in Just((0..NUM_BLOCKS as u32).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut runner = TinyLlama::new().load().unwrap();
        let tokens = prompt(length as u64, length);
        let whole = logits_behind(&mut runner, &tokens, &IN_ORDER, &[length]);
        let mut ends: Vec<usize> = cuts.into_iter().filter(|&cut| cut < length).collect();
        ends.push(length);
        let table = &table[..length.div_ceil(BLOCK_SIZE)];
        prop_assert!(distance(&whole, &logits_behind(&mut runner, &tokens, table, &ends)) < TOLERANCE);
    }
}
