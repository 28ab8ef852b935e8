//! What a request does to the logits before a token is chosen: a list of small processors, applied in list order.
//!
//! Invariants: a processor sees every generated token of its sequence exactly once, in order (recomputing a preempted
//! sequence shows it nothing again); it touches nothing but the row it is given. Choosing the token is the sampler's part.

use std::collections::{HashMap, HashSet};

use crate::request::{SamplingParams, SequenceRequest};

/// Changes one sequence's logits in place; keeps whatever state it needs of that sequence.
pub trait LogitsProcessor: Send {
    /// Changes the logits of the next token. A token is forbidden with negative infinity.
    fn apply(&mut self, logits: &mut [f32]);

    /// Learns which token was chosen.
    fn accept(&mut self, token: u32);
}

/// The processors that a request asks for, in the order they apply; masks stand last, so that nothing lifts them again.
/// `end_tokens` are those that would end the sequence.
pub fn processors_for(
    request: &SequenceRequest,
    end_tokens: &[u32],
) -> Vec<Box<dyn LogitsProcessor>> {
    let mut processors: Vec<Box<dyn LogitsProcessor>> = Vec::new();
    if let Some(repetition) = RepetitionPenalty::new(&request.sampling, &request.prompt) {
        processors.push(Box::new(repetition));
    }
    if let Some(occurrence) = OccurrencePenalty::new(&request.sampling) {
        processors.push(Box::new(occurrence));
    }
    if !request.sampling.logit_bias.is_empty() {
        processors.push(Box::new(LogitBias {
            bias: request.sampling.logit_bias.clone(),
        }));
    }
    if request.stop.min_tokens > 0 && !end_tokens.is_empty() {
        processors.push(Box::new(MinTokens {
            missing: request.stop.min_tokens,
            end_tokens: end_tokens.to_vec(),
        }));
    }
    if let Some(constraint) = &request.constraint {
        processors.push(constraint.processor(end_tokens));
    }
    processors
}

/// Makes tokens of prompt and output less likely by one factor (Keskar et al. 2019, CTRL, section 4.1; negative logits
/// are multiplied, so that the penalty always lowers them).
struct RepetitionPenalty {
    penalty: f32,
    seen: HashSet<u32>,
}

impl RepetitionPenalty {
    fn new(params: &SamplingParams, prompt: &[u32]) -> Option<Self> {
        let penalty = params.repetition_penalty;
        (penalty != 1.0).then(|| Self {
            penalty,
            seen: prompt.iter().copied().collect(),
        })
    }
}

impl LogitsProcessor for RepetitionPenalty {
    fn apply(&mut self, logits: &mut [f32]) {
        for &token in &self.seen {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = if *logit > 0.0 {
                    *logit / self.penalty
                } else {
                    *logit * self.penalty
                };
            }
        }
    }

    fn accept(&mut self, token: u32) {
        self.seen.insert(token);
    }
}

/// OpenAI's presence and frequency penalties: subtracted once, and per occurrence, from the logits of output tokens.
struct OccurrencePenalty {
    presence: f32,
    frequency: f32,
    occurrences: HashMap<u32, u32>,
}

impl OccurrencePenalty {
    fn new(params: &SamplingParams) -> Option<Self> {
        let (presence, frequency) = (params.presence_penalty, params.frequency_penalty);
        (presence != 0.0 || frequency != 0.0).then(|| Self {
            presence,
            frequency,
            occurrences: HashMap::new(),
        })
    }
}

impl LogitsProcessor for OccurrencePenalty {
    fn apply(&mut self, logits: &mut [f32]) {
        for (&token, &count) in &self.occurrences {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit -= self.presence + self.frequency * count as f32;
            }
        }
    }

    fn accept(&mut self, token: u32) {
        *self.occurrences.entry(token).or_default() += 1;
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
    use crate::request::StopConditions;

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
        for (name, change, min_tokens, output, expected) in cases {
            let mut sampling = SamplingParams::default();
            change(&mut sampling);
            assert_eq!(processed(sampling, min_tokens, output), expected, "{name}");
        }
    }
}
