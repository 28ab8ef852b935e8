//! The request processor `long_document`: a first system message that is too long for the context is cut down to what the question
//! needs of it.
//!
//! A document is read once: its chunks, their tokens and how dense they are are kept under its digest. Whatever fits stays as it
//! is, and so does everything but that one message. The first question is answered by words alone; behind its answer the
//! chunks become vectors, if the server has an embedding model, and later questions are compared with both.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod chunks;
pub mod compose;
pub mod config;
pub mod density;
pub mod index;
pub mod retrieval;
pub mod vectors;

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
    compose::Question,
    config::{Config, DEFAULT},
    index::{Chunk, Index},
    vectors::Vectors,
};

weir_plugin_request_sdk::export_request_processor!(LongDocument);

/// The entries of a document in the store: its index, and the vectors of its chunks.
const INDEX: &str = "index";
const VECTORS: &str = "vectors";
/// Tokens that a template may need for another message than it was counted with, and what gaps and cuts add.
const SPARE: u32 = 64;
/// Words of a chunk for each token of the embedding model's window: more than one token a word.
const WORDS_OF_WINDOW: f64 = 0.7;
/// Chunks that become vectors in one step.
const BATCH: usize = 32;

/// A request with a document.
pub struct LongDocument {
    config: Config,
    messages: Vec<Message>,
    /// Which message is the document, and its digest.
    place: usize,
    digest: String,
    stores: bool,
    /// Texts that may become vectors; none without an embedding model.
    embeddings: usize,
    budget: u32,
    index: Option<Index>,
    vectors: Option<Vectors>,
    next: Next,
}

/// What the next results are of.
enum Next {
    Found,
    /// Tokens of pieces, unless they were known, and of the other messages; the question's vector, where chunks have theirs.
    Counted {
        known: bool,
    },
    /// Another request's vectors, perhaps, by now.
    Kept(Behind),
    /// Vectors of the next chunks.
    Embedded(Behind),
    /// All is done.
    Over,
}

/// What becomes vectors behind the answer.
#[derive(Default)]
struct Behind {
    texts: alloc::vec::IntoIter<String>,
    made: Vec<Vec<f32>>,
}

impl RequestProcessor for LongDocument {
    fn describe(config: &str) -> Result<RequestProcessorInfo, String> {
        Config::read(config)?;
        Ok(RequestProcessorInfo {
            name: "long_document".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            default_config: DEFAULT.into(),
            chooses: false,
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
            embeddings: model
                .embedding_tokens
                .map_or(0, |_| grants.embeddings as usize),
            budget,
            index: None,
            vectors: None,
            next: Next::Found,
        };
        let step = match place {
            Some(_) => this.begin(),
            None => this.as_it_is(),
        };
        (this, step)
    }

    fn resume(&mut self, outcomes: Vec<HostOutcome>) -> Step {
        match core::mem::replace(&mut self.next, Next::Over) {
            Next::Found => self.count(found(outcomes)),
            Next::Counted { known } => self.compose(known, outcomes),
            Next::Kept(behind) => match found(outcomes) {
                [Some(_), _] => Step::Done,
                _ => self.embed(behind),
            },
            Next::Embedded(mut behind) => match outcomes.into_iter().next() {
                Some(HostOutcome::Embedded(vectors)) => {
                    behind.made.extend(vectors);
                    self.embed(behind)
                }
                _ => Step::Done,
            },
            Next::Over => Step::Done,
        }
    }
}

/// The two values of a look-up.
fn found(outcomes: Vec<HostOutcome>) -> [Option<Vec<u8>>; 2] {
    let mut values = match outcomes.into_iter().next() {
        Some(HostOutcome::Found(values)) => values.into_iter(),
        _ => Vec::new().into_iter(),
    };
    [values.next().flatten(), values.next().flatten()]
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
            return self.count([None, None]);
        }
        self.next = Next::Found;
        Step::Perform(vec![HostAction::StoreGet {
            document: self.digest.clone(),
            keys: vec![INDEX.to_string(), VECTORS.to_string()],
        }])
    }

    /// Has counted what is not known of the document yet, and of the other messages.
    fn count(&mut self, [index, vectors]: [Option<Vec<u8>>; 2]) -> Step {
        let kept = index.and_then(|kept| Index::read(&kept, self.text()));
        let known = kept.is_some();
        let index = kept.unwrap_or_else(|| Index::of(self.text(), &self.config));
        let mut rest = self.messages.clone();
        rest[self.place].content = Some(String::new());
        let mut actions = vec![HostAction::CountPrompt(rest)];
        if !known {
            actions.push(HostAction::CountTokens(index.texts(self.text())));
        }
        let usable = vectors.filter(|_| known && self.embeddings > 0);
        self.vectors = usable.and_then(|kept| Vectors::read(&kept, index.chunks.len()));
        if self.vectors.is_some() && !self.question().trim().is_empty() {
            actions.push(HostAction::Embed(vec![self.question().to_string()]));
        }
        self.index = Some(index);
        self.next = Next::Counted { known };
        Step::Perform(actions)
    }

    /// Puts what fits in the document's place.
    fn compose(&mut self, known: bool, outcomes: Vec<HostOutcome>) -> Step {
        let mut counts = Vec::new();
        let mut asked = None;
        for outcome in outcomes {
            match outcome {
                HostOutcome::Counted(of_one) => counts.push(of_one),
                HostOutcome::Embedded(vectors) => asked = vectors.into_iter().next(),
                _ => {}
            }
        }
        let mut counts = counts.into_iter();
        let rest = counts.next().and_then(|counts| counts.first().copied());
        let (Some(mut index), Some(rest)) = (self.index.take(), rest) else {
            return self.as_it_is();
        };
        if !known {
            match counts.next() {
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
        let behind = self.behind(&index);
        if all > u64::from(budget) {
            let vectors = self.vectors.as_ref().zip(asked.as_ref());
            let similar = vectors.map(|(vectors, asked)| vectors.similar_to(asked));
            let question = Question {
                text: self.question(),
                similar: similar.as_deref(),
                retrieved: self.config.retrieved,
            };
            let short = compose::compose(self.text(), &index, &question, budget);
            self.messages[self.place].content = Some(short);
        }
        let document = || self.digest.clone();
        let mut actions = Vec::new();
        if behind.texts.len() > 0 {
            actions.push(HostAction::StoreGet {
                document: document(),
                keys: vec![VECTORS.to_string()],
            });
        }
        if !known && self.stores {
            actions.push(HostAction::StorePut {
                document: document(),
                entries: vec![(INDEX.to_string(), index.to_bytes())],
            });
        }
        if actions.is_empty() {
            return self.as_it_is();
        }
        self.next = match behind.texts.len() {
            0 => Next::Over,
            _ => Next::Kept(behind),
        };
        Step::ContinueAndPerform(core::mem::take(&mut self.messages), actions)
    }

    /// The chunks that are to become vectors: all, if there are none yet and so many are granted, with the question's.
    fn behind(&self, index: &Index) -> Behind {
        let fits = index.chunks.len() < self.embeddings;
        let texts = match fits && self.stores && self.vectors.is_none() {
            true => {
                let chunk = |chunk: &Chunk| self.text()[chunk.whole.range.clone()].to_string();
                index.chunks.iter().map(chunk).collect()
            }
            false => Vec::new(),
        };
        Behind {
            texts: texts.into_iter(),
            made: Vec::new(),
        }
    }

    /// Has the next chunks embedded, or all vectors kept.
    fn embed(&mut self, mut behind: Behind) -> Step {
        let batch: Vec<String> = behind.texts.by_ref().take(BATCH).collect();
        if !batch.is_empty() {
            self.next = Next::Embedded(behind);
            return Step::Perform(vec![HostAction::Embed(batch)]);
        }
        let Some(vectors) = Vectors::of(&behind.made) else {
            return Step::Done;
        };
        Step::Perform(vec![HostAction::StorePut {
            document: core::mem::take(&mut self.digest),
            entries: vec![(VECTORS.to_string(), vectors.to_bytes())],
        }])
    }
}

#[cfg(test)]
mod tests;
