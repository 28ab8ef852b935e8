//! Tests of the sampler against the definitions of its truncations and against sorting everything.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::SeedableRng;

use super::*;

mod definitions;

fn usable(logit: f32) -> bool {
    logit > f32::NEG_INFINITY
}

fn sample(logits: &[f32], params: &SamplingParams, seed: u64) -> Result<SampledToken, EngineError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Sampler::default().sample(&mut logits.to_vec(), params, &mut [], &mut rng)
}

/// Every token that 300 draws choose.
fn support(probabilities: &[f32], params: &SamplingParams) -> BTreeSet<u32> {
    let logits: Vec<f32> = probabilities.iter().map(|p| p.ln()).collect();
    let mut sampler = Sampler::default();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    (0..300)
        .map(|_| {
            sampler
                .sample(&mut logits.clone(), params, &mut [], &mut rng)
                .unwrap()
                .id
        })
        .collect()
}

#[test]
fn greedy_takes_the_lowest_of_the_best_and_no_nan() {
    let greedy = SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    };
    let top_1 = SamplingParams {
        top_k: 1,
        ..SamplingParams::default()
    };
    let nan = f32::NAN;
    for (logits, expected) in [
        (vec![1.0, 3.0, 3.0], 1),
        (vec![nan, -5.0, nan], 1),
        (vec![f32::NEG_INFINITY, nan, f32::MIN], 2),
        (vec![0.0, f32::INFINITY, f32::INFINITY], 1),
    ] {
        assert_eq!(
            sample(&logits, &greedy, 0).unwrap().id,
            expected,
            "{logits:?}"
        );
        assert_eq!(
            sample(&logits, &top_1, 0).unwrap().id,
            expected,
            "{logits:?}"
        );
    }
    for params in [greedy, SamplingParams::default()] {
        assert!(matches!(
            sample(&[nan, f32::NEG_INFINITY], &params, 0),
            Err(EngineError::Runner(_))
        ));
    }
}

#[test]
fn truncations_keep_what_their_definitions_say() {
    type Case = (&'static str, fn(&mut SamplingParams), &'static [u32]);
    let cases: [Case; 9] = [
        ("all", |_| (), &[0, 1, 2, 3]),
        ("top_k", |p| p.top_k = 2, &[1, 2]),
        ("top_p", |p| p.top_p = 0.65, &[1, 2]),
        ("top_p keeps one", |p| p.top_p = 1e-9, &[1]),
        ("min_p", |p| p.min_p = 0.45, &[1, 2, 3]),
        ("min_p of 1", |p| p.min_p = 1.0, &[1]),
        // Entropy is 1.28; surprises are 2.30, 0.92, 1.20, 1.61: nearest first 2, 3, 1, 0.
        ("typical_p", |p| p.typical_p = 0.45, &[2, 3]),
        (
            "top_p of the top_k",
            |p| (p.top_k, p.top_p) = (2, 0.57),
            &[1],
        ),
        ("cold", |p| p.temperature = 1e-30, &[1]),
    ];
    for (name, change, expected) in cases {
        let mut params = SamplingParams::default();
        change(&mut params);
        let expected = expected.iter().copied().collect();
        assert_eq!(support(&[0.1, 0.4, 0.3, 0.2], &params), expected, "{name}");
    }
}

#[test]
fn frequencies_follow_the_tempered_distribution() {
    let logits: Vec<f32> = [0.2f32, 0.8].iter().map(|p| p.ln()).collect();
    let params = SamplingParams {
        temperature: 2.0,
        ..SamplingParams::default()
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut sampler = Sampler::default();
    let draws = 20_000;
    let first = (0..draws)
        .filter(|_| {
            sampler
                .sample(&mut logits.clone(), &params, &mut [], &mut rng)
                .unwrap()
                .id
                == 0
        })
        .count();
    // sqrt(0.2) / (sqrt(0.2) + sqrt(0.8)) is a third.
    assert!(
        (first as f64 / f64::from(draws) - 1.0 / 3.0).abs() < 0.015,
        "{first} of {draws}"
    );
}

#[test]
fn logprobs_are_of_the_untempered_model() {
    let logits: Vec<f32> = [0.1f32, 0.2, 0.7].iter().map(|p| p.ln() + 3.0).collect();
    let params = SamplingParams {
        temperature: 0.0,
        logprobs: Some(2),
        ..SamplingParams::default()
    };
    let mut bias: Vec<Box<dyn LogitsProcessor>> = crate::logits_processor::processors_for(
        &crate::request::SequenceRequest {
            prompt: vec![0],
            sampling: SamplingParams {
                logit_bias: vec![(1, 50.0)],
                ..SamplingParams::default()
            },
            stop: crate::request::StopConditions::default(),
            constraint: None,
            embeddings: None,
            pooling: None,
            priority: 0,
        },
        &[],
    );
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let sampled = Sampler::default()
        .sample(&mut logits.clone(), &params, &mut bias, &mut rng)
        .unwrap();
    let logprobs = sampled.logprobs.unwrap();
    assert_eq!(sampled.id, 1);
    assert!((logprobs.sampled - 0.2f32.ln()).abs() < 1e-5);
    assert_eq!(
        logprobs.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [2, 1]
    );
    assert!((logprobs.top[0].1 - 0.7f32.ln()).abs() < 1e-5);
}

#[test]
fn logprobs_name_no_more_tokens_than_there_are() {
    let params = SamplingParams {
        temperature: 0.0,
        logprobs: Some(9),
        ..SamplingParams::default()
    };
    let logprobs = sample(&[0.0, f32::NAN, 1.0], &params, 0)
        .unwrap()
        .logprobs
        .unwrap();
    assert_eq!(logprobs.top.len(), 2);
    let params = SamplingParams {
        logprobs: Some(0),
        ..params
    };
    assert!(
        sample(&[0.0, 1.0], &params, 0)
            .unwrap()
            .logprobs
            .unwrap()
            .top
            .is_empty()
    );
}

#[test]
fn one_random_number_a_drawn_token_and_none_for_a_greedy_one() {
    let unlike = SamplingParams {
        top_p: 0.9,
        ..SamplingParams::default()
    };
    let greedy = SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    };
    let mut sampler = Sampler::default();
    for (params, draws) in [(SamplingParams::default(), 1), (unlike, 1), (greedy, 0)] {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut same = rng.clone();
        sampler
            .sample(&mut [0.0, 1.0, 2.0], &params, &mut [], &mut rng)
            .unwrap();
        for _ in 0..draws {
            same.random::<f64>();
        }
        assert_eq!(rng.random::<u64>(), same.random::<u64>());
    }
}

proptest! {
    #[test]
    fn the_likeliest_is_the_first_of_the_largest(
        row in prop::collection::vec(prop_oneof![Just(f32::NAN), Just(f32::NEG_INFINITY), (-3i8..3).prop_map(f32::from)], 0..300),
    ) {
        let usable_logits = (0u32..).zip(&row).filter(|(_, logit)| usable(**logit));
        let expected = usable_logits.reduce(|best, next| if next.1 > best.1 { next } else { best });
        let mut maxima = Vec::new();
        let found = Row::new(&row, &mut maxima).map(|row| row.likeliest());
        prop_assert_eq!(found, expected.map(|(id, _)| id));
    }

    #[test]
    fn any_row_gives_a_usable_token_or_an_error(
        logits in prop::collection::vec(prop::num::f32::ANY, 1..200),
        (temperature, top_k, top_p, min_p, typical_p) in (0.0f32..3.0, 0usize..6, 0.01f32..=1.0, 0.0f32..=1.0, 0.01f32..=1.0),
        seed in any::<u64>(),
    ) {
        let params = SamplingParams {
            temperature, top_k, top_p, min_p, typical_p, logprobs: Some(3), ..SamplingParams::default()
        };
        match sample(&logits, &params, seed) {
            Ok(sampled) => prop_assert!(usable(logits[sampled.id as usize])),
            Err(_) => prop_assert!(!logits.iter().copied().any(usable)),
        }
    }
}
