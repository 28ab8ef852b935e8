//! Who owns which KV block: a free list and a reference count per block.
//!
//! Invariants: a block is on the free list exactly when its count is zero; `used() + free() == total()`. Freed blocks are
//! reused oldest first, so that what a block still holds stays useful as long as possible to a prefix cache.
//! It does not touch KV storage (the runner owns that) and does not decide who gets blocks (the scheduler does).

use std::collections::VecDeque;

/// Hands out physical KV blocks of a fixed size.
#[derive(Debug)]
pub struct BlockManager {
    block_size: usize,
    reference_counts: Vec<u32>,
    free: VecDeque<u32>,
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
        }
    }

    /// Blocks that hold `tokens` tokens.
    pub fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_size)
    }

    /// Blocks that somebody references.
    pub fn used(&self) -> usize {
        self.total() - self.free()
    }

    /// Blocks that can be handed out.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// All blocks there are.
    pub fn total(&self) -> usize {
        self.reference_counts.len()
    }

    /// Lengthens a block table until it holds `tokens` tokens. All or nothing: on `false` too few blocks are free and
    /// nothing has changed. A table that is long enough already stays as it is.
    #[must_use]
    pub fn grow(&mut self, block_table: &mut Vec<u32>, tokens: usize) -> bool {
        let missing = self.blocks_for(tokens).saturating_sub(block_table.len());
        if missing > self.free.len() {
            return false;
        }
        for block in self.free.drain(..missing) {
            self.reference_counts[block as usize] = 1;
            block_table.push(block);
        }
        true
    }

    /// Adds one reference to each of `blocks`: a second table now points to them.
    ///
    /// # Panics
    /// If a block is free.
    pub fn share(&mut self, blocks: &[u32]) {
        for &block in blocks {
            let count = &mut self.reference_counts[block as usize];
            assert!(*count > 0, "KV block {block} is free and cannot be shared");
            *count += 1;
        }
    }

    /// Drops a table's references, leaving it empty. Blocks without references are free at once.
    ///
    /// # Panics
    /// If a block is free already.
    pub fn release(&mut self, block_table: &mut Vec<u32>) {
        // Last block first: a sequence's first blocks are the likeliest to be asked for again, so they are reused last.
        for block in block_table.drain(..).rev() {
            let count = &mut self.reference_counts[block as usize];
            assert!(*count > 0, "KV block {block} was freed twice");
            *count -= 1;
            if *count == 0 {
                self.free.push_back(block);
            }
        }
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
        assert_eq!((table.len(), blocks.used(), blocks.free()), (2, 2, 1));
        assert!(!blocks.grow(&mut table, 13));
        assert_eq!((table.len(), blocks.free()), (2, 1));
        assert!(blocks.grow(&mut table, 8), "8 tokens fit in what it has");
        assert_eq!(blocks.free(), 1);
        assert!(blocks.grow(&mut table, 12));
        assert_eq!(blocks.free(), 0);
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
                prop_assert_eq!(blocks.used() + blocks.free(), blocks.total());
            }
        }
    }
}
