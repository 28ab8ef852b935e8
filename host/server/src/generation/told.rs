//! The log-probabilities of one choice on their way from the engine to the answer: kept until the pipeline says where their
//! tokens went.

use std::collections::VecDeque;

use weir_engine::TokenLogprobs;
use weir_output::{OutputPipeline, TracedToken};

use super::{AnswerToken, Plan, TokenPlace};

/// What a choice knows of its tokens. Without log-probabilities it stays empty.
#[derive(Debug, Default)]
pub(super) struct ToldTokens {
    /// The prompt, where it is told too.
    prompt: Vec<u32>,
    /// Tokens that nobody knows the place of yet, the oldest first.
    waiting: VecDeque<Waiting>,
    /// To be told with the next step.
    ready: Vec<AnswerToken>,
    end: Option<AnswerToken>,
    generated: usize,
    sum: f64,
    summed: usize,
}

#[derive(Debug)]
struct Waiting {
    /// Its place among the tokens generated.
    number: usize,
    id: u32,
    logprobs: TokenLogprobs,
}

impl ToldTokens {
    pub(super) fn new(plan: &Plan) -> Self {
        let prompt = match plan.sampling.prompt_logprobs {
            Some(_) => plan.prompt.clone(),
            None => Vec::new(),
        };
        Self {
            prompt,
            ..Self::default()
        }
    }

    /// The prompt's tokens, with the log-probabilities of all but the first.
    pub(super) fn prompt(&mut self, logprobs: Vec<TokenLogprobs>) {
        let logprobs = std::iter::once(None).chain(logprobs.into_iter().map(Some));
        let tokens = self.prompt.drain(..).zip(logprobs);
        self.ready.extend(tokens.map(|(id, logprobs)| AnswerToken {
            id,
            logprobs,
            place: TokenPlace::Prompt,
        }));
    }

    /// The next token, before the pipeline sees it.
    pub(super) fn generated(&mut self, id: u32, logprobs: Option<TokenLogprobs>) {
        if let Some(logprobs) = logprobs {
            self.count(&logprobs);
            self.waiting.push_back(Waiting {
                number: self.generated,
                id,
                logprobs,
            });
        }
        self.generated += 1;
    }

    pub(super) fn end_token(&mut self, id: u32, logprobs: TokenLogprobs) {
        self.count(&logprobs);
        self.end = Some(AnswerToken {
            id,
            logprobs: Some(logprobs),
            place: TokenPlace::End,
        });
    }

    /// The mean of all log-probabilities so far, told or not.
    pub(super) fn mean(&self) -> Option<f32> {
        (self.summed > 0).then(|| (self.sum / self.summed as f64) as f32)
    }

    /// What the pipeline has placed by now; at the end the end token too.
    pub(super) fn take(&mut self, pipeline: &mut OutputPipeline, ended: bool) -> Vec<AnswerToken> {
        for traced in pipeline.take_traced() {
            self.place(traced);
        }
        let end = self.end.take_if(|_| ended);
        self.ready.extend(end);
        std::mem::take(&mut self.ready)
    }

    /// Tokens are told in order: those before this one are not told at all.
    fn place(&mut self, traced: TracedToken) {
        while let Some(Waiting {
            number,
            id,
            logprobs,
        }) = self.waiting.pop_front()
        {
            if number < traced.number {
                continue;
            }
            let place = match traced.event {
                Some(event) if !traced.hidden => TokenPlace::Text {
                    event,
                    offset: traced.offset,
                },
                _ => TokenPlace::Hidden,
            };
            self.ready.push(AnswerToken {
                id,
                logprobs: Some(logprobs),
                place,
            });
            return;
        }
    }

    fn count(&mut self, logprobs: &TokenLogprobs) {
        self.sum += f64::from(logprobs.sampled);
        self.summed += 1;
    }
}
