//! What logits bring a sequence, and what is said of it.

use std::time::Duration;

use super::StepOutput;
use crate::{
    batch::LogitsRow,
    error::EngineError,
    generator::Generated,
    request::FinishReason,
    sampler::{SampledToken, Sampler},
    sequence::Sequence,
};

/// Tokens that one step may force behind the one it samples: whoever takes what a step says needs room for them. Further ones are
/// forced behind the next.
pub const MAX_FORCED_PER_STEP: usize = 32;

/// What the logits behind a row's last token bring its sequence: a score of the prompt's next token, or a new token and
/// those that it forces. True if the sequence ended.
pub(super) fn take_logits(
    sequence: &mut Sequence,
    sampler: &mut Sampler,
    row: LogitsRow<'_>,
    patience: &mut Duration,
    outputs: &mut Vec<StepOutput>,
) -> Result<bool, EngineError> {
    if !sequence.uncomputed().is_empty() {
        sequence.score(sampler, row.logits)?;
        return Ok(false);
    }
    let id = sequence.id;
    let mut say = |generated| {
        outputs.push(StepOutput {
            sequence: id,
            result: Ok(generated),
        })
    };
    if let Some(logprobs) = sequence.take_prompt_logprobs() {
        say(Generated::Prompt { logprobs });
    }
    let ended = if sequence.is_prompt_only() {
        Some(FinishReason::Length)
    } else {
        let sampled = match sequence.forced() {
            Some(id) => sequence.tell_forced(sampler, row.logits, id)?,
            None => sequence.sample(sampler, row)?,
        };
        let mut ended = sequence.accept(sampled.id);
        say_token(sampled, ended, sequence.cached_tokens(), &mut say);
        let mut room = MAX_FORCED_PER_STEP;
        while ended.is_none()
            && room > 0
            && let Some(id) = sequence.forced_ahead(patience)
        {
            room -= 1;
            ended = sequence.accept(id);
            let logprobs = None;
            let forced = SampledToken { id, logprobs };
            say_token(forced, ended, sequence.cached_tokens(), &mut say);
        }
        ended
    };
    if let Some(reason) = ended {
        say(Generated::Finished {
            reason,
            usage: sequence.usage(),
        });
    }
    Ok(ended.is_some())
}

/// Says a token. An end token is counted, but it is none of the answer's.
fn say_token(
    sampled: SampledToken,
    ended: Option<FinishReason>,
    cached_tokens: usize,
    say: &mut impl FnMut(Generated),
) {
    let SampledToken { id, logprobs } = sampled;
    match (ended, logprobs) {
        (Some(FinishReason::Stop), None) => {}
        (Some(FinishReason::Stop), Some(logprobs)) => say(Generated::EndToken { id, logprobs }),
        (_, logprobs) => say(Generated::Token {
            id,
            logprobs,
            cached_tokens,
        }),
    }
}
