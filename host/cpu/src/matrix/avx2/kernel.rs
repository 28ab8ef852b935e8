//! The int8 kernel: some activation rows times one tile.
//!
//! Per block of 32 columns, unsigned weights meet signed activations in int16 (`vpmaddubsw`), int16 sums widen to int32
//! as [`Decode::STEPS`] demands, and the block's whole sum enters an f32 total with the product of both scales.
//!
//! Invariant: integers never overflow (see [`Decode`]); each total is the same sequence of operations whatever `M`.
#![allow(unsafe_code, reason = "AVX2 intrinsics")]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers, several arrays indexed alike"
)]

use std::{
    arch::{asm, x86_64::*},
    hint::black_box,
    mem::MaybeUninit,
};

use super::{decode::Decode, panel::PanelBlock};
use crate::matrix::{
    layout::TILE,
    output::Output,
    prefetch::prefetch,
    product::ROWS_A_PASS,
    rows::{Cursor, RowQuants},
};

/// From this many rows on, widening the tile first pays.
const PANEL_ROWS: usize = 4;
/// Blocks of a panel: with the activations of a group of rows they fill most of a first-level cache of 32 KiB.
const PANEL_BLOCKS: usize = 24;

/// Room for a widened stretch of a tile and for what is summed so far. None of it is written before it is needed: it is
/// larger than what a product with few rows reads.
pub struct Panel<T> {
    blocks: [MaybeUninit<PanelBlock<T>>; PANEL_BLOCKS],
    totals: [MaybeUninit<[f32; TILE]>; ROWS_A_PASS],
}

impl<T: Decode> Panel<T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            blocks: [const { MaybeUninit::uninit() }; PANEL_BLOCKS],
            totals: [const { MaybeUninit::uninit() }; ROWS_A_PASS],
        }
    }
}

/// Multiplies `rows` (at most [`ROWS_A_PASS`]) rows from `x` on with one tile, all blocks of it.
///
/// # Safety
///
/// AVX2, FMA and F16C; `x` has `rows` rows of the tile's columns that nobody writes; `out` has room for them.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn multiply<T: Decode>(
    tile: &[T],
    x: Cursor,
    rows: usize,
    panel: &mut Panel<T>,
    out: &Output,
) {
    let totals = &mut panel.totals[..rows];
    for totals in totals.iter_mut() {
        totals.write([0.0; TILE]);
    }
    // SAFETY: the caller's promise; the totals are as many as the rows, and written; so are the blocks once filled.
    unsafe {
        let totals = totals.assume_init_mut();
        if rows < PANEL_ROWS {
            each_group(tile, x, totals);
        } else {
            // As even as can be: the ends of a stretch cost something.
            let longest = PANEL_BLOCKS / T::PARTS;
            let length = tile.len().div_ceil(tile.len().div_ceil(longest).max(1));
            for (i, stretch) in tile.chunks(length).enumerate() {
                let blocks = &mut panel.blocks[..stretch.len() * T::PARTS];
                for (b, block) in blocks.iter_mut().enumerate() {
                    let (tile, part) = (&stretch[b / T::PARTS], b % T::PARTS);
                    prefetch(tile, part, T::PARTS);
                    PanelBlock::fill(block, tile, part);
                }
                let x = x.advance(0, i * length * T::PARTS);
                each_group(blocks.assume_init_ref(), x, totals);
            }
        }
        out.write_all(totals);
    }
}

/// Adds the products of the rows from `x` on to their totals, in groups of [`Decode::GROUP`] while there are.
///
/// # Safety
///
/// As for [`multiply`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn each_group<T: Decode>(tile: &[T], x: Cursor, totals: &mut [[f32; TILE]]) {
    let mut row = 0;
    while row < totals.len() {
        let (x, rest) = (x.advance(row, 0), &mut totals[row..]);
        // SAFETY: the caller's promise for every row.
        row += unsafe {
            // As even as can be: eight rows are four and four, not six and two.
            match rest.len().div_ceil(rest.len().div_ceil(T::GROUP)) {
                6.. => add_products::<T, 6>(tile, x, rest),
                5 => add_products::<T, 5>(tile, x, rest),
                4 => add_products::<T, 4>(tile, x, rest),
                3 => add_products::<T, 3>(tile, x, rest),
                2 => add_products::<T, 2>(tile, x, rest),
                _ => add_products::<T, 1>(tile, x, rest),
            }
        };
    }
}

/// Adds int16 sums of [`Decode::STEPS`] steps, from step `$first` on, to the int32 sums of a block.
///
/// A macro, because the pinning below must stand in a function that is compiled for AVX2, and such a function cannot be
/// inlined for certain.
macro_rules! add_sum {
    ($T:ident, $M:ident, $tile:ident, $block:ident, $x:ident, $factors:ident, $whole:ident, $first:literal) => {{
        let mut part = [[_mm256_setzero_si256(); 2]; $M];
        add_sum!(@step $T, $M, $tile, $block, $x, part, $first, 0);
        if $T::STEPS > 1 {
            add_sum!(@step $T, $M, $tile, $block, $x, part, $first, 1);
        }
        if $T::STEPS > 2 {
            add_sum!(@step $T, $M, $tile, $block, $x, part, $first, 2);
            add_sum!(@step $T, $M, $tile, $block, $x, part, $first, 3);
        }
        if $T::STEPS > 4 {
            add_sum!(@step $T, $M, $tile, $block, $x, part, $first, 4);
            add_sum!(@step $T, $M, $tile, $block, $x, part, $first, 5);
            add_sum!(@step $T, $M, $tile, $block, $x, part, $first, 6);
            add_sum!(@step $T, $M, $tile, $block, $x, part, $first, 7);
        }
        let factors = $factors.of_half[if $T::HALVES { $first / 4 } else { 0 }];
        for m in 0..$M {
            for v in 0..2 {
                let wide = _mm256_madd_epi16(part[m][v], factors[v]);
                $whole[m][v] = _mm256_add_epi32($whole[m][v], wide);
            }
        }
    }};
    (@step $T:ident, $M:ident, $tile:ident, $block:ident, $x:ident, $part:ident, $first:literal, $turn:literal) => {
        let quants = $tile.quants($block, $first + $turn);
        for m in 0..$M {
            let four = $x[m].cast::<i32>().add($first + $turn).read();
            let four = _mm256_set1_epi32(four);
            for v in 0..2 {
                let products = products::<$T>(quants[v], four);
                $part[m][v] = match $turn {
                    0 => products,
                    _ => _mm256_add_epi16($part[m][v], products),
                };
                // Holds the sum in its register, and loads where they stand: left alone, the compiler reorders the steps
                // of a block until sums and weights no longer fit the registers, which costs a third of the speed.
                asm!("/* {0} */", inout(ymm_reg) $part[m][v], options(nostack, preserves_flags));
            }
        }
    };
}

/// The kernel for `M` rows at once; returns `M`.
///
/// # Safety
///
/// As for [`multiply`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_products<T: Decode, const M: usize>(
    tile: &[T],
    x: Cursor,
    totals: &mut [[f32; TILE]],
) -> usize {
    let x: [*const RowQuants; M] = std::array::from_fn(|m| x.advance(m, 0).blocks);
    // Unrelated pointers, as far as the compiler knows: a register each instead of sums of strides in the loop.
    let (mut x, totals) = black_box((x, totals[..M].as_mut_ptr()));
    // SAFETY: the caller's promise: there are `M` totals, of two vectors each, and as many blocks in each row.
    unsafe {
        for tile in tile {
            for block in 0..T::PARTS {
                if !T::WIDENED {
                    prefetch(tile, block, T::PARTS);
                }
                let factors = Factors::of(tile, block);
                let mut whole = start::<T, M>(&x, &factors);
                add_sum!(T, M, tile, block, x, factors, whole, 0);
                if T::STEPS < 8 {
                    add_sum!(T, M, tile, block, x, factors, whole, 4);
                }
                if T::STEPS < 4 {
                    add_sum!(T, M, tile, block, x, factors, whole, 2);
                    add_sum!(T, M, tile, block, x, factors, whole, 6);
                }
                if T::STEPS < 2 {
                    add_sum!(T, M, tile, block, x, factors, whole, 1);
                    add_sum!(T, M, tile, block, x, factors, whole, 3);
                    add_sum!(T, M, tile, block, x, factors, whole, 5);
                    add_sum!(T, M, tile, block, x, factors, whole, 7);
                }
                add_block(tile, block, &x, whole, totals);
                x = x.map(|x| x.wrapping_add(1));
            }
        }
    }
    M
}

/// Where the int32 sums of a block start: zero, or what takes off the offset of numbers with factors.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
unsafe fn start<T: Decode, const M: usize>(
    x: &[*const RowQuants; M],
    factors: &Factors,
) -> [[__m256i; 2]; M] {
    // SAFETY: AVX2 and a block in each row by the caller's promise.
    unsafe {
        let mut whole = [[_mm256_setzero_si256(); 2]; M];
        if T::HALVES {
            for m in 0..M {
                let sums = (&raw const (*x[m]).half_sums).cast::<i32>().read();
                for v in 0..2 {
                    whole[m][v] = _mm256_madd_epi16(_mm256_set1_epi32(sums), factors.offset[v]);
                }
            }
        }
        whole
    }
}

/// Adds a block's int32 sums to the totals, scaled, and the minima.
///
/// # Safety
///
/// As for [`multiply`]; there are `M` totals.
#[inline(always)]
unsafe fn add_block<T: Decode, const M: usize>(
    tile: &T,
    block: usize,
    x: &[*const RowQuants; M],
    whole: [[__m256i; 2]; M],
    totals: *mut [f32; TILE],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (scales, mins) = (tile.scales(block), tile.mins(block));
        for m in 0..M {
            let scale = _mm256_broadcast_ss(&(*x[m]).scale);
            let sum = _mm256_broadcast_ss(&(*x[m]).sum);
            for v in 0..2 {
                let at = totals.add(m).cast::<f32>().add(v * 8);
                let both = _mm256_mul_ps(scales[v], scale);
                let whole = _mm256_cvtepi32_ps(whole[m][v]);
                let mut total = _mm256_fmadd_ps(whole, both, _mm256_loadu_ps(at));
                if T::MINS {
                    total = _mm256_fmadd_ps(mins[v], sum, total);
                }
                _mm256_storeu_ps(at, total);
            }
        }
    }
}

/// Eight rows' products of four columns, as int16 sums of two.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
unsafe fn products<T: Decode>(quants: __m256i, four: __m256i) -> __m256i {
    // SAFETY: AVX2 by the caller's promise.
    unsafe {
        if T::SIGNED {
            let signed = _mm256_sign_epi8(four, quants);
            _mm256_maddubs_epi16(_mm256_abs_epi8(quants), signed)
        } else {
            _mm256_maddubs_epi16(quants, four)
        }
    }
}

/// What int16 sums are multiplied by as they widen: ones, but where halves of a block have factors.
struct Factors {
    /// Of the first and the last 16 columns, for both int16 of a row.
    of_half: [[__m256i; 2]; 2],
    /// Both halves' factors of a row, twice: with -16 times the sums of activations they take off what numbers add that
    /// are 32 too large.
    offset: [__m256i; 2],
}

impl Factors {
    #[inline(always)]
    unsafe fn of<T: Decode>(tile: &T, block: usize) -> Self {
        // SAFETY: AVX2 by the caller's promise.
        unsafe {
            if !T::HALVES {
                let ones = [_mm256_set1_epi16(1); 2];
                return Self {
                    of_half: [ones; 2],
                    offset: ones,
                };
            }
            let [a, b] = tile.factors(block);
            let lanes = _mm256_setr_epi32(
                0,
                0x0404_0404,
                0x0808_0808,
                0x0c0c_0c0c,
                0,
                0x0404_0404,
                0x0808_0808,
                0x0c0c_0c0c,
            );
            let first = _mm256_add_epi8(_mm256_set1_epi32(0x0100_0100), lanes);
            let last = _mm256_add_epi8(_mm256_set1_epi32(0x0302_0302), lanes);
            Self {
                of_half: [
                    [_mm256_shuffle_epi8(a, first), _mm256_shuffle_epi8(b, first)],
                    [_mm256_shuffle_epi8(a, last), _mm256_shuffle_epi8(b, last)],
                ],
                offset: [_mm256_add_epi16(a, a), _mm256_add_epi16(b, b)],
            }
        }
    }
}
