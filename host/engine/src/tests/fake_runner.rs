//! The replaying runner under the real engine: which script a prompt gets, and that batching never shows.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Transcripts, greedy, run_dry};
use crate::{
    Batch, BatchRow, Engine, EngineConfig, EngineError, FakeRunner, FakeScript, ModelRunner,
    RunnerInfo, SequenceId,
};

fn info(num_blocks: usize) -> RunnerInfo {
    RunnerInfo {
        vocab_size: 100,
        max_model_len: 64,
        block_size: 4,
        num_blocks,
        eos_token_ids: vec![99, 98],
    }
}

fn script(matches: Option<&[u32]>, tokens: &[u32]) -> FakeScript {
    FakeScript {
        matches: matches.map(<[u32]>::to_vec),
        tokens: tokens.to_vec(),
    }
}

/// The answers to the prompts, all asked at once.
fn answers(runner: FakeRunner, config: EngineConfig, prompts: &[&[u32]]) -> Vec<Vec<u32>> {
    let mut engine = Engine::new(Box::new(runner), config);
    let ids: Vec<SequenceId> = prompts
        .iter()
        .map(|prompt| engine.add(greedy(prompt.to_vec(), None)).unwrap())
        .collect();
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    ids.into_iter().map(|id| transcripts.of(id).ids()).collect()
}

#[test]
fn the_first_match_wins_and_the_rest_take_turns() {
    let scripts = vec![
        script(None, &[10, 11]),
        script(Some(&[5, 6]), &[20, 21, 22]),
        script(Some(&[6]), &[30]),
        script(None, &[40]),
    ];
    let prompts: [&[u32]; 6] = [&[1], &[4, 5, 6, 7], &[5, 7, 6], &[2], &[3], &[6, 5]];
    let expected = [
        vec![10, 11],
        vec![20, 21, 22],
        vec![30],
        vec![40],
        vec![10, 11],
        vec![30],
    ];
    for max_num_batched_tokens in [1, 3, 64] {
        let config = EngineConfig {
            max_num_batched_tokens,
            ..EngineConfig::default()
        };
        assert_eq!(
            answers(
                FakeRunner::new(info(64), scripts.clone(), None),
                config,
                &prompts
            ),
            expected
        );
    }
    let none = FakeRunner::new(info(64), vec![script(Some(&[5]), &[1])], None);
    assert_eq!(
        answers(none, EngineConfig::default(), &[&[1]]),
        [vec![]],
        "no script fits: the answer is empty"
    );
}

#[test]
fn replays_survive_preemption() {
    let answer: Vec<u32> = (1..=30).collect();
    let other: Vec<u32> = (41..=70).collect();
    let scripts = vec![script(None, &answer), script(None, &other)];
    let mut engine = Engine::new(
        Box::new(FakeRunner::new(info(12), scripts, None)),
        EngineConfig::default(),
    );
    let ids = [7, 8].map(|token| engine.add(greedy(vec![token; 5], None)).unwrap());
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    assert!(engine.counters().preemptions > 0);
    assert_eq!(ids.map(|id| transcripts.of(id).ids()), [answer, other]);
}

#[test]
fn the_rate_spaces_the_tokens_of_each_sequence() {
    let scripts = vec![script(None, &[1, 2, 3, 4])];
    let runner = FakeRunner::new(info(64), scripts, Some(100.0));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start = now();
    answers(runner, EngineConfig::default(), &[&[1], &[2], &[3]]);
    // Five steps at multiples of 10 ms, the first at the next; sleeping longer than asked is the machine's business.
    assert!(now().as_millis() / 10 >= start.as_millis() / 10 + 5);
    for no_rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let runner = FakeRunner::new(info(64), vec![script(None, &[1])], Some(no_rate));
        assert_eq!(answers(runner, EngineConfig::default(), &[&[1]]), [vec![1]]);
    }
}

#[test]
fn a_prompt_is_read_back_whoever_computed_its_blocks() {
    let prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    // The matching part stands in the first block, which the second sequence never sees.
    let scripts = vec![script(Some(&[1, 2, 3]), &[20, 21]), script(None, &[30])];
    let mut engine = Engine::new(
        Box::new(FakeRunner::new(info(64), scripts, None)),
        EngineConfig::default(),
    );
    let mut transcripts = Transcripts::default();
    for cached in [0, 8, 8] {
        let id = engine.add(greedy(prompt.to_vec(), None)).unwrap();
        run_dry(&mut engine, &mut transcripts);
        assert_eq!(transcripts.of(id).ids(), [20, 21]);
        assert_eq!(transcripts.of(id).cached_tokens(), cached);
    }
}

#[test]
fn what_cannot_be_replayed_is_an_error() {
    let row = |context_len, blocks: &[u32]| BatchRow {
        sequence: SequenceId(1),
        context_len,
        len: 1,
        block_table: blocks.to_vec(),
        wants_logits: true,
    };
    for (row, position) in [
        (row(4, &[0, 1]), 0),
        (row(6, &[0, 1]), 5),
        (row(4, &[0]), 4),
    ] {
        let batch = Batch {
            embedded: Vec::new(),
            tokens: vec![1],
            rows: vec![row],
        };
        let error = FakeRunner::new(info(8), vec![], None)
            .execute(&batch)
            .unwrap_err();
        let expected = format!("sequence 1 has no token at position {position}");
        assert!(error.to_string().contains(&expected), "{error}");
    }

    let outside = FakeRunner::new(info(8), vec![script(None, &[100])], None);
    let mut engine = Engine::new(Box::new(outside), EngineConfig::default());
    engine.add(greedy(vec![1], None)).unwrap();
    assert!(matches!(
        engine.step()[0].result,
        Err(EngineError::Runner(_))
    ));
}
