//! Who owns which KV block: a reference count per block, and what becomes of blocks that nobody references.
//!
//! Such a block is *free* if it holds nothing of use and *cached* if its content can be found again. Cached blocks wait in
//! the order they were last used and are taken, the oldest first, when no free one is left.
//!
//! Invariants: a block is free or cached exactly when its count is zero; `used() + available() == total()`; shared blocks
//! are full and nobody writes to them again. A table that references a findable block references all before it, and gives
//! its blocks back last first: so what stands behind a block is forgotten before the block itself.
//! It does not touch KV storage (the runner owns that) and does not decide who gets blocks (the scheduler does).

use std::collections::{BTreeMap, VecDeque};

use crate::prefix_index::{FullBlock, Inserted, PrefixIndex};

/// Hands out physical KV blocks of a fixed size.
#[derive(Debug)]
pub struct BlockManager {
    block_size: usize,
    reference_counts: Vec<u32>,
    free: VecDeque<u32>,
    index: PrefixIndex,
    /// Cached blocks by the time they were given back.
    cached: BTreeMap<u64, u32>,
    /// When each block was last given back.
    released_at: Vec<u64>,
    /// Counts the blocks given back.
    clock: u64,
    evicted: u64,
}

impl BlockManager {
    /// A manager of `num_blocks` free blocks of `block_size` tokens each.
    ///
    /// # Panics
    /// If `block_size` is 0 or there are more blocks than a `u32` can number: a runner that says so is broken.
    pub fn new(num_blocks: usize, block_size: usize) -> Self {
        assert!(block_size > 0, "KV blocks must hold at least one token");
        let Ok(count) = u32::try_from(num_blocks) else {
            panic!("{num_blocks} KV blocks cannot be numbered");
        };
        Self {
            block_size,
            reference_counts: vec![0; num_blocks],
            free: (0..count).collect(),
            index: PrefixIndex::new(num_blocks, block_size),
            cached: BTreeMap::new(),
            released_at: vec![0; num_blocks],
            clock: 0,
            evicted: 0,
        }
    }

    /// Tokens a block holds.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Blocks that hold `tokens` tokens.
    pub fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_size)
    }

    /// Blocks that somebody references.
    pub fn used(&self) -> usize {
        self.total() - self.available()
    }

    /// Blocks that can be handed out, free or cached.
    pub fn available(&self) -> usize {
        self.free.len() + self.cached.len()
    }

    /// Blocks that nobody references and that can be found again.
    pub fn cached(&self) -> usize {
        self.cached.len()
    }

    /// All blocks there are.
    pub fn total(&self) -> usize {
        self.reference_counts.len()
    }

    /// Cached blocks that were handed out for something else so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Fills `prefix` with the findable blocks that hold the longest beginning of `tokens`, full blocks all and never the
    /// last token: something must be computed to have logits. `hashes` are those of its full blocks. Takes no reference.
    pub fn find_prefix(&self, tokens: &[u32], hashes: &[u64], prefix: &mut Vec<u32>) {
        prefix.clear();
        let all_but_last = &tokens[..tokens.len().saturating_sub(1)];
        let blocks = all_but_last.chunks_exact(self.block_size).zip(hashes);
        for (tokens, &hash) in blocks {
            let parent = prefix.last().copied();
            let Some(block) = self.index.find(&FullBlock {
                hash,
                parent,
                tokens,
            }) else {
                return;
            };
            prefix.push(block);
        }
    }

    /// Available blocks that a table of `tokens` tokens takes if it begins with the blocks of `prefix`.
    pub fn needed(&self, tokens: usize, prefix: &[u32]) -> usize {
        let in_use = |block: &&u32| self.reference_counts[**block as usize] > 0;
        self.blocks_for(tokens) - prefix.iter().filter(in_use).count()
    }

    /// Lengthens a block table until it holds `tokens` tokens. All or nothing: on `false` too few blocks are available and
    /// nothing has changed. A table that is long enough already stays as it is.
    #[must_use]
    pub fn grow(&mut self, block_table: &mut Vec<u32>, tokens: usize) -> bool {
        let missing = self.blocks_for(tokens).saturating_sub(block_table.len());
        if missing > self.available() {
            return false;
        }
        block_table.extend((0..missing).map_while(|_| self.take()));
        true
    }

    /// A block for new content: a free one, else the cached one that was not used for the longest time.
    fn take(&mut self) -> Option<u32> {
        let block = self.free.pop_front().or_else(|| {
            let (_, block) = self.cached.pop_first()?;
            self.index.remove(block);
            self.evicted += 1;
            Some(block)
        })?;
        self.reference_counts[block as usize] = 1;
        Some(block)
    }

    /// Adds one reference to each of `blocks`: a second table now points to them.
    ///
    /// # Panics
    /// If a block is free.
    pub fn share(&mut self, blocks: &[u32]) {
        for &block in blocks {
            let count = &mut self.reference_counts[block as usize];
            if *count == 0 {
                let cached = self.cached.remove(&self.released_at[block as usize]);
                assert_eq!(
                    cached,
                    Some(block),
                    "a free KV block holds nothing to share"
                );
            }
            *count += 1;
        }
    }

    /// Makes the full block at `index` of a table findable, once all before it are. If the same prefix is findable
    /// already, the table shares that block from now on and gives its own back. False if another prefix has its hash.
    #[must_use]
    pub fn publish(
        &mut self,
        block_table: &mut [u32],
        index: usize,
        hash: u64,
        tokens: &[u32],
    ) -> bool {
        let parent = index.checked_sub(1).map(|before| block_table[before]);
        let own = block_table[index];
        let content = FullBlock {
            hash,
            parent,
            tokens,
        };
        match self.index.insert(own, &content) {
            Inserted::New => true,
            Inserted::Known(known) => {
                self.share(&[known]);
                self.release_block(own);
                block_table[index] = known;
                true
            }
            Inserted::Collision => false,
        }
    }

    /// Lets no block be found any more; tables keep theirs.
    pub fn forget_prefixes(&mut self) {
        self.index.clear();
        let cached = std::mem::take(&mut self.cached);
        self.free.extend(cached.into_values());
    }

    /// Drops a table's references, leaving it empty. Blocks without references are available at once.
    ///
    /// # Panics
    /// If a block is free already.
    pub fn release(&mut self, block_table: &mut Vec<u32>) {
        // Last block first: what stands behind a block must be taken before the block.
        for block in block_table.drain(..).rev() {
            self.release_block(block);
        }
    }

    fn release_block(&mut self, block: u32) {
        let count = &mut self.reference_counts[block as usize];
        assert!(*count > 0, "KV block {block} was freed twice");
        *count -= 1;
        if *count > 0 {
            return;
        }
        if self.index.holds(block) {
            self.clock += 1;
            self.released_at[block as usize] = self.clock;
            self.cached.insert(self.clock, block);
        } else {
            self.free.push_back(block);
        }
    }

    /// Asserts that the tables in use are what the counts say, and what must hold between any two calls.
    #[cfg(test)]
    pub fn check_invariants<'a>(&self, tables: impl Iterator<Item = &'a [u32]>) {
        let mut counts = vec![0; self.total()];
        for &block in tables.flatten() {
            counts[block as usize] += 1;
        }
        assert_eq!(counts, self.reference_counts);
        let mut idle: Vec<u32> = self
            .free
            .iter()
            .chain(self.cached.values())
            .copied()
            .collect();
        idle.sort_unstable();
        let unreferenced: Vec<u32> = (0..)
            .zip(&counts)
            .filter(|(_, c)| **c == 0)
            .map(|(b, _)| b)
            .collect();
        assert_eq!(idle, unreferenced);
        assert!(self.cached.values().all(|&block| self.index.holds(block)));
        assert!(!self.free.iter().any(|&block| self.index.holds(block)));
        self.index.check_invariants();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn growing_is_all_or_nothing() {
        let mut blocks = BlockManager::new(3, 4);
        let mut table = Vec::new();
        assert!(blocks.grow(&mut table, 5));
        assert_eq!((table.len(), blocks.used(), blocks.available()), (2, 2, 1));
        assert!(!blocks.grow(&mut table, 13));
        assert_eq!((table.len(), blocks.available()), (2, 1));
        assert!(blocks.grow(&mut table, 8), "8 tokens fit in what it has");
        assert_eq!(blocks.available(), 1);
        assert!(blocks.grow(&mut table, 12));
        assert_eq!(blocks.available(), 0);
    }

    #[test]
    fn a_shared_block_is_free_after_its_last_release() {
        let mut blocks = BlockManager::new(4, 2);
        let mut first = Vec::new();
        assert!(blocks.grow(&mut first, 4));
        let mut second = first.clone();
        blocks.share(&second);
        blocks.release(&mut first);
        assert_eq!(blocks.used(), 2);
        blocks.release(&mut second);
        assert_eq!(blocks.used(), 0);
        assert!(first.is_empty() && second.is_empty());
    }

    #[test]
    fn the_longest_free_block_is_reused_first() {
        let mut blocks = BlockManager::new(3, 1);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        assert!(blocks.grow(&mut first, 2));
        blocks.release(&mut first);
        assert!(blocks.grow(&mut second, 3));
        assert_eq!(second, [2, 1, 0]);
    }

    /// Publishes all blocks of a table that holds `tokens`; the hashes may collide.
    fn publish(blocks: &mut BlockManager, table: &mut [u32], hashes: &[u64], tokens: &[u32]) {
        let size = blocks.block_size();
        for (index, content) in tokens.chunks_exact(size).enumerate() {
            assert!(blocks.publish(table, index, hashes[index], content));
        }
    }

    #[test]
    fn cached_blocks_are_taken_last_and_the_oldest_first() {
        let mut blocks = BlockManager::new(5, 1);
        let (mut first, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
        assert!(blocks.grow(&mut first, 2) && blocks.grow(&mut second, 2));
        publish(&mut blocks, &mut first, &[1, 2], &[10, 11]);
        publish(&mut blocks, &mut second, &[3, 4], &[20, 21]);
        blocks.release(&mut second);
        blocks.release(&mut first);
        assert_eq!(
            (blocks.used(), blocks.cached(), blocks.available()),
            (0, 4, 5)
        );
        // The free one, then the end of what was released first.
        assert!(blocks.grow(&mut third, 2));
        assert_eq!((third.as_slice(), blocks.evicted()), ([4, 3].as_slice(), 1));
        let mut prefix = Vec::new();
        blocks.find_prefix(&[20, 21, 22], &[3, 4, 5], &mut prefix);
        assert_eq!(prefix, [2]);
        assert_eq!(
            blocks.needed(3, &prefix),
            3,
            "a cached block is one less to be had"
        );
        blocks.share(&prefix);
        assert_eq!(blocks.needed(3, &prefix), 2);
        blocks.find_prefix(&[10, 11], &[1, 2], &mut prefix);
        assert_eq!(prefix, [0], "never the last token");
        let tables = [third.as_slice(), &[2]];
        blocks.check_invariants(tables.into_iter());
    }

    #[test]
    fn the_same_prefix_in_two_tables_becomes_one() {
        let mut blocks = BlockManager::new(6, 2);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        assert!(blocks.grow(&mut first, 4) && blocks.grow(&mut second, 4));
        publish(&mut blocks, &mut first, &[1, 2], &[5, 6, 7, 8]);
        publish(&mut blocks, &mut second, &[1, 2], &[5, 6, 7, 8]);
        assert_eq!((&first, blocks.used()), (&second, 2));
        blocks.forget_prefixes();
        blocks.release(&mut first);
        publish(&mut blocks, &mut second, &[1, 2], &[5, 6, 7, 8]);
        blocks.check_invariants([second.as_slice()].into_iter());
        blocks.release(&mut second);
        assert_eq!((blocks.used(), blocks.cached()), (0, 2));
        blocks.forget_prefixes();
        assert_eq!((blocks.available(), blocks.cached()), (6, 0));
    }

    proptest! {
        #[test]
        fn no_block_is_lost_or_handed_out_twice(steps in prop::collection::vec((0usize..4, 0usize..12), 0..60)) {
            let mut blocks = BlockManager::new(6, 3);
            let mut tables = vec![Vec::new(); 4];
            for (index, tokens) in steps {
                if tokens == 0 {
                    blocks.release(&mut tables[index]);
                } else {
                    let before = tables[index].len();
                    let grown = blocks.grow(&mut tables[index], tokens);
                    prop_assert_eq!(tables[index].len(), if grown { before.max(blocks.blocks_for(tokens)) } else { before });
                }
                let mut held: Vec<u32> = tables.concat();
                held.sort_unstable();
                held.dedup();
                prop_assert_eq!(held.len(), tables.iter().map(Vec::len).sum::<usize>());
                prop_assert_eq!(held.len(), blocks.used());
                prop_assert_eq!(blocks.used() + blocks.available(), blocks.total());
            }
        }
    }
}
