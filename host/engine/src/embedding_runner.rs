//! The boundary to whatever computes embeddings: token ids of a few texts in, a vector a text out.
//!
//! Nothing here waits or batches: whoever calls decides which texts make one pass.

use crate::error::EngineError;

/// What callers must know of an embedding model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddingInfo {
    /// Elements of a vector.
    pub dimensions: usize,
    /// Longest text in tokens, special tokens included.
    pub max_tokens: usize,
    /// Token ids are below this.
    pub vocab_size: usize,
}

/// Computes embeddings.
pub trait EmbeddingRunner: Send {
    /// Sizes; constant for the runner's life.
    fn info(&self) -> &EmbeddingInfo;

    /// One vector a text, in order, in one pass. A text's vector does not depend on the others.
    ///
    /// # Errors
    /// [`EngineError::Runner`] when the pass could not be computed.
    fn embed(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, EngineError>;
}
