//! Runs one level on one server: so many requests, so many of them at once, the next as soon as one is done (a closed loop).
//!
//! Everything runs in one task: a second thread of ours would take the server's time on the machine they share.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use hyper::body::Bytes;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{
    client::{Answer, Server},
    figures::Measured,
    flags::{Endpoint, LoadFlags},
    prompts::{Place, Prompts},
};

/// Answers before the first round are short: they only wake the server.
const WARM_UP_TOKENS: u32 = 8;

/// A server and the model to ask it for.
pub(super) struct Target {
    pub(super) server: Server,
    pub(super) model: String,
}

/// What is asked of a server.
pub(super) struct Load<'a> {
    pub(super) flags: &'a LoadFlags,
    pub(super) prompts: Prompts,
    pub(super) progress: ProgressBar,
}

impl Load<'_> {
    /// Runs a level's round; `place.number` is not looked at.
    pub(super) async fn run(&self, target: &Target, place: Place) -> Measured {
        let concurrency = self.flags.concurrency[place.level as usize];
        let requests = self.flags.requests(concurrency);
        let ask = |number| self.ask(target, Place { number, ..place }, self.flags.output_tokens);
        let cold = match self.flags.shared_prefix_tokens {
            0 => None,
            // Behind all the others' numbers.
            _ => Some(ask(requests).await),
        };
        let begun = Instant::now();
        let answers = stream::iter(0..requests)
            .map(ask)
            .buffer_unordered(concurrency as usize)
            .collect()
            .await;
        Measured {
            cold,
            answers,
            duration: begun.elapsed(),
        }
    }

    /// Asks once so that the first round measures no first use. What comes of it is not looked at: the rounds show it.
    pub(super) async fn warm_up(&self, target: &Target, place: Place) {
        let tokens = self.flags.output_tokens.min(WARM_UP_TOKENS);
        let body = self.body(target, &self.prompts.own(place), None, tokens);
        let path = self.flags.endpoint.path();
        // An error is one of the rounds too.
        drop(target.server.ask(path, body).await);
    }

    async fn ask(&self, target: &Target, place: Place, tokens: u32) -> Result<Answer, String> {
        let shared = self.prompts.shared(place);
        let body = self.body(target, &self.prompts.own(place), shared.as_deref(), tokens);
        let answer = target.server.ask(self.flags.endpoint.path(), body).await;
        self.progress.inc(1);
        answer
    }

    fn body(&self, target: &Target, own: &str, shared: Option<&str>, tokens: u32) -> Bytes {
        let mut body = json!({
            "model": target.model,
            "max_tokens": tokens,
            "temperature": self.flags.temperature,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        match self.flags.endpoint {
            Endpoint::Chat => {
                let system = shared.map(|shared| json!({"role": "system", "content": shared}));
                let user = json!({"role": "user", "content": own});
                body["messages"] = system.into_iter().chain([user]).collect();
            }
            Endpoint::Completions => {
                body["prompt"] = Value::from(match shared {
                    Some(shared) => format!("{shared}\n\n{own}"),
                    None => own.to_owned(),
                });
            }
        }
        if !self.flags.respect_eos {
            body["ignore_eos"] = true.into();
        }
        Bytes::from(body.to_string())
    }
}
