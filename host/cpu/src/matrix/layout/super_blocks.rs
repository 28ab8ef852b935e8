//! Tiles of the formats whose blocks are 256 columns: Q4_K, Q5_K, Q6_K.
//!
//! The formats are those of the GGUF files (ggml's block structures). Q4_K and Q5_K have an f16 scale and an f16 minimum
//! a block and a 6-bit factor of each for every 32 columns; Q6_K has an f16 scale and a signed 8-bit factor for every 16.
//! A factor keeps a byte here, so that a tile grows by no more than 3% (Q6_K not at all).

use super::{BLOCK, HighBit, HighPair, Nibbles, RowBlock, TILE, Tile, blocks::five_bits};
use crate::matrix::half::{f16_to_f32, u16_at};

/// Blocks of 32 columns in one of 256.
const PARTS: usize = 8;

/// Scales of Q4_K and Q5_K: column = `scale * factor * quant - min * min_factor`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct Scales {
    /// f16 scale of each row.
    pub scale: [u16; TILE],
    /// f16 minimum of each row.
    pub min: [u16; TILE],
    /// 0 to 63, for every 32 columns.
    pub factor: [[u8; TILE]; PARTS],
    /// 0 to 63, for every 32 columns.
    pub min_factor: [[u8; TILE]; PARTS],
}

impl Scales {
    const ZERO: Self = Self {
        scale: [0; TILE],
        min: [0; TILE],
        factor: [[0; TILE]; PARTS],
        min_factor: [[0; TILE]; PARTS],
    };

    /// Reads the two f16 and the twelve bytes of 6-bit factors behind them: the first four parts have theirs whole in
    /// the low bits of bytes 0..4 and 4..8, the last four have four bits in bytes 8..12 and two on top of the others.
    fn put(&mut self, row: usize, raw: &[u8]) {
        self.scale[row] = u16_at(raw, 0);
        self.min[row] = u16_at(raw, 2);
        let six = &raw[4..16];
        for part in 0..4 {
            self.factor[part][row] = six[part] & 63;
            self.min_factor[part][row] = six[part + 4] & 63;
            self.factor[part + 4][row] = six[part + 8] & 15 | six[part] >> 6 << 4;
            self.min_factor[part + 4][row] = six[part + 8] >> 4 | six[part + 4] >> 6 << 4;
        }
    }

    fn row_block(&self, row: usize, part: usize, quants: [u8; BLOCK]) -> RowBlock {
        let scale = f16_to_f32(self.scale[row]) * f32::from(self.factor[part][row]);
        RowBlock {
            quants: quants.map(u8::cast_signed),
            scales: [scale; 2],
            min: -f16_to_f32(self.min[row]) * f32::from(self.min_factor[part][row]),
        }
    }
}

/// Number `j` of part `part` among 128 bytes: a run of 32 bytes has one part in its low halves, the next in its high.
fn nibble(bytes: &[u8], part: usize, j: usize) -> u8 {
    bytes[part / 2 * 32 + j] >> (part % 2 * 4) & 15
}

/// Sixteen rows of Q4_K.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct TileQ4K {
    /// Scales and minima.
    pub scales: Scales,
    /// 0 to 15.
    pub nibbles: [Nibbles; PARTS],
}

impl Tile for TileQ4K {
    const ZERO: Self = Self {
        scales: Scales::ZERO,
        nibbles: [Nibbles::ZERO; PARTS],
    };
    const RAW_BYTES: usize = 144;
    const BLOCKS: usize = PARTS;

    fn put(&mut self, row: usize, raw: &[u8]) {
        self.scales.put(row, raw);
        for part in 0..PARTS {
            let quants = std::array::from_fn(|j| nibble(&raw[16..], part, j));
            self.nibbles[part].put(row, &quants);
        }
    }

    fn row_block(&self, row: usize, block: usize) -> RowBlock {
        let quants = self.nibbles[block].get(row);
        self.scales.row_block(row, block, quants)
    }
}

/// Sixteen rows of Q5_K.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct TileQ5K {
    /// Scales and minima.
    pub scales: Scales,
    /// The low four bits of 0 to 31.
    pub nibbles: [Nibbles; PARTS],
    /// The fifth bit.
    pub high: [HighBit; PARTS],
}

impl Tile for TileQ5K {
    const ZERO: Self = Self {
        scales: Scales::ZERO,
        nibbles: [Nibbles::ZERO; PARTS],
        high: [HighBit::ZERO; PARTS],
    };
    const RAW_BYTES: usize = 176;
    const BLOCKS: usize = PARTS;

    fn put(&mut self, row: usize, raw: &[u8]) {
        self.scales.put(row, raw);
        let (fifth, low) = (&raw[16..48], &raw[48..176]);
        for part in 0..PARTS {
            // Bit `part` of byte `j` belongs to number `j` of that part.
            let quants =
                std::array::from_fn(|j| nibble(low, part, j) | (fifth[j] >> part & 1) << 4);
            self.nibbles[part].put(row, &quants);
            self.high[part].put(row, &quants);
        }
    }

    fn row_block(&self, row: usize, block: usize) -> RowBlock {
        let quants = five_bits(&self.nibbles[block], &self.high[block], row);
        self.scales.row_block(row, block, quants)
    }
}

/// Sixteen rows of Q6_K: `scale * factor * (quant - 32)`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct TileQ6K {
    /// f16 scale of each row.
    pub scale: [u16; TILE],
    /// -128 to 127, for the first and the last 16 columns of every 32.
    pub factors: [[[i8; 2]; TILE]; PARTS],
    /// The low four bits of 0 to 63.
    pub nibbles: [Nibbles; PARTS],
    /// The high two bits.
    pub high: [HighPair; PARTS],
}

impl Tile for TileQ6K {
    const ZERO: Self = Self {
        scale: [0; TILE],
        factors: [[[0; 2]; TILE]; PARTS],
        nibbles: [Nibbles::ZERO; PARTS],
        high: [HighPair::ZERO; PARTS],
    };
    const RAW_BYTES: usize = 210;
    const BLOCKS: usize = PARTS;

    /// 128 bytes of low halves, 64 of high pairs, 16 factors, an f16 scale. Each half of the columns is four parts: parts
    /// 0 and 1 in the low halves of its 64 bytes, parts 2 and 3 in the high ones, pair `part` of its 32 bytes above them.
    fn put(&mut self, row: usize, raw: &[u8]) {
        let (low, high, factors) = (&raw[..128], &raw[128..192], &raw[192..208]);
        self.scale[row] = u16_at(raw, 208);
        for part in 0..PARTS {
            let (half, quarter) = (part / 4, part % 4);
            let quants = std::array::from_fn(|j| {
                let four = low[half * 64 + quarter % 2 * 32 + j] >> (quarter / 2 * 4) & 15;
                let two = high[half * 32 + j] >> (quarter * 2) & 3;
                four | two << 4
            });
            self.nibbles[part].put(row, &quants);
            self.high[part].put(row, &quants);
            self.factors[part][row] =
                [factors[part * 2], factors[part * 2 + 1]].map(u8::cast_signed);
        }
    }

    fn row_block(&self, row: usize, block: usize) -> RowBlock {
        let (low, high) = (self.nibbles[block].get(row), self.high[block].get(row));
        let scale = f16_to_f32(self.scale[row]);
        RowBlock {
            quants: std::array::from_fn(|j| (low[j] | high[j]).cast_signed() - 32),
            scales: self.factors[block][row].map(|factor| scale * f32::from(factor)),
            min: 0.0,
        }
    }
}
