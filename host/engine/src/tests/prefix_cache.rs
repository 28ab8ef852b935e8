//! What is found in the prefix cache, when, and what is forgotten first. That it changes no token is `batching`'s.

use std::sync::{Arc, Mutex};

use super::{
    Transcript, Transcripts,
    arithmetic_runner::{ArithmeticRunner, Probe},
    endless, run_dry,
};
use crate::{Engine, EngineConfig, Generated, RunnerInfo, SequenceId};

const BLOCK: usize = 4;

fn engine(num_blocks: usize, config: EngineConfig) -> (Engine, Arc<Mutex<Probe>>) {
    let info = RunnerInfo {
        vocab_size: 50,
        max_model_len: 128,
        block_size: BLOCK,
        num_blocks,
        eos_token_ids: vec![0],
    };
    let (runner, probe) = ArithmeticRunner::new(info);
    (Engine::new(Box::new(runner), config), probe)
}

/// `len` tokens; prompts of different `kind` have no block in common.
fn prompt(kind: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|n| (n * 3 + kind * 11) % 50).collect()
}

/// Runs one request to its end.
fn ask(engine: &mut Engine, prompt: Vec<u32>, max_tokens: usize) -> Transcript {
    let id = engine.add(endless(prompt, max_tokens)).unwrap();
    let mut transcripts = Transcripts::default();
    run_dry(engine, &mut transcripts);
    transcripts.of(id)
}

#[test]
fn full_blocks_are_found_again_but_never_the_last_token() {
    for (len, cached) in [(3, 0), (4, 0), (5, 4), (8, 4), (9, 8), (15, 12), (16, 12)] {
        let (mut engine, _) = engine(32, EngineConfig::default());
        let first = ask(&mut engine, prompt(1, len), 3);
        assert_eq!(first.cached_tokens(), 0);
        let before = engine.counters();
        let second = ask(&mut engine, prompt(1, len), 3);
        assert_eq!(second.cached_tokens(), cached, "of {len} tokens");
        // Readers that leave before the end are told as well.
        assert!(second.tokens.iter().all(
            |token| matches!(token, Generated::Token { cached_tokens, .. } if *cached_tokens == cached)
        ));
        assert_eq!(second.uncached(), first);
        let after = engine.counters();
        assert_eq!(
            after.computed_tokens - before.computed_tokens,
            (len - cached + 2) as u64
        );
        assert_eq!(after.prefix_query_tokens, 2 * len as u64);
        assert_eq!(after.prefix_hit_tokens, cached as u64);
    }
}

#[test]
fn without_the_cache_nothing_is_kept() {
    let config = EngineConfig {
        prefix_cache: false,
        ..EngineConfig::default()
    };
    let (mut engine, _) = engine(32, config);
    for _ in 0..2 {
        assert_eq!(ask(&mut engine, prompt(1, 15), 3).cached_tokens(), 0);
        let counters = engine.counters();
        assert_eq!((counters.blocks_used, counters.blocks_cached), (0, 0));
    }
}

#[test]
fn the_next_turn_finds_the_answer_too() {
    let (mut engine, _) = engine(32, EngineConfig::default());
    let mut talk = prompt(1, 10);
    talk.extend(ask(&mut engine, talk.clone(), 11).ids());
    // 21 tokens, of which the last was never computed: five blocks.
    talk.extend([7, 7, 7]);
    assert_eq!(ask(&mut engine, talk.clone(), 1).cached_tokens(), 20);
    // Another question behind the same answer's beginning.
    talk.truncate(14);
    talk.extend([8; 9]);
    assert_eq!(ask(&mut engine, talk, 1).cached_tokens(), 12);
}

#[test]
fn answers_to_one_prompt_compute_it_once_and_share_its_blocks() {
    let config = EngineConfig {
        max_num_batched_tokens: 16,
        ..EngineConfig::default()
    };
    let (mut engine, _) = engine(64, config);
    let ids: Vec<SequenceId> = (0..4)
        .map(|_| engine.add(endless(prompt(1, 42), 8)).unwrap())
        .collect();
    let stranger = engine.add(endless(prompt(2, 5), 8)).unwrap();
    let mut transcripts = Transcripts::default();
    transcripts.record(engine.step());
    let counters = engine.counters();
    assert_eq!(
        (counters.running, counters.waiting),
        (2, 3),
        "the stranger passes"
    );
    for _ in 0..3 {
        transcripts.record(engine.step());
        engine.check_invariants();
    }
    // Three chunks for the first, and what the stranger took: 42 and 5 tokens, then the others' last two, each in a step.
    let counters = engine.counters();
    assert_eq!((counters.running, counters.waiting), (5, 0));
    // Ten shared blocks, one of its own for each, and the stranger's.
    assert_eq!(counters.blocks_used, 10 + 4 + 2);
    run_dry(&mut engine, &mut transcripts);
    let expected = transcripts.of(ids[0]);
    assert_eq!(expected.cached_tokens(), 0);
    for &id in &ids[1..] {
        assert_eq!(transcripts.of(id).cached_tokens(), 40);
        assert_eq!(transcripts.of(id).uncached(), expected);
    }
    assert_eq!(transcripts.of(stranger).tokens.len(), 8);
    let prompts = 42 + 3 * 2 + 5;
    assert_eq!(engine.counters().computed_tokens, prompts + 5 * 7);
}

#[test]
fn equal_blocks_that_were_computed_twice_become_one() {
    let (mut engine, _) = engine(64, EngineConfig::default());
    let mut transcripts = Transcripts::default();
    // The last block of a prompt is always computed, even if it is full and known.
    for _ in 0..3 {
        engine.add(endless(prompt(1, 8), 4)).unwrap();
        transcripts.record(engine.step());
        engine.check_invariants();
    }
    // Two shared blocks, and the block of its answer for each of the two that have one.
    assert_eq!(engine.counters().blocks_used, 2 + 2);
    run_dry(&mut engine, &mut transcripts);
    assert_eq!(engine.counters().blocks_used, 0);
}

#[test]
fn nobody_waits_for_a_leader_that_stands_still() {
    let config = EngineConfig {
        max_num_batched_tokens: 8,
        ..EngineConfig::default()
    };
    for stop in [Engine::pause, Engine::abort] {
        let (mut engine, probe) = engine(64, config.clone());
        let leader = engine.add(endless(prompt(1, 42), 2)).unwrap();
        let follower = engine.add(endless(prompt(1, 30), 2)).unwrap();
        engine.step();
        engine.step();
        assert_eq!(engine.counters().waiting, 1);
        assert!(stop(&mut engine, leader));
        let mut transcripts = Transcripts::default();
        run_dry(&mut engine, &mut transcripts);
        assert_eq!(transcripts.of(follower).cached_tokens(), 16);
        assert_eq!(transcripts.of(follower).tokens.len(), 2);
        engine.resume(leader);
        run_dry(&mut engine, &mut transcripts);
        let released = &probe.lock().unwrap().released;
        assert_eq!(released.len(), 2);
        assert_eq!(engine.counters().blocks_used, 0);
    }
}

#[test]
fn what_an_aborted_sequence_computed_is_found() {
    let (mut engine, _) = engine(32, EngineConfig::default());
    let id = engine.add(endless(prompt(1, 10), 20)).unwrap();
    for _ in 0..4 {
        engine.step();
    }
    assert!(engine.abort(id));
    let counters = engine.counters();
    assert_eq!((counters.blocks_used, counters.blocks_cached), (0, 3));
    assert_eq!(ask(&mut engine, prompt(1, 10), 1).cached_tokens(), 8);
}

#[test]
fn the_longest_unused_prefix_goes_first_and_from_its_end() {
    let (mut engine, _) = engine(9, EngineConfig::default());
    // Two full blocks each; the third is that of the last token.
    for kind in [1, 2, 3, 1] {
        ask(&mut engine, prompt(kind, 9), 1);
    }
    assert_eq!(engine.counters().blocks_cached, 6);
    // Takes the three free blocks and one more: the end of the second prompt.
    ask(&mut engine, prompt(4, 15), 2);
    assert_eq!(engine.counters().blocks_evicted, 1);
    assert_eq!(ask(&mut engine, prompt(2, 9), 1).cached_tokens(), 4);
    assert_eq!(ask(&mut engine, prompt(1, 9), 1).cached_tokens(), 8);
}

#[test]
fn a_hash_that_collides_is_no_hit() {
    let (mut weak, _) = engine(32, EngineConfig::default());
    weak.weaken_hashes(0);
    for kind in [1, 2, 1] {
        let (mut alone, _) = engine(32, EngineConfig::default());
        let cached = ask(&mut weak, prompt(kind, 12), 9);
        // Only the very first block of all is findable.
        assert!(cached.cached_tokens() <= BLOCK);
        assert_eq!(cached.uncached(), ask(&mut alone, prompt(kind, 12), 9));
    }
    assert_eq!(weak.counters().blocks_cached, 1);
}

#[test]
fn what_may_have_spoiled_a_sequence_is_not_found() {
    let (mut engine, probe) = engine(32, EngineConfig::default());
    let mut transcripts = Transcripts::default();
    ask(&mut engine, prompt(1, 12), 1);
    let other = engine.add(endless(prompt(2, 9), 9)).unwrap();
    transcripts.record(engine.step());
    probe.lock().unwrap().spoil_row = true;
    transcripts.record(engine.step());
    assert!(matches!(transcripts.of(other).end, Some(Err(_))));
    assert_eq!(engine.counters().blocks_cached, 0);
    assert_eq!(ask(&mut engine, prompt(1, 12), 1).cached_tokens(), 0);
    assert_eq!(ask(&mut engine, prompt(2, 9), 1).cached_tokens(), 0);
}
