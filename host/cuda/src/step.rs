//! One step's integers: which token, position and slot each new token has, where rows begin and end, which blocks they
//! read. All of it stands in one buffer that is uploaded once ([`Uploads`]); what kernels take are views of it.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use weir_engine::Batch;

use crate::uploads::Uploads;

/// What all layers of one step share.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// What is computed.
    pub(crate) batch: &'a Batch,
    /// Token ids `(tokens)`.
    pub(crate) tokens: Tensor,
    /// Positions in their sequences `(tokens)`.
    pub(crate) positions: Tensor,
    /// Where K and V go, `(tokens)`: block times tokens a block, plus the place within the block.
    #[cfg_attr(
        not(feature = "flash-attn"),
        allow(dead_code, reason = "kernels read it")
    )]
    pub(crate) slots: Tensor,
    /// What attention kernels are told of the rows.
    #[cfg_attr(
        not(feature = "flash-attn"),
        allow(dead_code, reason = "kernels read it")
    )]
    pub(crate) rows: Rows,
    /// The tokens of which something is wanted.
    pub(crate) wanted: Wanted,
}

/// Some of a step's tokens.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// None of them: a chunk within a prompt.
    Nothing,
    /// All of them: nothing but decode rows.
    All,
    /// Those at these indices `(wanted)`.
    Some(Tensor),
}

impl Wanted {
    /// The wanted rows of a tensor with a row a token, of which there are some.
    pub(crate) fn of(&self, rows: Tensor) -> Result<Tensor> {
        match self {
            Self::Some(indices) => rows.index_select(indices, 0),
            Self::Nothing | Self::All => Ok(rows),
        }
    }
}

/// The rows as attention kernels take them.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "flash-attn"),
    allow(dead_code, reason = "kernels read it")
)]
pub(crate) struct Rows {
    /// 0, then where each row's new tokens end, `(rows + 1)`.
    pub(crate) query_ends: Tensor,
    /// 0, then the sum of the context and new tokens of each row and those before it, `(rows + 1)`.
    pub(crate) key_ends: Tensor,
    /// `(rows, most blocks of a row)`; what is behind a row's last block is 0 and never read.
    pub(crate) block_table: Tensor,
    /// New tokens of the row that has most.
    pub(crate) longest_query: usize,
    /// Context and new tokens of the row that has most.
    pub(crate) longest_context: usize,
}

/// The buffer on the host, and what stands where in it.
#[derive(Debug, PartialEq, Eq)]
struct Metadata {
    numbers: Vec<u32>,
    tokens: Range<usize>,
    positions: Range<usize>,
    slots: Range<usize>,
    query_ends: Range<usize>,
    key_ends: Range<usize>,
    block_table: Range<usize>,
    wanted: Range<usize>,
}

impl<'a> Step<'a> {
    /// Of a batch that is checked and not empty.
    pub(crate) fn new(batch: &'a Batch, block_size: usize, device: &Device) -> Result<Self> {
        Self::wanting(batch, block_size, false, &mut Uploads::to(device))
    }

    /// The same; of a row that wants something the last token is wanted, or all tokens for their hidden states.
    pub(crate) fn wanting(
        batch: &'a Batch,
        block_size: usize,
        hidden: bool,
        uploads: &mut Uploads,
    ) -> Result<Self> {
        let Metadata {
            numbers,
            tokens,
            positions,
            slots,
            query_ends,
            key_ends,
            block_table,
            wanted,
        } = Metadata::new(batch, block_size, hidden);
        let all = uploads.upload(numbers)?;
        let part = |range: Range<usize>| all.narrow(0, range.start, range.len());
        let rows = batch.rows.len();
        let contexts = batch.rows.iter().map(|row| row.context_len + row.len);
        Ok(Self {
            batch,
            tokens: part(tokens)?,
            positions: part(positions)?,
            slots: part(slots)?,
            rows: Rows {
                query_ends: part(query_ends)?,
                key_ends: part(key_ends)?,
                block_table: part(block_table)?.reshape((rows, ()))?,
                longest_query: batch.rows.iter().map(|row| row.len).max().unwrap_or(0),
                longest_context: contexts.max().unwrap_or(0),
            },
            wanted: match wanted.len() {
                0 => Wanted::Nothing,
                count if count == batch.tokens.len() => Wanted::All,
                _ => Wanted::Some(part(wanted)?),
            },
        })
    }
}

impl Metadata {
    fn new(batch: &Batch, block_size: usize, hidden: bool) -> Self {
        let rows = &batch.rows;
        let blocks = |context: usize| context.div_ceil(block_size);
        let most_blocks = rows.iter().map(|row| blocks(row.context_len + row.len));
        let most_blocks = most_blocks.max().unwrap_or(0);
        let mut numbers = batch.tokens.clone();
        let tokens = 0..numbers.len();
        let positions = section(&mut numbers, |numbers| {
            for row in rows {
                numbers.extend((row.context_len..row.context_len + row.len).map(|at| at as u32));
            }
        });
        let slots = section(&mut numbers, |numbers| {
            for row in rows {
                let slot = |at: usize| {
                    let block = row.block_table[at / block_size] as usize;
                    (block * block_size + at % block_size) as u32
                };
                numbers.extend((row.context_len..row.context_len + row.len).map(slot));
            }
        });
        let query_ends = section(&mut numbers, |numbers| {
            ends(numbers, rows.iter().map(|row| row.len));
        });
        let key_ends = section(&mut numbers, |numbers| {
            ends(numbers, rows.iter().map(|row| row.context_len + row.len));
        });
        let block_table = section(&mut numbers, |numbers| {
            for row in rows {
                let used = &row.block_table[..blocks(row.context_len + row.len)];
                numbers.extend_from_slice(used);
                numbers.extend(std::iter::repeat_n(0, most_blocks - used.len()));
            }
        });
        let wanted = section(&mut numbers, |numbers| {
            let mut end = 0;
            for row in rows {
                end += row.len;
                if row.wants_logits {
                    let wanted = if hidden { row.len } else { 1 };
                    numbers.extend((end - wanted..end).map(|token| token as u32));
                }
            }
        });
        Self {
            numbers,
            tokens,
            positions,
            slots,
            query_ends,
            key_ends,
            block_table,
            wanted,
        }
    }
}

/// Where `fill` puts its numbers.
fn section(numbers: &mut Vec<u32>, fill: impl FnOnce(&mut Vec<u32>)) -> Range<usize> {
    let start = numbers.len();
    fill(numbers);
    start..numbers.len()
}

/// 0 and the running sums.
fn ends(numbers: &mut Vec<u32>, lengths: impl Iterator<Item = usize>) {
    let mut end = 0;
    numbers.push(end);
    for length in lengths {
        end += length as u32;
        numbers.push(end);
    }
}

#[cfg(test)]
mod tests {
    use weir_engine::{BatchRow, SequenceId};

    use super::*;

    fn row(context_len: usize, len: usize, block_table: &[u32], wants_logits: bool) -> BatchRow {
        BatchRow {
            sequence: SequenceId(1),
            context_len,
            len,
            block_table: block_table.to_vec(),
            wants_logits,
        }
    }

    #[test]
    fn a_decode_beside_a_prefill_across_a_page_border() {
        let batch = Batch {
            embedded: Vec::new(),
            tokens: vec![9, 5, 6, 7],
            rows: vec![row(4, 1, &[3, 8, 1], true), row(3, 3, &[2, 6], false)],
        };
        let metadata = Metadata::new(&batch, 4, false);
        let part = |range: &Range<usize>| metadata.numbers[range.clone()].to_vec();
        assert_eq!(part(&metadata.tokens), [9, 5, 6, 7]);
        assert_eq!(part(&metadata.positions), [4, 3, 4, 5]);
        assert_eq!(part(&metadata.slots), [32, 11, 24, 25]);
        assert_eq!(part(&metadata.query_ends), [0, 1, 4]);
        assert_eq!(part(&metadata.key_ends), [0, 5, 11]);
        // The third block of the first row is none of its five tokens'.
        assert_eq!(part(&metadata.block_table), [3, 8, 2, 6]);
        assert_eq!(part(&metadata.wanted), [0]);
        let batch = Batch {
            embedded: Vec::new(),
            rows: vec![row(4, 1, &[3, 8], false), row(3, 3, &[2, 6], true)],
            ..batch
        };
        for (hidden, wanted) in [(false, vec![3]), (true, vec![1, 2, 3])] {
            let metadata = Metadata::new(&batch, 4, hidden);
            assert_eq!(metadata.numbers[metadata.wanted.clone()], wanted);
        }
    }

    #[test]
    fn rows_of_unequal_lengths_are_padded_and_nobody_need_want_logits() {
        let batch = Batch {
            embedded: Vec::new(),
            tokens: vec![1; 10],
            rows: vec![row(0, 9, &[5, 4, 3], false), row(0, 1, &[7], false)],
        };
        let step = Step::new(&batch, 4, &Device::Cpu).unwrap();
        let table: Vec<Vec<u32>> = step.rows.block_table.to_vec2().unwrap();
        assert_eq!(table, [[5, 4, 3], [7, 0, 0]]);
        assert!(matches!(step.wanted, Wanted::Nothing));
        assert_eq!((step.rows.longest_query, step.rows.longest_context), (9, 9));
    }
}
