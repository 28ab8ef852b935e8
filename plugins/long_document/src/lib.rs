//! The request processor `long_document`: a first system message that is too long for the context is cut down to what the question
//! needs of it.
//!
//! A document is read once: its chunks, their tokens and how dense they are are kept under its digest. Whatever fits stays as it
//! is, and so does everything but that one message.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod chunks;
pub mod compose;
pub mod config;
pub mod density;
pub mod index;
pub mod retrieval;

use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use weir_plugin_request_sdk::{
    RequestProcessor,
    request_processor::{
        Grants, HostAction, HostOutcome, Message, Model, Request, RequestProcessorInfo, Step,
    },
};

use crate::{
    config::{Config, DEFAULT},
    index::Index,
};

weir_plugin_request_sdk::export_request_processor!(LongDocument);

/// The entry of a document's index in the store.
const INDEX: &str = "index";
/// Tokens that a template may need for another message than it was counted with, and what gaps and cuts add.
const SPARE: u32 = 64;
/// Words of a chunk for each token of the embedding model's window: more than one token a word.
const WORDS_OF_WINDOW: f64 = 0.7;

/// A request with a document.
pub struct LongDocument {
    config: Config,
    messages: Vec<Message>,
    /// Which message is the document, and its digest.
    place: usize,
    digest: String,
    stores: bool,
    budget: u32,
    index: Option<Index>,
    next: Next,
}

/// What the next results are of.
enum Next {
    Found,
    /// Tokens of pieces, unless they were known, and of the other messages.
    Counted {
        known: bool,
    },
    /// Kept; the messages are ready.
    Stored,
}

impl RequestProcessor for LongDocument {
    fn describe(config: &str) -> Result<RequestProcessorInfo, String> {
        Config::read(config)?;
        Ok(RequestProcessorInfo {
            name: "long_document".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            default_config: DEFAULT.into(),
        })
    }

    fn start(config: &str, request: Request, grants: Grants, model: Model) -> (Self, Step) {
        let mut config = match Config::read(config) {
            Ok(config) => config,
            Err(message) => unreachable!("describe took this configuration: {message}"),
        };
        fit_window(&mut config, model.embedding_tokens);
        let percent = u64::from(config.percent_of_context);
        let share = u64::from(model.context_tokens) * percent / 100;
        let answer = request.max_tokens.unwrap_or_default();
        let budget = model.context_tokens.saturating_sub(answer);
        let budget = budget.min(u32::try_from(share).unwrap_or(u32::MAX));
        let place = request.messages.iter().position(is_document);
        let mut this = Self {
            config,
            digest: place
                .and_then(|place| request.digests.get(place))
                .cloned()
                .unwrap_or_default(),
            place: place.unwrap_or_default(),
            messages: request.messages,
            stores: grants.stored_bytes > 0,
            budget,
            index: None,
            next: Next::Found,
        };
        let step = match place {
            Some(_) => this.begin(),
            None => this.as_it_is(),
        };
        (this, step)
    }

    fn resume(&mut self, outcomes: Vec<HostOutcome>) -> Step {
        match self.next {
            Next::Found => {
                let found = match outcomes.into_iter().next() {
                    Some(HostOutcome::Found(mut values)) => values.pop().flatten(),
                    _ => None,
                };
                self.count(found.as_deref())
            }
            Next::Counted { known } => self.compose(known, outcomes),
            Next::Stored => self.as_it_is(),
        }
    }
}

/// What is said before anybody asks is a document.
fn is_document(message: &Message) -> bool {
    matches!(message.role.as_str(), "system" | "developer") && message.content.is_some()
}

/// Chunks no longer than what the embedding model reads.
fn fit_window(config: &mut Config, window: Option<u32>) {
    let words = window.map(|tokens| (f64::from(tokens) * WORDS_OF_WINDOW) as usize);
    let fitting = words.map_or(config.chunk_words, |words| {
        words.clamp(64, config.chunk_words)
    });
    config.chunk_words = fitting;
    config.overlap_words = config.overlap_words.min(fitting / 2);
}

impl LongDocument {
    fn as_it_is(&mut self) -> Step {
        Step::ContinueWith(core::mem::take(&mut self.messages))
    }

    fn text(&self) -> &str {
        let message = self.messages.get(self.place);
        let content = message.and_then(|message| message.content.as_deref());
        content.unwrap_or_default()
    }

    /// The last thing that was asked.
    fn question(&self) -> &str {
        let mut asked = self
            .messages
            .iter()
            .rev()
            .filter(|message| message.role == "user");
        let content = asked.next().and_then(|message| message.content.as_deref());
        content.unwrap_or_default()
    }

    fn begin(&mut self) -> Step {
        let bytes = |message: &Message| message.content.as_ref().map_or(0, String::len);
        let bytes: usize = self.messages.iter().map(bytes).sum();
        // No token is shorter than a byte.
        if bytes <= self.budget as usize {
            return self.as_it_is();
        }
        if !self.stores {
            return self.count(None);
        }
        self.next = Next::Found;
        Step::Perform(vec![HostAction::StoreGet {
            document: self.digest.clone(),
            keys: vec![INDEX.to_string()],
        }])
    }

    /// Has counted what is not known of the document yet, and of the other messages.
    fn count(&mut self, kept: Option<&[u8]>) -> Step {
        let kept = kept.and_then(|kept| Index::read(kept, self.text()));
        let known = kept.is_some();
        let index = kept.unwrap_or_else(|| Index::of(self.text(), &self.config));
        let mut rest = self.messages.clone();
        rest[self.place].content = Some(String::new());
        let mut actions = vec![HostAction::CountPrompt(rest)];
        if !known {
            actions.push(HostAction::CountTokens(index.texts(self.text())));
        }
        self.index = Some(index);
        self.next = Next::Counted { known };
        Step::Perform(actions)
    }

    /// Puts what fits in the document's place.
    fn compose(&mut self, known: bool, outcomes: Vec<HostOutcome>) -> Step {
        let mut counts = outcomes.into_iter().map(|outcome| match outcome {
            HostOutcome::Counted(counts) => Some(counts),
            _ => None,
        });
        let rest = counts
            .next()
            .flatten()
            .and_then(|counts| counts.first().copied());
        let (Some(mut index), Some(rest)) = (self.index.take(), rest) else {
            return self.as_it_is();
        };
        if !known {
            match counts.next().flatten() {
                Some(tokens) => index.set_tokens(&tokens),
                None => return self.as_it_is(),
            }
        }
        let budget = self.budget.saturating_sub(rest).saturating_sub(SPARE);
        let all: u64 = index
            .chunks
            .iter()
            .map(|chunk| u64::from(chunk.whole.tokens))
            .sum();
        if all > u64::from(budget) {
            let retrieved = self.config.retrieved;
            let short = compose::compose(self.text(), &index, self.question(), retrieved, budget);
            self.messages[self.place].content = Some(short);
        }
        if known || !self.stores {
            return self.as_it_is();
        }
        self.next = Next::Stored;
        Step::Perform(vec![HostAction::StorePut {
            document: core::mem::take(&mut self.digest),
            entries: vec![(INDEX.to_string(), index.to_bytes())],
        }])
    }
}

#[cfg(test)]
mod tests;
