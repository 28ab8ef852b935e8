//! The loops around the kernels: passes over the activation rows, tiles within a pass.
//!
//! Invariant: every product is computed in one order whatever the rows and tiles beside it. Does not choose threads.
#![allow(
    unsafe_code,
    reason = "hands the kernels activations and outputs that other threads touch elsewhere"
)]

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::{
    avx2::{self, Decode, DecodeFloat},
    avx512::{self, Decode as Decode512},
};
#[cfg(not(target_arch = "x86_64"))]
use super::{
    floats::FloatTile as DecodeFloat,
    layout::{Tile as Decode, Tile as Decode512},
};
use super::{
    layout::{TILE, Tile},
    output::Output,
    portable,
    rows::{Cursor, QuantizedRows},
};
use crate::simd::Simd;

/// Rows multiplied with one tile before the next: their activations stay in the second-level cache for every tile.
pub const ROWS_A_PASS: usize = 64;

/// The product of some activations with some tiles of a matrix.
pub struct Product<'a> {
    /// Which kernels.
    pub simd: Simd,
    /// The activations.
    pub x: &'a QuantizedRows,
    /// Which of their rows.
    pub rows: Range<usize>,
    /// The tiles.
    pub tiles: Range<usize>,
    /// Rows of the whole matrix, which say how short its last tile is.
    pub matrix_rows: usize,
    /// The first row and column of the output.
    pub out: *mut f32,
    /// Floats from an output row to the next.
    pub stride: usize,
}

impl Product<'_> {
    /// With a matrix of an int8 format.
    ///
    /// # Safety
    ///
    /// The output has the rows and the columns of `tiles`, which nobody else touches; nobody writes `x`; `packed`
    /// has the columns of `x`; `simd` is what the processor has.
    pub unsafe fn of_blocks<T: Decode + Decode512 + Tile>(&self, packed: &[T]) {
        // SAFETY: the caller's promise, and `each_tile` stays within rows and tiles.
        match self.simd {
            Simd::Portable => self.each_tile(packed, |tile, x, rows, out| unsafe {
                portable::multiply(tile, x, rows, out);
            }),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => {
                let mut panel = avx2::Panel::new();
                self.each_tile(packed, |tile, x, rows, out| unsafe {
                    avx2::multiply(tile, x, rows, &mut panel, out);
                });
            }
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => {
                let mut panel = avx512::Panel::new();
                self.each_tile(packed, |tile, x, rows, out| unsafe {
                    avx512::multiply(tile, x, rows, &mut panel, out);
                });
            }
        }
    }

    /// With a matrix of a float format.
    ///
    /// # Safety
    ///
    /// As for [`Self::of_blocks`]; `x` keeps floats.
    pub unsafe fn of_floats<T: DecodeFloat>(&self, packed: &[T]) {
        // SAFETY: the caller's promise, and `each_tile` stays within rows and tiles.
        self.each_tile(packed, |tile, x, rows, out| unsafe {
            match self.simd {
                Simd::Portable => portable::multiply_floats(tile, x, rows, out),
                #[cfg(target_arch = "x86_64")]
                Simd::Avx2 | Simd::Avx512 => avx2::multiply_floats(tile, x, rows, out),
            }
        });
    }

    fn each_tile<T>(&self, packed: &[T], mut kernel: impl FnMut(&[T], Cursor, usize, &Output)) {
        if self.tiles.is_empty() {
            return;
        }
        let per_tile = packed.len() / self.matrix_rows.div_ceil(TILE);
        for first in (0..self.rows.len()).step_by(ROWS_A_PASS) {
            let rows = ROWS_A_PASS.min(self.rows.len() - first);
            let x = self.x.cursor().advance(self.rows.start + first, 0);
            for tile in self.tiles.clone() {
                let out = Output {
                    start: self.out.wrapping_add(first * self.stride + tile * TILE),
                    stride: self.stride,
                    columns: TILE.min(self.matrix_rows - tile * TILE),
                };
                kernel(&packed[tile * per_tile..][..per_tile], x, rows, &out);
            }
        }
    }
}
