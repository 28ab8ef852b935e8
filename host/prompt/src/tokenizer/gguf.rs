//! The tokenizer that GGUF metadata describe, as plain data, and how it becomes a byte-level BPE.

use tokenizers::{
    AddedToken, DecoderWrapper,
    models::bpe::{BPE, Merges, Vocab},
    pre_tokenizers::byte_level::ByteLevel,
};

use super::{
    pre_tokenizer::PreTokenizer,
    spelling::{Spelling, lone_byte},
};
use crate::{
    error::PromptError,
    vocabulary::{TokenKind, Vocabulary},
};

/// Token types as GGUF numbers them (`tokenizer.ggml.token_type`); the rest is ordinary text.
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// The `tokenizer.ggml.*` keys of a GGUF file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GgufVocabulary {
    /// `model`: `gpt2` is byte-level BPE, the one kind built so far.
    pub model: String,
    /// `pre`: how text is cut before merging.
    pub pre: Option<String>,
    /// `tokens`, by id.
    pub tokens: Vec<String>,
    /// `token_type`, by id; empty means that all are ordinary.
    pub token_types: Vec<i32>,
    /// `merges`, best first: two tokens and a space between them.
    pub merges: Vec<String>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `eot_token_id`.
    pub eot: Option<u32>,
    /// `unknown_token_id`.
    pub unk: Option<u32>,
    /// `padding_token_id`.
    pub pad: Option<u32>,
    /// `add_bos_token`; None leaves it to the pre-tokenizer's family.
    pub add_bos: Option<bool>,
    /// `add_eos_token`.
    pub add_eos: bool,
}

impl GgufVocabulary {
    /// Refuses what cannot be built and lists that do not fit together.
    pub(crate) fn check(&self) -> Result<(), PromptError> {
        if self.model != "gpt2" {
            return Err(PromptError::UnsupportedTokenizer(format!(
                "the GGUF file names the tokenizer model `{}`; known is gpt2 (byte-level BPE)",
                self.model
            )));
        }
        PreTokenizer::named(self.pre.as_deref())?;
        let (tokens, types) = (self.tokens.len(), self.token_types.len());
        if types != 0 && types != tokens {
            return Err(PromptError::Vocabulary(format!(
                "{tokens} tokens, but {types} token types"
            )));
        }
        for id in [self.bos, self.eos, self.eot, self.unk, self.pad]
            .into_iter()
            .flatten()
        {
            if id as usize >= tokens {
                return Err(PromptError::Vocabulary(format!(
                    "special token {id} of {tokens} tokens"
                )));
            }
        }
        Ok(())
    }

    /// Whether a begin token belongs before a text.
    pub(crate) fn adds_bos(&self) -> bool {
        self.add_bos.unwrap_or_else(|| {
            PreTokenizer::named(self.pre.as_deref()).is_ok_and(|pre| pre.adds_bos)
        })
    }

    /// Bytes and kinds by id.
    pub(crate) fn vocabulary(&self) -> Vocabulary {
        let tokens = self
            .tokens
            .iter()
            .enumerate()
            .map(|(id, token)| match self.token_type(id) {
                CONTROL => (token.as_bytes().into(), TokenKind::Special),
                USER_DEFINED => (token.as_bytes().into(), TokenKind::Added),
                BYTE => {
                    let byte = lone_byte(token).map(|byte| Box::from([byte]));
                    (
                        byte.unwrap_or_else(|| Spelling::ByteLevel.undo(token)),
                        TokenKind::Normal,
                    )
                }
                _ => (Spelling::ByteLevel.undo(token), TokenKind::Normal),
            });
        Vocabulary::new(tokens.collect())
    }

    /// The encoder.
    pub(crate) fn into_tokenizer(self) -> Result<tokenizers::Tokenizer, PromptError> {
        let pre_tokenizer = PreTokenizer::named(self.pre.as_deref())?;
        let merges = self
            .merges
            .iter()
            .map(|merge| pair(merge))
            .collect::<Result<Merges, _>>()?;
        let added: Vec<AddedToken> = self.added_tokens().collect();
        let mut spelled = Vocab::default();
        // From the back, so that the first of two equal spellings keeps its id.
        for (id, token) in self.tokens.into_iter().enumerate().rev() {
            let id = u32::try_from(id)
                .map_err(|_| PromptError::Vocabulary("more than 2^32 tokens".to_owned()))?;
            spelled.insert(token, id);
        }
        let unusable = |error: tokenizers::Error| PromptError::Vocabulary(error.to_string());
        let bpe = BPE::builder()
            .vocab_and_merges(spelled, merges)
            .ignore_merges(pre_tokenizer.ignore_merges)
            .build()
            .map_err(unusable)?;
        let mut tokenizer = tokenizers::Tokenizer::new(bpe);
        tokenizer
            .with_normalizer(pre_tokenizer.normalizer())
            .map_err(unusable)?;
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer.build()?));
        tokenizer.with_decoder(Some(DecoderWrapper::ByteLevel(ByteLevel::default())));
        tokenizer.add_tokens(added).map_err(unusable)?;
        Ok(tokenizer)
    }

    fn added_tokens(&self) -> impl Iterator<Item = AddedToken> {
        self.tokens
            .iter()
            .enumerate()
            .filter_map(|(id, token)| match self.token_type(id) {
                CONTROL => Some(AddedToken::from(token.clone(), true)),
                USER_DEFINED => Some(AddedToken::from(token.clone(), false).normalized(false)),
                _ => None,
            })
    }

    fn token_type(&self, id: usize) -> i32 {
        self.token_types.get(id).copied().unwrap_or_default()
    }
}

/// The two tokens of a merge. A space inside a token is spelled `Ġ`, so the first space is the border.
fn pair(merge: &str) -> Result<(String, String), PromptError> {
    let (left, right) = merge.split_once(' ').ok_or_else(|| {
        PromptError::Vocabulary(format!("`{merge}` is not a merge of two tokens"))
    })?;
    Ok((left.to_owned(), right.to_owned()))
}
