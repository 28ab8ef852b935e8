//! What each token id stands for: its bytes, and whether it is ordinary text or a control token.
//!
//! Plain data, shared by the tokenizer (which fills it) and the detokenizer in `weir-output` (which reads it).

/// What sort of token an id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// An ordinary token: its bytes may be part of a character.
    Normal,
    /// An added token that is not special, such as `<tool_call>` in Qwen's vocabulary: a control fragment, shown by default.
    Added,
    /// A special token, such as `<|im_end|>`: a control fragment, dropped from the text unless a parser asks to keep it.
    Special,
}

/// Bytes and kind of every token id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<(Box<[u8]>, TokenKind)>,
}

impl Vocabulary {
    /// `tokens` by id; ids without a token have no bytes.
    pub fn new(tokens: Vec<(Box<[u8]>, TokenKind)>) -> Self {
        Self { tokens }
    }

    /// The token's raw bytes, decoded from whatever spelling the tokenizer file uses; None for an unknown id.
    pub fn bytes(&self, id: u32) -> Option<&[u8]> {
        self.tokens
            .get(usize::try_from(id).ok()?)
            .map(|(bytes, _)| bytes.as_ref())
    }

    /// The token's kind; unknown ids are `Normal`.
    pub fn kind(&self, id: u32) -> TokenKind {
        usize::try_from(id)
            .ok()
            .and_then(|id| self.tokens.get(id))
            .map_or(TokenKind::Normal, |(_, kind)| *kind)
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}
