//! Attention over paged KV, cut into units that any worker can take.
//!
//! A tile is some queries that follow each other in a sequence, with all the query heads that share one head of keys:
//! each block of keys and values is read once for all of them. Contexts are taken in spans of a fixed number of
//! positions, each with a softmax of its own, which are then merged in order. A decode row's spans may be computed by
//! several workers; a prefill tile's are computed by one. Either way the arithmetic of a query is the same, so
//! its result depends neither on the batch nor on how a prompt was cut into chunks.

use std::ops::Range;

use weir_engine::BatchRow;

mod softmax;
mod tile;

pub(crate) use tile::{AttentionScratch, Queries, attend, finish_split, partial_len};

/// Queries a tile: enough that reading a block costs little beside computing with it.
const QUERY_TILE: usize = 16;
/// Positions a span, as near as whole blocks come to it.
const SPAN: usize = 256;

/// Queries that follow each other in one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Which row of the batch they are of.
    pub(crate) row: usize,
    /// Number of the first among the batch's tokens.
    pub(crate) token: usize,
    /// How many there are.
    pub(crate) queries: usize,
    /// Position of the first in its sequence.
    pub(crate) position: usize,
}

/// What one worker computes at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) tile: Tile,
    /// Head of keys and values.
    pub(crate) head: usize,
    /// Spans to look at.
    pub(crate) spans: Range<usize>,
    /// Where the result of a part of a context goes; None for a unit that sees all of it.
    pub(crate) partial: Option<usize>,
}

/// A token whose context was computed in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    /// Number of the token.
    pub(crate) token: usize,
    /// The parts of its first head; those of the next follow.
    pub(crate) partials: Range<usize>,
}

/// The units of one step for all layers with the same heads and the same window.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) kv_heads: usize,
    pub(crate) window: Option<usize>,
    pub(crate) units: Vec<Unit>,
    /// By token, ascending.
    pub(crate) splits: Vec<Split>,
    /// How many places for partial results the units name.
    pub(crate) partials: usize,
}

/// Blocks of a span.
pub(crate) fn span_blocks(block_size: usize) -> usize {
    (SPAN / block_size).max(1)
}

impl Plan {
    pub(crate) fn new(kv_heads: usize, window: Option<usize>) -> Self {
        Self {
            kv_heads,
            window,
            ..Self::default()
        }
    }

    /// Plans a batch anew.
    pub(crate) fn fill(&mut self, rows: &[BatchRow], block_size: usize) {
        self.units.clear();
        self.splits.clear();
        self.partials = 0;
        let span = span_blocks(block_size) * block_size;
        let mut token = 0;
        for (
            row,
            BatchRow {
                context_len, len, ..
            },
        ) in rows.iter().enumerate()
        {
            // Later tiles see more, and the largest pieces of work should not come last.
            for first in (0..*len).step_by(QUERY_TILE).rev() {
                let tile = Tile {
                    row,
                    token: token + first,
                    queries: QUERY_TILE.min(len - first),
                    position: context_len + first,
                };
                let lowest = match self.window {
                    Some(window) => (tile.position + 1).saturating_sub(window),
                    None => 0,
                };
                let end = tile.position + tile.queries;
                self.add(tile, lowest / span..end.div_ceil(span), *len == 1);
            }
            token += len;
        }
    }

    fn add(&mut self, tile: Tile, spans: Range<usize>, may_split: bool) {
        let split = may_split && spans.len() > 1;
        if split {
            self.splits.push(Split {
                token: tile.token,
                partials: self.partials..self.partials + spans.len(),
            });
        }
        for head in 0..self.kv_heads {
            let mut unit = |spans, partial| {
                self.units.push(Unit {
                    tile,
                    head,
                    spans,
                    partial,
                });
            };
            if split {
                for (place, at) in spans.clone().enumerate() {
                    unit(at..at + 1, Some(self.partials + place));
                }
                self.partials += spans.len();
            } else {
                unit(spans.clone(), None);
            }
        }
    }

    /// How a token's context was cut, if it was.
    pub(crate) fn split(&self, token: usize) -> Option<&Split> {
        let found = self
            .splits
            .binary_search_by_key(&token, |split| split.token);
        found.ok().map(|at| &self.splits[at])
    }
}

#[cfg(test)]
mod tests;
