//! One step's work: a ragged batch of decode rows and prefill chunks over paged KV blocks, and the logits back.
//!
//! Invariant: rows stand in the order of their tokens; logits come back for exactly the rows that want them, in row order,
//! each whole or in blocks of [`LOGITS_BLOCK`].

use std::ops::Range;

use crate::request::{PromptEmbeddings, SequenceId};

/// Logits of a block, in which a row is handed over that is not handed over whole.
pub const LOGITS_BLOCK: usize = 64;

/// A ragged batch. `tokens` holds all rows' new tokens, one row after the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// New token ids of all rows, concatenated; length is the sum of the rows' `len`.
    pub tokens: Vec<u32>,
    /// The rows, in the order of their tokens.
    pub rows: Vec<BatchRow>,
    /// Tokens that are no more than places for embeddings, in their order. Only for runners with a
    /// [`crate::ModelRunner::prompt_embedding_size`].
    pub embedded: Vec<EmbeddedTokens>,
}

/// New tokens in a row of which the embeddings came with the request.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedTokens {
    /// Which of `Batch::tokens`.
    pub tokens: Range<usize>,
    /// The prompt's embeddings.
    pub embeddings: PromptEmbeddings,
    /// Which of its rows stands for the first of the tokens.
    pub first: usize,
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

    /// What stands in for the embedding of `Batch::tokens[token]`; None where that is a token like any other.
    pub fn embedding(&self, token: usize) -> Option<&[f32]> {
        let next = self
            .embedded
            .partition_point(|part| part.tokens.end <= token);
        let part = self.embedded.get(next)?;
        let place = token.checked_sub(part.tokens.start)?;
        Some(part.embeddings.row(part.first + place))
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

/// Logits of the rows that wanted them, f32, `vocab` of each; of a row that was handed over in part only some blocks. Their
/// memory only grows, and is used again.
#[derive(Debug, Clone, Default)]
pub struct Logits {
    /// One row behind the other; at least `used` long.
    data: Vec<f32>,
    used: usize,
    rows: usize,
    vocab: usize,
    /// Of each row where its blocks' numbers stand in `blocks`; nowhere for a whole one. Empty if all are whole.
    parts: Vec<Range<usize>>,
    blocks: Vec<u32>,
}

impl Logits {
    /// Whole rows: `data` is row-major `(rows, vocab)`.
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
            used: data.len(),
            data,
            vocab,
            ..Self::default()
        }
    }

    /// (rows, vocabulary).
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.vocab)
    }

    /// Makes them whole rows, `(rows, vocab)`, and returns them all, to be overwritten: they are what an earlier step left, or
    /// zeros.
    pub fn resize(&mut self, rows: usize, vocab: usize) -> &mut [f32] {
        (self.rows, self.vocab) = (rows, vocab);
        self.parts.clear();
        self.blocks.clear();
        self.used = 0;
        self.grow(rows * vocab)
    }

    /// Adds a row behind the others, of which only the blocks with these numbers are told: ascending, and without repetition.
    /// Without any it is a whole row. Returns its memory to be overwritten, [`LOGITS_BLOCK`] logits a block; what a last
    /// block has behind the vocabulary's end is to be negative infinity.
    pub fn push(&mut self, blocks: &[u32]) -> &mut [f32] {
        self.parts.resize(self.rows, 0..0);
        let start = self.blocks.len();
        self.blocks.extend_from_slice(blocks);
        self.parts.push(start..self.blocks.len());
        self.rows += 1;
        self.grow(match blocks.len() {
            0 => self.vocab,
            count => count * LOGITS_BLOCK,
        })
    }

    /// So much more memory.
    fn grow(&mut self, len: usize) -> &mut [f32] {
        let start = self.used;
        self.used += len;
        if self.data.len() < self.used {
            self.data.resize(self.used, 0.0);
        }
        &mut self.data[start..self.used]
    }

    /// The rows, in row order, of which none is in part.
    ///
    /// # Panics
    /// If one is.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [f32]> {
        assert!(self.blocks.is_empty(), "a row was handed over in part");
        // The default value has no vocabulary, and no rows either.
        self.data[..self.used].chunks_exact_mut(self.vocab.max(1))
    }

    /// The rows, in row order; mutable because penalties and masks are applied in place.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = LogitsRow<'_>> {
        let Self {
            vocab,
            ref parts,
            ref blocks,
            ..
        } = *self;
        let mut rest = &mut self.data[..self.used];
        (0..self.rows).map(move |row| {
            let blocks = parts.get(row).map_or(&[][..], |part| &blocks[part.clone()]);
            let len = match blocks.len() {
                0 => vocab,
                count => count * LOGITS_BLOCK,
            };
            let (logits, behind) = std::mem::take(&mut rest).split_at_mut(len);
            rest = behind;
            LogitsRow { logits, blocks }
        })
    }
}

impl PartialEq for Logits {
    /// What lies behind the last row is no part of them.
    fn eq(&self, other: &Self) -> bool {
        self.shape() == other.shape()
            && self.blocks == other.blocks
            && self.data[..self.used] == other.data[..other.used]
    }
}

/// A row's logits as they were handed over, in the order of token ids.
#[derive(Debug)]
pub struct LogitsRow<'a> {
    /// All of them, or those of some blocks.
    pub logits: &'a mut [f32],
    blocks: &'a [u32],
}

impl LogitsRow<'_> {
    /// The token whose logit stands at a place.
    pub fn token(&self, place: u32) -> u32 {
        let size = LOGITS_BLOCK as u32;
        match self.blocks.get((place / size) as usize) {
            Some(block) => block * size + place % size,
            None => place,
        }
    }
}

/// A sampler's scaling can make logits equal that are this near, as a share of their distance from the largest: equals are
/// chosen between by their ids.
const NEAR: f32 = 1.0 / (1 << 22) as f32;

/// The blocks that hold the `count` likeliest of a row, ascending, by the largest logit of each block; what is no number must
/// not be among those. `scratch` is for sorting.
pub fn likeliest_blocks(
    maxima: &[f32],
    count: usize,
    scratch: &mut Vec<f32>,
    blocks: &mut Vec<u32>,
) {
    blocks.clear();
    let numbers = 0..maxima.len() as u32;
    if count >= maxima.len() {
        blocks.extend(numbers);
        return;
    }
    scratch.clear();
    scratch.extend_from_slice(maxima);
    let place = count.saturating_sub(1);
    // As many tokens as blocks are at least as likely as the last of so many maxima.
    let (above, last, _) = scratch.select_nth_unstable_by(place, |a, b| b.total_cmp(a));
    let largest = above.iter().fold(*last, |most, &next| most.max(next));
    let low = *last - (largest - *last) * NEAR;
    // Infinities can make it no number: then all are taken.
    let is_lower = |maximum: f32| maximum.partial_cmp(&low) == Some(std::cmp::Ordering::Less);
    let taken = numbers
        .zip(maxima)
        .filter(|&(_, &maximum)| !is_lower(maximum));
    blocks.extend(taken.map(|(block, _)| block));
}

#[cfg(test)]
pub mod tests;
