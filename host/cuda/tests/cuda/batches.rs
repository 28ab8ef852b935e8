//! What must change next to nothing: company, chunks, blocks that sequences share, block sizes. And what is refused.

use std::path::PathBuf;

use proptest::prelude::*;
use weir_cuda::Dtype;
use weir_engine::{Batch, BatchRow, EngineError, Logits, ModelRunner, SequenceId};
use weir_model::{KvCapacity, RunnerOptions};

use crate::{
    checkpoints::{Chunk, behind, distance, execute, file, options, scattered},
    models::{load, load_shared, load_with},
};

/// Plain, windows and caps and norms behind, windows and norms of heads, biases, fused matrices and partial rope.
const NAMES: [&str; 6] = ["llama", "gemma2", "gemma3", "qwen2", "qwen3", "phi4-mini"];
const BLOCK_SIZE: usize = 4;
/// General products round by the shape of what they multiply.
const TOLERANCE: f32 = 1e-5;

fn tokens(seed: u32, count: usize) -> Vec<u32> {
    let token = |at: u32| at.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503) >> 16;
    (1..=count as u32).map(|at| token(at) % 96).collect()
}

fn model(name: &str) -> PathBuf {
    let file = file(name);
    match file.exists() {
        true => file,
        false => file.parent().unwrap().to_owned(),
    }
}

#[test]
fn a_row_says_in_company_what_it_says_alone() {
    for name in NAMES {
        let mut runner = load(&model(name), BLOCK_SIZE, Dtype::F32).unwrap();
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
        let mut found = execute(&mut runner, &mixed);
        found.extend(execute(&mut runner, &[row(2, 51, 70)]));
        for (found, right) in found.iter().zip([0, 1, 3, 2]) {
            let off = distance(found, &alone[right]);
            assert!(off < TOLERANCE, "{name}, row {right}: off by {off:.1e}");
        }
    }
}

#[test]
fn sequences_that_share_a_prefix_share_its_blocks() {
    for name in NAMES {
        let mut runner = load(&model(name), BLOCK_SIZE, Dtype::F32).unwrap();
        let shared = tokens(5, 24);
        let longer = |seed| [shared.clone(), tokens(seed, 9)].concat();
        let (one, other) = (longer(6), longer(7));
        let prefix = scattered(0, 6);
        let table = |first| [prefix.clone(), scattered(first, 3)].concat();
        let tables = [table(6), table(9)];
        let right = [&one, &other]
            .map(|tokens| behind(&mut runner, tokens, &scattered(30, 9), &[33]).remove(0));
        behind(&mut runner, &shared, &prefix, &[24]);
        let row = |sequence: usize, tokens| Chunk {
            sequence: sequence as u64,
            context_len: 24,
            tokens,
            block_table: &tables[sequence],
            wants_logits: true,
        };
        let found = execute(&mut runner, &[row(0, &one[24..]), row(1, &other[24..])]);
        for (found, right) in found.iter().zip(&right) {
            assert!(distance(found, right) < TOLERANCE, "{name}");
        }
    }
}

/// What the engine asks for and what comes of it: the same tokens, from parts as from whole rows.
#[test]
fn the_likeliest_are_handed_over_in_part() {
    let mut runner = load(&model("llama"), BLOCK_SIZE, Dtype::F32).unwrap();
    let row = |sequence: u64| BatchRow {
        sequence: SequenceId(sequence),
        context_len: 0,
        len: 9,
        block_table: (0..3).map(|block| sequence as u32 * 3 + block).collect(),
        wants_logits: true,
    };
    let batch = Batch {
        embedded: Vec::new(),
        tokens: tokens(7, 27),
        rows: (0..3).map(row).collect(),
    };
    let mut whole = runner.execute(&batch).unwrap();
    let mut logits = Logits::default();
    let enough = [Some(1), None, Some(1)];
    let executed = runner.execute_choosing(&batch, &enough, &mut logits);
    executed.unwrap();
    assert_eq!(logits.shape(), whole.shape());
    for (part, whole) in logits.parts_mut().zip(whole.rows_mut()) {
        let likeliest = |row: &[f32]| {
            let places = (0..row.len() as u32).rev();
            places.max_by(|&a, &b| row[a as usize].total_cmp(&row[b as usize]))
        };
        let found = likeliest(part.logits).map(|place| part.token(place));
        assert_eq!(found, likeliest(whole));
    }
}

#[test]
fn blocks_of_any_size_say_the_same() {
    for name in NAMES {
        let tokens = tokens(8, 100);
        let ends = [31, 32, 33, 63, 64, 100];
        let run = |block_size| {
            let mut runner = load(&model(name), block_size, Dtype::F32).unwrap();
            behind(&mut runner, &tokens, &scattered(0, 34), &ends)
        };
        let right = run(3);
        for (found, right) in run(32).iter().zip(&right) {
            assert!(distance(found, right) < TOLERANCE, "{name}");
        }
    }
}

/// Prefill, decode beside it, and steps of which nothing is wanted: the same of one device, of two and of four.
#[test]
fn devices_that_share_a_model_say_what_one_says() {
    for name in NAMES {
        let tokens = [tokens(11, 40), tokens(12, 9)];
        let tables = [scattered(0, 10), scattered(10, 3)];
        let row = |sequence: usize, start: usize, end: usize| Chunk {
            sequence: sequence as u64,
            context_len: start,
            tokens: &tokens[sequence][start..end],
            block_table: &tables[sequence],
            wants_logits: end > 20 || sequence == 1,
        };
        let steps = [
            vec![row(0, 0, 17)],
            vec![row(0, 17, 20), row(1, 0, 8)],
            vec![row(1, 8, 9), row(0, 20, 39)],
            vec![row(0, 39, 40)],
        ];
        let run = |devices| {
            let mut runner = load_shared(&model(name), BLOCK_SIZE, devices).unwrap();
            let logits = steps.iter().flat_map(|step| execute(&mut runner, step));
            logits.collect::<Vec<_>>()
        };
        let right = run(1);
        assert_eq!(right.len(), 4);
        for devices in [2, 4] {
            for (found, right) in run(devices).iter().zip(&right) {
                let off = distance(found, right);
                assert!(off < TOLERANCE, "{name} on {devices}: off by {off:.1e}");
            }
        }
    }
}

#[test]
fn what_devices_cannot_share_is_refused() {
    for (devices, what) in [(3, "4 heads"), (8, "4 heads"), (0, "4 heads")] {
        let error = load_shared(&model("llama"), BLOCK_SIZE, devices).err();
        assert_eq!(
            error.unwrap().to_string(),
            format!(
                "tp is {devices}, but the model's {what} cannot be shared evenly by {devices} devices"
            )
        );
    }
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let mut runner = load(&model("llama"), BLOCK_SIZE, Dtype::F32).unwrap();
    let mut run = |block_table: &[u32], token| {
        runner.execute(&Batch {
            embedded: Vec::new(),
            tokens: vec![token; 5],
            rows: vec![BatchRow {
                sequence: SequenceId(3),
                context_len: 0,
                len: 5,
                block_table: block_table.to_vec(),
                wants_logits: true,
            }],
        })
    };
    let refused = |message: &str| Err(EngineError::Runner(message.to_owned()));
    assert_eq!(
        run(&[0], 1),
        refused("sequence 3 has 1 blocks, too few for 5 tokens")
    );
    assert_eq!(
        run(&[0, 1], 96),
        refused("token 96 is not in the vocabulary of 96")
    );
    assert!(run(&[0, 1], 1).is_ok());
    assert!(execute(&mut runner, &[]).is_empty());
}

#[test]
fn sizes_that_are_not_possible_are_refused() {
    let load = |kv_capacity, block_size| {
        let options = RunnerOptions {
            kv_capacity,
            ..options(block_size)
        };
        load_with(&model("llama"), options, Dtype::F32)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(load(KvCapacity::Bytes(1), 32).starts_with("0 KV blocks of "));
    let error = load(KvCapacity::Blocks(1 << 28), 32);
    assert_eq!(
        error,
        "268435456 KV blocks of 32 tokens are not possible: choose a smaller kv_cache_memory"
    );
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
        let mut runner = load(&model(name), BLOCK_SIZE, Dtype::F32).unwrap();
        let tokens = tokens(length as u32, length);
        let whole = behind(&mut runner, &tokens, &scattered(0, 30), &[length]);
        let mut ends: Vec<usize> = cuts.into_iter().filter(|&cut| cut < length).collect();
        ends.push(length);
        let parts = behind(&mut runner, &tokens, &scattered(first, 30), &ends);
        let off = distance(&parts[parts.len() - 1], &whole[0]);
        prop_assert!(off < TOLERANCE, "{} is off by {:.1e}", name, off);
    }
}
