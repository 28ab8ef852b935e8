//! A compiled grammar as the engine's logits processor.
//!
//! Invariant: whatever goes wrong, a sequence ends: when llguidance gives up, the end token alone is left.

use std::fmt;

use llguidance::Matcher;
use weir_engine::{Constraint, LogitsProcessor};

/// A grammar at its start; each sequence goes on from its own copy.
pub(crate) struct CompiledGrammar {
    matcher: Matcher,
}

impl CompiledGrammar {
    pub(crate) fn new(matcher: Matcher) -> Self {
        Self { matcher }
    }
}

impl fmt::Debug for CompiledGrammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CompiledGrammar")
    }
}

impl Constraint for CompiledGrammar {
    fn processor(&self, end_tokens: &[u32]) -> Box<dyn LogitsProcessor> {
        Box::new(GrammarMask {
            // Its own lexer: a shared one is behind a lock that all sequences would wait for.
            matcher: self.matcher.deep_clone(),
            end_tokens: end_tokens.to_vec(),
        })
    }
}

struct GrammarMask {
    matcher: Matcher,
    end_tokens: Vec<u32>,
}

impl GrammarMask {
    fn leave_the_end(&self, logits: &mut [f32]) {
        for (id, logit) in logits.iter_mut().enumerate() {
            if !self.end_tokens.iter().any(|end| *end as usize == id) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

impl LogitsProcessor for GrammarMask {
    fn apply(&mut self, logits: &mut [f32]) {
        let mask = match self.matcher.compute_mask_or_eos() {
            Ok(mask) => mask,
            Err(error) => {
                tracing::error!(%error, "constrained decoding failed; the sequence ends here");
                return self.leave_the_end(logits);
            }
        };
        let may_end = self.matcher.is_stopped() || self.matcher.is_accepting().unwrap_or(true);
        for (id, logit) in logits.iter_mut().enumerate() {
            let ends = self.end_tokens.iter().any(|end| *end as usize == id);
            // A token that ends the sequence may be part of what must be written too: a call's end marker is, in some families.
            let written = id < mask.len() && mask.is_allowed(id as u32);
            if !(written || (ends && may_end)) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    fn accept(&mut self, token: u32) {
        if self.end_tokens.contains(&token) || self.matcher.is_stopped() {
            return;
        }
        if let Err(error) = self.matcher.consume_token(token) {
            tracing::error!(%error, token, "a token was sampled that the grammar forbids");
        }
    }
}
