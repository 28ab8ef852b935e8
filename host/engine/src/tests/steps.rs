//! What single steps do: their order, limits, preemption, pausing, aborting, ending and failing.

use std::sync::{Arc, Mutex};

use super::{
    Transcripts,
    arithmetic_runner::{ArithmeticRunner, Probe},
    endless, greedy, run_dry,
};
use crate::{
    Batch, Engine, EngineConfig, EngineError, FakeRunner, FakeScript, FinishReason, Generated,
    RunnerInfo, SamplingParams, SequenceId, SequenceRequest, SequenceUsage, StopConditions,
};

const EOS: u32 = 0;

fn info(num_blocks: usize, block_size: usize) -> RunnerInfo {
    RunnerInfo {
        vocab_size: 50,
        max_model_len: 64,
        block_size,
        num_blocks,
        eos_token_ids: vec![EOS],
    }
}

pub(super) fn engine(
    num_blocks: usize,
    block_size: usize,
    config: EngineConfig,
) -> (Engine, Arc<Mutex<Probe>>) {
    let (runner, probe) = ArithmeticRunner::new(info(num_blocks, block_size));
    (Engine::new(Box::new(runner), config), probe)
}

/// (sequence, context, length, wants logits) of the rows of the last batch.
fn last_rows(probe: &Mutex<Probe>) -> Vec<(u64, usize, usize, bool)> {
    let probe = probe.lock().unwrap();
    let rows = probe.batches.last().unwrap().rows.iter();
    rows.map(|row| (row.sequence.0, row.context_len, row.len, row.wants_logits))
        .collect()
}

#[test]
fn decode_rows_come_first_and_prefill_takes_the_rest_of_the_budget() {
    let config = EngineConfig {
        max_num_batched_tokens: 8,
        max_num_seqs: 4,
        max_queue: 8,
        ..EngineConfig::default()
    };
    let (mut engine, probe) = engine(32, 4, config);
    engine.add(endless(vec![1; 3], 9)).unwrap();
    assert_eq!(engine.step().len(), 1);
    engine.add(endless(vec![2; 10], 9)).unwrap();
    engine.add(endless(vec![3; 6], 9)).unwrap();
    engine.step();
    assert_eq!(last_rows(&probe), [(0, 3, 1, true), (1, 0, 7, false)]);
    engine.step();
    assert_eq!(
        last_rows(&probe),
        [(0, 4, 1, true), (1, 7, 3, true), (2, 0, 4, false)]
    );
    engine.step();
    assert_eq!(
        last_rows(&probe),
        [(0, 5, 1, true), (1, 10, 1, true), (2, 4, 2, true)]
    );
}

#[test]
fn no_batch_has_more_rows_than_allowed_and_waiting_is_first_come_first_served() {
    let config = EngineConfig {
        max_num_batched_tokens: 64,
        max_num_seqs: 2,
        max_queue: 8,
        ..EngineConfig::default()
    };
    let (mut engine, probe) = engine(32, 4, config);
    for prompt in 1..=3 {
        engine.add(endless(vec![prompt; 2], 3)).unwrap();
    }
    engine.step();
    assert_eq!(last_rows(&probe), [(0, 0, 2, true), (1, 0, 2, true)]);
    let counters = engine.counters();
    assert_eq!((counters.waiting, counters.running), (1, 2));
    engine.step();
    engine.step();
    engine.step();
    assert_eq!(last_rows(&probe), [(2, 0, 2, true)]);
}

#[test]
fn the_queue_is_bounded_and_an_aborted_place_is_free_again() {
    let (mut engine, _) = engine(
        8,
        4,
        EngineConfig {
            max_queue: 2,
            ..EngineConfig::default()
        },
    );
    let first = engine.add(greedy(vec![1], None)).unwrap();
    engine.add(greedy(vec![1], None)).unwrap();
    assert_eq!(
        engine.add(greedy(vec![1], None)),
        Err(EngineError::QueueFull {
            queued: 2,
            limit: 2
        })
    );
    assert!(engine.abort(first));
    assert!(!engine.abort(first));
    assert!(engine.add(greedy(vec![1], None)).is_ok());
}

#[test]
fn the_youngest_is_preempted_and_goes_on_where_it_was() {
    // Its second block goes to the older one; its first is still there if it can be found.
    for (prefix_cache, kept) in [(false, 0), (true, 4)] {
        preempt_the_youngest(prefix_cache, kept);
    }
}

/// Two sequences of 4 + 8 tokens need 6 blocks; there are 4. `kept` tokens of the preempted one are not computed again.
fn preempt_the_youngest(prefix_cache: bool, kept: usize) {
    let config = EngineConfig {
        prefix_cache,
        ..EngineConfig::default()
    };
    let (mut engine, probe) = engine(4, 4, config);
    let sampled = |prompt| {
        let sampling = SamplingParams {
            seed: Some(5),
            logprobs: Some(1),
            ..SamplingParams::default()
        };
        SequenceRequest {
            sampling,
            ..endless(vec![prompt; 4], 8)
        }
    };
    let older = engine.add(sampled(1)).unwrap();
    let younger = engine.add(sampled(2)).unwrap();
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    let counters = engine.counters();
    assert_eq!(
        (
            counters.preemptions,
            counters.blocks_used,
            counters.generated_tokens
        ),
        (1, 0, 16)
    );
    let recomputed = probe
        .lock()
        .unwrap()
        .batches
        .iter()
        .flat_map(|b| b.rows.clone())
        .rfind(|row| row.len > 1)
        .unwrap();
    assert_eq!(
        (recomputed.sequence, recomputed.context_len),
        (younger, kept)
    );
    assert!(recomputed.context_len + recomputed.len > 4 && recomputed.wants_logits);

    for (id, prompt) in [(older, 1), (younger, 2)] {
        let (mut alone, _) = self::engine(8, 4, EngineConfig::default());
        let only = alone.add(sampled(prompt)).unwrap();
        let mut expected = Transcripts::default();
        run_dry(&mut alone, &mut expected);
        assert_eq!(transcripts.of(id), expected.of(only));
        assert_eq!(transcripts.of(id).tokens.len(), 8);
    }
}

#[test]
fn aborting_frees_the_blocks_at_once() {
    let (mut engine, probe) = engine(64, 2, EngineConfig::default());
    let ids: Vec<SequenceId> = (1..=16)
        .map(|token| engine.add(endless(vec![token; 4], 20)).unwrap())
        .collect();
    engine.step();
    let before = engine.counters();
    assert_eq!((before.running, before.blocks_used), (16, 32));
    for &id in &ids[..8] {
        assert!(engine.abort(id));
    }
    let after = engine.counters();
    assert_eq!((after.running, after.blocks_used), (8, 16));
    assert_eq!(probe.lock().unwrap().released, &ids[..8]);
    assert!(
        engine
            .step()
            .iter()
            .all(|output| ids[8..].contains(&output.sequence))
    );
}

#[test]
fn a_paused_sequence_keeps_its_blocks_until_others_need_them() {
    let (mut engine, probe) = engine(4, 4, EngineConfig::default());
    let slow = engine.add(endless(vec![1; 6], 6)).unwrap();
    let mut transcripts = Transcripts::default();
    transcripts.record(engine.step());
    assert!(engine.pause(slow));
    assert!(!engine.has_work());
    assert!(engine.step().is_empty());
    let counters = engine.counters();
    assert_eq!(
        (counters.running, counters.paused, counters.blocks_used),
        (0, 1, 2)
    );

    let quick = engine.add(endless(vec![2; 4], 2)).unwrap();
    run_dry(&mut engine, &mut transcripts);
    assert_eq!(engine.counters().preemptions, 0, "there was room for both");
    let large = engine.add(endless(vec![3; 9], 2)).unwrap();
    run_dry(&mut engine, &mut transcripts);
    assert_eq!(engine.counters().preemptions, 1);
    assert_eq!(
        transcripts.of(quick).tokens.len() + transcripts.of(large).tokens.len(),
        4
    );
    assert_eq!(transcripts.of(slow).tokens.len(), 1);

    assert!(engine.resume(slow));
    run_dry(&mut engine, &mut transcripts);
    assert_eq!(transcripts.of(slow).tokens.len(), 6);
    assert!(!engine.resume(slow) && !engine.pause(slow));
    assert_eq!(probe.lock().unwrap().released, [quick, large, slow]);
}

#[test]
fn a_paused_sequence_gives_its_blocks_before_a_running_one_does() {
    let (mut engine, probe) = engine(4, 4, EngineConfig::default());
    let slow = engine.add(endless(vec![1; 6], 6)).unwrap();
    let mut transcripts = Transcripts::default();
    transcripts.record(engine.step());
    engine.pause(slow);
    // Fits beside the paused one at first, and needs a third block in mid-run.
    let quick = engine.add(endless(vec![2; 5], 8)).unwrap();
    run_dry(&mut engine, &mut transcripts);
    let counters = engine.counters();
    assert_eq!((counters.preemptions, counters.paused), (1, 1));
    assert_eq!(transcripts.of(quick).tokens.len(), 8);
    let begun = |batch: &Batch| batch.rows.iter().any(|row| row.context_len == 0);
    let begun = probe
        .lock()
        .unwrap()
        .batches
        .iter()
        .filter(|batch| begun(batch))
        .count();
    assert_eq!(begun, 2, "neither has been computed twice");
    engine.resume(slow);
    run_dry(&mut engine, &mut transcripts);
    assert_eq!(transcripts.of(slow).tokens.len(), 6);
}

#[test]
fn a_newcomer_waits_rather_than_take_the_block_a_stream_needs_next() {
    let (mut engine, _) = engine(4, 4, EngineConfig::default());
    let mut transcripts = Transcripts::default();
    let first = engine.add(endless(vec![1; 4], 8)).unwrap();
    transcripts.record(engine.step());
    let second = engine.add(endless(vec![2; 8], 3)).unwrap();
    transcripts.record(engine.step());
    assert_eq!(engine.counters().waiting, 1);
    run_dry(&mut engine, &mut transcripts);
    assert_eq!(engine.counters().preemptions, 0);
    assert_eq!(
        transcripts.of(first).tokens.len() + transcripts.of(second).tokens.len(),
        11
    );
}

/// An engine that replays one script.
fn replaying(tokens: &[u32]) -> Engine {
    let script = FakeScript {
        matches: None,
        tokens: tokens.to_vec(),
    };
    Engine::new(
        Box::new(FakeRunner::new(info(64, 4), vec![script], None)),
        EngineConfig::default(),
    )
}

#[test]
fn sequences_end_for_the_right_reason_with_the_right_counts() {
    use FinishReason::{Length, Stop};
    type Case = (
        &'static str,
        fn(&mut StopConditions),
        &'static [u32],
        FinishReason,
        usize,
    );
    let cases: [Case; 8] = [
        ("eos", |_| (), &[7, 8, 9], Stop, 4),
        (
            "stop token",
            |s| s.stop_token_ids = vec![9],
            &[7, 8],
            Stop,
            3,
        ),
        ("max_tokens", |s| s.max_tokens = Some(2), &[7, 8], Length, 2),
        (
            "eos as the last token",
            |s| s.max_tokens = Some(4),
            &[7, 8, 9],
            Stop,
            4,
        ),
        (
            "eos ignored",
            |s| (s.max_tokens, s.ignore_eos) = (Some(5), true),
            &[7, 8, 9, EOS, EOS],
            Length,
            5,
        ),
        (
            "stop, eos ignored",
            |s| (s.stop_token_ids, s.ignore_eos) = (vec![8], true),
            &[7],
            Stop,
            2,
        ),
        // While the end tokens are masked every other token is as likely; greedy takes the lowest.
        (
            "min_tokens",
            |s| s.min_tokens = 5,
            &[7, 8, 9, 1, 1],
            Stop,
            6,
        ),
        (
            "masked stop token",
            |s| (s.min_tokens, s.stop_token_ids) = (2, vec![8]),
            &[7, 1, 9],
            Stop,
            4,
        ),
    ];
    for (name, change, expected, reason, completion_tokens) in cases {
        let mut engine = replaying(&[7, 8, 9]);
        let mut request = greedy(vec![1, 2], None);
        change(&mut request.stop);
        let id = engine.add(request).unwrap();
        let mut transcripts = Transcripts::default();
        run_dry(&mut engine, &mut transcripts);
        assert_eq!(transcripts.of(id).ids(), expected, "{name}");
        let usage = SequenceUsage {
            prompt_tokens: 2,
            cached_tokens: 0,
            completion_tokens,
        };
        let end = Some(Ok(Generated::Finished { reason, usage }));
        assert_eq!(transcripts.of(id).end, end, "{name}");
    }
}

#[test]
fn without_max_tokens_the_context_is_filled() {
    let (mut engine, _) = engine(64, 4, EngineConfig::default());
    let stop = StopConditions {
        ignore_eos: true,
        ..StopConditions::default()
    };
    let id = engine
        .add(SequenceRequest {
            stop,
            ..greedy(vec![1; 10], None)
        })
        .unwrap();
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    assert_eq!(
        (transcripts.of(id).tokens.len(), transcripts.of(id).reason()),
        (54, FinishReason::Length)
    );
}

#[test]
fn a_failed_step_ends_its_own_sequences_and_no_others() {
    for (name, spoil) in [
        (
            "error",
            (|probe| probe.fail_next = Some(EngineError::Runner("out of luck".into())))
                as fn(&mut Probe),
        ),
        ("a row missing", |probe| probe.drop_row = true),
    ] {
        let config = EngineConfig {
            max_num_seqs: 2,
            ..EngineConfig::default()
        };
        let (mut engine, probe) = engine(16, 4, config);
        let ids: Vec<SequenceId> = (1..=3)
            .map(|token| engine.add(endless(vec![token; 4], 3)).unwrap())
            .collect();
        let mut transcripts = Transcripts::default();
        transcripts.record(engine.step());
        spoil(&mut probe.lock().unwrap());
        run_dry(&mut engine, &mut transcripts);
        for &id in &ids[..2] {
            assert!(
                matches!(transcripts.of(id).end, Some(Err(EngineError::Runner(_)))),
                "{name}"
            );
        }
        assert_eq!(transcripts.of(ids[2]).tokens.len(), 3, "{name}");
        let counters = engine.counters();
        assert_eq!(
            (counters.failed_steps, counters.blocks_used),
            (1, 0),
            "{name}"
        );
        assert_eq!(probe.lock().unwrap().released, ids, "{name}");
    }
}

#[test]
fn an_engine_is_lost_until_a_step_runs() {
    let (mut engine, probe) = engine(16, 4, EngineConfig::default());
    for error in [
        EngineError::Runner("out of luck".into()),
        EngineError::Lost("out of threads".into()),
    ] {
        let id = engine.add(endless(vec![1; 4], 3)).unwrap();
        probe.lock().unwrap().fail_next = Some(error.clone());
        let mut transcripts = Transcripts::default();
        transcripts.record(engine.step());
        assert_eq!(transcripts.of(id).end, Some(Err(error.clone())));
        assert_eq!(
            engine.counters().lost,
            matches!(error, EngineError::Lost(_))
        );
    }
    let id = engine.add(endless(vec![1; 4], 3)).unwrap();
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    assert_eq!(transcripts.of(id).tokens.len(), 3);
    assert!(!engine.counters().lost);
}

#[test]
fn a_row_of_nan_ends_only_its_own_sequence() {
    let (mut engine, probe) = engine(16, 4, EngineConfig::default());
    let first = engine.add(endless(vec![1; 4], 3)).unwrap();
    let second = engine.add(endless(vec![2; 4], 3)).unwrap();
    probe.lock().unwrap().spoil_row = true;
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    assert!(matches!(
        transcripts.of(first).end,
        Some(Err(EngineError::Runner(_)))
    ));
    assert_eq!(transcripts.of(second).tokens.len(), 3);
    assert_eq!(engine.counters().failed_steps, 0);
}

#[test]
fn the_seed_decides_and_without_one_answers_differ() {
    let run = |seed: Option<u64>| {
        let (mut engine, _) = engine(64, 4, EngineConfig::default());
        let sampling = SamplingParams {
            seed,
            ..SamplingParams::default()
        };
        let id = engine
            .add(SequenceRequest {
                sampling,
                ..endless(vec![1, 2], 40)
            })
            .unwrap();
        let mut transcripts = Transcripts::default();
        run_dry(&mut engine, &mut transcripts);
        transcripts.of(id).ids()
    };
    assert_eq!(run(Some(3)), run(Some(3)));
    assert_ne!(run(Some(3)), run(Some(4)));
    assert_ne!(run(None), run(None));
}
