//! Many requests on few KV blocks: how often they are preempted, and that a thousand of them end as each does alone.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Transcript, Transcripts, arithmetic_runner::ArithmeticRunner, endless, run_dry};
use crate::{Engine, EngineConfig, RunnerInfo, SequenceId, SequenceRequest};

fn engine(num_blocks: usize, config: EngineConfig) -> Engine {
    let info = RunnerInfo {
        vocab_size: 16,
        max_model_len: 256,
        block_size: 8,
        num_blocks,
        eos_token_ids: vec![0],
    };
    Engine::new(Box::new(ArithmeticRunner::new(info).0), config)
}

#[test]
fn preemption_is_rare_where_blocks_are_scarce() {
    // 40 sequences of 16 + 16 tokens: four blocks each, and room for five at their end.
    let mut engine = engine(20, EngineConfig::default());
    for number in 0..40u32 {
        let prompt = (0..16).map(|n| (n * 5 + number * (n + 1)) % 16).collect();
        engine.add(endless(prompt, 16)).unwrap();
    }
    run_dry(&mut engine, &mut Transcripts::default());
    let counters = engine.counters();
    assert_eq!(counters.generated_tokens, 640);
    // Without a spare block for each stream it would be 21, and a tenth more to compute.
    assert!(counters.preemptions <= 6, "{counters:?}");
}

/// A prompt as servers see them: one of a few long beginnings, then something of its own, or exactly what was asked before.
fn prompt(random: &mut ChaCha8Rng) -> Vec<u32> {
    let stem = random.random_range(0..4u32);
    let len = random.random_range(0..60u32);
    let own = random.random_range(0..6usize);
    let stem = (0..len).map(|n| (n * (stem + 3)) % 16);
    let own = (0..own)
        .map(|_| random.random_range(1..16))
        .collect::<Vec<u32>>();
    std::iter::once(1).chain(stem).chain(own).collect()
}

#[test]
fn a_thousand_requests_end_as_each_does_alone() {
    const REQUESTS: usize = 1000;
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let config = EngineConfig {
        max_num_batched_tokens: 48,
        max_num_seqs: 12,
        max_queue: REQUESTS,
        ..EngineConfig::default()
    };
    let mut engine = engine(40, config);
    let mut transcripts = Transcripts::default();
    let mut requests: BTreeMap<SequenceId, SequenceRequest> = BTreeMap::new();
    let mut aborted = Vec::new();
    while requests.len() < REQUESTS {
        if engine.counters().waiting < 16 {
            let request = endless(prompt(&mut random), random.random_range(1..40));
            for _ in 0..[1, 1, 1, 4][random.random_range(0..4)] {
                requests.insert(engine.add(request.clone()).unwrap(), request.clone());
            }
        }
        transcripts.record(engine.step());
        engine.check_invariants();
        let newest = requests.len() as u64 - 1;
        let any = SequenceId(random.random_range(newest.saturating_sub(40)..=newest));
        match random.random_range(0..12) {
            0 if engine.abort(any) => aborted.push(any),
            1 => {
                engine.pause(any);
            }
            2..=4 => {
                engine.resume(any);
            }
            _ => (),
        }
    }
    requests.keys().for_each(|&id| {
        engine.resume(id);
    });
    run_dry(&mut engine, &mut transcripts);
    for (&id, request) in &requests {
        let (got, expected) = (transcripts.of(id).uncached(), alone(request));
        if aborted.contains(&id) {
            assert!(expected.tokens.starts_with(&got.tokens), "{id:?}");
        } else {
            assert_eq!(got, expected, "{id:?}");
        }
    }
    let counters = engine.counters();
    assert_eq!((counters.blocks_used, counters.running), (0, 0));
    assert!(counters.preemptions > 0 && counters.blocks_evicted > 0 && !aborted.is_empty());
    assert!(
        counters.prefix_hit_tokens * 3 > counters.prefix_query_tokens,
        "{counters:?}"
    );
}

/// What a request gets from an engine of its own, without a cache.
fn alone(request: &SequenceRequest) -> Transcript {
    let config = EngineConfig {
        prefix_cache: false,
        ..EngineConfig::default()
    };
    let mut engine = engine(40, config);
    let id = engine.add(request.clone()).unwrap();
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    transcripts.of(id)
}
