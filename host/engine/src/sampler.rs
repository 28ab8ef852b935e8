//! Chooses the next token from a row of logits: greedy, or by truncated sampling; and reports log-probabilities.
//!
//! Invariants: the choice depends on the row, the parameters and the sequence's own generator of random numbers alone;
//! one random number is drawn for each sampled token, none for a greedy one; ties go to the lowest token id. NaN and
//! negative infinity are never chosen. It does not know penalties or masks: those are logits processors.
//!
//! Order: processors, temperature, min_p, top_k, typical_p, top_p; each truncation sees the renormalised rest of the one
//! before. What is left is laid side by side in the order of token ids, and the random number points into it: so a rounding
//! of the logits that makes two tokens change ranks changes no choice.

mod exponential;
mod row;
mod truncation;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{
    error::EngineError, generator::TokenLogprobs, logits_processor::LogitsProcessor,
    request::SamplingParams,
};

use self::{
    exponential::LOWEST,
    row::{Row, at_weight},
    truncation::{Candidate, keep_likeliest, keep_nearest},
};

/// More than the logarithm of min_p and the weights can be off by: weights themselves are compared afterwards.
const MIN_P_MARGIN: f32 = 1e-3;

/// The chosen token and what was asked to be told about it.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledToken {
    /// The token's id.
    pub id: u32,
    /// Log-probabilities of the model itself, before processors, temperature and truncation; where asked for.
    pub logprobs: Option<TokenLogprobs>,
}

/// Samples tokens; holds nothing but a count and buffers, which grow to one row and are used again.
#[derive(Debug, Default)]
pub struct Sampler {
    sampled: u64,
    model_logits: Vec<f32>,
    maxima: Vec<f32>,
    buffers: Buffers,
}

#[derive(Debug, Default)]
struct Buffers {
    candidates: Vec<Candidate>,
    scratch: Vec<Candidate>,
    numbers: Vec<f32>,
    weights: Vec<f64>,
}

impl Sampler {
    /// Applies the processors to the row and chooses a token. The processors are not told: the caller accepts the token.
    ///
    /// # Errors
    /// [`EngineError::InvalidRequest`] if the processors have masked all tokens, [`EngineError::Runner`] if none has a usable
    /// logit anyway.
    pub fn sample(
        &mut self,
        logits: &mut [f32],
        params: &SamplingParams,
        processors: &mut [Box<dyn LogitsProcessor>],
        rng: &mut ChaCha8Rng,
    ) -> Result<SampledToken, EngineError> {
        self.sampled += 1;
        if params.logprobs.is_some() && !processors.is_empty() {
            self.model_logits.clear();
            self.model_logits.extend_from_slice(logits);
        }
        for processor in processors.iter_mut() {
            processor.apply(logits);
        }
        let masked = !processors.is_empty();
        let row = Row::new(logits, &mut self.maxima).ok_or_else(|| nothing_left(logits, masked))?;
        let id = if params.is_greedy() {
            row.likeliest()
        } else {
            let row = row.tempered(params.temperature);
            self.buffers.draw(&row, params, rng)
        };
        let logprobs = params.logprobs.and_then(|top| {
            let logits = if processors.is_empty() {
                &*logits
            } else {
                self.model_logits.as_slice()
            };
            let row = Row::new(logits, &mut self.maxima)?;
            Some(self.buffers.logprobs(&row, logits[id as usize], top))
        });
        Ok(SampledToken { id, logprobs })
    }

    /// The log-probabilities of a token that stands behind this row already, and of the `top` likeliest.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn score(
        &mut self,
        logits: &[f32],
        token: u32,
        top: usize,
    ) -> Result<TokenLogprobs, EngineError> {
        let row = Row::new(logits, &mut self.maxima).ok_or_else(unusable)?;
        Ok(self.buffers.logprobs(&row, logits[token as usize], top))
    }

    /// How often it was asked for a token.
    pub fn sampled(&self) -> u64 {
        self.sampled
    }
}

/// Masks leave negative infinity; what a model spoils is NaN, which no mask makes a number of.
fn nothing_left(logits: &[f32], masked: bool) -> EngineError {
    if !masked || logits.iter().any(|logit| logit.is_nan()) {
        return unusable();
    }
    EngineError::InvalidRequest(
        "what the request allows and what it forbids (allowed_token_ids, bad_words, min_tokens) leave no token to go on with"
            .to_owned(),
    )
}

fn unusable() -> EngineError {
    EngineError::Runner("no token has a finite logit".into())
}

impl Buffers {
    /// Draws from the truncated distribution.
    fn draw(&mut self, row: &Row<'_>, params: &SamplingParams, rng: &mut ChaCha8Rng) -> u32 {
        let listed = self.truncate(row, params);
        let share = rng.random::<f64>();
        if listed {
            let mut left = share * Candidate::total_weight(&self.candidates);
            let weights = self.candidates.iter().map(|c| f64::from(c.weight));
            self.candidates[at_weight(weights, &mut left)].id
        } else {
            let total = row.weigh(&mut self.weights);
            row.at_weight(&self.weights, share * total)
        }
    }

    /// Lists the tokens that may be chosen. False if those are all that have a weight: then there is no list.
    fn truncate(&mut self, row: &Row<'_>, params: &SamplingParams) -> bool {
        let mut listed = params.min_p > 0.0 || params.top_k > 0;
        if listed {
            // The likeliest token weighs 1, so min_p needs no normalisation.
            let low = (params.min_p.ln() - MIN_P_MARGIN)
                .max(row.lowest_of(params.top_k, &mut self.numbers))
                .max(LOWEST);
            row.list(low, 0.0, &mut self.candidates);
            self.candidates
                .retain(|candidate| candidate.weight >= params.min_p);
            if params.top_k > 0 {
                keep_likeliest(&mut self.candidates, params.top_k, &mut self.scratch);
            }
        }
        // Locally typical sampling (Meister et al. 2022) keeps the tokens whose surprise is nearest to the expected one.
        // Surprise is a constant less the scaled logit, so they are nearest to the mean of those. The nucleus (Holtzman et
        // al. 2019) is nearest to the likeliest.
        for (share, typical) in [(params.typical_p, true), (params.top_p, false)] {
            if share < 1.0 {
                self.keep_share(row, listed, share, typical);
                listed = true;
            }
        }
        listed
    }

    /// Keeps so much of the weight, nearest to the mean or to the likeliest: of the list, or of the whole row if none is there.
    fn keep_share(&mut self, row: &Row<'_>, listed: bool, share: f32, typical: bool) {
        let candidates = &mut self.candidates;
        let total = if listed {
            Candidate::total_weight(candidates)
        } else {
            row.weigh(&mut self.weights)
        };
        let centre = match (typical, listed) {
            (false, _) => Candidate::LIKELIEST,
            (true, true) => Candidate::mean(candidates, total),
            (true, false) => row.mean(total),
        };
        let wanted = total * f64::from(share);
        if !listed {
            row.list_around(centre, wanted, candidates);
        }
        keep_nearest(candidates, centre, wanted, &mut self.scratch);
    }

    /// Log-softmax of the model's own logits at the chosen token's and at the `top` likeliest.
    fn logprobs(&mut self, row: &Row<'_>, chosen: f32, top: usize) -> TokenLogprobs {
        let log_total = row.weigh(&mut self.weights).ln() as f32;
        self.candidates.clear();
        if top > 0 {
            let low = row.lowest_of(top, &mut self.numbers);
            row.list(low, 0.0, &mut self.candidates);
            keep_likeliest(&mut self.candidates, top, &mut self.scratch);
            self.candidates
                .sort_unstable_by_key(|candidate| candidate.rank(Candidate::LIKELIEST));
        }
        let top = self.candidates.iter();
        TokenLogprobs {
            sampled: row.scaled(chosen) - log_total,
            rank: row.larger(chosen) + 1,
            top: top.map(|c| (c.id, c.scaled - log_total)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
