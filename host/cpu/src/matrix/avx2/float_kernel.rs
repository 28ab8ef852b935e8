//! The float kernel: some activation rows times one tile of F16, BF16 or F32, by fused multiply-add.
//!
//! Invariant: each total is the sum over columns in order, whatever the number of rows. Does not quantize anything.
#![allow(unsafe_code, reason = "AVX2 intrinsics")]

use std::arch::x86_64::*;

use super::decode::widen;
use crate::matrix::{
    floats::{ColumnBf16, ColumnF16, ColumnF32, FloatTile},
    layout::{BLOCK, TILE},
    output::Output,
    rows::Cursor,
};

/// Activation rows at once: twelve sums, two vectors of weights and one activation fill the sixteen registers.
const GROUP: usize = 6;

/// A column of a tile as two vectors of eight rows.
pub trait DecodeFloat: FloatTile {
    /// The sixteen numbers.
    ///
    /// # Safety
    ///
    /// AVX2 and F16C.
    unsafe fn vectors(&self) -> [__m256; 2];
}

impl DecodeFloat for ColumnF32 {
    #[inline(always)]
    unsafe fn vectors(&self) -> [__m256; 2] {
        // SAFETY: sixteen floats are two loads.
        unsafe {
            [
                _mm256_loadu_ps(self.0.as_ptr()),
                _mm256_loadu_ps(self.0.as_ptr().add(8)),
            ]
        }
    }
}

impl DecodeFloat for ColumnF16 {
    #[inline(always)]
    unsafe fn vectors(&self) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.0) }
    }
}

impl DecodeFloat for ColumnBf16 {
    #[inline(always)]
    unsafe fn vectors(&self) -> [__m256; 2] {
        let start = self.0.as_ptr().cast::<__m128i>();
        // SAFETY: the trait's promise; sixteen 16-bit numbers are two loads.
        unsafe {
            let a = _mm256_cvtepu16_epi32(_mm_loadu_si128(start));
            let b = _mm256_cvtepu16_epi32(_mm_loadu_si128(start.add(1)));
            [
                _mm256_castsi256_ps(_mm256_slli_epi32(a, 16)),
                _mm256_castsi256_ps(_mm256_slli_epi32(b, 16)),
            ]
        }
    }
}

/// Multiplies `rows` rows from `x` on with one tile, a column each.
///
/// # Safety
///
/// AVX2, FMA and F16C; `x` has `rows` rows of `tile.len()` floats that nobody writes; `out` has room for them.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn multiply_floats<T: DecodeFloat>(tile: &[T], x: Cursor, rows: usize, out: &Output) {
    let mut row = 0;
    // SAFETY: the caller's promise for every row.
    unsafe {
        while row < rows {
            let (x, out) = (x.advance(row, 0), out.advance(row));
            row += match rows - row {
                GROUP.. => products::<T, GROUP>(tile, x, &out),
                3.. => products::<T, 3>(tile, x, &out),
                2 => products::<T, 2>(tile, x, &out),
                _ => products::<T, 1>(tile, x, &out),
            };
        }
    }
}

/// The kernel for `M` rows at once; returns `M`.
///
/// # Safety
///
/// As for [`multiply_floats`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn products<T: DecodeFloat, const M: usize>(tile: &[T], x: Cursor, out: &Output) -> usize {
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    // SAFETY: the caller's promise; sixteen floats are two vectors.
    unsafe {
        for (column, tile) in tile.iter().enumerate() {
            let weights = tile.vectors();
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_broadcast_ss(&*x.floats.add(m * x.blocks_a_row * BLOCK + column));
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm256_fmadd_ps(weights, x, *sum);
                }
            }
        }
        for (m, sums) in sums.into_iter().enumerate() {
            let mut products = [0.0; TILE];
            _mm256_storeu_ps(products.as_mut_ptr(), sums[0]);
            _mm256_storeu_ps(products.as_mut_ptr().add(8), sums[1]);
            out.write(m, &products);
        }
    }
    M
}
