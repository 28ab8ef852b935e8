//! Which sequences compute how many tokens in the next step: continuous batching with chunked prefill.
//!
//! Decode rows come first, then chunks of prefill share what is left of the token budget, so a long prompt never stalls
//! running streams. Waiting sequences are admitted by priority, then first come, first served, each behind its longest cached
//! prefix; one whose prefix another is computing right now waits for it instead of computing it too. One that has its prompt
//! scored starts from its first token and gets a row for each, as many as there may be rows. One that becomes a vector does
//! as one that only has a prompt, in a batch beside the other under the same limits: it delays nobody more than that. When blocks run out the youngest
//! sequence gives its blocks back and is recomputed later, as far as others took them meanwhile; sequences paused for a
//! slow reader give theirs first.
//!
//! Invariants: `running` is sorted by id, which is by age, `waiting` by priority and id; only running sequences hold blocks, enough
//! for all their tokens but those that came behind the last logits; while an unpaused sequence lives, every step computes at least one token;
//! a step costs time linear in the sequences, whatever their lengths, but for those it admits or tries to.
//! It does not run the model and does not sample.

use std::collections::VecDeque;

use crate::{
    batch::{Batch, BatchRow},
    block_manager::BlockManager,
    engine::{EngineConfig, EngineCounters},
    prefix_index::BlockHasher,
    request::SequenceId,
    sequence::Sequence,
};

/// What came of an attempt to start a sequence.
enum Start {
    Running,
    /// It waits for another's prefill.
    Led,
    NoRoom,
}

/// The queues and the blocks.
pub struct Scheduler {
    max_num_batched_tokens: usize,
    max_num_seqs: usize,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    blocks: BlockManager,
    prefix_cache: bool,
    hasher: BlockHasher,
    preemptions: u64,
    prefix_query_tokens: u64,
    prefix_hit_tokens: u64,
    /// Block tables of past batch rows, kept for their allocations.
    spare_tables: Vec<Vec<u32>>,
}

impl Scheduler {
    /// A scheduler of batches within the configuration's limits, over these blocks.
    pub fn new(config: &EngineConfig, blocks: BlockManager) -> Self {
        let max_num_batched_tokens = config.max_num_batched_tokens.max(1);
        Self {
            max_num_batched_tokens,
            // More decode rows than the budget has tokens would starve prefill for ever.
            max_num_seqs: config.max_num_seqs.clamp(1, max_num_batched_tokens),
            waiting: VecDeque::new(),
            running: Vec::new(),
            blocks,
            prefix_cache: config.prefix_cache,
            hasher: BlockHasher::default(),
            preemptions: 0,
            prefix_query_tokens: 0,
            prefix_hit_tokens: 0,
            spare_tables: Vec::new(),
        }
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
        } else {
            let index = self.waiting.iter().position(|sequence| sequence.id == id);
            index.is_some_and(|index| self.waiting.remove(index).is_some())
        }
    }

    /// Pauses or resumes a sequence. False if it is not here.
    pub fn set_paused(&mut self, id: SequenceId, paused: bool) -> bool {
        let sequence = match self
            .running
            .binary_search_by_key(&id, |sequence| sequence.id)
        {
            Ok(index) => self.running.get_mut(index),
            Err(_) => self.waiting.iter_mut().find(|sequence| sequence.id == id),
        };
        sequence
            .map(|sequence| sequence.set_paused(paused))
            .is_some()
    }

    /// A running sequence.
    pub fn running_mut(&mut self, id: SequenceId) -> Option<&mut Sequence> {
        let index = self
            .running
            .binary_search_by_key(&id, |sequence| sequence.id)
            .ok()?;
        self.running.get_mut(index)
    }

    /// Lets others find the full blocks of a running sequence that are computed by now.
    pub fn publish(&mut self, id: SequenceId) {
        let index = self
            .running
            .binary_search_by_key(&id, |sequence| sequence.id);
        if self.prefix_cache
            && let Ok(index) = index
        {
            self.running[index].publish(&mut self.blocks, &self.hasher);
        }
    }

    /// Lets nobody find any block that is computed by now, until a running sequence publishes its own again.
    pub fn forget_prefixes(&mut self) {
        self.blocks.forget_prefixes();
        self.running.iter_mut().for_each(Sequence::unpublish);
    }

    /// Fills `batch` with the next step's rows, and `pooled` with those of sequences that become vectors; none if there is
    /// nothing to do.
    pub fn schedule(&mut self, batch: &mut Batch, pooled: &mut Batch) {
        self.grow_decoding();
        self.admit();
        for batch in [&mut *batch, &mut *pooled] {
            self.spare_tables
                .extend(batch.rows.drain(..).map(|row| row.block_table));
            batch.tokens.clear();
            batch.embedded.clear();
        }
        self.fill(batch, pooled, true);
        self.fill(batch, pooled, false);
    }

    /// Appends the rows of each runnable sequence of one kind, oldest first, as far as the limits allow: one, but where a
    /// prompt is scored.
    fn fill(&mut self, batch: &mut Batch, pooled: &mut Batch, decoding: bool) {
        // Forced tokens make a decode row long: it leaves each of those behind it a token of the budget.
        let mut behind = match decoding {
            true => self
                .running
                .iter()
                .filter(|s| !s.paused && s.is_decoding())
                .count(),
            false => 0,
        };
        for sequence in &self.running {
            if sequence.paused || sequence.is_decoding() != decoding {
                continue;
            }
            behind = behind.saturating_sub(1);
            let uncomputed = sequence.uncomputed();
            let mut start = sequence.computed;
            while start < sequence.len() {
                let tokens = batch.tokens.len() + pooled.tokens.len();
                let rows = batch.rows.len() + pooled.rows.len();
                let budget = self.max_num_batched_tokens - tokens;
                if budget == 0 || rows == self.max_num_seqs {
                    return;
                }
                let batch = match sequence.is_pooling() {
                    true => &mut *pooled,
                    false => &mut *batch,
                };
                let end = sequence.row_end(start);
                let len = (end - start).min(budget.saturating_sub(behind).max(1));
                let from = start - sequence.computed;
                let embedded = sequence.embedded(start, start + len, batch.tokens.len());
                batch.embedded.extend(embedded);
                batch
                    .tokens
                    .extend_from_slice(&uncomputed[from..from + len]);
                let mut block_table = self.spare_tables.pop().unwrap_or_default();
                block_table.clone_from(&sequence.block_table);
                batch.rows.push(BatchRow {
                    sequence: sequence.id,
                    context_len: start,
                    len,
                    block_table,
                    wants_logits: sequence.wants(start, start + len),
                });
                if len < end - start {
                    break;
                }
                start += len;
            }
        }
    }

    /// Gives every decoding sequence room for its last tokens, oldest first, preempting where blocks run out.
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

    /// Moves waiting sequences into the batch while rows and blocks last, in the order they stand in. Only those whose prefix
    /// is being computed are passed over, until it can be shared.
    fn admit(&mut self) {
        let mut rows = self.unpaused_running();
        let mut index = 0;
        while rows < self.max_num_seqs
            && let Some(next) = self.waiting.get(index)
        {
            if next.paused || self.is_led(next) {
                index += 1;
                continue;
            }
            let Some(mut sequence) = self.waiting.remove(index) else {
                return;
            };
            match self.start(&mut sequence) {
                Start::Running => {
                    let place = self.running.partition_point(|other| other.id < sequence.id);
                    self.running.insert(place, sequence);
                    rows += 1;
                }
                Start::Led => {
                    self.add(sequence);
                    index += 1;
                }
                Start::NoRoom => return self.add(sequence),
            }
        }
    }

    /// Gives a sequence its blocks, the first of them from the prefix cache.
    fn start(&mut self, sequence: &mut Sequence) -> Start {
        if self.prefix_cache && sequence.is_cacheable() && !sequence.sees_whole_prompt() {
            sequence.find_prefix(&self.blocks, &self.hasher);
            sequence.leader = self.leader_of(sequence);
            if sequence.leader.is_some() {
                sequence.block_table.clear();
                return Start::Led;
            }
        }
        let tokens = sequence.len();
        if !self.make_room(tokens, &sequence.block_table) {
            sequence.block_table.clear();
            return Start::NoRoom;
        }
        let found = sequence.block_table.len();
        self.blocks.share(&sequence.block_table);
        // All its blocks at once: so only decode rows ever need a block in mid-run.
        let grown = self.blocks.grow(&mut sequence.block_table, tokens);
        assert!(grown, "room was made for {tokens} tokens");
        if let Some(hit) = sequence.start_behind(found, self.blocks.block_size()) {
            self.prefix_query_tokens += tokens as u64;
            self.prefix_hit_tokens += hit as u64;
        }
        Start::Running
    }

    /// A running sequence that is to compute the block behind those a sequence found, and how many tokens they then share.
    fn leader_of(&self, sequence: &Sequence) -> Option<(SequenceId, usize)> {
        let block_size = self.blocks.block_size();
        let found = sequence.block_table.len();
        self.running.iter().find_map(|other| {
            let ahead = other.paused || other.computed >= (found + 1) * block_size;
            let common = if ahead {
                0
            } else {
                sequence.common_blocks(other, found, block_size)
            };
            (common > 0).then_some((other.id, (found + common) * block_size))
        })
    }

    /// Whether a sequence's leader is still at work on what they share.
    fn is_led(&self, sequence: &Sequence) -> bool {
        let leader = sequence.leader.and_then(|(id, tokens)| {
            let index = self.running.binary_search_by_key(&id, |other| other.id);
            Some((self.running.get(index.ok()?)?, tokens))
        });
        leader.is_some_and(|(leader, tokens)| !leader.paused && leader.computed < tokens)
    }

    /// Whether `tokens` tokens behind a cached prefix can have blocks, taking them from paused sequences where that is enough.
    fn make_room(&mut self, tokens: usize, prefix: &[u32]) -> bool {
        // One spare block for each stream that may need one yet: otherwise its next token would preempt the newcomer again.
        let may_grow = |sequence: &&Sequence| {
            let most = self.blocks.blocks_for(sequence.max_computed());
            !sequence.paused && sequence.block_table.len() < most
        };
        let reserve = self.running.iter().filter(may_grow).count();
        let idle = self.running.iter().filter(|sequence| sequence.paused);
        let idle: usize = idle.map(|sequence| sequence.block_table.len()).sum();
        if self.blocks.needed(tokens, prefix) + reserve > self.blocks.available() + idle {
            return false;
        }
        // Counted anew each time: a victim's blocks may be part of the prefix.
        while self.blocks.needed(tokens, prefix) + reserve > self.blocks.available() {
            let Some(victim) = self.youngest_paused() else {
                return false;
            };
            self.preempt(victim);
        }
        true
    }

    /// Takes a running sequence's blocks; it waits, in the place that priority and age give it, to be computed again.
    fn preempt(&mut self, index: usize) {
        let mut sequence = self.running.remove(index);
        self.blocks.release(&mut sequence.block_table);
        sequence.computed = 0;
        self.add(sequence);
        self.preemptions += 1;
    }

    /// Puts a sequence where it belongs in the queue.
    pub fn add(&mut self, sequence: Sequence) {
        let place = self
            .waiting
            .partition_point(|other| other.place() < sequence.place());
        self.waiting.insert(place, sequence);
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

    /// Whether some sequence lives and is not paused.
    pub fn has_work(&self) -> bool {
        let mut sequences = self.waiting.iter().chain(&self.running);
        sequences.any(|sequence| !sequence.paused)
    }

    /// Adds the gauges of queues and blocks, and the totals kept here.
    pub fn count(&self, counters: &mut EngineCounters) {
        let waiting = self.waiting.iter().filter(|s| !s.paused).count();
        let running = self.unpaused_running();
        counters.waiting = waiting;
        counters.running = running;
        counters.paused = self.waiting.len() + self.running.len() - waiting - running;
        counters.blocks_used = self.blocks.used();
        counters.blocks_cached = self.blocks.cached();
        counters.blocks_total = self.blocks.total();
        counters.blocks_evicted = self.blocks.evicted();
        counters.preemptions = self.preemptions;
        counters.prefix_query_tokens = self.prefix_query_tokens;
        counters.prefix_hit_tokens = self.prefix_hit_tokens;
    }

    /// Leaves few bits of every block's hash, so that hashes collide.
    #[cfg(test)]
    pub fn weaken_hashes(&mut self, mask: u64) {
        self.hasher.mask = mask;
    }

    /// Asserts what must hold between any two calls.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        assert!(
            self.waiting
                .iter()
                .is_sorted_by(|a, b| a.place() < b.place())
        );
        assert!(self.running.is_sorted_by(|a, b| a.id < b.id));
        assert!(
            self.waiting
                .iter()
                .all(|s| s.block_table.is_empty() && s.computed == 0)
        );
        let tables = self.running.iter().map(|s| s.block_table.as_slice());
        self.blocks.check_invariants(tables);
        for sequence in &self.running {
            assert!(sequence.block_table.len() >= self.blocks.blocks_for(sequence.computed));
            assert!(!sequence.uncomputed().is_empty());
        }
    }
}
