//! One step's work: a ragged batch of decode rows and prefill chunks over paged KV blocks, and the logits back.
//!
//! Invariant: rows stand in the order of their tokens; logits come back for exactly the rows that want them, in row order.

use crate::request::SequenceId;

/// A ragged batch. `tokens` holds all rows' new tokens, one row after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// New token ids of all rows, concatenated; length is the sum of the rows' `len`.
    pub tokens: Vec<u32>,
    /// The rows, in the order of their tokens.
    pub rows: Vec<BatchRow>,
}

/// Part of one sequence, or all that a batch computes of it: `len` new tokens behind `context_len` tokens whose K and V are in its blocks already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRow {
    /// Whose row this is.
    pub sequence: SequenceId,
    /// Tokens already in the KV cache; the first new token has this position.
    pub context_len: usize,
    /// New tokens of this row in `Batch::tokens`: 1 for decode, more for a prefill chunk.
    pub len: usize,
    /// Physical KV block of each logical block, enough for `context_len + len` tokens.
    pub block_table: Vec<u32>,
    /// Whether the logits behind the row's last token are wanted. Who wants them of all tokens gets a row for each. In a
    /// batch for hidden states: whether those of all the row's tokens are wanted.
    pub wants_logits: bool,
}

impl Batch {
    /// The rows with their slice of new tokens.
    pub fn rows_with_tokens(&self) -> impl Iterator<Item = (&BatchRow, &[u32])> {
        let mut start = 0;
        self.rows.iter().map(move |row| {
            let tokens = &self.tokens[start..start + row.len];
            start += row.len;
            (row, tokens)
        })
    }

    /// How many tokens the rows have that want something.
    pub fn wanted_tokens(&self) -> usize {
        let wanting = self.rows.iter().filter(|row| row.wants_logits);
        wanting.map(|row| row.len).sum()
    }

    /// How many rows want logits.
    pub fn logit_rows(&self) -> usize {
        self.rows.iter().filter(|row| row.wants_logits).count()
    }
}

/// Logits of the rows that wanted them: row-major `(rows, vocab)`, f32. Their memory only grows, and is used again.
#[derive(Debug, Clone, Default)]
pub struct Logits {
    /// At least `rows * vocab`.
    data: Vec<f32>,
    rows: usize,
    vocab: usize,
}

impl Logits {
    /// `data` is row-major `(rows, vocab)`.
    ///
    /// # Panics
    /// If `data` is not a whole number of rows.
    pub fn new(data: Vec<f32>, vocab: usize) -> Self {
        assert!(
            vocab > 0 && data.len().is_multiple_of(vocab),
            "{} logits are no rows of {vocab}",
            data.len()
        );
        Self {
            rows: data.len() / vocab,
            data,
            vocab,
        }
    }

    /// (rows, vocabulary).
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.vocab)
    }

    /// Makes them `(rows, vocab)` and returns them all, to be overwritten: they are what an earlier step left, or zeros.
    pub fn resize(&mut self, rows: usize, vocab: usize) -> &mut [f32] {
        let len = rows * vocab;
        if self.data.len() < len {
            self.data.resize(len, 0.0);
        }
        (self.rows, self.vocab) = (rows, vocab);
        &mut self.data[..len]
    }

    /// The logits rows, in row order; mutable because penalties and masks are applied in place.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [f32]> {
        // The default value has no vocabulary, and no rows either.
        self.data[..self.rows * self.vocab].chunks_exact_mut(self.vocab.max(1))
    }
}

impl PartialEq for Logits {
    /// What lies behind the last row is no part of them.
    fn eq(&self, other: &Self) -> bool {
        let len = self.rows * self.vocab;
        self.shape() == other.shape() && self.data[..len] == other.data[..len]
    }
}
