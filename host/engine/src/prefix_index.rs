//! Which KV block holds which tokens: full blocks are found again by a chained hash.
//!
//! A block's hash is made of the hash of the block before it, its own tokens and a salt drawn at start, so it stands for
//! the whole prefix and nobody outside can make two prefixes meet. A hash alone is never believed: an entry keeps its
//! block's tokens and the block before it, and both are compared.
//!
//! Invariants: a block has at most one entry and a hash at most one block; the block before an entry's block has an entry
//! too, because [`crate::block_manager`] takes the last blocks of a prefix first. So equal tokens behind the same block
//! are the same prefix. It counts no references and does not decide what is forgotten.

use std::{
    collections::{HashMap, hash_map},
    hash::{BuildHasher, RandomState},
};

/// Makes the hashes of full blocks.
#[derive(Debug, Clone)]
pub struct BlockHasher {
    salt: RandomState,
    /// Bits that are left of a hash: few make collisions, which must not matter.
    #[cfg(test)]
    pub mask: u64,
}

impl Default for BlockHasher {
    fn default() -> Self {
        Self {
            // The standard library's hasher keys come from the operating system's random numbers.
            salt: RandomState::new(),
            #[cfg(test)]
            mask: u64::MAX,
        }
    }
}

impl BlockHasher {
    /// Appends the hashes of those full blocks of `tokens` that are not in `hashes` yet.
    pub fn extend(&self, hashes: &mut Vec<u64>, tokens: &[u32], block_size: usize) {
        for block in tokens.chunks_exact(block_size).skip(hashes.len()) {
            hashes.push(self.hash(hashes.last().copied(), block));
        }
    }

    fn hash(&self, parent: Option<u64>, tokens: &[u32]) -> u64 {
        let hash = self.salt.hash_one((parent, tokens));
        #[cfg(test)]
        let hash = hash & self.mask;
        hash
    }
}

/// A full block as a sequence knows it.
#[derive(Debug, Clone, Copy)]
pub struct FullBlock<'a> {
    /// Its chained hash.
    pub hash: u64,
    /// The physical block before it; None for a sequence's first.
    pub parent: Option<u32>,
    /// Its tokens, a block's worth.
    pub tokens: &'a [u32],
}

/// What came of [`PrefixIndex::insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The block is found from now on.
    New,
    /// This block is found already and holds the same prefix.
    Known(u32),
    /// A block with other tokens has the same hash: this one cannot be found.
    Collision,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    parent: Option<u32>,
}

/// The findable blocks. Whatever is found or forgotten, it allocates nothing.
#[derive(Debug)]
pub struct PrefixIndex {
    block_size: usize,
    blocks: HashMap<u64, u32>,
    /// By physical block.
    entries: Vec<Option<Entry>>,
    /// Of all physical blocks, one after the other.
    tokens: Vec<u32>,
}

impl PrefixIndex {
    /// An index of physical blocks with numbers below `num_blocks`, each of `block_size` tokens.
    pub fn new(num_blocks: usize, block_size: usize) -> Self {
        Self {
            block_size,
            blocks: HashMap::with_capacity(num_blocks),
            entries: vec![None; num_blocks],
            tokens: vec![0; num_blocks * block_size],
        }
    }

    /// The physical block that holds these tokens behind the same prefix.
    pub fn find(&self, wanted: &FullBlock) -> Option<u32> {
        let block = *self.blocks.get(&wanted.hash)?;
        self.is(block, wanted).then_some(block)
    }

    fn is(&self, block: u32, content: &FullBlock) -> bool {
        self.entries[block as usize].is_some_and(|entry| {
            let tokens = &self.tokens[block as usize * self.block_size..][..self.block_size];
            let same = (entry.hash, entry.parent) == (content.hash, content.parent);
            same && tokens == content.tokens
        })
    }

    /// Makes a physical block findable.
    pub fn insert(&mut self, block: u32, content: &FullBlock) -> Inserted {
        match self.blocks.entry(content.hash) {
            hash_map::Entry::Vacant(place) => {
                place.insert(block);
                self.entries[block as usize] = Some(Entry {
                    hash: content.hash,
                    parent: content.parent,
                });
                self.tokens[block as usize * self.block_size..][..self.block_size]
                    .copy_from_slice(content.tokens);
                Inserted::New
            }
            hash_map::Entry::Occupied(known) => {
                let known = *known.get();
                if self.is(known, content) {
                    Inserted::Known(known)
                } else {
                    Inserted::Collision
                }
            }
        }
    }

    /// Whether a physical block can be found.
    pub fn holds(&self, block: u32) -> bool {
        self.entries[block as usize].is_some()
    }

    /// Forgets a physical block, because it will hold something else.
    pub fn remove(&mut self, block: u32) {
        if let Some(entry) = self.entries[block as usize].take() {
            self.blocks.remove(&entry.hash);
        }
    }

    /// Forgets all blocks.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.entries.fill(None);
    }

    /// Asserts what must hold between any two calls.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        let entries = (0..).zip(&self.entries);
        let entries = entries.filter_map(|(block, entry)| Some((block, entry.as_ref()?)));
        assert_eq!(self.blocks.len(), entries.clone().count());
        for (block, entry) in entries {
            assert_eq!(self.blocks.get(&entry.hash), Some(&block));
            assert!(
                entry.parent.is_none_or(|parent| self.holds(parent)),
                "block {block} stands behind a forgotten one"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_chained_and_salted_and_made_once() {
        let hasher = BlockHasher::default();
        let (mut whole, mut steps, mut other) = (Vec::new(), Vec::new(), Vec::new());
        hasher.extend(&mut whole, &[1, 2, 1, 2, 1], 2);
        assert_eq!(whole.len(), 2, "the last token fills no block");
        assert_ne!(whole[0], whole[1], "same tokens, another prefix");
        hasher.extend(&mut steps, &[1, 2, 1], 2);
        hasher.extend(&mut steps, &[1, 2, 1, 2, 1], 2);
        assert_eq!(steps, whole);
        BlockHasher::default().extend(&mut other, &[1, 2, 1, 2], 2);
        assert_ne!(other, whole, "every start has a salt of its own");
    }

    #[test]
    fn a_collision_is_no_hit() {
        let block = |hash, parent, tokens: &'static [u32]| FullBlock {
            hash,
            parent,
            tokens,
        };
        let mut index = PrefixIndex::new(7, 2);
        assert_eq!(index.insert(3, &block(7, None, &[1, 2])), Inserted::New);
        assert_eq!(index.insert(4, &block(8, Some(3), &[1, 2])), Inserted::New);
        assert_eq!(index.find(&block(7, None, &[1, 2])), Some(3));
        let same_hash = [
            block(7, None, &[1, 3]),
            block(7, Some(4), &[1, 2]),
            block(8, None, &[1, 2]),
        ];
        for wanted in same_hash {
            assert_eq!(index.find(&wanted), None, "{wanted:?}");
            assert_eq!(index.insert(5, &wanted), Inserted::Collision);
        }
        let again = block(8, Some(3), &[1, 2]);
        assert_eq!(index.insert(6, &again), Inserted::Known(4));
        assert!(!index.holds(5) && !index.holds(6));
        index.remove(4);
        assert_eq!(index.find(&again), None);
        assert_eq!(index.insert(6, &again), Inserted::New);
        index.check_invariants();
    }
}
