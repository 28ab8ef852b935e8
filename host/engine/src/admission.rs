//! Which requests the engine takes: what can never run is refused before it is queued.
//!
//! Invariant: a request that passes fits the KV blocks with every token it may ever have, so running alone it always ends.
//! Whether the queue has room is the engine's question, and the wire format's limits are the server's.

use crate::{
    error::EngineError,
    request::{SamplingParams, SequenceRequest, StopConditions},
    runner::RunnerInfo,
};

/// Checks a request; returns how many tokens it may generate.
///
/// # Errors
/// [`EngineError::InvalidRequest`] or [`EngineError::TooLong`].
pub fn check(request: &SequenceRequest, info: &RunnerInfo) -> Result<usize, EngineError> {
    check_tokens(request, info.vocab_size)?;
    check_sampling(&request.sampling)?;
    let stop = &request.stop;
    let endless =
        stop.stop_token_ids.is_empty() && (stop.ignore_eos || info.eos_token_ids.is_empty());
    if request.constraint.is_some() && endless {
        return Err(EngineError::InvalidRequest(
            "what is constrained has an end: ignore_eos needs a stop token beside it".to_owned(),
        ));
    }
    check_first_token(request, info)?;
    let limit = info.longest_sequence();
    let prompt = request.prompt.len();
    let max_tokens = match request.pooling {
        None => request.stop.max_tokens,
        Some(_) => Some(0),
    };
    let (what, wanted) = match max_tokens {
        Some(0) => ("the prompt", 0),
        Some(max_tokens) if prompt < limit => ("the prompt with max_tokens", max_tokens),
        Some(_) | None => ("the prompt with one generated token", 1),
    };
    let needed = prompt.saturating_add(wanted);
    if needed > limit {
        return Err(EngineError::TooLong {
            what,
            needed,
            limit,
        });
    }
    Ok(max_tokens.unwrap_or(limit - prompt))
}

fn check_tokens(request: &SequenceRequest, vocab_size: usize) -> Result<(), EngineError> {
    if request.prompt.is_empty() {
        return Err(EngineError::InvalidRequest(
            "the prompt has no tokens".into(),
        ));
    }
    let biased = request.sampling.logit_bias.iter().map(|(token, _)| token);
    match request
        .prompt
        .iter()
        .chain(biased)
        .chain(request.sampling.allowed_tokens.iter().flatten())
        .find(|&&token| token as usize >= vocab_size)
    {
        Some(token) => Err(EngineError::InvalidRequest(format!(
            "token {token} is outside the vocabulary of {vocab_size} tokens"
        ))),
        None => Ok(()),
    }
}

/// Refuses embeddings that a runner with a table of `width` columns, or with none, cannot compute in place of the prompt.
///
/// # Errors
/// [`EngineError::InvalidRequest`].
pub fn check_embeddings(
    request: &SequenceRequest,
    width: Option<usize>,
) -> Result<(), EngineError> {
    let Some(embeddings) = &request.embeddings else {
        return Ok(());
    };
    let refuse = |message: String| Err(EngineError::InvalidRequest(message));
    let shape = (embeddings.rows(), embeddings.width());
    match width {
        None => refuse("this model's runner takes no embeddings in place of tokens".to_owned()),
        Some(width) if shape != (request.prompt.len(), width) => refuse(format!(
            "embeddings of the shape {shape:?} cannot stand for {} tokens of {width} elements",
            request.prompt.len()
        )),
        Some(_) if !embeddings.is_finite() => {
            refuse("an embedding holds what is no finite number".to_owned())
        }
        Some(_) if request.sampling.prompt_logprobs.is_some() || request.pooling.is_some() => {
            refuse(
                "embeddings are no tokens: their log-probabilities and vectors are not to be had"
                    .to_owned(),
            )
        }
        Some(_) => Ok(()),
    }
}

/// Refuses a request that forbids every token it may begin with.
fn check_first_token(request: &SequenceRequest, info: &RunnerInfo) -> Result<(), EngineError> {
    let StopConditions {
        min_tokens,
        ref stop_token_ids,
        ignore_eos,
        ..
    } = request.stop;
    let Some(allowed) = request
        .sampling
        .allowed_tokens
        .as_ref()
        .filter(|_| min_tokens > 0)
    else {
        return Ok(());
    };
    let ends = |token: &u32| {
        stop_token_ids.contains(token) || (!ignore_eos && info.eos_token_ids.contains(token))
    };
    match allowed.iter().all(ends) {
        false => Ok(()),
        true => Err(EngineError::InvalidRequest(format!(
            "`allowed_token_ids` holds only tokens that end the answer, and `min_tokens` {min_tokens} forbids those: \
             no token is left to begin with"
        ))),
    }
}

fn check_sampling(params: &SamplingParams) -> Result<(), EngineError> {
    let share = |value: f32| value > 0.0 && value <= 1.0;
    let rules = [
        (
            "temperature must be a number not below 0",
            params.temperature.is_finite() && params.temperature >= 0.0,
        ),
        ("top_p must be in (0, 1]", share(params.top_p)),
        ("typical_p must be in (0, 1]", share(params.typical_p)),
        (
            "min_p must be in [0, 1]",
            (0.0..=1.0).contains(&params.min_p),
        ),
        (
            "repetition_penalty must be a number above 0",
            params.repetition_penalty.is_finite() && params.repetition_penalty > 0.0,
        ),
        (
            "presence_penalty must be a number",
            params.presence_penalty.is_finite(),
        ),
        (
            "frequency_penalty must be a number",
            params.frequency_penalty.is_finite(),
        ),
        (
            "allowed_token_ids must hold a token",
            params
                .allowed_tokens
                .as_ref()
                .is_none_or(|allowed| !allowed.is_empty()),
        ),
        (
            "logit_bias must hold numbers",
            params.logit_bias.iter().all(|(_, bias)| bias.is_finite()),
        ),
    ];
    match rules.iter().find(|(_, holds)| !holds) {
        Some((rule, _)) => Err(EngineError::InvalidRequest((*rule).into())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(max_model_len: usize, num_blocks: usize) -> RunnerInfo {
        RunnerInfo {
            vocab_size: 10,
            max_model_len,
            block_size: 4,
            num_blocks,
            eos_token_ids: vec![0],
        }
    }

    fn request(prompt: usize, max_tokens: Option<usize>) -> SequenceRequest {
        SequenceRequest {
            prompt: vec![1; prompt],
            sampling: SamplingParams::default(),
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

    #[test]
    fn what_can_never_fit_is_refused_with_the_numbers() {
        let one = "the prompt with one generated token";
        let more = "the prompt with max_tokens";
        for (prompt, max_tokens, max_model_len, num_blocks, expected) in [
            (10, None, 16, 9, Ok(6)),
            (10, None, 16, 3, Ok(2)),
            (10, Some(6), 16, 9, Ok(6)),
            (15, None, 16, 9, Ok(1)),
            (16, None, 16, 9, Err((one, 17, 16))),
            (10, Some(7), 16, 9, Err((more, 17, 16))),
            (10, Some(6), 16, 3, Err((more, 16, 12))),
            (20, Some(7), 16, 9, Err((one, 21, 16))),
            (10, Some(usize::MAX), 16, 9, Err((more, usize::MAX, 16))),
            (16, Some(0), 16, 9, Ok(0)),
            (17, Some(0), 16, 9, Err(("the prompt", 17, 16))),
        ] {
            let expected = expected.map_err(|(what, needed, limit)| EngineError::TooLong {
                what,
                needed,
                limit,
            });
            assert_eq!(
                check(
                    &request(prompt, max_tokens),
                    &info(max_model_len, num_blocks)
                ),
                expected
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        type Case = (&'static str, fn(&mut SequenceRequest));
        let cases: [Case; 14] = [
            ("no tokens", |r| r.prompt.clear()),
            ("outside the vocabulary", |r| r.prompt.push(10)),
            ("outside the vocabulary", |r| {
                r.sampling.logit_bias = vec![(10, 1.0)]
            }),
            ("logit_bias", |r| {
                r.sampling.logit_bias = vec![(1, f32::NAN)]
            }),
            ("outside the vocabulary", |r| {
                r.sampling.allowed_tokens = Some(vec![3, 10])
            }),
            ("allowed_token_ids", |r| {
                r.sampling.allowed_tokens = Some(Vec::new())
            }),
            ("no token is left to begin with", |r| {
                r.sampling.allowed_tokens = Some(vec![0, 7]);
                r.stop.stop_token_ids = vec![7];
                r.stop.min_tokens = 1;
            }),
            ("temperature", |r| r.sampling.temperature = -0.1),
            ("temperature", |r| r.sampling.temperature = f32::NAN),
            ("top_p", |r| r.sampling.top_p = 0.0),
            ("typical_p", |r| r.sampling.typical_p = 1.5),
            ("min_p", |r| r.sampling.min_p = f32::NAN),
            ("repetition_penalty", |r| {
                r.sampling.repetition_penalty = 0.0
            }),
            ("presence_penalty", |r| {
                r.sampling.presence_penalty = f32::INFINITY
            }),
        ];
        let mut unending = request(3, None);
        unending.sampling.allowed_tokens = Some(vec![0]);
        (unending.stop.min_tokens, unending.stop.ignore_eos) = (1, true);
        assert_eq!(check(&unending, &info(16, 4)), Ok(13));
        for (message, spoil) in cases {
            let mut request = request(3, None);
            spoil(&mut request);
            match check(&request, &info(16, 4)) {
                Err(EngineError::InvalidRequest(text)) => assert!(text.contains(message), "{text}"),
                other => panic!("{message}: {other:?}"),
            }
        }
    }
}
