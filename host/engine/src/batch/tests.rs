//! Rows handed over in part choose what whole rows choose.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{request::SamplingParams, sampler::Sampler};

/// Hands over a row as a runner with logits far away does.
pub fn push_part(row: &[f32], enough: usize, logits: &mut Logits) {
    let number = |logit: &f32| {
        if logit.is_nan() {
            f32::NEG_INFINITY
        } else {
            *logit
        }
    };
    let chunks = || row.chunks(LOGITS_BLOCK);
    let maxima: Vec<f32> = chunks()
        .map(|block| block.iter().map(number).fold(f32::NEG_INFINITY, f32::max))
        .collect();
    let mut blocks = Vec::new();
    likeliest_blocks(&maxima, enough, &mut Vec::new(), &mut blocks);
    let memory = logits.push(&blocks);
    for (part, &block) in memory.chunks_mut(LOGITS_BLOCK).zip(&blocks) {
        let logits = chunks().nth(block as usize).unwrap();
        part.fill(f32::NEG_INFINITY);
        part[..logits.len()].copy_from_slice(logits);
    }
}

#[test]
fn whole_rows_stand_beside_parts() {
    let mut logits = Logits::default();
    logits.resize(0, 130);
    logits.push(&[]).fill(1.0);
    logits.push(&[0, 2]).fill(2.0);
    logits.push(&[]).fill(3.0);
    assert_eq!(logits.shape(), (3, 130));
    let found: Vec<(usize, f32, [u32; 3])> = logits
        .parts_mut()
        .map(|row| {
            let tokens = [0, 63, 64].map(|place| row.token(place));
            (row.logits.len(), row.logits[0], tokens)
        })
        .collect();
    assert_eq!(
        found,
        [
            (130, 1.0, [0, 63, 64]),
            (128, 2.0, [0, 63, 128]),
            (130, 3.0, [0, 63, 64])
        ]
    );
    // A later step has its memory, and nothing else of it.
    logits
        .resize(2, 3)
        .copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(logits, Logits::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3));
    assert_eq!(logits.rows_mut().len(), 2);
}

#[test]
fn blocks_are_taken_by_their_largest() {
    let mut blocks = Vec::new();
    let (low, high) = (f32::NEG_INFINITY, f32::INFINITY);
    for (maxima, count, taken) in [
        (&[1.0, 5.0, 3.0, 4.0][..], 2, &[1, 3][..]),
        (&[1.0, 5.0, 3.0, 4.0], 9, &[0, 1, 2, 3]),
        // Equals, and what scaling may make equal: the lower id is chosen then, wherever it stands.
        (&[4.0, 5.0, 4.0, 4.0], 2, &[0, 1, 2, 3]),
        (&[-1.000_000_1e-7, 30.0, -1e-7, -9.0], 2, &[0, 1, 2]),
        (&[high, 5.0, low, high], 1, &[0, 3]),
        (&[low, low, low], 1, &[0, 1, 2]),
    ] {
        likeliest_blocks(maxima, count, &mut Vec::new(), &mut blocks);
        let missing: Vec<_> = taken
            .iter()
            .filter(|block| !blocks.contains(block))
            .collect();
        assert!(missing.is_empty(), "{maxima:?}: {blocks:?}");
        if maxima[0].is_finite() {
            assert_eq!(blocks, taken, "{maxima:?}");
        }
    }
}

fn row() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        8 => -9.0f32..9.0,
        4 => (-8i8..8).prop_map(f32::from),
        1 => Just(f32::NAN),
        1 => Just(f32::NEG_INFINITY),
    ];
    prop::collection::vec(logit, 1..900)
}

proptest! {
    #[test]
    fn a_part_chooses_what_the_whole_chooses(
        row in row(),
        top_k in 1usize..40,
        temperature in prop_oneof![Just(0.0f32), 0.05f32..30.0],
        top_p in prop_oneof![Just(1.0f32), 0.1f32..1.0],
        min_p in prop_oneof![Just(0.0f32), 0.0f32..0.5],
        typical_p in prop_oneof![Just(1.0f32), 0.1f32..1.0],
        seed: u64,
    ) {
        let params = SamplingParams { temperature, top_k, top_p, min_p, typical_p, ..SamplingParams::default() };
        let enough = if params.is_greedy() { 1 } else { top_k };
        let mut sampler = Sampler::default();
        let mut choose = |logits: &mut [f32]| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            sampler.sample(logits, &params, &mut [], &mut rng).map(|sampled| sampled.id).ok()
        };
        let whole = choose(&mut row.clone());
        let mut logits = Logits::default();
        logits.resize(0, row.len());
        push_part(&row, enough, &mut logits);
        let part = logits.parts_mut().next().unwrap();
        let chosen = choose(part.logits).map(|place| part.token(place));
        prop_assert_eq!(chosen, whole);
    }
}
