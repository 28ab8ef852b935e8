//! Tests of the engine as a whole, over runners whose logits give every mistake away. Parts are tested beside their code.

mod arithmetic_runner;
mod batching;
mod constraints;
mod embeddings;
mod fake_runner;
mod measurements;
mod parts;
mod pooling;
mod prefix_cache;
mod priority;
mod prompt_logprobs;
mod soak;
mod steps;

use std::collections::BTreeMap;

use crate::{
    Engine, EngineError, FinishReason, Generated, SequenceId, SequenceRequest, StepOutput,
    StopConditions, TokenLogprobs,
};

/// What a stream's reader would have seen of one sequence.
#[derive(Debug, Clone, PartialEq, Default)]
struct Transcript {
    prompt: Option<Vec<TokenLogprobs>>,
    tokens: Vec<Generated>,
    end_token: Option<u32>,
    vector: Option<Vec<f32>>,
    end: Option<Result<Generated, EngineError>>,
}

impl Transcript {
    fn ids(&self) -> Vec<u32> {
        let id = |generated: &Generated| match generated {
            Generated::Token { id, .. } => *id,
            other => panic!("not a token: {other:?}"),
        };
        self.tokens.iter().map(id).collect()
    }

    /// The same, as if nothing had been cached: what was is the neighbours' doing.
    fn uncached(mut self) -> Self {
        for token in &mut self.tokens {
            if let Generated::Token { cached_tokens, .. } = token {
                *cached_tokens = 0;
            }
        }
        if let Some(Ok(Generated::Finished { usage, .. })) = &mut self.end {
            usage.cached_tokens = 0;
        }
        self
    }

    /// Prompt tokens that were not computed.
    fn cached_tokens(&self) -> usize {
        match &self.end {
            Some(Ok(Generated::Finished { usage, .. })) => usage.cached_tokens,
            other => panic!("not finished: {other:?}"),
        }
    }

    fn reason(&self) -> FinishReason {
        match &self.end {
            Some(Ok(Generated::Finished { reason, .. })) => *reason,
            other => panic!("not finished: {other:?}"),
        }
    }
}

/// Everything an engine has said, by sequence.
#[derive(Default)]
struct Transcripts(BTreeMap<SequenceId, Transcript>);

impl Transcripts {
    fn record(&mut self, outputs: Vec<StepOutput>) {
        for StepOutput { sequence, result } in outputs {
            let transcript = self.0.entry(sequence).or_default();
            assert_eq!(transcript.end, None, "{sequence:?} spoke after its end");
            match result {
                Ok(token @ Generated::Token { .. }) => transcript.tokens.push(token),
                Ok(Generated::Prompt { logprobs }) => {
                    let before = transcript.prompt.replace(logprobs);
                    assert_eq!((before, transcript.tokens.len()), (None, 0));
                }
                Ok(Generated::EndToken { id, .. }) => transcript.end_token = Some(id),
                Ok(Generated::Vector(vector)) => transcript.vector = Some(vector),
                end => transcript.end = Some(end),
            }
        }
    }

    fn of(&self, id: SequenceId) -> Transcript {
        self.0.get(&id).cloned().unwrap_or_default()
    }
}

/// Steps until nothing is left to do.
fn run_dry(engine: &mut Engine, transcripts: &mut Transcripts) {
    let mut idle_steps = 0;
    while engine.has_work() {
        let before = engine.counters().computed_tokens;
        transcripts.record(engine.step());
        engine.check_invariants();
        idle_steps = if engine.counters().computed_tokens > before {
            0
        } else {
            idle_steps + 1
        };
        assert!(
            idle_steps < 3,
            "the engine has work and does nothing: {:?}",
            engine.counters()
        );
    }
}

/// A greedy request.
fn greedy(prompt: Vec<u32>, max_tokens: Option<usize>) -> SequenceRequest {
    SequenceRequest {
        prompt,
        sampling: crate::SamplingParams {
            temperature: 0.0,
            ..Default::default()
        },
        stop: StopConditions {
            max_tokens,
            ..StopConditions::default()
        },
        constraint: None,
        embeddings: None,
        pooling: None,
        priority: 0,
    }
}

/// Runs on past eos, so that its length is known.
fn endless(prompt: Vec<u32>, max_tokens: usize) -> SequenceRequest {
    let stop = StopConditions {
        max_tokens: Some(max_tokens),
        ignore_eos: true,
        ..StopConditions::default()
    };
    SequenceRequest {
        stop,
        ..greedy(prompt, None)
    }
}
