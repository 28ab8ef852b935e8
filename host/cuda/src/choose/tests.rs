//! Parts hold what was asked for, where they say it stands.

use candle_core::Device;

use super::*;
use crate::{reference::Reference, weight_source::RandomSource};

const ROWS: usize = 5;

/// Rows of random numbers, some of them equal and some none.
fn random(vocab: usize) -> Vec<f32> {
    let mut source = RandomSource::new(vocab as u64, 0.0);
    let logits = (0..ROWS * vocab).map(|at| match at % 97 {
        13 => f32::NAN,
        17 => f32::NEG_INFINITY,
        rest if rest < 30 => (source.number() * 8.0).round(),
        _ => source.number() * 8.0,
    });
    logits.collect()
}

#[test]
fn a_part_holds_the_likeliest() {
    let mut chooser = Chooser::default();
    let mut logits = Logits::default();
    for vocab in [640, 641, 1000, 4000] {
        let numbers = random(vocab);
        let computed = Tensor::from_slice(&numbers, (ROWS, vocab), &Device::Cpu).unwrap();
        let enough = [Some(1), None, Some(3), Some(vocab), Some(2)];
        let handed = chooser.hand_over(&computed, &enough, &Reference, &mut logits);
        handed.unwrap();
        assert_eq!(logits.shape(), (ROWS, vocab));
        let mut whole = 0;
        for ((row, right), enough) in logits.parts_mut().zip(numbers.chunks(vocab)).zip(enough) {
            let mut found = vec![None; vocab];
            for (place, &logit) in row.logits.iter().enumerate() {
                let token = row.token(place as u32) as usize;
                match found.get_mut(token) {
                    Some(found) => assert_eq!(found.replace(logit.to_bits()), None),
                    None => assert_eq!(logit, f32::NEG_INFINITY),
                }
            }
            whole += usize::from(row.logits.len() == vocab);
            let mut order: Vec<usize> =
                (0..vocab).filter(|&token| !right[token].is_nan()).collect();
            order.sort_by(|&a, &b| right[b].total_cmp(&right[a]));
            for &token in order.iter().take(enough.unwrap_or(vocab)) {
                assert_eq!(
                    found[token],
                    Some(right[token].to_bits()),
                    "{token} of {vocab}"
                );
            }
        }
        assert!((2..ROWS).contains(&whole), "{whole} whole rows of {vocab}");
    }
}

#[test]
fn whole_rows_alone_are_whole_whatever_is_enough() {
    let numbers = random(4000);
    let computed = Tensor::from_slice(&numbers, (ROWS, 4000), &Device::Cpu).unwrap();
    let mut logits = Logits::default();
    let handed = Chooser::new(true).hand_over(&computed, &[Some(1); ROWS], &Reference, &mut logits);
    handed.unwrap();
    for (row, right) in logits.rows_mut().zip(numbers.chunks(4000)) {
        assert!(
            row.iter()
                .map(|logit| logit.to_bits())
                .eq(right.iter().map(|logit| logit.to_bits()))
        );
    }
}

#[test]
fn what_spares_nothing_goes_over_whole() {
    let mut logits = Logits::default();
    let numbers = random(70);
    let computed = Tensor::from_slice(&numbers, (ROWS, 70), &Device::Cpu).unwrap();
    for enough in [&[Some(2); ROWS][..], &[None; ROWS], &[]] {
        let handed = Chooser::default().hand_over(&computed, enough, &Reference, &mut logits);
        handed.unwrap();
        assert_eq!(logits.rows_mut().len(), ROWS);
    }
}
