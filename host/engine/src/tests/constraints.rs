//! Tokens that a constraint forces: computed together, said one by one, and the same as if each had been asked for.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{Transcript, Transcripts, arithmetic_runner::ArithmeticRunner, run_dry};
use crate::{
    Constraint, Engine, EngineConfig, EngineError, FinishReason, Generated, LogitsProcessor,
    RunnerInfo, SamplingParams, SequenceRequest, StopConditions,
};

const VOCAB: u32 = 24;

/// Tokens that are no multiple of three may be chosen; each of them whose rest is 1 forces its successors.
#[derive(Debug, Clone)]
pub struct Rhythm {
    /// Forced before anything is chosen.
    pub begins: Vec<u32>,
    /// How many successors a token forces.
    pub run: u32,
    /// Tokens, after which it forces an end.
    pub length: usize,
    /// It says in time what is forced only every so often.
    pub late: u32,
}

struct Beat {
    rhythm: Rhythm,
    end: u32,
    forced: VecDeque<u32>,
    accepted: usize,
    asked: u32,
}

impl Constraint for Rhythm {
    fn processor(&self, end_tokens: &[u32]) -> Box<dyn LogitsProcessor> {
        Box::new(Beat {
            rhythm: self.clone(),
            end: end_tokens[0],
            forced: self.begins.iter().copied().collect(),
            accepted: 0,
            asked: 0,
        })
    }
}

/// A token that is no end.
fn successor(token: u32, n: u32) -> u32 {
    1 + (token + n) % (VOCAB - 1)
}

impl LogitsProcessor for Beat {
    fn apply(&mut self, logits: &mut [f32]) {
        for (id, logit) in (0..).zip(logits) {
            let chosen = match self.forced.front() {
                Some(forced) => id == *forced,
                None => id % 3 != 0 && id != self.end,
            };
            if !chosen {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    fn accept(&mut self, token: u32) {
        self.accepted += 1;
        let forced = self.forced.pop_front();
        assert!(
            forced.is_none_or(|forced| forced == token),
            "{token} stands in place of {forced:?}"
        );
        if self.forced.is_empty() && token % 3 == 1 {
            self.forced = (1..=self.rhythm.run).map(|n| successor(token, n)).collect();
        }
        if self.accepted >= self.rhythm.length {
            self.forced.push_front(self.end);
        }
    }

    fn forced(&mut self, patience: Duration) -> Option<u32> {
        self.asked += 1;
        let in_time = patience == Duration::MAX || self.asked.is_multiple_of(self.rhythm.late);
        self.forced.front().copied().filter(|_| in_time)
    }
}

fn request(rhythm: Rhythm, max_tokens: usize) -> SequenceRequest {
    SequenceRequest {
        prompt: (1..9).collect(),
        sampling: SamplingParams {
            seed: Some(5),
            ..SamplingParams::default()
        },
        stop: StopConditions {
            max_tokens: Some(max_tokens),
            ..StopConditions::default()
        },
        constraint: Some(Arc::new(rhythm)),
        embeddings: None,
        pooling: None,
        priority: 0,
    }
}

fn rhythm(late: u32) -> Rhythm {
    Rhythm {
        begins: vec![7, 9, 11],
        run: 4,
        length: 40,
        late,
    }
}

fn engine() -> Engine {
    let info = RunnerInfo {
        vocab_size: VOCAB as usize,
        max_model_len: 128,
        block_size: 4,
        num_blocks: 64,
        eos_token_ids: vec![0],
    };
    Engine::new(
        Box::new(ArithmeticRunner::new(info).0),
        EngineConfig::default(),
    )
}

/// What it says, the steps it took, and the tokens that were forced.
fn answer(request: SequenceRequest) -> (Transcript, u64, u64) {
    let mut engine = engine();
    let id = engine.add(request).expect("a request");
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    let counters = engine.counters();
    let said = transcripts.of(id);
    let ended = usize::from(said.reason() == FinishReason::Stop);
    assert_eq!(
        counters.generated_tokens as usize,
        said.tokens.len() + ended
    );
    (said, counters.steps, counters.forced_tokens)
}

#[test]
fn forced_tokens_take_no_step_of_their_own() {
    let (said, steps, forced) = answer(request(rhythm(1), 60));
    assert_eq!(said.ids()[..3], [7, 9, 11]);
    assert_eq!(said.ids().len(), 40);
    assert_eq!(said.reason(), FinishReason::Stop);
    // Every token but the forced ones takes a step, and what is forced first does.
    assert_eq!(steps, 41 - forced + 1);
    assert!(steps < 25, "{steps}");
    let Some(Ok(Generated::Finished { usage, .. })) = said.end else {
        panic!("it has ended");
    };
    assert_eq!(usage.completion_tokens, 41);
}

#[test]
fn what_is_known_late_or_told_of_changes_no_token() {
    let (said, steps, _) = answer(request(rhythm(1), 60));
    for late in [2, 3, 1000] {
        let (later, more_steps, _) = answer(request(rhythm(late), 60));
        assert_eq!(later, said);
        assert!(more_steps > steps);
    }
    let mut told = request(rhythm(1), 60);
    told.sampling.logprobs = Some(2);
    let (told, steps, _) = answer(told);
    assert_eq!(told.ids(), said.ids());
    assert_eq!(steps, 41);
    let logprobs = told.tokens.iter().map(|token| match token {
        Generated::Token { logprobs, .. } => logprobs.as_ref(),
        other => panic!("{other:?}"),
    });
    assert!(
        logprobs
            .flatten()
            .all(|logprobs| logprobs.sampled < 0.0 && logprobs.top.len() == 2)
    );
    assert_eq!(told.end_token, Some(0));
}

#[test]
fn forced_tokens_obey_the_limits() {
    let (whole, ..) = answer(request(rhythm(1), 60));
    for max_tokens in 1..20 {
        let (cut, ..) = answer(request(rhythm(1), max_tokens));
        assert_eq!(cut.ids(), whole.ids()[..max_tokens]);
        assert_eq!(cut.reason(), FinishReason::Length);
    }
    let mut stopped = request(rhythm(1), 60);
    stopped.stop.stop_token_ids = vec![9];
    let (stopped, ..) = answer(stopped);
    assert_eq!(
        (stopped.ids(), stopped.reason()),
        (vec![7], FinishReason::Stop)
    );
    // What is finished ends, whatever else was asked for.
    let mut longer = request(rhythm(1), 60);
    longer.stop.min_tokens = 50;
    assert_eq!(answer(longer).0, whole);
}

#[test]
fn penalties_see_forced_tokens() {
    let penalized = |run| {
        let mut request = request(Rhythm { run, ..rhythm(1) }, 60);
        request.sampling.temperature = 0.0;
        request.sampling.presence_penalty = 100.0;
        answer(request).0.ids()
    };
    // Chosen tokens are all different, and none was forced before, while there are such.
    let ids = penalized(4);
    for (index, id) in ids.iter().enumerate().take(9).skip(3) {
        let forced = ids[index.saturating_sub(4)..index]
            .iter()
            .any(|before| before % 3 == 1 && (1..=4).any(|n| successor(*before, n) == *id));
        assert!(forced || !ids[..index].contains(id), "{ids:?}");
    }
}

#[test]
fn a_constraint_needs_an_end() {
    let mut request = request(rhythm(1), 60);
    request.stop.ignore_eos = true;
    let refused = engine().add(request.clone());
    assert!(
        matches!(refused, Err(EngineError::InvalidRequest(_))),
        "{refused:?}"
    );
    request.stop.stop_token_ids = vec![2];
    assert_eq!(answer(request).0.reason(), FinishReason::Stop);
}

/// Fails behind its first token.
#[derive(Debug)]
struct Broken(usize);

impl Constraint for Broken {
    fn processor(&self, _end_tokens: &[u32]) -> Box<dyn LogitsProcessor> {
        Box::new(Self(0))
    }
}

impl LogitsProcessor for Broken {
    fn apply(&mut self, logits: &mut [f32]) {
        if self.0 > 0 {
            logits.fill(f32::NEG_INFINITY);
        }
    }

    fn accept(&mut self, _token: u32) {
        self.0 += 1;
    }

    fn failure(&self) -> Option<String> {
        (self.0 > 0).then(|| "too complex".to_owned())
    }
}

#[test]
fn a_constraint_that_fails_ends_its_sequence_only() {
    let mut engine = engine();
    let broken = SequenceRequest {
        constraint: Some(Arc::new(Broken(0))),
        embeddings: None,
        ..request(rhythm(1), 60)
    };
    let other = engine.add(request(rhythm(1), 60)).expect("a request");
    let id = engine.add(broken).expect("a request");
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    let failed = transcripts.of(id);
    assert_eq!(failed.tokens.len(), 1);
    assert_eq!(
        failed.end,
        Some(Err(EngineError::Constraint("too complex".to_owned())))
    );
    assert_eq!(transcripts.of(other), answer(request(rhythm(1), 60)).0);
    assert!(engine.counters().blocks_cached > 0);
}
