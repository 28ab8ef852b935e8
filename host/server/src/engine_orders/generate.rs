//! The order `generate`: requests through a fresh engine, as fast as it goes, and what came of it.
//!
//! Tokens are chosen greedily and answers run on to their length, so that the work is the same in every run.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};
use weir_engine::{
    Engine, EngineConfig, EngineCounters, Generated, SamplingParams, SequenceId, SequenceRequest,
    StepOutput, StopConditions,
};

use super::{OrderError, SharedRunner};

/// Requests, and the engine they run on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateOrder {
    /// What to generate.
    pub requests: Vec<Request>,
    /// Requests under way at once: the next one starts when one has ended. All of them without it.
    #[serde(default)]
    pub concurrency: Option<usize>,
    /// Sequences computed in one step at most; as many as are under way without it.
    #[serde(default)]
    pub max_num_seqs: Option<usize>,
    /// Tokens computed in one step at most.
    #[serde(default = "default_tokens_per_step")]
    pub max_num_batched_tokens: usize,
    /// Whether requests share the KV of equal beginnings; nothing is left of earlier orders.
    #[serde(default)]
    pub prefix_cache: bool,
    /// Whether the answer holds the generated tokens.
    #[serde(default)]
    pub tokens: bool,
}

/// One sequence.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its token ids.
    pub prompt: Vec<u32>,
    /// Tokens to generate.
    pub max_tokens: usize,
}

fn default_tokens_per_step() -> usize {
    512
}

/// What a run has come to so far.
struct Run {
    engine: Engine,
    waiting: VecDeque<(usize, Request)>,
    /// Which request a sequence answers.
    running: HashMap<SequenceId, usize>,
    concurrency: usize,
    tokens: Vec<Vec<u32>>,
    first_tokens: usize,
    all_begun: Option<Duration>,
    /// Of the steps in which each of the sequences under way decoded one token.
    decode_steps: Vec<Duration>,
}

/// Runs it.
///
/// The answer: `seconds` of all of it; `all_begun_seconds` until every request had its first token; `prompt_tokens`,
/// `generated_tokens`, `computed_tokens` and `steps`; `decode` with `steps`, `seconds` and `median_ms` of those steps in which
/// all of `concurrency` sequences decoded one token each and nothing else was computed; `preemptions`, `prefix_hit_tokens`;
/// and `tokens`, in the order of the requests, where asked for.
pub(super) fn run(runner: &SharedRunner, order: GenerateOrder) -> Result<Value, OrderError> {
    let count = order.requests.len();
    let concurrency = order.concurrency.unwrap_or(count).clamp(1, count.max(1));
    let prompt_tokens: usize = order.requests.iter().map(|r| r.prompt.len()).sum();
    let config = EngineConfig {
        max_num_batched_tokens: order.max_num_batched_tokens,
        max_num_seqs: order.max_num_seqs.unwrap_or(concurrency),
        max_queue: count,
        prefix_cache: order.prefix_cache,
    };
    let mut run = Run {
        engine: Engine::new(Box::new(runner.clone()), config),
        waiting: order.requests.into_iter().enumerate().collect(),
        running: HashMap::new(),
        concurrency,
        tokens: vec![Vec::new(); count],
        first_tokens: 0,
        all_begun: None,
        decode_steps: Vec::new(),
    };
    let begun = Instant::now();
    let mut outputs = Vec::new();
    while run.fill()? {
        run.step(&mut outputs, begun)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let EngineCounters {
        steps,
        computed_tokens,
        generated_tokens,
        preemptions,
        prefix_hit_tokens,
        ..
    } = run.engine.counters();
    Ok(json!({
        "seconds": seconds,
        "all_begun_seconds": run.all_begun.map(|time| time.as_secs_f64()),
        "prompt_tokens": prompt_tokens,
        "generated_tokens": generated_tokens,
        "computed_tokens": computed_tokens,
        "steps": steps,
        "decode": describe(&mut run.decode_steps),
        "preemptions": preemptions,
        "prefix_hit_tokens": prefix_hit_tokens,
        "tokens": order.tokens.then_some(run.tokens),
    }))
}

impl Run {
    /// Starts requests until enough are under way; whether there is anything to do.
    fn fill(&mut self) -> Result<bool, OrderError> {
        while self.running.len() < self.concurrency
            && let Some((number, request)) = self.waiting.pop_front()
        {
            let id = self.engine.add(SequenceRequest {
                prompt: request.prompt,
                sampling: SamplingParams {
                    temperature: 0.0,
                    ..SamplingParams::default()
                },
                stop: StopConditions {
                    max_tokens: Some(request.max_tokens),
                    ignore_eos: true,
                    ..StopConditions::default()
                },
                constraint: None,
                embeddings: None,
                pooling: None,
                priority: 0,
            })?;
            self.running.insert(id, number);
        }
        Ok(!self.running.is_empty())
    }

    fn step(&mut self, outputs: &mut Vec<StepOutput>, begun: Instant) -> Result<(), OrderError> {
        let under_way = self.running.len();
        let computed = self.engine.counters().computed_tokens;
        let start = Instant::now();
        self.engine.step_into(outputs);
        let took = start.elapsed();
        let computed = self.engine.counters().computed_tokens - computed;
        let (mut sampled, mut first) = (0, 0);
        for output in outputs.drain(..) {
            let Some(&number) = self.running.get(&output.sequence) else {
                continue;
            };
            match output.result? {
                Generated::Token { id, .. } => {
                    sampled += 1;
                    first += usize::from(self.tokens[number].is_empty());
                    self.tokens[number].push(id);
                }
                Generated::Finished { .. } => {
                    self.running.remove(&output.sequence);
                }
                Generated::Text(_)
                | Generated::Prompt { .. }
                | Generated::EndToken { .. }
                | Generated::Vector(_) => {}
            }
        }
        self.first_tokens += first;
        if first > 0 && self.first_tokens == self.tokens.len() {
            self.all_begun = Some(begun.elapsed());
        }
        if first == 0
            && under_way == self.concurrency
            && (sampled, computed) == (under_way, under_way as u64)
        {
            self.decode_steps.push(took);
        }
        Ok(())
    }
}

fn describe(steps: &mut [Duration]) -> Value {
    steps.sort_unstable();
    let seconds: Duration = steps.iter().sum();
    let median = steps.get(steps.len() / 2);
    json!({
        "steps": steps.len(),
        "seconds": seconds.as_secs_f64(),
        "median_ms": median.map(|median| median.as_secs_f64() * 1e3),
    })
}
