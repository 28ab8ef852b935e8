//! The tokenizer that GGUF metadata describe, as plain data, and how it becomes one of the kinds that are built.
//!
//! Defaults are llama.cpp's for each kind. Where it normalises otherwise than the model's own file (NFC for Qwen, accents for
//! BERT), the model's own file is followed.

use tokenizers::{
    AddedToken, DecoderWrapper,
    models::bpe::{BPE, Merges, Vocab},
    pre_tokenizers::byte_level::ByteLevel,
};

use super::{
    Parts, SpecialIds,
    config::added_kind,
    encoder::TextEncoder,
    pre_tokenizer::PreTokenizer,
    sentencepiece::{Piece, PieceKind, Prefix, SentencePieces},
    spelling::{Spelling, lone_byte},
    wordpiece::WordPieces,
};
use crate::{
    error::{PromptError, quoted},
    vocabulary::{TokenKind, Vocabulary},
};

/// The `tokenizer.ggml.*` keys of a GGUF file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufVocabulary {
    /// `model`: `gpt2` is byte-level BPE, `llama` SentencePiece's BPE, `bert` WordPiece.
    pub model: String,
    /// `pre`: how a text is cut before merging; only byte-level BPE has it.
    pub pre: Option<String>,
    /// `general.name`: Phi-3's files say only there that white space after a special token belongs to it.
    pub model_name: String,
    /// `tokens`, by id.
    pub tokens: Vec<String>,
    /// `token_type`, by id; empty means that all are ordinary.
    pub token_types: Vec<i32>,
    /// `scores`, by id; SentencePiece merges by them.
    pub scores: Vec<f32>,
    /// `merges`, best first: two tokens and a space between them.
    pub merges: Vec<String>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `eot_token_id`.
    pub eot: Option<u32>,
    /// `eom_token_id`.
    pub eom: Option<u32>,
    /// `unknown_token_id`.
    pub unk: Option<u32>,
    /// `padding_token_id`.
    pub pad: Option<u32>,
    /// `seperator_token_id` (so spelled).
    pub sep: Option<u32>,
    /// `cls_token_id`.
    pub cls: Option<u32>,
    /// `mask_token_id`.
    pub mask: Option<u32>,
    /// `add_bos_token`; None leaves it to the kind.
    pub add_bos: Option<bool>,
    /// `add_eos_token`.
    pub add_eos: bool,
    /// `add_sep_token`; None leaves it to the kind.
    pub add_sep: Option<bool>,
    /// `add_space_prefix`: SentencePiece marks the start of a text as the start of a word; None means yes.
    pub add_space_prefix: Option<bool>,
    /// `remove_extra_whitespaces`, SentencePiece's.
    pub remove_extra_whitespaces: bool,
    /// `normalizer.lowercase`, WordPiece's; None means yes.
    pub lowercase: Option<bool>,
    /// `normalizer.strip_accents`, WordPiece's; None does as `lowercase`.
    pub strip_accents: Option<bool>,
}

impl GgufVocabulary {
    /// The tokenizer's parts.
    ///
    /// # Errors
    /// When the kind of tokenizer is not built, or the lists contradict each other.
    pub(crate) fn build(self) -> Result<Parts, PromptError> {
        self.check()?;
        match self.model.as_str() {
            "gpt2" => self.build_bpe(),
            "llama" => self.build_sentencepiece(),
            "bert" => self.build_wordpiece(),
            other => Err(PromptError::UnsupportedTokenizer(format!(
                "the GGUF file names the tokenizer model `{}`; known are gpt2 (byte-level BPE), llama (SentencePiece) and \
                 bert (WordPiece)",
                quoted(other)
            ))),
        }
    }

    /// Refuses lists that do not fit together.
    fn check(&self) -> Result<(), PromptError> {
        let tokens = self.tokens.len();
        if tokens == 0 {
            return Err(PromptError::Vocabulary("no tokens".to_owned()));
        }
        for (len, name) in [
            (self.token_types.len(), "token types"),
            (self.scores.len(), "scores"),
        ] {
            if len != 0 && len != tokens {
                return Err(PromptError::Vocabulary(format!(
                    "{tokens} tokens, but {len} {name}"
                )));
            }
        }
        let roles = [self.bos, self.eos, self.eot, self.eom, self.unk, self.pad];
        for id in roles
            .into_iter()
            .chain([self.sep, self.cls, self.mask])
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

    fn special_ids(&self) -> SpecialIds {
        SpecialIds {
            bos: self.bos,
            eos: self.eos,
            eot: self.eot,
            eom: self.eom,
            unk: self.unk,
            pad: self.pad,
        }
    }

    /// An id that a kind has where the file names none, if there is such a token.
    fn default_id(&self, named: Option<u32>, default: u32) -> Option<u32> {
        named.or(Some(default).filter(|id| (*id as usize) < self.tokens.len()))
    }

    fn kind(&self, id: usize) -> PieceKind {
        let number = self.token_types.get(id).copied().unwrap_or_default();
        PieceKind::numbered(number.into())
    }

    fn build_bpe(self) -> Result<Parts, PromptError> {
        let pre = PreTokenizer::named(self.pre.as_deref())?;
        let special = self.special_ids();
        Ok(Parts {
            special,
            prefix: self.bos.filter(|_| self.add_bos.unwrap_or(pre.adds_bos)),
            suffix: self.eos.filter(|_| self.add_eos),
            end_ids: Vec::new(),
            leading_space: false,
            vocabulary: self.bpe_vocabulary(),
            encoder: self.bpe_encoder(&pre)?,
        })
    }

    fn bpe_vocabulary(&self) -> Vocabulary {
        let tokens = self.tokens.iter().enumerate().map(|(id, token)| {
            let bytes = token.as_bytes();
            match self.kind(id) {
                PieceKind::Control | PieceKind::Unknown => (bytes.into(), TokenKind::Special),
                PieceKind::UserDefined => (bytes.into(), added_kind(bytes)),
                PieceKind::Byte => {
                    let byte = lone_byte(token).map(|byte| Box::from([byte]));
                    let bytes = byte.unwrap_or_else(|| Spelling::ByteLevel.undo(token));
                    (bytes, TokenKind::Normal)
                }
                _ => (Spelling::ByteLevel.undo(token), TokenKind::Normal),
            }
        });
        Vocabulary::new(tokens.collect())
    }

    fn bpe_encoder(self, pre: &PreTokenizer) -> Result<Box<dyn TextEncoder>, PromptError> {
        // Without merges only single characters are ever made of a text: right where there are no longer tokens.
        let longer = |(id, token): (usize, &String)| {
            self.kind(id) == PieceKind::Normal && token.chars().nth(1).is_some()
        };
        if self.merges.is_empty() && self.tokens.iter().enumerate().any(longer) {
            return Err(PromptError::Vocabulary("no merges".to_owned()));
        }
        let merges = self.merges.iter().map(|merge| pair(merge));
        let merges = merges.collect::<Result<Merges, _>>()?;
        let added: Vec<AddedToken> = self.bpe_added_tokens().collect();
        let mut spelled = Vocab::default();
        // From the back, so that the first of two equal spellings keeps its id.
        for (id, token) in (0..).zip(self.tokens).collect::<Vec<_>>().into_iter().rev() {
            spelled.insert(token, id);
        }
        // The crate takes it on trust that a merge makes a token.
        if let Some((left, right)) = merges
            .iter()
            .find(|(left, right)| !spelled.contains_key(&format!("{left}{right}")))
        {
            return Err(PromptError::unusable(format!(
                "the merge of `{left}` and `{right}` makes no token"
            )));
        }
        let bpe = BPE::builder()
            .vocab_and_merges(spelled, merges)
            .ignore_merges(pre.ignore_merges)
            .build()
            .map_err(PromptError::unusable)?;
        let mut tokenizer = tokenizers::Tokenizer::new(bpe);
        tokenizer
            .with_normalizer(pre.normalizer())
            .map_err(PromptError::unusable)?;
        tokenizer.with_pre_tokenizer(Some(pre.build()?));
        tokenizer.with_decoder(Some(DecoderWrapper::ByteLevel(ByteLevel::default())));
        tokenizer.add_tokens(added).map_err(PromptError::unusable)?;
        Ok(Box::new(tokenizer.into_inner()))
    }

    fn bpe_added_tokens(&self) -> impl Iterator<Item = AddedToken> {
        let tokens = self.tokens.iter().enumerate();
        tokens.filter_map(|(id, token)| {
            let special = match self.kind(id) {
                PieceKind::Control | PieceKind::Unknown => true,
                PieceKind::UserDefined => false,
                _ => return None,
            };
            Some(AddedToken::from(token.clone(), special).normalized(false))
        })
    }

    fn build_sentencepiece(self) -> Result<Parts, PromptError> {
        if self.scores.is_empty() {
            return Err(PromptError::Vocabulary("no scores".to_owned()));
        }
        let special = SpecialIds {
            bos: self.default_id(self.bos, 1),
            eos: self.default_id(self.eos, 2),
            unk: self.default_id(self.unk, 0),
            ..self.special_ids()
        };
        let name = self.model_name.to_lowercase();
        let prefix = match self.add_space_prefix {
            Some(false) => Prefix::None,
            _ => Prefix::Each,
        };
        let kinds: Vec<PieceKind> = (0..self.tokens.len()).map(|id| self.kind(id)).collect();
        let pieces = self.tokens.into_iter().zip(self.scores).zip(kinds);
        let pieces = SentencePieces {
            pieces: pieces
                .map(|((text, score), kind)| Piece { text, score, kind })
                .collect(),
            prefix,
            remove_extra_spaces: self.remove_extra_whitespaces,
            // Without the space before a word both ways are one, but for the letter `▁` itself.
            split_user_defined: prefix != Prefix::None,
            rstrip: name.contains("phi-3") || name.contains("phi3"),
        };
        Ok(Parts {
            special,
            prefix: special.bos.filter(|_| self.add_bos.unwrap_or(true)),
            suffix: special.eos.filter(|_| self.add_eos),
            end_ids: Vec::new(),
            leading_space: prefix != Prefix::None,
            vocabulary: pieces.vocabulary(),
            encoder: pieces.encoder(Vec::new())?,
        })
    }

    fn build_wordpiece(self) -> Result<Parts, PromptError> {
        let cls = self.default_id(self.cls.or(self.bos), 101);
        let sep = self.default_id(self.sep.or(self.eos), 102);
        let unk = self.default_id(self.unk, 100);
        let special = SpecialIds {
            bos: cls,
            unk,
            pad: self.default_id(self.pad, 0),
            ..self.special_ids()
        };
        let roles = [cls, sep, unk, special.pad, self.default_id(self.mask, 103)];
        let kinds: Vec<PieceKind> = (0..self.tokens.len()).map(|id| self.kind(id)).collect();
        let lowercase = self.lowercase.unwrap_or(true);
        let pieces = WordPieces {
            pieces: self.tokens.into_iter().zip(kinds).collect(),
            special: roles.into_iter().flatten().collect(),
            unk,
            lowercase,
            strip_accents: self.strip_accents.unwrap_or(lowercase),
        };
        Ok(Parts {
            special,
            prefix: cls.filter(|_| self.add_bos.unwrap_or(true)),
            suffix: sep.filter(|_| self.add_sep.unwrap_or(true)),
            end_ids: Vec::new(),
            leading_space: true,
            vocabulary: pieces.vocabulary(),
            encoder: pieces.encoder()?,
        })
    }
}

/// The two tokens of a merge. A space inside a token is spelled `Ġ`, so the first space is the border.
fn pair(merge: &str) -> Result<(String, String), PromptError> {
    let (left, right) = merge
        .split_once(' ')
        .ok_or_else(|| PromptError::unusable(format!("`{merge}` is not a merge of two tokens")))?;
    Ok((left.to_owned(), right.to_owned()))
}
