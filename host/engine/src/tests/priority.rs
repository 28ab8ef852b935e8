//! Who starts first of those that wait, and that several are queued together or not at all.

use super::{Transcripts, endless, greedy, run_dry};
use crate::{
    Engine, EngineConfig, EngineError, FakeRunner, FakeScript, RunnerInfo, SequenceId,
    SequenceRequest,
};

fn engine(max_queue: usize) -> Engine {
    let info = RunnerInfo {
        vocab_size: 50,
        max_model_len: 64,
        block_size: 4,
        num_blocks: 32,
        eos_token_ids: vec![0],
    };
    let script = FakeScript {
        matches: None,
        tokens: vec![1; 8],
    };
    let config = EngineConfig {
        max_num_seqs: 1,
        max_queue,
        ..EngineConfig::default()
    };
    Engine::new(Box::new(FakeRunner::new(info, vec![script], None)), config)
}

fn asked(priority: i64) -> SequenceRequest {
    SequenceRequest {
        priority,
        ..endless(vec![2], 2)
    }
}

#[test]
fn the_lowest_starts_first_and_equals_by_age() {
    let mut engine = engine(16);
    let running = engine.add(asked(9)).unwrap();
    let mut order: Vec<SequenceId> = engine.step().iter().map(|said| said.sequence).collect();
    assert_eq!(order, [running]);
    let ids = [3, 0, -2, 3, 0].map(|priority| engine.add(asked(priority)).unwrap());
    // What waits can be taken away, wherever it stands.
    let gone = engine.add(asked(-9)).unwrap();
    assert!(engine.abort(gone) && !engine.abort(gone));
    engine.check_invariants();
    while engine.has_work() {
        order.extend(engine.step().iter().map(|said| said.sequence));
        engine.check_invariants();
    }
    order.dedup();
    let expected = [running, ids[2], ids[1], ids[4], ids[0], ids[3]];
    assert_eq!(order, expected, "what runs gives way to nobody");
}

#[test]
fn several_are_queued_together_or_not_at_all() {
    let mut engine = engine(3);
    engine.add(asked(0)).unwrap();
    let queued = |engine: &Engine| engine.counters().waiting;
    let full = EngineError::QueueFull {
        queued: 1,
        limit: 3,
    };
    assert_eq!(engine.add_all(vec![asked(0); 3]), Err(full));
    assert_eq!(queued(&engine), 1);

    let too_long = greedy(vec![1; 65], None);
    let outcome = engine.add_all(vec![asked(0), too_long]);
    assert!(matches!(outcome, Err(EngineError::TooLong { .. })));
    assert_eq!(queued(&engine), 1);

    let outcome = engine.add_all(vec![asked(0); 4]);
    let Err(EngineError::InvalidRequest(message)) = outcome else {
        panic!("four can never wait in three places: {outcome:?}")
    };
    assert_eq!(
        message,
        "4 answers at once are more than the queue's 3 places"
    );

    assert_eq!(engine.add_all(vec![asked(0); 2]).unwrap().len(), 2);
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    assert_eq!(transcripts.0.len(), 3);
}
