//! Chooses the next token from a row of logits: greedy, or by truncated sampling; and reports log-probabilities.
//!
//! Invariants: the choice depends on the row, the parameters and the sequence's own generator of random numbers alone;
//! one random number is drawn for each sampled token, none for a greedy one; ties go to the lowest token id. NaN and
//! negative infinity are never chosen. It does not know penalties or masks: those are logits processors.
//!
//! Order: processors, temperature, min_p, top_k, typical_p, top_p; each truncation sees the renormalised rest of the one before.

use std::cmp::Ordering;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{
    error::EngineError, generator::TokenLogprobs, logits_processor::LogitsProcessor,
    request::SamplingParams,
};

/// How many candidates the nucleus search sorts at first; almost every nucleus is smaller.
const FIRST_NUCLEUS_GUESS: usize = 64;

/// The chosen token and what was asked to be told about it.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledToken {
    /// The token's id.
    pub id: u32,
    /// Log-probabilities of the model itself, before processors, temperature and truncation; where asked for.
    pub logprobs: Option<TokenLogprobs>,
}

/// Samples tokens; holds nothing but buffers, which grow to one row and are used again.
#[derive(Debug, Default)]
pub struct Sampler {
    candidates: Vec<Candidate>,
    model_logits: Vec<f32>,
}

/// A token that may still be chosen, with its probability relative to the likeliest token's.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    weight: f32,
}

impl Sampler {
    /// Applies the processors to the row and chooses a token. The processors are not told: the caller accepts the token.
    ///
    /// # Errors
    /// [`EngineError::Runner`] if no token has a usable logit, that is all are NaN or masked.
    pub fn sample(
        &mut self,
        logits: &mut [f32],
        params: &SamplingParams,
        processors: &mut [Box<dyn LogitsProcessor>],
        rng: &mut ChaCha8Rng,
    ) -> Result<SampledToken, EngineError> {
        if params.logprobs.is_some() {
            self.model_logits.clear();
            self.model_logits.extend_from_slice(logits);
        }
        for processor in processors {
            processor.apply(logits);
        }
        let Some(best) = likeliest(logits) else {
            return Err(EngineError::Runner("no token has a finite logit".into()));
        };
        let greedy = params.temperature == 0.0 || params.top_k == 1;
        let id = if greedy {
            best.0
        } else {
            self.draw(logits, best.1, params, rng)
        };
        let logprobs = params.logprobs.map(|top| self.logprobs(id, top));
        Ok(SampledToken { id, logprobs })
    }

    /// Draws from the truncated distribution; `max` is the largest logit.
    fn draw(
        &mut self,
        logits: &[f32],
        max: f32,
        params: &SamplingParams,
        rng: &mut ChaCha8Rng,
    ) -> u32 {
        self.candidates.clear();
        self.candidates
            .extend((0..).zip(logits).filter_map(|(id, &logit)| {
                let weight = ((usable(logit)? - max) / params.temperature).exp();
                // The likeliest token weighs 1, so min_p needs no normalisation.
                (weight > 0.0 && weight >= params.min_p).then_some(Candidate { id, weight })
            }));
        if params.top_k > 0 {
            keep_top_k(&mut self.candidates, params.top_k);
        }
        if params.typical_p < 1.0 {
            keep_typical(&mut self.candidates, params.typical_p);
        }
        if params.top_p < 1.0 {
            keep_nucleus(&mut self.candidates, params.top_p);
        }
        let mut left = rng.random::<f64>() * total_weight(&self.candidates);
        for candidate in &self.candidates {
            left -= f64::from(candidate.weight);
            if left < 0.0 {
                return candidate.id;
            }
        }
        // Rounding can leave a sliver behind the last candidate; there always is one, the likeliest.
        self.candidates[self.candidates.len() - 1].id
    }

    /// Log-softmax of the model's own logits at the chosen token and the `top` likeliest.
    fn logprobs(&mut self, chosen: u32, top: usize) -> TokenLogprobs {
        let max = likeliest(&self.model_logits).map_or(0.0, |(_, logit)| logit);
        let usable_logits = self.model_logits.iter().filter_map(|&logit| usable(logit));
        let sum: f64 = usable_logits
            .map(|logit| f64::from(logit - max).exp())
            .sum();
        let log_sum = sum.ln() as f32;
        let logprob = |logit: f32| logit - max - log_sum;

        self.candidates.clear();
        let rows = (0..).zip(&self.model_logits);
        self.candidates.extend(rows.filter_map(|(id, &logit)| {
            Some(Candidate {
                id,
                weight: usable(logit)?,
            })
        }));
        keep_top_k(&mut self.candidates, top);
        self.candidates.sort_unstable_by(likeliest_first);
        TokenLogprobs {
            sampled: logprob(self.model_logits[chosen as usize]),
            top: self
                .candidates
                .iter()
                .map(|candidate| (candidate.id, logprob(candidate.weight)))
                .collect(),
        }
    }
}

/// The logit if it can be sampled at all: neither NaN nor masked. Positive infinity becomes the largest finite number,
/// so that differences stay numbers.
fn usable(logit: f32) -> Option<f32> {
    (logit > f32::NEG_INFINITY).then_some(logit.min(f32::MAX))
}

/// The largest usable logit and its token, the lowest id among equals.
fn likeliest(logits: &[f32]) -> Option<(u32, f32)> {
    // Lanes that do not depend on each other become vector instructions; NaN is never larger.
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = logits.as_chunks();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk as &[f32; 16]) {
            *lane = larger(*lane, logit);
        }
    }
    let lanes_and_rest = lanes.iter().chain(rest).copied();
    let max = lanes_and_rest.fold(f32::NEG_INFINITY, larger);
    let (id, _) = (0..).zip(logits).find(|&(_, &logit)| logit == max)?;
    Some((id, usable(max)?))
}

/// Falling weight, then rising id: a total order, so that every sort has one outcome.
fn likeliest_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id))
}

fn total_weight(candidates: &[Candidate]) -> f64 {
    candidates
        .iter()
        .map(|candidate| f64::from(candidate.weight))
        .sum()
}

/// Keeps the `k` likeliest, in no order.
fn keep_top_k(candidates: &mut Vec<Candidate>, k: usize) {
    if k < candidates.len() {
        candidates.select_nth_unstable_by(k, likeliest_first);
        candidates.truncate(k);
    }
}

/// Keeps the fewest likeliest candidates that have `top_p` of the mass (Holtzman et al. 2019). Sorts only as far as needed.
fn keep_nucleus(candidates: &mut Vec<Candidate>, top_p: f32) {
    let wanted = total_weight(candidates) * f64::from(top_p);
    let (mut mass, mut start, mut guess) = (0.0, 0, FIRST_NUCLEUS_GUESS);
    while start < candidates.len() {
        let end = candidates.len().min(start + guess);
        if end < candidates.len() {
            candidates[start..].select_nth_unstable_by(end - start, likeliest_first);
        }
        candidates[start..end].sort_unstable_by(likeliest_first);
        for index in start..end {
            mass += f64::from(candidates[index].weight);
            if mass >= wanted {
                candidates.truncate(index + 1);
                return;
            }
        }
        start = end;
        guess *= 4;
    }
}

/// Keeps the fewest candidates with `typical_p` of the mass whose surprise is nearest to the expected one, the entropy
/// (Meister et al. 2022, locally typical sampling).
fn keep_typical(candidates: &mut Vec<Candidate>, typical_p: f32) {
    let total = total_weight(candidates);
    let surprise = |candidate: &Candidate| -(f64::from(candidate.weight) / total).ln();
    let entropy: f64 = candidates
        .iter()
        .map(|c| f64::from(c.weight) / total * surprise(c))
        .sum();
    let distance = |candidate: &Candidate| (surprise(candidate) - entropy).abs();
    candidates.sort_unstable_by(|a, b| {
        distance(a)
            .total_cmp(&distance(b))
            .then(likeliest_first(a, b))
    });
    let mut mass = 0.0;
    let count = candidates.iter().position(|candidate| {
        mass += f64::from(candidate.weight);
        mass >= total * f64::from(typical_p)
    });
    if let Some(last) = count {
        candidates.truncate(last + 1);
    }
}

#[cfg(test)]
mod tests;
