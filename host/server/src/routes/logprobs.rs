//! Log-probabilities in the shapes of the wire, from the tokens of a step.
//!
//! A chat answer tells those of its content's tokens: reasoning, calls, markers, special tokens that are not shown and the end
//! token are left out. A completion tells every token it is made of, and the end token as well, as many as `usage` counts.

use std::sync::Arc;

use weir_output::{Detokenizer, Event};
use weir_prompt::Vocabulary;
use weir_protocol::{
    RequestOptions,
    logprobs::{
        ChatLogprobs, CompletionLogprobs, ContentLogprob, PromptLogprob, PromptLogprobs,
        PromptTokens, TokenLogprob, TopLogprobs,
    },
};

use crate::generation::{AnswerToken, TokenPlace};

/// What tokens are called.
#[derive(Clone)]
pub(super) struct TokenNames {
    vocabulary: Arc<Vocabulary>,
    /// By their ids, not by their texts.
    by_id: bool,
}

impl TokenNames {
    /// Of this vocabulary, as a request wants them.
    pub(super) fn new(vocabulary: &Arc<Vocabulary>, options: &RequestOptions) -> Self {
        Self {
            vocabulary: Arc::clone(vocabulary),
            by_id: options.tokens_as_ids,
        }
    }

    /// vLLM's way to tell tokens apart whose texts are the same.
    fn name(&self, id: u32) -> String {
        match self.by_id {
            true => format!("token_id:{id}"),
            false => self.text(id),
        }
    }

    fn text(&self, id: u32) -> String {
        String::from_utf8_lossy(self.bytes(id)).into_owned()
    }

    fn bytes(&self, id: u32) -> &[u8] {
        self.vocabulary.bytes(id).unwrap_or_default()
    }

    fn told(&self, id: u32, logprob: f32) -> TokenLogprob {
        TokenLogprob {
            token: self.name(id),
            logprob,
            bytes: self.bytes(id).to_vec(),
        }
    }
}

/// Of the prompt's tokens among these, `top` of the likeliest beside each.
pub(super) fn of_prompt(names: &TokenNames, tokens: &[AnswerToken], top: usize) -> PromptLogprobs {
    let prompt = tokens
        .iter()
        .filter(|token| token.place == TokenPlace::Prompt);
    let told = prompt.map(|token| {
        let own = token.logprobs.as_ref()?;
        let entry = |id, logprob, rank| PromptLogprob {
            logprob,
            rank,
            decoded_token: names.text(id),
        };
        let mut tokens = PromptTokens::default();
        tokens.push(token.id, entry(token.id, own.sampled, own.rank));
        for (place, &(id, logprob)) in own.top.iter().take(top).enumerate() {
            tokens.push(id, entry(id, logprob, place + 1));
        }
        Some(tokens)
    });
    told.collect()
}

/// Of the tokens whose content begins in one event.
pub(super) fn of_content(names: &TokenNames, tokens: &[AnswerToken], event: usize) -> ChatLogprobs {
    let here = tokens
        .iter()
        .filter(|token| matches!(token.place, TokenPlace::Text { event: of, .. } if of == event));
    let content = here.filter_map(|token| {
        let logprobs = token.logprobs.as_ref()?;
        let top = logprobs.top.iter();
        Some(ContentLogprob {
            token: names.told(token.id, logprobs.sampled),
            top_logprobs: top.map(|&(id, logprob)| names.told(id, logprob)).collect(),
        })
    });
    ChatLogprobs {
        content: content.collect(),
        refusal: None,
    }
}

/// Of all content of a step, in order.
pub(super) fn of_step(names: &TokenNames, tokens: &[AnswerToken]) -> Vec<ContentLogprob> {
    let mut all = Vec::new();
    let mut last = None;
    for token in tokens {
        if let TokenPlace::Text { event, .. } = token.place
            && last.replace(event) != Some(event)
        {
            all.extend(of_content(names, tokens, event).content);
        }
    }
    all
}

/// Tells the tokens of one completion, step by step.
#[derive(Clone)]
pub(super) struct CompletionTokens {
    names: TokenNames,
    /// Characters of the echoed prompt.
    echoed: usize,
    /// How many are told beside each token that is echoed; None where the prompt is not.
    top: Option<usize>,
    /// Characters of the text so far.
    written: usize,
}

impl CompletionTokens {
    /// Of a completion that starts with this text; `top` as many as are told of its tokens, where it is a prompt's.
    pub(super) fn new(names: TokenNames, echo: &str, top: Option<usize>) -> Self {
        let echoed = echo.chars().count();
        Self {
            names,
            echoed,
            top,
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
                TokenPlace::Prompt if self.top.is_none() => continue,
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
        let mut detokenizer = Detokenizer::new(Arc::clone(&self.names.vocabulary), Arc::from([]))
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
        logprobs.tokens.push(self.names.name(token.id));
        logprobs.text_offset.push(offset);
        let own = token.logprobs.as_ref();
        logprobs.token_logprobs.push(own.map(|own| own.sampled));
        let told = match token.place {
            TokenPlace::Prompt => self.top.unwrap_or(0),
            _ => usize::MAX,
        };
        logprobs.top_logprobs.push(own.map(|own| {
            let mut top = TopLogprobs::default();
            for &(id, logprob) in own.top.iter().take(told) {
                top.push(self.names.name(id), logprob);
            }
            top.push(self.names.name(token.id), own.sampled);
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
