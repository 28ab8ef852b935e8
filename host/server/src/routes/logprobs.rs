//! Log-probabilities in the shapes of the wire, from the tokens of a step.
//!
//! A chat answer tells those of its content's tokens: reasoning, calls, markers, special tokens that are not shown and the end
//! token are left out. A completion tells every token it is made of, and the end token as well, as many as `usage` counts.

use std::sync::Arc;

use weir_output::{Detokenizer, Event};
use weir_prompt::Vocabulary;
use weir_protocol::logprobs::{
    ChatLogprobs, CompletionLogprobs, ContentLogprob, TokenLogprob, TopLogprobs,
};

use crate::generation::{AnswerToken, TokenPlace};

/// Of the tokens whose content begins in one event.
pub(super) fn of_content(
    vocabulary: &Vocabulary,
    tokens: &[AnswerToken],
    event: usize,
) -> ChatLogprobs {
    let here = tokens
        .iter()
        .filter(|token| matches!(token.place, TokenPlace::Text { event: of, .. } if of == event));
    let content = here.filter_map(|token| {
        let logprobs = token.logprobs.as_ref()?;
        let top = logprobs.top.iter();
        Some(ContentLogprob {
            token: told(vocabulary, token.id, logprobs.sampled),
            top_logprobs: top
                .map(|&(id, logprob)| told(vocabulary, id, logprob))
                .collect(),
        })
    });
    ChatLogprobs {
        content: content.collect(),
        refusal: None,
    }
}

/// Of all content of a step, in order.
pub(super) fn of_step(vocabulary: &Vocabulary, tokens: &[AnswerToken]) -> Vec<ContentLogprob> {
    let mut all = Vec::new();
    let mut last = None;
    for token in tokens {
        if let TokenPlace::Text { event, .. } = token.place
            && last.replace(event) != Some(event)
        {
            all.extend(of_content(vocabulary, tokens, event).content);
        }
    }
    all
}

fn told(vocabulary: &Vocabulary, id: u32, logprob: f32) -> TokenLogprob {
    let bytes = vocabulary.bytes(id).unwrap_or_default();
    TokenLogprob {
        token: String::from_utf8_lossy(bytes).into_owned(),
        logprob,
        bytes: bytes.to_vec(),
    }
}

fn text(vocabulary: &Vocabulary, id: u32) -> String {
    String::from_utf8_lossy(vocabulary.bytes(id).unwrap_or_default()).into_owned()
}

/// Tells the tokens of one completion, step by step.
#[derive(Clone)]
pub(super) struct CompletionTokens {
    vocabulary: Arc<Vocabulary>,
    /// Characters of the echoed prompt.
    echoed: usize,
    /// Characters of the text so far.
    written: usize,
}

impl CompletionTokens {
    /// Of a completion that starts with this text.
    pub(super) fn new(vocabulary: Arc<Vocabulary>, echo: &str) -> Self {
        let echoed = echo.chars().count();
        Self {
            vocabulary,
            echoed,
            written: echoed,
        }
    }

    /// Of a step with these events.
    pub(super) fn step(&mut self, tokens: &[AnswerToken], events: &[Event]) -> CompletionLogprobs {
        let mut logprobs = CompletionLogprobs::default();
        let mut prompt = self.prompt_offsets(tokens).into_iter();
        let mut last = self.written;
        for token in tokens {
            let offset = match token.place {
                TokenPlace::Prompt => prompt.next().unwrap_or(self.echoed),
                TokenPlace::Text { event, offset } => {
                    let behind = content(&events[event]).get(..offset).unwrap_or_default();
                    self.written + characters(&events[..event]) + behind.chars().count()
                }
                TokenPlace::Hidden => last,
                TokenPlace::End => self.written + characters(events),
            };
            last = offset;
            self.tell(token, offset, &mut logprobs);
        }
        self.written += characters(events);
        logprobs
    }

    /// Characters of the echoed prompt before each of its tokens. What the tokenizer has put before the text, a begin token or
    /// a space, is none of it: so the text is laid against the tokens' end.
    fn prompt_offsets(&self, tokens: &[AnswerToken]) -> Vec<usize> {
        let prompt = tokens
            .iter()
            .take_while(|token| token.place == TokenPlace::Prompt);
        let mut detokenizer = Detokenizer::new(Arc::clone(&self.vocabulary), Arc::from([]))
            .showing_special_tokens(true);
        let mut fragments = Vec::new();
        let mut written = 0;
        let mut starts = Vec::new();
        for token in prompt {
            starts.push(written);
            detokenizer.push(token.id, &mut fragments);
            let texts = fragments.drain(..);
            written += texts.map(|text| text.text.chars().count()).sum::<usize>();
        }
        let added = written.saturating_sub(self.echoed);
        starts
            .iter()
            .map(|start| start.saturating_sub(added))
            .collect()
    }

    fn tell(&self, token: &AnswerToken, offset: usize, logprobs: &mut CompletionLogprobs) {
        logprobs.tokens.push(text(&self.vocabulary, token.id));
        logprobs.text_offset.push(offset);
        let own = token.logprobs.as_ref();
        logprobs.token_logprobs.push(own.map(|own| own.sampled));
        logprobs.top_logprobs.push(own.map(|own| {
            let mut top = TopLogprobs::default();
            for &(id, logprob) in &own.top {
                top.push(text(&self.vocabulary, id), logprob);
            }
            top.push(text(&self.vocabulary, token.id), own.sampled);
            top
        }));
    }
}

fn content(event: &Event) -> &str {
    match event {
        Event::Content(fragment) => &fragment.text,
        _ => "",
    }
}

fn characters(events: &[Event]) -> usize {
    events
        .iter()
        .map(|event| content(event).chars().count())
        .sum()
}
