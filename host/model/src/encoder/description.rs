//! What an encoder is, as data: sizes, activation, where positions begin, and how a text's vectors become one.
//!
//! Nothing here comes from a file; `gguf` and `folder` read the two formats into it. [`EncoderDescription::check`]
//! holds what both must satisfy.

/// A post-norm encoder with learned absolute positions: BERT and its kin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EncoderDescription {
    /// The family's name as the file spells it, for messages.
    pub architecture: String,
    /// Token ids.
    pub vocab: usize,
    /// Elements of a token's vector.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// Elements inside the feed-forward half.
    pub intermediate: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// RoBERTa's padding id: a text's positions begin in the row behind it, and a padding token within a text takes that
    /// row and no position. None counts every token from row 0.
    pub padding: Option<usize>,
    /// Rows of the token-type table, of which a single text uses the first; 0 for no table.
    pub token_types: usize,
    /// Added to a variance before its root is taken.
    pub norm_eps: f32,
    /// What stands between the two feed-forward matrices.
    pub activation: Activation,
    /// How token vectors become one.
    pub pooling: Pooling,
    /// Whether the vector is scaled to length 1.
    pub normalize: bool,
    /// Longest text in tokens, special tokens included.
    pub max_tokens: usize,
}

/// An activation, applied to each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// x * Phi(x), with the error function.
    Gelu,
    /// Its approximation by a hyperbolic tangent.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

/// How a text's token vectors become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// Their mean, special tokens included.
    Mean,
    /// The first token's vector.
    Cls,
    /// The largest of each element.
    Max,
    /// The last token's vector.
    Last,
}

impl EncoderDescription {
    /// What is wrong with the sizes, if anything, in words that can follow a file's name.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.hidden.is_multiple_of(self.heads) {
            return Err(format!(
                "{} heads do not divide {} elements",
                self.heads, self.hidden
            ));
        }
        if self.usable_positions() == 0 {
            return Err(format!(
                "a table of {} positions has none behind the padding id",
                self.positions
            ));
        }
        // A norm that is negative or not a number would make every vector so.
        if !self.norm_eps.is_finite() || self.norm_eps < 0.0 {
            return Err(format!("{} is no layer norm epsilon", self.norm_eps));
        }
        Ok(())
    }

    /// The most tokens the position table has rows for.
    pub(crate) fn usable_positions(&self) -> usize {
        let unused = self.padding.map_or(0, |padding| padding.saturating_add(1));
        self.positions.saturating_sub(unused)
    }
}
