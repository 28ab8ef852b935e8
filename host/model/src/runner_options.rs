//! What any runner of a model is told, and what it makes of that: sizes checked against the model, batches against sizes.

use weir_engine::{Batch, BatchRow, RunnerInfo};

use crate::{description::ModelDescription, error::ModelError};

/// How much KV storage a runner sets aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvCapacity {
    /// This many blocks.
    Blocks(usize),
    /// As many blocks as fit into this many bytes.
    Bytes(u64),
}

/// Sizes a caller chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerOptions {
    /// KV storage.
    pub kv_capacity: KvCapacity,
    /// Tokens per KV block.
    pub block_size: usize,
    /// Longest context in tokens; None takes the model's own.
    pub max_model_len: Option<usize>,
    /// Tokens that end a sequence beside those the checkpoint names: its tokenizer may know more.
    pub end_token_ids: Vec<u32>,
}

impl RunnerOptions {
    /// The sizes of a runner of this model, whose KV blocks of `block_size` tokens take `block_bytes` over all layers.
    ///
    /// # Errors
    /// [`ModelError::InvalidOptions`] for sizes that the model does not allow or that hold nothing.
    pub fn runner_info(
        self,
        description: &ModelDescription,
        block_bytes: usize,
    ) -> Result<RunnerInfo, ModelError> {
        let RunnerOptions {
            kv_capacity,
            block_size,
            max_model_len,
            mut end_token_ids,
        } = self;
        let context = description.context_length;
        let max_model_len = max_model_len.unwrap_or(context);
        if max_model_len == 0 || max_model_len > context {
            let reason = format!(
                "a context of {max_model_len} tokens is not possible, the model was trained for {context}"
            );
            return Err(ModelError::InvalidOptions(reason));
        }
        if block_size == 0 {
            return Err(ModelError::InvalidOptions(
                "a KV block of 0 tokens is not possible".to_owned(),
            ));
        }
        let num_blocks = match kv_capacity {
            KvCapacity::Blocks(blocks) => blocks,
            KvCapacity::Bytes(bytes) => {
                usize::try_from(bytes / block_bytes as u64).unwrap_or(usize::MAX)
            }
        };
        // Planes are numbered in u32, two a block.
        if num_blocks == 0
            || num_blocks > (u32::MAX / 2) as usize
            || num_blocks.checked_mul(block_bytes).is_none()
        {
            let reason = format!("{num_blocks} KV blocks of {block_bytes} bytes are not possible");
            return Err(ModelError::InvalidOptions(reason));
        }
        end_token_ids.extend_from_slice(&description.eos_token_ids);
        end_token_ids.sort_unstable();
        end_token_ids.dedup();
        Ok(RunnerInfo {
            vocab_size: description.vocab,
            max_model_len,
            block_size,
            num_blocks,
            eos_token_ids: end_token_ids,
        })
    }
}

/// Checks a batch against a runner's sizes before anything is computed, so that a scheduling mistake is an error that
/// names the row, not another sequence's KV overwritten.
///
/// # Errors
/// One line that names the sequence or the token.
pub fn check_batch(batch: &Batch, info: &RunnerInfo) -> Result<(), String> {
    let len: usize = batch.rows.iter().map(|row| row.len).sum();
    if len != batch.tokens.len() {
        return Err(format!(
            "the rows hold {len} tokens, the batch {}",
            batch.tokens.len()
        ));
    }
    if let Some(token) = batch
        .tokens
        .iter()
        .find(|&&token| token as usize >= info.vocab_size)
    {
        return Err(format!(
            "token {token} is not in the vocabulary of {}",
            info.vocab_size
        ));
    }
    batch.rows.iter().try_for_each(|row| check_row(row, info))
}

fn check_row(row: &BatchRow, info: &RunnerInfo) -> Result<(), String> {
    let sequence = row.sequence.0;
    let tokens = row.context_len + row.len;
    if row.len == 0 {
        return Err(format!("sequence {sequence} has no new tokens"));
    }
    if tokens > info.max_model_len {
        return Err(format!(
            "sequence {sequence} has {tokens} tokens, the limit is {}",
            info.max_model_len
        ));
    }
    if row.block_table.len() * info.block_size < tokens {
        let blocks = row.block_table.len();
        return Err(format!(
            "sequence {sequence} has {blocks} blocks, too few for {tokens} tokens"
        ));
    }
    match row
        .block_table
        .iter()
        .find(|&&block| block as usize >= info.num_blocks)
    {
        Some(block) => Err(format!(
            "sequence {sequence} names block {block} of {}",
            info.num_blocks
        )),
        None => Ok(()),
    }
}
