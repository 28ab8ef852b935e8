//! Planes of bits that quantized weights are stored in: 16 rows by 32 columns each.
//!
//! Invariant: column `4 * s + j` of row `r` is step `s`, byte `4 * r + j` of a step.

use super::BLOCK;

/// Byte of a step where columns of this row begin.
fn lane(row: usize) -> usize {
    row * 4
}

/// Eight signed bits: step `s` is array `s`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct Signed(pub [[i8; 64]; 8]);

impl Signed {
    /// All columns zero.
    pub const ZERO: Self = Self([[0; 64]; 8]);

    /// Stores a row.
    pub fn put(&mut self, row: usize, quants: &[u8; BLOCK]) {
        for (step, columns) in quants.chunks_exact(4).enumerate() {
            for (j, &column) in columns.iter().enumerate() {
                self.0[step][lane(row) + j] = column.cast_signed();
            }
        }
    }

    /// Reads a row.
    pub fn get(&self, row: usize) -> [i8; BLOCK] {
        std::array::from_fn(|j| self.0[j / 4][lane(row) + j % 4])
    }
}

/// The four low bits: step `s` in the low halves of array `s`, step `s + 4` in its high halves.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct Nibbles(pub [[u8; 64]; 4]);

impl Nibbles {
    /// All columns zero.
    pub const ZERO: Self = Self([[0; 64]; 4]);

    /// Stores the low four bits of a row that was zero.
    pub fn put(&mut self, row: usize, quants: &[u8; BLOCK]) {
        for j in 0..BLOCK / 2 {
            let both = quants[j] & 15 | quants[j + 16] << 4;
            self.0[j / 4][lane(row) + j % 4] = both;
        }
    }

    /// Reads a row.
    pub fn get(&self, row: usize) -> [u8; BLOCK] {
        std::array::from_fn(|j| {
            let both = self.0[j / 4 % 4][lane(row) + j % 4];
            if j < BLOCK / 2 { both & 15 } else { both >> 4 }
        })
    }
}

/// The fifth bit: that of step `s` is bit `s` of the byte.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct HighBit(pub [u8; 64]);

impl HighBit {
    /// All columns zero.
    pub const ZERO: Self = Self([0; 64]);

    /// Stores bit 4 of a row that was zero.
    pub fn put(&mut self, row: usize, quants: &[u8; BLOCK]) {
        for (j, quant) in quants.iter().enumerate() {
            self.0[lane(row) + j % 4] |= (quant >> 4 & 1) << (j / 4);
        }
    }

    /// Reads a row, the bit in its place (0 or 16).
    pub fn get(&self, row: usize) -> [u8; BLOCK] {
        std::array::from_fn(|j| (self.0[lane(row) + j % 4] >> (j / 4) & 1) << 4)
    }
}

/// The fifth and the sixth bit: those of step `s` are bits `2 * (s % 4)` and the next of array `s / 4`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct HighPair(pub [[u8; 64]; 2]);

impl HighPair {
    /// All columns zero.
    pub const ZERO: Self = Self([[0; 64]; 2]);

    /// Stores bits 4 and 5 of a row that was zero.
    pub fn put(&mut self, row: usize, quants: &[u8; BLOCK]) {
        for (j, quant) in quants.iter().enumerate() {
            self.0[j / 16][lane(row) + j % 4] |= (quant >> 4 & 3) << (j / 4 % 4 * 2);
        }
    }

    /// Reads a row, the bits in their place (0, 16, 32 or 48).
    pub fn get(&self, row: usize) -> [u8; BLOCK] {
        std::array::from_fn(|j| (self.0[j / 16][lane(row) + j % 4] >> (j / 4 % 4 * 2) & 3) << 4)
    }
}
