//! What one row costs the sampler: `cargo bench -p weir-engine --bench sampler [NAME]`, half a minute.
//!
//! A peaked row is like a chat model's: a few hundred tokens whose likelihood falls as a power of their rank, over a
//! normal rest. A flat row is normal and no more, so that truncations keep thousands of tokens.

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use weir_engine::{
    SamplingParams, SequenceRequest, StopConditions, logits_processor::processors_for,
    sampler::Sampler,
};

const VOCABULARIES: [usize; 2] = [49_152, 151_936];
/// Tokens that penalties look at.
const CONTEXT: usize = 2000;
const LIKELY_TOKENS: usize = 500;

/// A name, whether the row is a flat one, and what is asked.
type Case = (&'static str, bool, fn(&mut SamplingParams));

const CASES: [Case; 11] = [
    ("greedy", false, |p| p.temperature = 0.0),
    ("temperature 0.7", false, |p| p.temperature = 0.7),
    ("temperature 0.7, top_p 0.95", false, |p| {
        (p.temperature, p.top_p) = (0.7, 0.95);
    }),
    ("flat, top_p 0.95", true, |p| p.top_p = 0.95),
    ("top_k 40", false, |p| p.top_k = 40),
    ("top_k 40, top_p 0.95", false, |p| {
        (p.top_k, p.top_p) = (40, 0.95);
    }),
    ("min_p 0.05", false, |p| p.min_p = 0.05),
    ("typical_p 0.9", false, |p| p.typical_p = 0.9),
    ("flat, typical_p 0.9", true, |p| p.typical_p = 0.9),
    ("greedy, penalties", false, |p| {
        (p.temperature, p.repetition_penalty) = (0.0, 1.1);
        (p.presence_penalty, p.frequency_penalty) = (0.5, 0.2);
    }),
    ("greedy, logprobs 5", false, |p| {
        (p.temperature, p.logprobs) = (0.0, Some(5));
    }),
];

fn normal(rng: &mut ChaCha8Rng) -> f32 {
    // Irwin-Hall: twelve uniform numbers have a variance of 1.
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}

fn row(vocab: usize, flat: bool) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut row: Vec<f32> = (0..vocab).map(|_| 2.5 * normal(&mut rng)).collect();
    if !flat {
        for rank in 1..=LIKELY_TOKENS {
            let token = rng.random_range(0..vocab);
            row[token] = 20.0 - 2.5 * (rank as f32).ln();
        }
    }
    row
}

fn sampler(criterion: &mut Criterion) {
    for vocab in VOCABULARIES {
        let mut group = criterion.benchmark_group(format!("{vocab} logits"));
        for (name, flat, ask) in CASES {
            let mut sampling = SamplingParams::default();
            ask(&mut sampling);
            let mut rng = ChaCha8Rng::seed_from_u64(2);
            let context: Vec<u32> = (0..CONTEXT)
                .map(|_| rng.random_range(0..vocab as u32))
                .collect();
            let (prompt, output) = context.split_at(CONTEXT / 2);
            let request = SequenceRequest {
                prompt: prompt.to_vec(),
                sampling,
                stop: StopConditions::default(),
                constraint: None,
                embeddings: None,
                pooling: None,
                priority: 0,
            };
            let mut processors = processors_for(&request, &[]);
            for token in output {
                processors.iter_mut().for_each(|p| p.accept(*token));
            }
            let row = row(vocab, flat);
            let mut sampler = Sampler::default();
            let mut draws = ChaCha8Rng::seed_from_u64(3);
            group.bench_function(name, |bencher| {
                bencher.iter_batched_ref(
                    || row.clone(),
                    |row| {
                        let params = &request.sampling;
                        black_box(sampler.sample(row, params, &mut processors, &mut draws))
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = sampler
}
criterion_main!(benches);
