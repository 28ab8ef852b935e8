//! Texts that become vectors: the same numbers however they are cut and whatever runs beside them, and no harm to what does.

use std::sync::{Arc, Mutex};

use super::{
    Transcripts,
    arithmetic_runner::{ArithmeticRunner, HIDDEN, Probe, info},
    endless, greedy, run_dry,
};
use crate::{
    Batch, Engine, EngineConfig, EngineError, FinishReason, Generated, Logits, ModelRunner,
    Pooling, RunnerInfo, SequenceId, SequenceRequest, StepOutput,
};

fn engine(num_blocks: usize, config: EngineConfig) -> (Engine, Arc<Mutex<Probe>>) {
    let (runner, probe) = ArithmeticRunner::new(info(num_blocks));
    (Engine::new(Box::new(runner), config), probe)
}

fn text(tokens: &[u32], pooling: Pooling) -> SequenceRequest {
    SequenceRequest {
        embeddings: None,
        pooling: Some(pooling),
        ..greedy(tokens.to_vec(), None)
    }
}

/// All that was said, in order.
fn run(engine: &mut Engine) -> Vec<StepOutput> {
    let mut said = Vec::new();
    while engine.has_work() {
        engine.step_into(&mut said);
        engine.check_invariants();
    }
    said
}

/// The vector that was told of a sequence, and nothing else but its end.
fn vector(said: &[StepOutput], id: SequenceId) -> Vec<f32> {
    let own: Vec<_> = said.iter().filter(|output| output.sequence == id).collect();
    match own.as_slice() {
        [
            StepOutput {
                result: Ok(Generated::Vector(vector)),
                ..
            },
            StepOutput {
                result: Ok(Generated::Finished { reason, usage }),
                ..
            },
        ] => {
            assert_eq!(*reason, FinishReason::Length);
            assert_eq!((usage.cached_tokens, usage.completion_tokens), (0, 0));
            vector.clone()
        }
        other => panic!("{other:?}"),
    }
}

/// What the runner itself says of each token, pooled here.
fn expected(tokens: &[u32], pooling: Pooling) -> Vec<f32> {
    let (mut runner, _) = ArithmeticRunner::new(info(16));
    let batch = Batch {
        embedded: Vec::new(),
        tokens: tokens.to_vec(),
        rows: vec![crate::BatchRow {
            sequence: SequenceId(0),
            context_len: 0,
            len: tokens.len(),
            block_table: (0..16).collect(),
            wants_logits: true,
        }],
    };
    let mut hidden = Vec::new();
    runner.hidden_into(&batch, &mut hidden).unwrap();
    match pooling {
        Pooling::Last => hidden[hidden.len() - HIDDEN..].to_vec(),
        Pooling::Mean => {
            let column = |index| hidden.iter().skip(index).step_by(HIDDEN);
            let mean = |index| column(index).map(|value| f64::from(*value)).sum::<f64>();
            let mean = |index| (mean(index) / tokens.len() as f64) as f32;
            (0..HIDDEN).map(mean).collect()
        }
    }
}

const TEXT: [u32; 11] = [5, 3, 17, 3, 3, 8, 0, 11, 19, 2, 4];

#[test]
fn a_vector_is_the_same_however_its_text_is_cut_and_cached() {
    for (tokens, sequences) in [(1, 1), (3, 2), (5, 64), (64, 1), (64, 64)] {
        let config = EngineConfig {
            max_num_batched_tokens: tokens,
            max_num_seqs: sequences,
            ..EngineConfig::default()
        };
        for pooling in [Pooling::Last, Pooling::Mean] {
            for text_len in [1, 2, 4, TEXT.len()] {
                let (mut engine, _) = engine(16, config.clone());
                let tokens = &TEXT[..text_len];
                // A generation caches the text's blocks; the second vector may find what the first left.
                engine.add(greedy(tokens.to_vec(), Some(1))).unwrap();
                run(&mut engine);
                for _ in 0..2 {
                    let id = engine.add(text(tokens, pooling)).unwrap();
                    let said = run(&mut engine);
                    assert_eq!(
                        vector(&said, id),
                        expected(tokens, pooling),
                        "{config:?} {pooling:?} {text_len}"
                    );
                }
            }
        }
    }
}

#[test]
fn only_the_last_tokens_state_is_computed_where_it_alone_counts() {
    let (mut engine, probe) = engine(16, EngineConfig::default());
    engine.add(text(&TEXT, Pooling::Last)).unwrap();
    run(&mut engine);
    let probe = probe.lock().unwrap();
    assert!(probe.batches.is_empty());
    let wanted: usize = probe.pooled.iter().map(Batch::wanted_tokens).sum();
    assert_eq!(wanted, 1);
}

#[test]
fn vectors_and_answers_leave_each_other_alone() {
    let config = EngineConfig {
        max_num_batched_tokens: 6,
        max_num_seqs: 5,
        ..EngineConfig::default()
    };
    let alone = {
        let (mut engine, _) = engine(64, EngineConfig::default());
        let id = engine.add(endless(vec![1, 2, 3], 30)).unwrap();
        let mut transcripts = Transcripts::default();
        run_dry(&mut engine, &mut transcripts);
        transcripts.of(id).ids()
    };
    let (mut engine, probe) = engine(64, config);
    let answer = engine.add(endless(vec![1, 2, 3], 30)).unwrap();
    let texts: Vec<SequenceId> = (0..9)
        .map(|number| {
            let pooling = [Pooling::Last, Pooling::Mean][number % 2];
            engine.add(text(&TEXT[..number + 1], pooling)).unwrap()
        })
        .collect();
    let (mut said, mut steps, mut spoken) = (Vec::new(), 0, 0);
    while engine.has_work() {
        let step = engine.step();
        engine.check_invariants();
        steps += 1;
        spoken += usize::from(step.iter().any(|output| output.sequence == answer));
        said.extend(step);
    }
    // The answer has a token in every step it lives in: no text is before it.
    assert_eq!((spoken, steps), (30, 30));
    let ids: Vec<u32> = said
        .iter()
        .filter(|output| output.sequence == answer)
        .filter_map(|output| match &output.result {
            Ok(Generated::Token { id, .. }) => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(ids, alone);
    for (number, id) in texts.into_iter().enumerate() {
        let pooling = [Pooling::Last, Pooling::Mean][number % 2];
        assert_eq!(
            vector(&said, id),
            expected(&TEXT[..number + 1], pooling),
            "{number}"
        );
    }
    let probe = probe.lock().unwrap();
    let tokens = |batches: &[Batch]| batches.iter().map(|batch| batch.tokens.len()).max();
    assert!(tokens(&probe.batches) <= Some(6) && tokens(&probe.pooled) <= Some(6));
}

#[test]
fn a_text_that_is_preempted_begins_anew() {
    // Two answers grow until the youngest, which is the text, has to give its blocks back.
    for pooling in [Pooling::Last, Pooling::Mean] {
        let config = EngineConfig {
            max_num_batched_tokens: 3,
            ..EngineConfig::default()
        };
        let (mut engine, _) = engine(11, config);
        for _ in 0..2 {
            engine.add(endless(vec![1, 2, 3], 18)).unwrap();
        }
        let mut said = engine.step();
        let tokens: Vec<u32> = TEXT.iter().chain(&TEXT).copied().collect();
        let id = engine.add(text(&tokens, pooling)).unwrap();
        said.extend(run(&mut engine));
        assert_eq!(vector(&said, id), expected(&tokens, pooling));
        assert!(engine.counters().preemptions > 0, "{:?}", engine.counters());
    }
}

#[test]
fn a_text_can_be_given_up_and_frees_its_blocks() {
    let config = EngineConfig {
        max_num_batched_tokens: 2,
        ..EngineConfig::default()
    };
    let (mut engine, probe) = engine(16, config);
    let id = engine.add(text(&TEXT, Pooling::Mean)).unwrap();
    assert!(engine.step().is_empty());
    assert!(engine.counters().blocks_used > 0);
    assert!(engine.abort(id));
    assert_eq!(engine.counters().blocks_used, 0);
    assert!(engine.step().is_empty());
    assert_eq!(probe.lock().unwrap().released, [id]);
}

#[test]
fn a_failed_pass_ends_its_texts_and_no_answer() {
    type Spoil = fn(&mut Probe);
    let cases: [(&str, Spoil); 3] = [
        ("out of luck", |probe| {
            probe.fail_next = Some(EngineError::Runner("out of luck".into()));
        }),
        ("hidden values, not", |probe| probe.drop_row = true),
        ("not finite", |probe| probe.spoil_row = true),
    ];
    for (reason, spoil) in cases {
        let (mut engine, probe) = engine(16, EngineConfig::default());
        let id = engine.add(text(&TEXT, Pooling::Mean)).unwrap();
        spoil(&mut probe.lock().unwrap());
        let said = run(&mut engine);
        assert!(
            matches!(&said[..], [StepOutput { sequence, result: Err(EngineError::Runner(message)) }]
                if *sequence == id && message.contains(reason)),
            "{reason}: {said:?}"
        );
        assert_eq!(probe.lock().unwrap().released, [id]);
        assert_eq!(engine.counters().blocks_used, 0);
        let again = engine.add(text(&TEXT, Pooling::Mean)).unwrap();
        let said = run(&mut engine);
        assert_eq!(vector(&said, again), expected(&TEXT, Pooling::Mean));
    }
}

#[test]
fn what_is_too_long_or_cannot_be_done_is_refused() {
    let (mut engine, _) = engine(64, EngineConfig::default());
    // Nothing is generated behind it, whatever the request says of that: the context may be full.
    let full = vec![1; 64];
    let id = engine.add(text(&full, Pooling::Last)).unwrap();
    assert_eq!(
        vector(&run(&mut engine), id),
        expected(&full, Pooling::Last)
    );
    let error = engine.add(text(&[1; 65], Pooling::Last)).unwrap_err();
    assert!(matches!(
        error,
        EngineError::TooLong {
            needed: 65,
            limit: 64,
            ..
        }
    ));

    /// A runner as it was before there were vectors.
    struct Plain(RunnerInfo);
    impl ModelRunner for Plain {
        fn info(&self) -> &RunnerInfo {
            &self.0
        }
        fn execute_into(&mut self, _: &Batch, _: &mut Logits) -> Result<(), EngineError> {
            Ok(())
        }
    }
    let mut engine = Engine::new(Box::new(Plain(info(4))), EngineConfig::default());
    let error = engine.add(text(&[1], Pooling::Last)).unwrap_err();
    assert!(error.to_string().contains("makes no vectors"), "{error}");
    assert!(
        Plain(info(4))
            .hidden_into(&Batch::default(), &mut Vec::new())
            .is_err()
    );
}
