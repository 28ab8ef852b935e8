//! From what an engine's stream says to what ours gives: tokens where it tells them, else text, and one end.
//!
//! Invariants: an end token is no part of what is said, whoever sees it first; every answer that is not broken off has exactly
//! one end, behind all else; a token that its engine shows differently than its bytes (llama.cpp tells only the last token of
//! a character) is given as the text.

use std::{collections::VecDeque, sync::Arc};

use weir_engine::{FinishReason, Generated, SequenceRequest, SequenceUsage, TokenTexts};

use crate::{
    chunk::{Counts, Piece},
    dialect::{Dialect, PromptForm},
};

/// One answer in the making.
pub(crate) struct Answer {
    texts: Arc<dyn TokenTexts>,
    /// The model's own.
    end_tokens: Arc<[u32]>,
    stop_tokens: Vec<u32>,
    ignores_end: bool,
    /// How many alternatives are wanted beside a token's log-probability.
    logprobs: Option<usize>,
    dialect: Dialect,
    /// None where only the engine has counted them.
    prompt_tokens: Option<usize>,
    completion_tokens: usize,
    /// Whether every token was told: then our count is right.
    counted: bool,
    counts: Counts,
    finish: Option<FinishReason>,
    ended: bool,
}

impl Answer {
    pub(crate) fn new(
        request: &SequenceRequest,
        (dialect, prompt): (Dialect, PromptForm),
        end_tokens: Arc<[u32]>,
        texts: Arc<dyn TokenTexts>,
    ) -> Self {
        Self {
            texts,
            end_tokens,
            stop_tokens: request.stop.stop_token_ids.clone(),
            ignores_end: request.stop.ignore_eos,
            logprobs: request.sampling.logprobs,
            dialect,
            prompt_tokens: (prompt != PromptForm::Messages).then_some(request.prompt.len()),
            completion_tokens: 0,
            counted: true,
            counts: Counts::default(),
            finish: None,
            ended: false,
        }
    }

    /// Whether it has its end.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Takes an event; returns how many tokens it brought.
    pub(crate) fn take(&mut self, mut piece: Piece, out: &mut VecDeque<Generated>) -> usize {
        if self.ended {
            return 0;
        }
        self.counts = piece.counts.unwrap_or(self.counts);
        let before = self.completion_tokens;
        // What follows an end token is not wanted: an engine that does not know it goes on.
        if self.finish.is_none() {
            if self.shows_otherwise(&piece) {
                piece.ids.clear();
            }
            match piece.ids.is_empty() {
                true => self.text(piece.text, out),
                false => self.tokens(piece.ids, piece.logprobs, out),
            }
        }
        if self.dialect == Dialect::Llama && self.finish.is_none() && piece.finish.is_some() {
            // It tells no token of a character that it did not get to the end of.
            self.counted = false;
        }
        self.finish = self.finish.or(piece.finish);
        if piece.last {
            self.end(out);
        }
        self.completion_tokens - before
    }

    /// The stream is over. False if it was broken off.
    pub(crate) fn close(&mut self, out: &mut VecDeque<Generated>) -> bool {
        self.end(out);
        self.ended
    }

    /// Only llama.cpp tells ids that may not be all.
    fn shows_otherwise(&self, piece: &Piece) -> bool {
        let bytes = || piece.ids.iter().flat_map(|&id| self.texts.bytes(id));
        self.dialect == Dialect::Llama
            && !piece.text.is_empty()
            && !bytes().eq(piece.text.as_bytes())
    }

    fn text(&mut self, text: String, out: &mut VecDeque<Generated>) {
        if !text.is_empty() {
            self.counted = false;
            self.completion_tokens += 1;
            out.push_back(Generated::Text(text));
        }
    }

    fn tokens(
        &mut self,
        ids: Vec<u32>,
        logprobs: Vec<weir_engine::TokenLogprobs>,
        out: &mut VecDeque<Generated>,
    ) {
        let mut logprobs = logprobs.into_iter();
        for id in ids {
            let mut told = logprobs.next();
            if let (Some(told), Some(top)) = (&mut told, self.logprobs) {
                told.top.truncate(top);
            }
            let told = told.filter(|_| self.logprobs.is_some());
            self.completion_tokens += 1;
            let own_end = !self.ignores_end && self.end_tokens.contains(&id);
            let stop = self.stop_tokens.contains(&id);
            if own_end || stop {
                if let Some(logprobs) = told {
                    out.push_back(Generated::EndToken { id, logprobs });
                }
                self.finish = Some(FinishReason::Stop);
                // llama.cpp takes no stop tokens: it would go on.
                if !own_end && self.dialect == Dialect::Llama {
                    self.end(out);
                }
                return;
            }
            out.push_back(Generated::Token {
                id,
                logprobs: told,
                cached_tokens: self.counts.cached.unwrap_or(0),
            });
        }
    }

    fn end(&mut self, out: &mut VecDeque<Generated>) {
        let Some(reason) = self.finish.filter(|_| !self.ended) else {
            return;
        };
        self.ended = true;
        let told = self.counts.completion;
        let prompt_tokens = self.prompt_tokens.unwrap_or(self.counts.prompt);
        out.push_back(Generated::Finished {
            reason,
            usage: SequenceUsage {
                prompt_tokens,
                cached_tokens: self.counts.cached.unwrap_or(0).min(prompt_tokens),
                completion_tokens: match self.counted || told == 0 {
                    true => self.completion_tokens,
                    false => told,
                },
            },
        });
    }
}
