//! Tiles of the formats whose blocks are 32 columns: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
//!
//! The formats are those of the GGUF files (ggml's block structures): an f16 scale, an f16 minimum in the `_1` formats,
//! four bytes of fifth bits in the Q5 formats, then the numbers; byte `j` of sixteen holds columns `j` and `j + 16`.

use super::{BLOCK, HighBit, Nibbles, RowBlock, Signed, TILE, Tile};
use crate::matrix::half::{f16_to_f32, u16_at};

/// Sixteen rows of Q4_0: `scale * (quant - 8)`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct TileQ4_0 {
    /// f16 scale of each row.
    pub scale: [u16; TILE],
    /// 0 to 15.
    pub nibbles: Nibbles,
}

impl Tile for TileQ4_0 {
    const ZERO: Self = Self {
        scale: [0; TILE],
        nibbles: Nibbles::ZERO,
    };
    const RAW_BYTES: usize = 18;
    const BLOCKS: usize = 1;

    fn put(&mut self, row: usize, raw: &[u8]) {
        self.scale[row] = u16_at(raw, 0);
        self.nibbles.put(row, &split_nibbles(&raw[2..18]));
    }

    fn row_block(&self, row: usize, _block: usize) -> RowBlock {
        RowBlock {
            quants: self.nibbles.get(row).map(|quant| quant.cast_signed() - 8),
            scales: [f16_to_f32(self.scale[row]); 2],
            min: 0.0,
        }
    }
}

/// Sixteen rows of Q4_1: `scale * quant + min`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct TileQ4_1 {
    /// f16 scale of each row.
    pub scale: [u16; TILE],
    /// f16 minimum of each row.
    pub min: [u16; TILE],
    /// 0 to 15.
    pub nibbles: Nibbles,
}

impl Tile for TileQ4_1 {
    const ZERO: Self = Self {
        scale: [0; TILE],
        min: [0; TILE],
        nibbles: Nibbles::ZERO,
    };
    const RAW_BYTES: usize = 20;
    const BLOCKS: usize = 1;

    fn put(&mut self, row: usize, raw: &[u8]) {
        self.scale[row] = u16_at(raw, 0);
        self.min[row] = u16_at(raw, 2);
        self.nibbles.put(row, &split_nibbles(&raw[4..20]));
    }

    fn row_block(&self, row: usize, _block: usize) -> RowBlock {
        RowBlock {
            quants: self.nibbles.get(row).map(u8::cast_signed),
            scales: [f16_to_f32(self.scale[row]); 2],
            min: f16_to_f32(self.min[row]),
        }
    }
}

/// Sixteen rows of Q5_0: `scale * (quant - 16)`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct TileQ5_0 {
    /// f16 scale of each row.
    pub scale: [u16; TILE],
    /// The low four bits of 0 to 31.
    pub nibbles: Nibbles,
    /// The fifth bit.
    pub high: HighBit,
}

impl Tile for TileQ5_0 {
    const ZERO: Self = Self {
        scale: [0; TILE],
        nibbles: Nibbles::ZERO,
        high: HighBit::ZERO,
    };
    const RAW_BYTES: usize = 22;
    const BLOCKS: usize = 1;

    fn put(&mut self, row: usize, raw: &[u8]) {
        self.scale[row] = u16_at(raw, 0);
        let quants = with_fifth_bits(split_nibbles(&raw[6..22]), &raw[2..6]);
        self.nibbles.put(row, &quants);
        self.high.put(row, &quants);
    }

    fn row_block(&self, row: usize, _block: usize) -> RowBlock {
        let quants = five_bits(&self.nibbles, &self.high, row);
        RowBlock {
            quants: quants.map(|quant| quant.cast_signed() - 16),
            scales: [f16_to_f32(self.scale[row]); 2],
            min: 0.0,
        }
    }
}

/// Sixteen rows of Q5_1: `scale * quant + min`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct TileQ5_1 {
    /// f16 scale of each row.
    pub scale: [u16; TILE],
    /// f16 minimum of each row.
    pub min: [u16; TILE],
    /// The low four bits of 0 to 31.
    pub nibbles: Nibbles,
    /// The fifth bit.
    pub high: HighBit,
}

impl Tile for TileQ5_1 {
    const ZERO: Self = Self {
        scale: [0; TILE],
        min: [0; TILE],
        nibbles: Nibbles::ZERO,
        high: HighBit::ZERO,
    };
    const RAW_BYTES: usize = 24;
    const BLOCKS: usize = 1;

    fn put(&mut self, row: usize, raw: &[u8]) {
        self.scale[row] = u16_at(raw, 0);
        self.min[row] = u16_at(raw, 2);
        let quants = with_fifth_bits(split_nibbles(&raw[8..24]), &raw[4..8]);
        self.nibbles.put(row, &quants);
        self.high.put(row, &quants);
    }

    fn row_block(&self, row: usize, _block: usize) -> RowBlock {
        RowBlock {
            quants: five_bits(&self.nibbles, &self.high, row).map(u8::cast_signed),
            scales: [f16_to_f32(self.scale[row]); 2],
            min: f16_to_f32(self.min[row]),
        }
    }
}

/// Sixteen rows of Q8_0: `scale * quant`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct TileQ8_0 {
    /// f16 scale of each row.
    pub scale: [u16; TILE],
    /// -128 to 127.
    pub quants: Signed,
}

impl Tile for TileQ8_0 {
    const ZERO: Self = Self {
        scale: [0; TILE],
        quants: Signed::ZERO,
    };
    const RAW_BYTES: usize = 34;
    const BLOCKS: usize = 1;

    fn put(&mut self, row: usize, raw: &[u8]) {
        self.scale[row] = u16_at(raw, 0);
        let quants = std::array::from_fn(|j| raw[2 + j]);
        self.quants.put(row, &quants);
    }

    fn row_block(&self, row: usize, _block: usize) -> RowBlock {
        RowBlock {
            quants: self.quants.get(row),
            scales: [f16_to_f32(self.scale[row]); 2],
            min: 0.0,
        }
    }
}

/// Sixteen bytes to 32 numbers: low halves first, then high halves.
fn split_nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|j| {
        if j < 16 {
            bytes[j] & 15
        } else {
            bytes[j - 16] >> 4
        }
    })
}

/// Adds bit `j` of the little-endian `bits` to number `j` as its fifth bit.
fn with_fifth_bits(quants: [u8; BLOCK], bits: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|j| quants[j] | (bits[j / 8] >> (j % 8) & 1) << 4)
}

/// A row of five-bit numbers.
pub(super) fn five_bits(nibbles: &Nibbles, high: &HighBit, row: usize) -> [u8; BLOCK] {
    let (low, high) = (nibbles.get(row), high.get(row));
    std::array::from_fn(|j| low[j] | high[j])
}
