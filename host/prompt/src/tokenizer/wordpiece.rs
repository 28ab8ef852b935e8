//! BERT's WordPiece from a GGUF file, which spells pieces the other way round: there a word's first piece is marked (`▁`), in
//! BERT's own vocabulary its other pieces are (`##`).
//!
//! Text is normalised as BERT's own tokenizer does it (control characters out, Chinese characters apart, lower case and accents
//! as the file says). Decoding puts one space between words: the text's own white space and case are lost.

use std::collections::HashSet;

use tokenizers::{
    AddedToken, NormalizerWrapper, PreTokenizerWrapper,
    models::{bpe::Vocab, wordpiece::WordPiece},
    normalizers::BertNormalizer,
    pre_tokenizers::bert::BertPreTokenizer,
};

use super::{
    encoder::TextEncoder,
    sentencepiece::{PieceKind, SPACE},
    spelling::Spelling,
};
use crate::{
    error::PromptError,
    vocabulary::{TokenKind, Vocabulary},
};

/// The pieces as the GGUF file spells them.
#[derive(Debug)]
pub(crate) struct WordPieces {
    pub(crate) pieces: Vec<(String, PieceKind)>,
    /// Ids with a role, whatever kind the file gives them.
    pub(crate) special: HashSet<u32>,
    pub(crate) unk: Option<u32>,
    pub(crate) lowercase: bool,
    pub(crate) strip_accents: bool,
}

impl WordPieces {
    /// Bytes and kinds by id.
    pub(crate) fn vocabulary(&self) -> Vocabulary {
        let tokens = (0..).zip(&self.pieces).map(|(id, (text, kind))| {
            let spelled = self.spelled(id, text, *kind);
            if self.is_special(id, *kind) {
                (spelled.into_bytes().into(), TokenKind::Special)
            } else {
                (Spelling::WordPiece.undo(&spelled), TokenKind::Normal)
            }
        });
        Vocabulary::new(tokens.collect())
    }

    /// The encoder.
    ///
    /// # Errors
    /// When there is no unknown token.
    pub(crate) fn encoder(self) -> Result<Box<dyn TextEncoder>, PromptError> {
        let unk = self
            .unk
            .and_then(|id| self.pieces.get(id as usize))
            .map(|(text, _)| text.clone())
            .ok_or_else(|| PromptError::Vocabulary("no unknown token".to_owned()))?;
        let mut vocab = Vocab::default();
        let mut added = Vec::new();
        for (id, (text, kind)) in (0..).zip(&self.pieces) {
            let spelled = self.spelled(id, text, *kind);
            if self.is_special(id, *kind) {
                added.push(AddedToken::from(spelled.clone(), true).normalized(false));
            }
            // The first of two equal spellings keeps its id.
            vocab.entry(spelled).or_insert(id);
        }
        let model = WordPiece::builder()
            .vocab(vocab)
            .unk_token(unk)
            .continuing_subword_prefix("##".to_owned())
            .build()
            .map_err(PromptError::unusable)?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        let normaliser = BertNormalizer::new(true, true, Some(self.strip_accents), self.lowercase);
        tokenizer
            .with_normalizer(Some(NormalizerWrapper::BertNormalizer(normaliser)))
            .map_err(PromptError::unusable)?;
        tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::BertPreTokenizer(
            BertPreTokenizer,
        )));
        tokenizer.add_tokens(added).map_err(PromptError::unusable)?;
        Ok(Box::new(tokenizer.into_inner()))
    }

    fn is_special(&self, id: u32, kind: PieceKind) -> bool {
        matches!(kind, PieceKind::Control | PieceKind::Unknown) || self.special.contains(&id)
    }

    /// As BERT's own vocabulary spells the piece.
    fn spelled(&self, id: u32, text: &str, kind: PieceKind) -> String {
        // The mark alone is the character itself: no word is empty.
        match text.strip_prefix(SPACE).filter(|word| !word.is_empty()) {
            Some(word) => word.to_owned(),
            None if self.is_special(id, kind) => text.to_owned(),
            // Older files leave `[unused7]` and its like unmarked.
            None if text.len() > 2 && text.starts_with('[') && text.ends_with(']') => {
                text.to_owned()
            }
            None => format!("##{text}"),
        }
    }
}
