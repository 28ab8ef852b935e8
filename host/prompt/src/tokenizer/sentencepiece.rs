//! SentencePiece's BPE with byte fallback (llama 2, mistral, gemma): how it is built from a list of scored pieces, which
//! `tokenizer.model` and GGUF files both have.
//!
//! Invariants: the ids are those of the `sentencepiece` library for each stretch of text between special tokens. Unigram
//! models are not built.

use std::{cell::Cell, collections::HashMap};

use tokenizers::{
    AddedToken, DecoderWrapper, NormalizedString, Normalizer, PostProcessorWrapper,
    PreTokenizerWrapper,
};

use super::{
    config::added_kind,
    encoder::{Pipeline, TextEncoder},
    pieces::{PieceMerges, Role, Unknown},
    spelling::{Spelling, lone_byte},
};
use crate::{
    error::PromptError,
    vocabulary::{TokenKind, Vocabulary},
};

/// SentencePiece's spelling of a space.
pub(crate) const SPACE: char = '\u{2581}';

/// What a piece is for; GGUF files number the kinds as SentencePiece's own files do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl PieceKind {
    /// By number (`ModelProto.SentencePiece.Type`, `tokenizer.ggml.token_type`); others are ordinary text.
    pub(crate) fn numbered(number: i64) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }
}

/// One piece; its id is its place in the list.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) score: f32,
    pub(crate) kind: PieceKind,
}

/// Which stretches of text get the space that marks the start of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    None,
    /// Only one at the very start of the text.
    First,
    /// Also those after a special token.
    Each,
}

/// The pieces and what happens to a text before they are looked up.
#[derive(Debug)]
pub(crate) struct SentencePieces {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) prefix: Prefix,
    pub(crate) remove_extra_spaces: bool,
    /// Whether user-defined pieces split a text as special tokens do, instead of being symbols of it.
    pub(crate) split_user_defined: bool,
    /// White space after a special token belongs to it.
    pub(crate) rstrip: bool,
}

impl SentencePieces {
    /// Bytes and kinds by id.
    pub(crate) fn vocabulary(&self) -> Vocabulary {
        let tokens = self.pieces.iter().map(|piece| {
            let undone = Spelling::Metaspace.undo(&piece.text);
            match piece.kind {
                PieceKind::Control | PieceKind::Unknown => {
                    (piece.text.as_bytes().into(), TokenKind::Special)
                }
                PieceKind::UserDefined => {
                    let kind = added_kind(&undone);
                    (undone, kind)
                }
                PieceKind::Normal | PieceKind::Unused => (
                    piece.text.replace(SPACE, " ").into_bytes().into(),
                    TokenKind::Normal,
                ),
                PieceKind::Byte => (undone, TokenKind::Normal),
            }
        });
        Vocabulary::new(tokens.collect())
    }

    /// The encoder; `added` are tokens beside the list's own special ones, found in it by their text.
    ///
    /// # Errors
    /// When a score is no number, or characters outside the list have neither bytes nor an unknown token to become.
    pub(crate) fn encoder(
        self,
        added: Vec<AddedToken>,
    ) -> Result<Box<dyn TextEncoder>, PromptError> {
        let unknown = self.unknown()?;
        let special = self.special_tokens();
        let normaliser = SpaceNormaliser {
            prefix: self.prefix,
            remove_extra_spaces: self.remove_extra_spaces,
        };
        let whole: Vec<String> = self
            .pieces
            .iter()
            .filter(|piece| piece.kind == PieceKind::UserDefined && !piece.text.is_empty())
            .map(|piece| piece.text.replace(' ', &SPACE.to_string()))
            .collect();
        let tokens = ranked(self.pieces)?;
        let model = PieceMerges::new(tokens, unknown, false, &whole)?;
        let mut pipeline: Pipeline<PieceMerges, SpaceNormaliser> = Pipeline::new(model);
        pipeline
            .with_normalizer(Some(normaliser))
            .map_err(PromptError::unusable)?;
        pipeline.with_pre_tokenizer(None::<PreTokenizerWrapper>);
        pipeline.with_post_processor(None::<PostProcessorWrapper>);
        pipeline.with_decoder(None::<DecoderWrapper>);
        pipeline
            .add_tokens(special.into_iter().chain(added))
            .map_err(PromptError::unusable)?;
        Ok(Box::new(pipeline))
    }

    fn special_tokens(&self) -> Vec<AddedToken> {
        let pieces = self.pieces.iter();
        pieces
            .filter_map(|piece| {
                let special = match piece.kind {
                    PieceKind::Control | PieceKind::Unknown => true,
                    PieceKind::UserDefined if self.split_user_defined => false,
                    _ => return None,
                };
                let token = AddedToken::from(piece.text.clone(), special).normalized(false);
                // Phi-3's own file strips after the tokens it added, not after those of llama 2.
                let own = ["<unk>", "<s>", "<|endoftext|>"].contains(&piece.text.as_str());
                Some(token.rstrip(self.rstrip && !own))
            })
            .collect()
    }

    fn unknown(&self) -> Result<Unknown, PromptError> {
        let mut bytes: [Option<u32>; 256] = [None; 256];
        let mut unknown = None;
        for (id, piece) in (0..).zip(&self.pieces) {
            match piece.kind {
                PieceKind::Byte => {
                    let byte = lone_byte(&piece.text).ok_or_else(|| {
                        PromptError::Vocabulary(format!(
                            "token {id} is a byte, but spelled `{}`",
                            piece.text
                        ))
                    })?;
                    bytes[usize::from(byte)].get_or_insert(id);
                }
                PieceKind::Unknown => unknown = unknown.or(Some(id)),
                _ => {}
            }
        }
        match bytes.iter().flatten().count() {
            // Every place is taken, so the default is never used.
            256 => Ok(Unknown::Bytes(Box::new(
                bytes.map(Option::unwrap_or_default),
            ))),
            0 => unknown.map(Unknown::Token).ok_or_else(|| {
                PromptError::Vocabulary("neither byte tokens nor an unknown token".to_owned())
            }),
            // The `sentencepiece` library refuses such a list too.
            found => Err(PromptError::Vocabulary(format!(
                "{found} byte tokens; there must be all 256 or none"
            ))),
        }
    }
}

/// Pieces by text; equal scores are equal ranks. The first of two pieces with one text keeps it.
fn ranked(pieces: Vec<Piece>) -> Result<HashMap<String, (u32, Role)>, PromptError> {
    if let Some(id) = pieces.iter().position(|piece| piece.score.is_nan()) {
        return Err(PromptError::Vocabulary(format!(
            "the score of token {id} is not a number"
        )));
    }
    // Adding zero makes minus zero equal to zero.
    let mut scores: Vec<f32> = pieces.iter().map(|piece| piece.score + 0.0).collect();
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    scores.dedup();
    let mut tokens = HashMap::with_capacity(pieces.len());
    for (id, piece) in (0..).zip(pieces) {
        let score = piece.score + 0.0;
        let rank = scores.partition_point(|other| *other > score);
        let rank = u32::try_from(rank).unwrap_or(u32::MAX);
        let (text, role) = match piece.kind {
            PieceKind::Normal => (piece.text, Role::Piece { rank }),
            // GGUF files may write such a piece with plain spaces.
            PieceKind::UserDefined => (
                piece.text.replace(' ', &SPACE.to_string()),
                Role::Piece { rank },
            ),
            PieceKind::Unused => (piece.text, Role::Unused { rank }),
            PieceKind::Control | PieceKind::Unknown | PieceKind::Byte => (piece.text, Role::Apart),
        };
        tokens.entry(text).or_insert((id, role));
    }
    Ok(tokens)
}

/// SentencePiece's identity normaliser: spaces are marked, runs of them shortened if the model asks for it.
#[derive(Debug, Clone)]
struct SpaceNormaliser {
    prefix: Prefix,
    remove_extra_spaces: bool,
}

impl Normalizer for SpaceNormaliser {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        if self.remove_extra_spaces {
            // At the end the mark of a space counts as one, at the start and within it does not.
            let kept = text.get().trim_end_matches([' ', SPACE]).chars().count();
            let (index, after_space) = (Cell::new(0), Cell::new(true));
            text.filter(|character| {
                let space = character == ' ';
                let at = index.replace(index.get() + 1);
                let doubled = after_space.replace(space) && space;
                at < kept && !doubled
            });
        }
        let first = text.offsets_original().0 == 0;
        let prefix = match self.prefix {
            Prefix::None => false,
            Prefix::First => first,
            Prefix::Each => true,
        };
        if prefix && !text.is_empty() {
            text.prepend(" ");
        }
        text.map(|character| if character == ' ' { SPACE } else { character });
        Ok(())
    }
}
