//! Activations as the kernels want them: int8 in blocks of 32 columns, with what each block's scale and sums are.
//!
//! A block holds `quant = round(x / scale)` with `scale = max |x| / 127`, so a quant is in -127..=127 (never -128: the
//! kernels' int16 sums count on it) and `|x - scale * quant| <= scale / 2`, up to f32 rounding. A block whose largest
//! magnitude is below 1e-30 counts as zero. The values must be finite: from others come wrong numbers, nothing worse.
//!
//! Invariant: the buffers never move or grow; threads fill disjoint blocks through a shared reference.
#![allow(
    unsafe_code,
    reason = "threads write disjoint blocks of one buffer, at no cost in the inner loop"
)]

use std::{cell::UnsafeCell, ops::Range};

use super::layout::BLOCK;
use crate::simd::Simd;

/// Below this a block is zero: its inverse scale would not be a finite f32.
const SMALLEST: f32 = 1e-30;

/// Numbers that threads write in disjoint places.
struct Shared<T>(Box<[UnsafeCell<T>]>);

// SAFETY: the pointer is only written through by `QuantizedRows::quantize_blocks`, whose callers promise disjoint
// blocks, and that nobody reads them meanwhile.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T: Copy + Default> Shared<T> {
    fn new(len: usize) -> Self {
        Self((0..len).map(|_| UnsafeCell::new(T::default())).collect())
    }

    fn as_mut_ptr(&self) -> *mut T {
        UnsafeCell::raw_get(self.0.as_ptr())
    }
}

/// 32 quantized activations of one row, with all that a kernel asks of them side by side.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct RowQuants {
    /// -127 to 127.
    pub quants: [i8; BLOCK],
    /// What a quant is worth.
    pub scale: f32,
    /// `scale * sum of quants`: what a minimum is multiplied by.
    pub sum: f32,
    /// -16 times the sum of the first and of the last 16 quants, within int16 as 16 * 16 * 127 = 32,512.
    pub half_sums: [i16; 2],
}

impl RowQuants {
    /// With the sums of the first and the last 16 quants.
    pub fn new(quants: [i8; BLOCK], scale: f32, sums: [i32; 2]) -> Self {
        Self {
            quants,
            scale,
            sum: scale * (sums[0] + sums[1]) as f32,
            half_sums: sums.map(|sum| (sum * -16) as i16),
        }
    }
}

/// Rows of activations, quantized; and as f32 beside it where a float matrix will want them.
pub struct QuantizedRows {
    rows: usize,
    max_rows: usize,
    columns: usize,
    blocks: Shared<RowQuants>,
    floats: Option<Shared<f32>>,
    simd: Simd,
}

/// Where a row's blocks begin.
#[derive(Clone, Copy)]
pub struct Cursor {
    /// The quantized blocks.
    pub blocks: *const RowQuants,
    /// The unquantized numbers; null where they are not kept.
    pub floats: *const f32,
    /// Blocks from a row to the next.
    pub blocks_a_row: usize,
}

impl Cursor {
    /// The same, `rows` rows and `blocks` blocks on.
    pub fn advance(self, rows: usize, blocks: usize) -> Self {
        let ahead = rows * self.blocks_a_row + blocks;
        Self {
            blocks: self.blocks.wrapping_add(ahead),
            floats: self.floats.wrapping_add(ahead * BLOCK),
            ..self
        }
    }
}

impl QuantizedRows {
    /// Room for `max_rows` rows of `columns` (a multiple of 32) for matrices of the int8 formats. Holds no rows yet.
    pub fn new(max_rows: usize, columns: usize) -> Self {
        Self::with(max_rows, columns, false, Simd::detect())
    }

    /// The same, with the f32 numbers kept for matrices of F16, BF16 and F32.
    pub fn with_floats(max_rows: usize, columns: usize) -> Self {
        Self::with(max_rows, columns, true, Simd::detect())
    }

    pub(super) fn with(max_rows: usize, columns: usize, floats: bool, simd: Simd) -> Self {
        assert_eq!(columns % BLOCK, 0, "columns come in blocks of 32");
        let blocks = max_rows * columns / BLOCK;
        Self {
            rows: 0,
            max_rows,
            columns,
            blocks: Shared::new(blocks),
            floats: floats.then(|| Shared::new(blocks * BLOCK)),
            simd,
        }
    }

    /// Rows in use.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Says how many rows are in use, at most the `max_rows` there is room for.
    pub fn set_rows(&mut self, rows: usize) {
        assert!(rows <= self.max_rows, "room for {} rows", self.max_rows);
        self.rows = rows;
    }

    /// Numbers a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Whether the f32 numbers are kept.
    pub fn keeps_floats(&self) -> bool {
        self.floats.is_some()
    }

    /// Quantizes the blocks `blocks` of row `row` from `x`, whose first number is the first of the first block.
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes these blocks meanwhile.
    pub unsafe fn quantize_blocks(&self, row: usize, blocks: Range<usize>, x: &[f32]) {
        let per_row = self.columns / BLOCK;
        assert!(row < self.rows && blocks.end <= per_row, "a block in use");
        assert_eq!(x.len(), blocks.len() * BLOCK, "as many numbers as blocks");
        let start = row * per_row + blocks.start;
        // SAFETY: `start` and the blocks from it on lie in the buffers by the assertions, and are ours alone by the
        // caller's promise; Avx2 is only chosen where the processor has it.
        unsafe {
            if let Some(floats) = &self.floats {
                let target = floats.as_mut_ptr().add(start * BLOCK);
                target.copy_from_nonoverlapping(x.as_ptr(), x.len());
            }
            let (x, out) = (
                x.as_chunks::<BLOCK>().0,
                self.blocks.as_mut_ptr().add(start),
            );
            match self.simd {
                Simd::Portable => {
                    for (i, block) in x.iter().enumerate() {
                        *out.add(i) = quantize(block);
                    }
                }
                #[cfg(target_arch = "x86_64")]
                Simd::Avx2 | Simd::Avx512 => super::avx2::quantize(x, out),
            }
        }
    }

    /// Makes row `row` that of `from` which is `from_row`.
    ///
    /// # Panics
    ///
    /// If there are no such rows, the columns differ, or floats are kept here and not there.
    ///
    /// # Safety
    ///
    /// Nobody else touches this row, nor writes that of `from`, meanwhile; the two are not one.
    pub unsafe fn copy_row(&self, row: usize, from: &Self, from_row: usize) {
        assert!(row < self.rows && from_row < from.rows, "rows in use");
        assert_eq!(self.columns, from.columns, "columns of both");
        let blocks = self.columns / BLOCK;
        let (to, source) = (self.cursor(), from.cursor());
        let (to, source) = (to.advance(row, 0), source.advance(from_row, 0));
        // SAFETY: both rows are in their buffers by the assertions, and the caller answers for who else touches them.
        unsafe {
            let target = to.blocks.cast_mut();
            target.copy_from_nonoverlapping(source.blocks, blocks);
            if self.keeps_floats() {
                assert!(from.keeps_floats(), "floats of both");
                let target = to.floats.cast_mut();
                target.copy_from_nonoverlapping(source.floats, self.columns);
            }
        }
    }

    /// The first block of the first row.
    pub(super) fn cursor(&self) -> Cursor {
        let floats = self.floats.as_ref();
        Cursor {
            blocks: self.blocks.as_mut_ptr(),
            floats: floats.map_or(std::ptr::null(), |floats| floats.as_mut_ptr()),
            blocks_a_row: self.columns / BLOCK,
        }
    }
}

/// Scale and inverse of a block whose largest magnitude is `largest`.
pub(super) fn scale_and_inverse(largest: f32) -> (f32, f32) {
    if largest < SMALLEST {
        (0.0, 0.0)
    } else {
        (largest / 127.0, 127.0 / largest)
    }
}

/// Quantizes one block.
fn quantize(x: &[f32; BLOCK]) -> RowQuants {
    let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let (scale, inverse) = scale_and_inverse(largest);
    let quants = x.map(|x| (x * inverse).round_ties_even() as i8);
    let sum = |half: &[i8]| half.iter().copied().map(i32::from).sum();
    RowQuants::new(quants, scale, [sum(&quants[..16]), sum(&quants[16..])])
}
