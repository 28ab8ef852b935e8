//! A vocabulary as llguidance asks for it: its tokens in a trie, and how the model's own tokenizer would write a text.
//!
//! Invariant: what it makes of a text is that text, byte for byte, in ordinary tokens. Where the tokenizer would make a
//! control token of a literal that only spells one, or puts a space in front, the longest ordinary tokens are taken instead.

use std::sync::Arc;

use toktrie::{TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use weir_prompt::{TokenKind, Tokenizer, Vocabulary};

use crate::ConstrainError;

/// Stands in front of a text for tokenizers that mark its start: no word begins with it, so it is a token of its own.
const GUARD: &str = "\u{2}";

/// See the module.
pub(crate) struct Environment {
    trie: TokTrie,
    vocabulary: Arc<Vocabulary>,
    /// None for a vocabulary that nothing is tokenized with: nothing is forced ahead of the model then.
    tokenizer: Option<Arc<Tokenizer>>,
    /// What the tokenizer makes of [`GUARD`].
    guard: Vec<TokenId>,
}

impl Environment {
    /// # Errors
    /// [`ConstrainError::Vocabulary`] when the end token is not in it.
    pub(crate) fn new(
        vocabulary: &Arc<Vocabulary>,
        tokenizer: Option<Arc<Tokenizer>>,
        end_token: u32,
    ) -> Result<Self, ConstrainError> {
        let unusable = |problem: &str| ConstrainError::Vocabulary(problem.to_owned());
        let size = u32::try_from(vocabulary.len()).map_err(|_| unusable("it is too large"))?;
        if end_token >= size {
            return Err(unusable("the end token is not in it"));
        }
        let words: Vec<Vec<u8>> = (0..size).map(|id| word(vocabulary, id)).collect();
        Ok(Self {
            trie: TokTrie::from(&TokRxInfo::new(size, end_token), &words),
            vocabulary: Arc::clone(vocabulary),
            guard: tokenizer
                .as_ref()
                .and_then(|tokenizer| tokenizer.encode_plain(GUARD).ok())
                .unwrap_or_default(),
            tokenizer,
        })
    }

    /// The tokens of a text as the model's tokenizer writes it behind other text; None if they are not that text.
    fn canonical(&self, text: &str) -> Option<Vec<TokenId>> {
        let tokenizer = self.tokenizer.as_ref()?;
        let tokens = tokenizer.encode_plain(text).ok()?;
        if self.spells(&tokens, text) {
            return Some(tokens);
        }
        let guarded = tokenizer.encode_plain(&format!("{GUARD}{text}")).ok()?;
        let tokens = guarded.strip_prefix(self.guard.as_slice())?;
        self.spells(tokens, text).then(|| tokens.to_vec())
    }

    fn spells(&self, tokens: &[TokenId], text: &str) -> bool {
        let mut rest = text.as_bytes();
        for &token in tokens {
            let bytes = self.vocabulary.bytes(token).unwrap_or_default();
            let ordinary = self.vocabulary.kind(token) == TokenKind::Normal;
            match rest.strip_prefix(bytes) {
                Some(left) if ordinary && !bytes.is_empty() => rest = left,
                _ => return false,
            }
        }
        rest.is_empty()
    }
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(text, |text| {
            self.canonical(text)
                .unwrap_or_else(|| self.trie.greedy_tokenize(text.as_bytes()))
        })
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.tokenizer.is_some()
    }
}

/// A token as llguidance's trie wants it: control tokens are marked, so that no text spells them.
fn word(vocabulary: &Vocabulary, id: u32) -> Vec<u8> {
    let bytes = vocabulary.bytes(id).unwrap_or_default();
    match vocabulary.kind(id) {
        TokenKind::Normal => bytes.to_vec(),
        TokenKind::Added | TokenKind::Special => {
            let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
            word.extend_from_slice(bytes);
            word
        }
    }
}
