//! Text to token ids and back, from a `tokenizer.json`, from GGUF metadata, or from a list of pieces to replay.
//!
//! Invariants: every id the tokenizer gives is in its [`Vocabulary`]; decoding is the vocabulary's bytes in order, the same
//! bytes the detokenizer streams. It does not truncate or pad: the engine says what is too long.

mod config;
mod folder;
mod gguf;
mod pre_tokenizer;
mod spelling;

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

pub use config::TokenizerConfig;
pub use gguf::GgufVocabulary;

use crate::{
    chat_template::SpecialTokens,
    error::PromptError,
    vocabulary::{TokenKind, Vocabulary},
};
use spelling::Spelling;

/// The id of the replay tokenizer's end-of-sequence token; ids below it are raw bytes.
const REPLAY_EOS: u32 = 256;

/// Turns text into token ids and back.
#[derive(Debug)]
pub struct Tokenizer {
    encoder: Encoder,
    vocabulary: Arc<Vocabulary>,
    special: SpecialIds,
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
    tokenizer: tokenizers::Tokenizer,
    /// The same tokenizer, blind to special tokens; made when first asked for, since few servers ever do.
    plain: OnceLock<tokenizers::Tokenizer>,
    /// Ids put around a text by `add_special`, where the file's own post-processor does not.
    prefix: Option<u32>,
    suffix: Option<u32>,
}

/// The ids with a role.
#[derive(Debug, Clone, Copy, Default)]
struct SpecialIds {
    bos: Option<u32>,
    eos: Option<u32>,
    /// End of turn, where a model has one beside its end of sequence.
    eot: Option<u32>,
    unk: Option<u32>,
    pad: Option<u32>,
}

impl Tokenizer {
    /// Reads a Hugging Face `tokenizer.json`; `config` names the special tokens, which that file does not.
    ///
    /// # Errors
    /// When the file cannot be read, or spells its tokens in a way that cannot be undone.
    pub fn from_json_file(path: &Path, config: &TokenizerConfig) -> Result<Self, PromptError> {
        let in_file = |message: String| PromptError::File {
            path: path.to_path_buf(),
            message,
        };
        let text = std::fs::read(path).map_err(|error| in_file(error.to_string()))?;
        let mut tokenizer =
            tokenizers::Tokenizer::from_bytes(text).map_err(|error| in_file(error.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| in_file(error.to_string()))?;

        let spelling = Spelling::of(&tokenizer)?;
        let vocabulary = json_vocabulary(&tokenizer, spelling);
        let id = |token: &Option<String>| {
            token
                .as_deref()
                .and_then(|token| tokenizer.token_to_id(token))
        };
        let special = SpecialIds {
            bos: id(&config.bos_token),
            eos: id(&config.eos_token),
            eot: None,
            unk: id(&config.unk_token),
            pad: id(&config.pad_token),
        };
        Ok(Self {
            vocabulary: Arc::new(vocabulary),
            special,
            leading_space: spelling == Spelling::Metaspace,
            encoder: Encoder::Trained(Box::new(Trained {
                tokenizer,
                plain: OnceLock::new(),
                prefix: None,
                suffix: None,
            })),
        })
    }

    /// Builds the tokenizer that GGUF metadata describe.
    ///
    /// # Errors
    /// When the kind of tokenizer or of pre-tokenizer is not one of those built, or the lists contradict each other.
    pub fn from_gguf(gguf: GgufVocabulary) -> Result<Self, PromptError> {
        gguf.check()?;
        let vocabulary = gguf.vocabulary();
        let special = SpecialIds {
            bos: gguf.bos,
            eos: gguf.eos,
            eot: gguf.eot,
            unk: gguf.unk,
            pad: gguf.pad,
        };
        let prefix = if gguf.adds_bos() { gguf.bos } else { None };
        let suffix = if gguf.add_eos { gguf.eos } else { None };
        let tokenizer = gguf.into_tokenizer()?;
        Ok(Self {
            vocabulary: Arc::new(vocabulary),
            special,
            leading_space: false,
            encoder: Encoder::Trained(Box::new(Trained {
                tokenizer,
                plain: OnceLock::new(),
                prefix,
                suffix,
            })),
        })
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
            Encoder::Trained(trained) => trained.encode(&trained.tokenizer, text, add_special),
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
                let plain = trained.plain.get_or_init(|| {
                    let mut tokenizer = trained.tokenizer.clone();
                    tokenizer.set_encode_special_tokens(true);
                    tokenizer
                });
                trained.encode(plain, text, false)
            }
            Encoder::Bytes => self.encode(text, false),
        }
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

    /// What each id stands for.
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// The id of the token with exactly this text.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        if let Encoder::Trained(trained) = &self.encoder
            && let Some(id) = trained.tokenizer.token_to_id(token)
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
        tokenizer: &tokenizers::Tokenizer,
        text: &str,
        add_special: bool,
    ) -> Result<Vec<u32>, PromptError> {
        let encoding = tokenizer
            .encode_fast(text, add_special)
            .map_err(|error| PromptError::Encode(error.to_string()))?;
        let around = |id: Option<u32>| id.filter(|_| add_special);
        Ok(around(self.prefix)
            .into_iter()
            .chain(encoding.get_ids().iter().copied())
            .chain(around(self.suffix))
            .collect())
    }
}

fn json_vocabulary(tokenizer: &tokenizers::Tokenizer, spelling: Spelling) -> Vocabulary {
    let added = tokenizer.get_added_tokens_decoder();
    let spelled = tokenizer.get_vocab(true);
    let len = spelled.values().max().map_or(0, |id| *id as usize + 1);
    let mut tokens = vec![(Box::from([]), TokenKind::Normal); len];
    for (text, id) in spelled {
        tokens[id as usize] = match added.get(&id) {
            Some(token) if token.special => (token.content.as_bytes().into(), TokenKind::Special),
            Some(token) => (token.content.as_bytes().into(), TokenKind::Added),
            None => (spelling.undo(&text), TokenKind::Normal),
        };
    }
    Vocabulary::new(tokens)
}

#[cfg(test)]
mod tests;
