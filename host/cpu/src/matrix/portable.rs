//! The matrix kernels in plain Rust: what runs where no vector kernel does, and what every vector kernel is tested against.
//!
//! Invariant: sums within a block are exact integers. Writes only the rows of the matrix that there are. Not tuned.
#![allow(
    unsafe_code,
    reason = "reads activations and writes outputs that other threads touch elsewhere"
)]

use super::{
    floats::FloatTile,
    layout::{BLOCK, TILE, Tile},
    output::Output,
    rows::Cursor,
};

/// Multiplies `rows` rows from `x` on with one tile row (all its blocks) of an int8 format.
///
/// # Safety
///
/// `x` has `rows` rows of `tiles.len() * T::BLOCKS` blocks that nobody writes; `out` has room for them.
pub unsafe fn multiply<T: Tile>(tiles: &[T], x: Cursor, rows: usize, out: &Output) {
    for row in 0..rows {
        let mut totals = [0.0; TILE];
        for (block, (tile, part)) in tiles
            .iter()
            .flat_map(|tile| (0..T::BLOCKS).map(move |part| (tile, part)))
            .enumerate()
        {
            // SAFETY: the caller promises this row and block.
            let x = unsafe { &*x.advance(row, block).blocks };
            for (lane, total) in totals.iter_mut().enumerate() {
                let weights = tile.row_block(lane, part);
                let half = |range: std::ops::Range<usize>| {
                    let products = weights.quants[range.clone()].iter().zip(&x.quants[range]);
                    products
                        .map(|(&w, &a)| i32::from(w) * i32::from(a))
                        .sum::<i32>() as f32
                };
                let dot = weights.scales[0] * half(0..16) + weights.scales[1] * half(16..BLOCK);
                *total += x.scale * dot + weights.min * x.sum;
            }
        }
        // SAFETY: the caller promises room for this row.
        unsafe { out.write(row, &totals) };
    }
}

/// Multiplies `rows` rows from `x` on with one tile of a float format, a column each.
///
/// # Safety
///
/// `x` has `rows` rows of `tile.len()` floats that nobody writes; `out` has room for them.
pub unsafe fn multiply_floats<T: FloatTile>(tile: &[T], x: Cursor, rows: usize, out: &Output) {
    for row in 0..rows {
        let mut totals = [0.0; TILE];
        let floats = x.advance(row, 0).floats;
        for (column, weights) in tile.iter().enumerate() {
            // SAFETY: the caller promises this row and column.
            let x = unsafe { *floats.add(column) };
            for (lane, total) in totals.iter_mut().enumerate() {
                *total += weights.get(lane) * x;
            }
        }
        // SAFETY: the caller promises room for this row.
        unsafe { out.write(row, &totals) };
    }
}
