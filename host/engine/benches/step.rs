//! What a step costs beside the model: `cargo bench -p weir-engine --bench step`, ten seconds.
//!
//! 32 decode rows over 49,152 tokens and a runner that computes nothing: it hands out rows of logits made before.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use weir_engine::{
    Batch, Engine, EngineConfig, EngineError, Logits, ModelRunner, RunnerInfo, SamplingParams,
    SequenceRequest, StopConditions,
};

const SEQUENCES: usize = 32;
const VOCAB: usize = 49_152;
const PROMPT: usize = 500;

struct NoModel {
    info: RunnerInfo,
    logits: Vec<f32>,
}

impl NoModel {
    fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let logits = (0..SEQUENCES * VOCAB).map(|_| 8.0 * rng.random::<f32>());
        Self {
            info: RunnerInfo {
                vocab_size: VOCAB,
                max_model_len: 1 << 20,
                block_size: 16,
                num_blocks: 1 << 18,
                eos_token_ids: vec![0],
            },
            logits: logits.collect(),
        }
    }
}

impl ModelRunner for NoModel {
    fn info(&self) -> &RunnerInfo {
        &self.info
    }

    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError> {
        // A model would write them, too.
        let logits = logits.resize(batch.logit_rows(), VOCAB);
        logits.copy_from_slice(&self.logits[..logits.len()]);
        Ok(())
    }
}

/// An engine in the midst of 32 answers.
fn engine(sampling: &SamplingParams) -> Engine {
    let config = EngineConfig {
        max_num_batched_tokens: SEQUENCES * PROMPT,
        ..EngineConfig::default()
    };
    let mut engine = Engine::new(Box::new(NoModel::new()), config);
    for number in 0..SEQUENCES as u32 {
        let request = SequenceRequest {
            prompt: (0..PROMPT as u32).map(|token| token + number).collect(),
            sampling: SamplingParams {
                seed: Some(number.into()),
                ..sampling.clone()
            },
            stop: StopConditions {
                ignore_eos: true,
                max_tokens: Some(100_000),
                ..StopConditions::default()
            },
            constraint: None,
            embeddings: None,
            pooling: None,
            priority: 0,
        };
        assert!(engine.add(request).is_ok());
    }
    engine.step();
    engine
}

fn step(criterion: &mut Criterion) {
    let greedy = SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    };
    let drawn = SamplingParams {
        temperature: 0.7,
        top_p: 0.95,
        ..SamplingParams::default()
    };
    let penalised = SamplingParams {
        repetition_penalty: 1.1,
        frequency_penalty: 0.1,
        ..greedy.clone()
    };
    let mut group = criterion.benchmark_group("32 decode rows");
    for (name, sampling) in [
        ("greedy", greedy),
        ("temperature 0.7, top_p 0.95", drawn),
        ("greedy, penalties", penalised),
    ] {
        let mut engine = engine(&sampling);
        group.bench_function(name, |bencher| {
            let mut outputs = Vec::new();
            bencher.iter(|| {
                outputs.clear();
                engine.step_into(&mut outputs);
                assert_eq!(black_box(&outputs).len(), SEQUENCES);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = step
}
criterion_main!(benches);
