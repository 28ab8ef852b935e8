//! How weights lie in memory: tiles of 16 rows, block after block of columns.
//!
//! Every int8 format shares one order. A block of 32 columns is eight steps of four columns; a step is 64 bytes, four
//! columns of row 0, four of row 1, and so on. So one 32-byte vector holds four columns of eight rows, and four
//! activations broadcast to all lanes meet their weights. Nibbles pack step `s` and step `s + 4` in one byte.
//!
//! Invariant: rows of a short last tile are zero (scale and minimum 0), so that kernels need no mask. Scales stay what
//! the file has (f16, or f16 times 6 or 8 bits): nothing is rounded by repacking. Does not multiply.

mod blocks;
mod planes;
mod super_blocks;

pub use blocks::{TileQ4_0, TileQ4_1, TileQ5_0, TileQ5_1, TileQ8_0};
pub use planes::{HighBit, HighPair, Nibbles, Signed};
pub use super_blocks::{TileQ4K, TileQ5K, TileQ6K};

/// Columns that share an activation scale.
pub const BLOCK: usize = 32;
/// Rows of a tile.
pub const TILE: usize = 16;

/// One row's weights of one block of 32 columns: column `j` is `scales[j / 16] * quants[j] + min`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowBlock {
    /// The whole numbers.
    pub quants: [i8; BLOCK],
    /// Scale of the first and of the last 16 columns; most formats have one for both.
    pub scales: [f32; 2],
    /// What is added to every column.
    pub min: f32,
}

impl RowBlock {
    /// The 32 weights.
    pub fn weights(&self) -> [f32; BLOCK] {
        std::array::from_fn(|j| self.scales[j / 16] * f32::from(self.quants[j]) + self.min)
    }
}

/// Sixteen rows of one block of a GGUF format.
pub trait Tile: Copy + Send + Sync {
    /// Sixteen rows of zeros.
    const ZERO: Self;
    /// Bytes of one row's block in a GGUF file.
    const RAW_BYTES: usize;
    /// Blocks of 32 columns in it.
    const BLOCKS: usize;

    /// Stores a row's block as a GGUF file has it (`RAW_BYTES` bytes).
    fn put(&mut self, row: usize, raw: &[u8]);
    /// A row's weights of one of the `BLOCKS` blocks.
    fn row_block(&self, row: usize, block: usize) -> RowBlock;
}
