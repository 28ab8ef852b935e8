//! Which sequences compute how many tokens in the next step: continuous batching with chunked prefill.
//!
//! Decode rows come first, then chunks of prefill share what is left of the token budget, so a long prompt never stalls
//! running streams. Waiting sequences are admitted first come, first served. When blocks run out the youngest sequence
//! gives its blocks back and is recomputed later; sequences paused for a slow reader give theirs first.
//!
//! Invariants: `waiting` and `running` are sorted by id, which is by age; only running sequences hold blocks, enough
//! for all their tokens but the last sampled one; while an unpaused sequence lives, every step computes at least one token.
//! It does not run the model and does not sample.

use std::collections::VecDeque;

use crate::{
    batch::{Batch, BatchRow},
    block_manager::BlockManager,
    request::SequenceId,
    sequence::Sequence,
};

/// The queues and the blocks.
pub struct Scheduler {
    max_num_batched_tokens: usize,
    max_num_seqs: usize,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    blocks: BlockManager,
    preemptions: u64,
    /// Block tables of past batch rows, kept for their allocations.
    spare_tables: Vec<Vec<u32>>,
}

impl Scheduler {
    /// A scheduler of batches of at most `max_num_batched_tokens` tokens in at most `max_num_seqs` rows. Zeros count as one.
    pub fn new(max_num_batched_tokens: usize, max_num_seqs: usize, blocks: BlockManager) -> Self {
        let max_num_batched_tokens = max_num_batched_tokens.max(1);
        Self {
            max_num_batched_tokens,
            // More decode rows than the budget has tokens would starve prefill for ever.
            max_num_seqs: max_num_seqs.clamp(1, max_num_batched_tokens),
            waiting: VecDeque::new(),
            running: Vec::new(),
            blocks,
            preemptions: 0,
            spare_tables: Vec::new(),
        }
    }

    /// Queues a sequence; its id must be higher than every id before.
    pub fn add(&mut self, sequence: Sequence) {
        self.waiting.push_back(sequence);
    }

    /// Forgets a sequence and frees its blocks. False if it is not here.
    pub fn remove(&mut self, id: SequenceId) -> bool {
        if let Ok(index) = self
            .running
            .binary_search_by_key(&id, |sequence| sequence.id)
        {
            let mut sequence = self.running.remove(index);
            self.blocks.release(&mut sequence.block_table);
            true
        } else if let Ok(index) = self
            .waiting
            .binary_search_by_key(&id, |sequence| sequence.id)
        {
            self.waiting.remove(index).is_some()
        } else {
            false
        }
    }

    /// Pauses or resumes a sequence. False if it is not here.
    pub fn set_paused(&mut self, id: SequenceId, paused: bool) -> bool {
        let sequence = match self
            .running
            .binary_search_by_key(&id, |sequence| sequence.id)
        {
            Ok(index) => self.running.get_mut(index),
            Err(_) => match self
                .waiting
                .binary_search_by_key(&id, |sequence| sequence.id)
            {
                Ok(index) => self.waiting.get_mut(index),
                Err(_) => None,
            },
        };
        sequence.map(|sequence| sequence.paused = paused).is_some()
    }

    /// A running sequence.
    pub fn running_mut(&mut self, id: SequenceId) -> Option<&mut Sequence> {
        let index = self
            .running
            .binary_search_by_key(&id, |sequence| sequence.id)
            .ok()?;
        self.running.get_mut(index)
    }

    /// Fills `batch` with the next step's rows; none if there is nothing to do.
    pub fn schedule(&mut self, batch: &mut Batch) {
        self.grow_decoding();
        self.admit();
        self.spare_tables
            .extend(batch.rows.drain(..).map(|row| row.block_table));
        batch.tokens.clear();
        self.fill(batch, true);
        self.fill(batch, false);
    }

    /// Appends a row for each runnable sequence of one kind, oldest first, as far as the limits allow.
    fn fill(&mut self, batch: &mut Batch, decoding: bool) {
        for sequence in &self.running {
            let budget = self.max_num_batched_tokens - batch.tokens.len();
            if budget == 0 || batch.rows.len() == self.max_num_seqs {
                return;
            }
            if sequence.paused || sequence.is_decoding() != decoding {
                continue;
            }
            let uncomputed = sequence.uncomputed();
            let len = uncomputed.len().min(budget);
            batch.tokens.extend_from_slice(&uncomputed[..len]);
            let mut block_table = self.spare_tables.pop().unwrap_or_default();
            block_table.clone_from(&sequence.block_table);
            batch.rows.push(BatchRow {
                sequence: sequence.id,
                context_len: sequence.computed,
                len,
                block_table,
                wants_logits: len == uncomputed.len(),
            });
        }
    }

    /// Gives every decoding sequence room for its last token, oldest first, preempting where blocks run out.
    fn grow_decoding(&mut self) {
        let mut index = 0;
        while let Some(sequence) = self.running.get_mut(index) {
            let needed = sequence.len();
            let idle = sequence.paused || !sequence.is_decoding();
            if idle || self.blocks.grow(&mut sequence.block_table, needed) {
                index += 1;
                continue;
            }
            // The youngest may be this very sequence: then it waits until older ones have ended.
            let victim = self.youngest_paused().unwrap_or(self.running.len() - 1);
            self.preempt(victim);
            if victim < index {
                index -= 1;
            }
        }
    }

    /// Moves waiting sequences into the batch while rows and blocks last, first come, first served.
    fn admit(&mut self) {
        while self.unpaused_running() < self.max_num_seqs {
            let Some(tokens) = self
                .waiting
                .iter()
                .find(|sequence| !sequence.paused)
                .map(Sequence::len)
            else {
                return;
            };
            if !self.make_room(tokens) {
                return;
            }
            // Looked up again: making room may have put paused sequences before it.
            let next = self.waiting.iter().position(|sequence| !sequence.paused);
            let Some(mut sequence) = next.and_then(|index| self.waiting.remove(index)) else {
                return;
            };
            // All its blocks at once: so only decode rows ever need a block in mid-run.
            let grown = self.blocks.grow(&mut sequence.block_table, tokens);
            assert!(grown, "room was made for {tokens} tokens");
            let place = self.running.partition_point(|other| other.id < sequence.id);
            self.running.insert(place, sequence);
        }
    }

    /// Whether `tokens` tokens can have blocks, taking them from paused sequences where that is enough.
    fn make_room(&mut self, tokens: usize) -> bool {
        // One spare block for each stream that runs: otherwise its next token would preempt the newcomer again.
        let needed = self.blocks.blocks_for(tokens) + self.unpaused_running();
        let idle = self.running.iter().filter(|sequence| sequence.paused);
        if needed
            > self.blocks.free()
                + idle
                    .map(|sequence| sequence.block_table.len())
                    .sum::<usize>()
        {
            return false;
        }
        while needed > self.blocks.free() {
            let Some(victim) = self.youngest_paused() else {
                return false;
            };
            self.preempt(victim);
        }
        true
    }

    /// Takes a running sequence's blocks; it waits, in the place its age gives it, to be computed again.
    fn preempt(&mut self, index: usize) {
        let mut sequence = self.running.remove(index);
        self.blocks.release(&mut sequence.block_table);
        sequence.computed = 0;
        let place = self.waiting.partition_point(|other| other.id < sequence.id);
        self.waiting.insert(place, sequence);
        self.preemptions += 1;
    }

    fn youngest_paused(&self) -> Option<usize> {
        self.running.iter().rposition(|sequence| sequence.paused)
    }

    fn unpaused_running(&self) -> usize {
        self.running
            .iter()
            .filter(|sequence| !sequence.paused)
            .count()
    }

    /// Sequences in the queue, paused ones included: what the queue's bound counts.
    pub fn queued(&self) -> usize {
        self.waiting.len()
    }

    /// (waiting, running, paused) sequences; each sequence counts once.
    pub fn census(&self) -> (usize, usize, usize) {
        let waiting = self
            .waiting
            .iter()
            .filter(|sequence| !sequence.paused)
            .count();
        let running = self.unpaused_running();
        (
            waiting,
            running,
            self.waiting.len() + self.running.len() - waiting - running,
        )
    }

    /// Preemptions so far.
    pub fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// The KV blocks' owner.
    pub fn blocks(&self) -> &BlockManager {
        &self.blocks
    }

    /// Asserts what must hold between any two calls.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        assert!(self.waiting.iter().is_sorted_by(|a, b| a.id < b.id));
        assert!(self.running.is_sorted_by(|a, b| a.id < b.id));
        assert!(
            self.waiting
                .iter()
                .all(|s| s.block_table.is_empty() && s.computed == 0)
        );
        let mut held: Vec<u32> = self
            .running
            .iter()
            .flat_map(|s| s.block_table.iter().copied())
            .collect();
        held.sort_unstable();
        assert!(
            held.is_sorted_by(|a, b| a < b),
            "a block has two owners: {held:?}"
        );
        assert_eq!(held.len(), self.blocks.used());
        for sequence in &self.running {
            assert!(sequence.block_table.len() >= self.blocks.blocks_for(sequence.computed));
            assert!(!sequence.uncomputed().is_empty());
        }
    }
}
