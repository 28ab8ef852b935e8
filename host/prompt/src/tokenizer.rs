//! Text to token ids and back: from a model folder's files, from GGUF metadata, or from a list of pieces to replay.
//!
//! Invariants: every id the tokenizer gives is in its [`Vocabulary`]; decoding is the vocabulary's bytes in order, the same
//! bytes the detokenizer streams. A kind of tokenizer that is not built is refused by name: ids that are nearly right are worse.
//! It does not truncate or pad: the engine says what is too long.

mod config;
mod encoder;
mod folder;
mod gguf;
mod json;
mod pieces;
mod pre_tokenizer;
mod ranks;
mod sentencepiece;
mod sentencepiece_file;
mod spelling;
mod wordpiece;

use std::sync::{Arc, OnceLock};

pub use config::{AddedTokenEntry, TokenizerConfig};
pub use gguf::GgufVocabulary;

use crate::{
    chat_template::SpecialTokens,
    error::PromptError,
    vocabulary::{TokenKind, Vocabulary},
};
use encoder::TextEncoder;

/// The id of the replay tokenizer's end-of-sequence token; ids below it are raw bytes.
const REPLAY_EOS: u32 = 256;

/// Turns text into token ids and back.
#[derive(Debug)]
pub struct Tokenizer {
    encoder: Encoder,
    vocabulary: Arc<Vocabulary>,
    special: SpecialIds,
    end_ids: Vec<u32>,
    /// The tokenizer marks the start of a text with a space that is not part of it.
    leading_space: bool,
}

#[derive(Debug)]
enum Encoder {
    Trained(Box<Trained>),
    /// A prompt is its UTF-8 bytes.
    Bytes,
}

#[derive(Debug)]
struct Trained {
    encoder: Box<dyn TextEncoder>,
    /// The same encoder, blind to special tokens; made when first asked for, since few servers ever do.
    plain: OnceLock<Box<dyn TextEncoder>>,
    /// Ids put around a text by `add_special`, where the file's own post-processor does not.
    prefix: Option<u32>,
    suffix: Option<u32>,
}

/// What every source of a tokenizer comes to.
#[derive(Debug)]
pub(crate) struct Parts {
    encoder: Box<dyn TextEncoder>,
    vocabulary: Vocabulary,
    special: SpecialIds,
    /// Ends of a generation beside those with a role.
    end_ids: Vec<u32>,
    prefix: Option<u32>,
    suffix: Option<u32>,
    leading_space: bool,
}

/// The ids with a role.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SpecialIds {
    bos: Option<u32>,
    eos: Option<u32>,
    /// End of turn, where a model has one beside its end of sequence.
    eot: Option<u32>,
    /// End of message: the model waits for a tool.
    eom: Option<u32>,
    unk: Option<u32>,
    pad: Option<u32>,
}

impl Tokenizer {
    /// Builds the tokenizer that GGUF metadata describe.
    ///
    /// # Errors
    /// When the kind of tokenizer or of pre-tokenizer is not one of those built, or the lists contradict each other.
    pub fn from_gguf(gguf: GgufVocabulary) -> Result<Self, PromptError> {
        Ok(gguf.build()?.into())
    }

    /// The replay tokenizer: ids 0 to 255 are raw bytes, 256 is the end of sequence, then come `pieces`.
    ///
    /// A prompt encodes as its UTF-8 bytes; pieces are only ever generated.
    pub fn from_pieces(pieces: Vec<(String, TokenKind)>) -> Self {
        let bytes = (0..=u8::MAX).map(|byte| (Box::from([byte]), TokenKind::Normal));
        let eos = std::iter::once((Box::from([]), TokenKind::Special));
        let pieces = pieces
            .into_iter()
            .map(|(text, kind)| (text.into_bytes().into_boxed_slice(), kind));
        Self {
            encoder: Encoder::Bytes,
            vocabulary: Arc::new(Vocabulary::new(bytes.chain(eos).chain(pieces).collect())),
            special: SpecialIds {
                eos: Some(REPLAY_EOS),
                ..SpecialIds::default()
            },
            end_ids: vec![REPLAY_EOS],
            leading_space: false,
        }
    }

    /// The ids of `text`. Special and added tokens written in it become their ids, as chat templates need.
    ///
    /// `add_special` puts the model's own begin and end tokens around it; not for rendered chat templates, which write
    /// them out.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, PromptError> {
        match &self.encoder {
            Encoder::Trained(trained) => {
                trained.encode(trained.encoder.as_ref(), text, add_special)
            }
            Encoder::Bytes => Ok(text.bytes().map(u32::from).collect()),
        }
    }

    /// The ids of `text` with nothing put around it, where the spelling of a special token is just text.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        match &self.encoder {
            Encoder::Trained(trained) => {
                let plain = trained.plain.get_or_init(|| trained.encoder.blind());
                trained.encode(plain.as_ref(), text, false)
            }
            Encoder::Bytes => self.encode(text, false),
        }
    }

    /// Whether it is the replay tokenizer, whose ids of a text are not those that are generated.
    pub fn is_replay(&self) -> bool {
        matches!(self.encoder, Encoder::Bytes)
    }

    /// The text of `ids`, special tokens included; bytes that are not UTF-8 become U+FFFD, unknown ids nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids
            .iter()
            .filter_map(|id| self.vocabulary.bytes(*id))
            .flatten()
            .copied()
            .collect();
        let text = String::from_utf8_lossy(&bytes);
        match text.strip_prefix(' ') {
            Some(rest) if self.leading_space => rest.to_owned(),
            _ => text.into_owned(),
        }
    }

    /// Whether [`Self::decode`] drops a space at the start of a text: there it marks the start of a word.
    pub fn drops_first_space(&self) -> bool {
        self.leading_space
    }

    /// What each id stands for.
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// The id of the token with exactly this text.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        if let Encoder::Trained(trained) = &self.encoder
            && let Some(id) = trained.encoder.id_of(token)
            && self.vocabulary.bytes(id) == Some(token.as_bytes())
        {
            return Some(id);
        }
        (0..self.vocabulary.len())
            .filter_map(|id| u32::try_from(id).ok())
            .find(|id| !token.is_empty() && self.vocabulary.bytes(*id) == Some(token.as_bytes()))
    }

    /// The begin-of-sequence id.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos
    }

    /// The end-of-sequence id.
    pub fn eos(&self) -> Option<u32> {
        self.special.eos
    }

    /// The end-of-turn id, where the model's files name one beside [`Self::eos`].
    pub fn eot(&self) -> Option<u32> {
        self.special.eot
    }

    /// All ids that end a generation: [`Self::eos`], [`Self::eot`], the end of a message, and those that the model's
    /// generation_config.json names.
    pub fn end_ids(&self) -> &[u32] {
        &self.end_ids
    }

    /// The special tokens as text, for the chat template.
    pub fn special_tokens(&self) -> SpecialTokens {
        let text = |id: Option<u32>| id.map(|id| self.decode(&[id]));
        SpecialTokens {
            bos: text(self.special.bos),
            eos: text(self.special.eos),
            unk: text(self.special.unk),
            pad: text(self.special.pad),
        }
    }
}

impl Trained {
    fn encode(
        &self,
        encoder: &dyn TextEncoder,
        text: &str,
        add_special: bool,
    ) -> Result<Vec<u32>, PromptError> {
        let mut ids = encoder.ids(text, add_special)?;
        if add_special {
            ids.splice(0..0, self.prefix);
            ids.extend(self.suffix);
        }
        Ok(ids)
    }
}

impl From<Parts> for Tokenizer {
    fn from(parts: Parts) -> Self {
        let SpecialIds { eos, eot, eom, .. } = parts.special;
        let mut end_ids = Vec::new();
        for id in [eos, eot, eom].into_iter().flatten().chain(parts.end_ids) {
            if !end_ids.contains(&id) && (id as usize) < parts.vocabulary.len() {
                end_ids.push(id);
            }
        }
        Self {
            vocabulary: Arc::new(parts.vocabulary),
            special: SpecialIds {
                eos: eos.or(end_ids.first().copied()),
                ..parts.special
            },
            end_ids,
            leading_space: parts.leading_space,
            encoder: Encoder::Trained(Box::new(Trained {
                encoder: parts.encoder,
                plain: OnceLock::new(),
                prefix: parts.prefix,
                suffix: parts.suffix,
            })),
        }
    }
}

#[cfg(test)]
mod kinds_tests;
#[cfg(test)]
mod tests;
