//! What a request does to the logits before a token is chosen: a list of small processors, applied in list order.
//!
//! Invariants: a processor sees every generated token of its sequence exactly once, in order (recomputing a preempted
//! sequence shows it nothing again); it touches nothing but the row it is given. Choosing the token is the sampler's part.

use std::time::Duration;

use crate::request::{SamplingParams, SequenceRequest};

mod reasoning_budget;

pub use reasoning_budget::{ReasoningBudget, TokenTexts};

/// Changes one sequence's logits in place; keeps whatever state it needs of that sequence.
pub trait LogitsProcessor: Send {
    /// Its sequence starts: what takes time may begin, on another thread.
    fn prepare(&mut self) {}

    /// Changes the logits of the next token. A token is forbidden with negative infinity.
    fn apply(&mut self, logits: &mut [f32]);

    /// Learns which token was chosen.
    fn accept(&mut self, token: u32);

    /// The next token, where no other is possible whatever the logits; waits so long at most to find out. Asked of a
    /// constraint only.
    fn forced(&mut self, _patience: Duration) -> Option<u32> {
        None
    }

    /// From the next accepted token on so many tokens are left: what it forces is an end, if it finds one so short.
    /// Asked of a constraint only.
    fn close(&mut self, _tokens: usize) {}

    /// Why it cannot go on, if it cannot: it has forbidden every token then.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// The processors that a request asks for, in the order they apply; masks stand last, so that nothing lifts them again.
/// `end_tokens` are those that would end the sequence.
pub fn processors_for(
    request: &SequenceRequest,
    end_tokens: &[u32],
) -> Vec<Box<dyn LogitsProcessor>> {
    let mut processors: Vec<Box<dyn LogitsProcessor>> = Vec::new();
    // Places for embeddings are no tokens that could be said again.
    let prompt = match request.embeddings {
        None => request.prompt.as_slice(),
        Some(_) => &[],
    };
    if let Some(penalties) = Penalties::new(&request.sampling, prompt) {
        processors.push(Box::new(penalties));
    }
    if !request.sampling.logit_bias.is_empty() {
        processors.push(Box::new(LogitBias {
            bias: request.sampling.logit_bias.clone(),
        }));
    }
    if let Some(allowed) = &request.sampling.allowed_tokens {
        processors.push(Box::new(AllowedTokens {
            allowed: allowed.clone(),
            kept: Vec::new(),
        }));
    }
    if !request.sampling.bad_words.is_empty() {
        processors.push(Box::new(BadWords {
            words: request.sampling.bad_words.clone(),
            output: Vec::new(),
        }));
    }
    if request.stop.min_tokens > 0 && !end_tokens.is_empty() {
        processors.push(Box::new(MinTokens {
            missing: request.stop.min_tokens,
            end_tokens: end_tokens.to_vec(),
        }));
    }
    if let Some(budget) = &request.stop.reasoning {
        processors.push(budget.processor());
    }
    if let Some(constraint) = &request.constraint {
        processors.push(constraint.processor(end_tokens));
    }
    processors
}

/// Penalties on tokens that were there before: of prompt and output by one factor (Keskar et al. 2019, CTRL, section 4.1;
/// negative logits are multiplied, so that the penalty always lowers them), and OpenAI's, subtracted once, and per
/// occurrence, from those of the output.
struct Penalties {
    repetition: f32,
    presence: f32,
    frequency: f32,
    /// Each token once: first the prompt's, sorted, as far as they matter; then the others of the output.
    seen: Vec<Seen>,
    prompt_tokens: usize,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    token: u32,
    /// Occurrences in the output.
    count: u32,
}

impl Penalties {
    fn new(params: &SamplingParams, prompt: &[u32]) -> Option<Self> {
        let (presence, frequency) = (params.presence_penalty, params.frequency_penalty);
        let repetition = params.repetition_penalty;
        let repeats = repetition != 1.0;
        if !repeats && presence == 0.0 && frequency == 0.0 {
            return None;
        }
        let mut tokens = if repeats { prompt.to_vec() } else { Vec::new() };
        tokens.sort_unstable();
        tokens.dedup();
        let seen = tokens.iter().map(|&token| Seen { token, count: 0 });
        Some(Self {
            repetition,
            presence,
            frequency,
            prompt_tokens: tokens.len(),
            seen: seen.collect(),
        })
    }
}

impl LogitsProcessor for Penalties {
    fn apply(&mut self, logits: &mut [f32]) {
        for &Seen { token, count } in &self.seen {
            let Some(logit) = logits.get_mut(token as usize) else {
                continue;
            };
            *logit = if *logit > 0.0 {
                *logit / self.repetition
            } else {
                *logit * self.repetition
            };
            if count > 0 {
                *logit -= self.presence + self.frequency * count as f32;
            }
        }
    }

    fn accept(&mut self, token: u32) {
        let (prompt, output) = self.seen.split_at_mut(self.prompt_tokens);
        let known = match prompt.binary_search_by_key(&token, |seen| seen.token) {
            Ok(index) => prompt.get_mut(index),
            Err(_) => output.iter_mut().find(|seen| seen.token == token),
        };
        match known {
            Some(seen) => seen.count += 1,
            None => self.seen.push(Seen { token, count: 1 }),
        }
    }
}

/// Adds a fixed number to some logits.
struct LogitBias {
    bias: Vec<(u32, f32)>,
}

impl LogitsProcessor for LogitBias {
    fn apply(&mut self, logits: &mut [f32]) {
        for &(token, bias) in &self.bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
    }

    fn accept(&mut self, _token: u32) {}
}

/// Forbids all tokens but some.
struct AllowedTokens {
    allowed: Vec<u32>,
    /// Their logits, while the others are masked.
    kept: Vec<f32>,
}

impl LogitsProcessor for AllowedTokens {
    fn apply(&mut self, logits: &mut [f32]) {
        let logit = |token: &u32| logits.get(*token as usize).copied();
        let kept = self.allowed.iter().map(logit);
        self.kept.clear();
        self.kept
            .extend(kept.map(|logit| logit.unwrap_or(f32::NEG_INFINITY)));
        logits.fill(f32::NEG_INFINITY);
        for (&token, &kept) in self.allowed.iter().zip(&self.kept) {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = kept;
            }
        }
    }

    fn accept(&mut self, _token: u32) {}
}

/// Forbids the token that would complete a row of tokens.
struct BadWords {
    words: Vec<Vec<u32>>,
    output: Vec<u32>,
}

impl LogitsProcessor for BadWords {
    fn apply(&mut self, logits: &mut [f32]) {
        for word in &self.words {
            if let Some((&last, before)) = word.split_last()
                && self.output.ends_with(before)
                && let Some(logit) = logits.get_mut(last as usize)
            {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    fn accept(&mut self, token: u32) {
        self.output.push(token);
    }
}

/// Forbids the tokens that end the sequence until enough tokens stand.
struct MinTokens {
    missing: usize,
    end_tokens: Vec<u32>,
}

impl LogitsProcessor for MinTokens {
    fn apply(&mut self, logits: &mut [f32]) {
        if self.missing == 0 {
            return;
        }
        for &token in &self.end_tokens {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    fn accept(&mut self, _token: u32) {
        self.missing = self.missing.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{PromptEmbeddings, StopConditions};

    /// Logits after processing `[2, -2, 1, 0]` behind the prompt `[0, 1]` and the given output.
    fn processed(sampling: SamplingParams, min_tokens: usize, output: &[u32]) -> Vec<f32> {
        let stop = StopConditions {
            min_tokens,
            ..StopConditions::default()
        };
        let mut processors = processors_for(
            &SequenceRequest {
                prompt: vec![0, 1],
                sampling,
                stop,
                constraint: None,
                embeddings: None,
                pooling: None,
                priority: 0,
            },
            &[2],
        );
        for processor in &mut processors {
            output.iter().for_each(|&token| processor.accept(token));
        }
        let mut logits = vec![2.0, -2.0, 1.0, 0.0];
        processors
            .iter_mut()
            .for_each(|processor| processor.apply(&mut logits));
        logits
    }

    #[test]
    fn places_for_embeddings_are_not_penalised() {
        let request = SequenceRequest {
            prompt: vec![0, 0],
            sampling: SamplingParams {
                repetition_penalty: 2.0,
                ..SamplingParams::default()
            },
            stop: StopConditions::default(),
            constraint: None,
            embeddings: PromptEmbeddings::new(vec![1.0; 6], 3),
            pooling: None,
            priority: 0,
        };
        let mut logits = [2.0, -2.0];
        for processor in &mut processors_for(&request, &[]) {
            processor.apply(&mut logits);
            processor.accept(1);
        }
        assert_eq!(logits, [2.0, -2.0]);
    }

    const MASKED: f32 = f32::NEG_INFINITY;

    /// Name, what is asked, `min_tokens`, output so far, the logits then.
    type Case = (
        &'static str,
        fn(&mut SamplingParams),
        usize,
        &'static [u32],
        [f32; 4],
    );

    #[test]
    fn each_processor_does_its_arithmetic() {
        let cases: [Case; 9] = [
            ("nothing asked", |_| (), 0, &[2], [2.0, -2.0, 1.0, 0.0]),
            (
                "repetition",
                |p| p.repetition_penalty = 2.0,
                0,
                &[],
                [1.0, -4.0, 1.0, 0.0],
            ),
            (
                "repeated output",
                |p| p.repetition_penalty = 2.0,
                0,
                &[2, 2],
                [1.0, -4.0, 0.5, 0.0],
            ),
            (
                "presence",
                |p| p.presence_penalty = 0.5,
                0,
                &[3, 3],
                [2.0, -2.0, 1.0, -0.5],
            ),
            (
                "frequency",
                |p| p.frequency_penalty = 0.5,
                0,
                &[3, 3],
                [2.0, -2.0, 1.0, -1.0],
            ),
            (
                "bias",
                |p| p.logit_bias = vec![(1, 5.0), (3, -1.0)],
                0,
                &[],
                [2.0, 3.0, 1.0, -1.0],
            ),
            (
                "too short to end",
                |_| (),
                2,
                &[3],
                [2.0, -2.0, MASKED, 0.0],
            ),
            (
                "long enough to end",
                |_| (),
                2,
                &[3, 3],
                [2.0, -2.0, 1.0, 0.0],
            ),
            (
                "bias lifts no mask",
                |p| p.logit_bias = vec![(2, 9.0)],
                1,
                &[],
                [2.0, -2.0, MASKED, 0.0],
            ),
        ];
        check(&cases);
    }

    #[test]
    fn words_are_kept_to_and_kept_out() {
        let cases: [Case; 4] = [
            (
                "two allowed, and a bias lifts no other",
                |p| {
                    p.allowed_tokens = Some(vec![3, 0]);
                    p.logit_bias = vec![(1, 9.0)];
                },
                0,
                &[],
                [2.0, MASKED, MASKED, 0.0],
            ),
            (
                "a bad word of one token",
                |p| p.bad_words = vec![vec![0]],
                0,
                &[],
                [MASKED, -2.0, 1.0, 0.0],
            ),
            (
                "a bad word that would be complete",
                |p| p.bad_words = vec![vec![3, 1, 2]],
                0,
                &[0, 3, 1],
                [2.0, -2.0, MASKED, 0.0],
            ),
            (
                "a bad word that has only begun",
                |p| p.bad_words = vec![vec![3, 1, 2]],
                0,
                &[1, 3],
                [2.0, -2.0, 1.0, 0.0],
            ),
        ];
        check(&cases);
    }

    fn check(cases: &[Case]) {
        for (name, change, min_tokens, output, expected) in cases {
            let mut sampling = SamplingParams::default();
            change(&mut sampling);
            assert_eq!(
                processed(sampling, *min_tokens, output),
                *expected,
                "{name}"
            );
        }
    }
}
