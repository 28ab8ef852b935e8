//! Where a tile's products go: 16 columns (the last tile's may be fewer) of a row-major output.
//!
//! Invariant: columns beyond the matrix are never written. Does not know who else writes the same rows.
#![allow(
    unsafe_code,
    reason = "threads write disjoint columns of one output, which no slice can express"
)]

use super::layout::TILE;

/// The columns of one tile in the output.
pub struct Output {
    /// The tile's first column of the first row.
    pub start: *mut f32,
    /// Floats from a row to the next.
    pub stride: usize,
    /// Columns there are: 16 but for the last tile.
    pub columns: usize,
}

impl Output {
    /// The same columns, `rows` rows on.
    pub fn advance(&self, rows: usize) -> Self {
        Self {
            start: self.start.wrapping_add(rows * self.stride),
            ..*self
        }
    }

    /// Writes the products of row `row`.
    ///
    /// # Safety
    ///
    /// The output has that row, and nobody else touches these columns of it.
    #[inline(always)]
    pub unsafe fn write(&self, row: usize, products: &[f32; TILE]) {
        // SAFETY: the caller promises the row; `columns` says how much of it is the tile's.
        unsafe {
            let target = self.start.wrapping_add(row * self.stride);
            if self.columns == TILE {
                target.cast::<[f32; TILE]>().write(*products);
            } else {
                target.copy_from_nonoverlapping(products.as_ptr(), self.columns);
            }
        }
    }

    /// Writes the products of as many rows.
    ///
    /// # Safety
    ///
    /// As for [`Self::write`], for each row.
    #[inline(always)]
    pub unsafe fn write_all(&self, products: &[[f32; TILE]]) {
        for (row, products) in products.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { self.write(row, products) };
        }
    }
}
