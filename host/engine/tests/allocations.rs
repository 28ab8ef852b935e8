//! What a step allocates: nothing, once its buffers have grown. A binary of its own with one test, for it counts
//! every allocation.
//!
//! What still grows is what a sequence is: its tokens and its blocks, in vectors that double. The test looks between two
//! doublings.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use weir_engine::{
    Batch, Engine, EngineConfig, EngineError, Logits, ModelRunner, RunnerInfo, SamplingParams,
    SequenceRequest, StopConditions,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of this process so far, those that move one among them.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

const VOCAB: usize = 300;
const SEQUENCES: u32 = 8;
/// Behind a prompt of a power of two, tokens double at once and then not before so many more.
const PROMPT: u32 = 64;
const WARM_UP: usize = 8;
const STEPS: usize = 48;

/// Its logits depend on the row, the step and the token.
struct Hashing {
    info: RunnerInfo,
    step: u32,
}

impl ModelRunner for Hashing {
    fn info(&self) -> &RunnerInfo {
        &self.info
    }

    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError> {
        self.step += 1;
        let logits = logits.resize(batch.logit_rows(), VOCAB);
        for (place, logit) in (self.step..).zip(logits) {
            *logit = (place.wrapping_mul(0x9e37_79b9) >> 16) as f32 / 8192.0;
        }
        Ok(())
    }
}

/// Eight sequences, which end a little after the steps that are looked at.
fn add(engine: &mut Engine, sampling: &SamplingParams) {
    for number in 0..SEQUENCES {
        let request = SequenceRequest {
            prompt: (number..number + PROMPT).collect(),
            sampling: SamplingParams {
                seed: Some(u64::from(number)),
                ..sampling.clone()
            },
            stop: StopConditions {
                max_tokens: Some(WARM_UP + STEPS + 1),
                ..StopConditions::default()
            },
            constraint: None,
            embeddings: None,
            pooling: None,
            priority: 0,
        };
        assert!(engine.add(request).is_ok());
    }
}

/// Allocations of so many decode steps of eight sequences, and how many tokens they gave.
fn allocations(sampling: &SamplingParams) -> (usize, usize) {
    let runner = Hashing {
        info: RunnerInfo {
            vocab_size: VOCAB,
            max_model_len: 1024,
            block_size: 4,
            num_blocks: 1024,
            eos_token_ids: vec![],
        },
        step: 0,
    };
    let config = EngineConfig {
        max_num_batched_tokens: (SEQUENCES * PROMPT) as usize,
        ..EngineConfig::default()
    };
    let mut engine = Engine::new(Box::new(runner), config);
    let mut outputs = Vec::new();
    // The first eight let the sampler's lists grow.
    add(&mut engine, sampling);
    while engine.has_work() {
        engine.step_into(&mut outputs);
    }
    add(&mut engine, sampling);
    for _ in 0..WARM_UP {
        engine.step_into(&mut outputs);
    }
    outputs.clear();
    outputs.reserve(STEPS * SEQUENCES as usize);
    let before = allocated();
    for _ in 0..STEPS {
        engine.step_into(&mut outputs);
    }
    (allocated() - before, outputs.len())
}

#[test]
fn a_decode_step_allocates_nothing() {
    type Case = (&'static str, fn(&mut SamplingParams), usize);
    let cases: [Case; 8] = [
        ("greedy", |p| p.temperature = 0.0, 0),
        ("temperature", |p| p.temperature = 0.7, 0),
        ("top_k", |p| p.top_k = 20, 0),
        ("top_p", |p| p.top_p = 0.9, 0),
        (
            "min_p and typical_p",
            |p| (p.min_p, p.typical_p) = (0.01, 0.9),
            0,
        ),
        ("a bias", |p| p.logit_bias = vec![(1, 2.0)], 0),
        (
            "penalties",
            |p| (p.repetition_penalty, p.frequency_penalty) = (1.1, 0.1),
            0,
        ),
        // The list of the likeliest goes to the reader.
        (
            "logprobs",
            |p| p.logprobs = Some(5),
            SEQUENCES as usize * STEPS,
        ),
    ];
    for (name, ask, expected) in cases {
        let mut sampling = SamplingParams::default();
        ask(&mut sampling);
        assert_eq!(
            allocations(&sampling),
            (expected, SEQUENCES as usize * STEPS),
            "{name}"
        );
    }
}
