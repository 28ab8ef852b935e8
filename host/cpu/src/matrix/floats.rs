//! Weights that stay floats: one column of a tile after another, 16 rows each.
//!
//! Invariant: a column is aligned to 32 bytes; rows of a short last tile are zero. Does not multiply.

use super::{
    half::{bf16_to_f32, f16_to_f32, u16_at},
    layout::TILE,
};

/// Sixteen rows of one column.
pub trait FloatTile: Copy + Send + Sync {
    /// Sixteen zeros.
    const ZERO: Self;
    /// Bytes of a number in a GGUF file.
    const RAW_BYTES: usize;

    /// Stores a row's number as a GGUF file has it.
    fn put(&mut self, row: usize, raw: &[u8]);
    /// Reads a row's number.
    fn get(&self, row: usize) -> f32;
}

/// IEEE 754 binary16.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct ColumnF16(pub [u16; TILE]);

/// bfloat16.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct ColumnBf16(pub [u16; TILE]);

/// IEEE 754 binary32.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct ColumnF32(pub [f32; TILE]);

impl FloatTile for ColumnF16 {
    const ZERO: Self = Self([0; TILE]);
    const RAW_BYTES: usize = 2;

    fn put(&mut self, row: usize, raw: &[u8]) {
        self.0[row] = u16_at(raw, 0);
    }

    fn get(&self, row: usize) -> f32 {
        f16_to_f32(self.0[row])
    }
}

impl FloatTile for ColumnBf16 {
    const ZERO: Self = Self([0; TILE]);
    const RAW_BYTES: usize = 2;

    fn put(&mut self, row: usize, raw: &[u8]) {
        self.0[row] = u16_at(raw, 0);
    }

    fn get(&self, row: usize) -> f32 {
        bf16_to_f32(self.0[row])
    }
}

impl FloatTile for ColumnF32 {
    const ZERO: Self = Self([0.0; TILE]);
    const RAW_BYTES: usize = 4;

    fn put(&mut self, row: usize, raw: &[u8]) {
        self.0[row] = f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
    }

    fn get(&self, row: usize) -> f32 {
        self.0[row]
    }
}
