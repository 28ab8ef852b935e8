//! The int8 kernel: some activation rows times one tile.
//!
//! Per block of 32 columns, unsigned weights meet signed activations in int32 (`vpdpbusd`), and the block's whole sum
//! enters an f32 total with the product of both scales.
//!
//! Invariant: each total is the same sequence of operations whatever `M`, and that of the kernel for AVX2.
#![allow(unsafe_code, reason = "AVX-512 intrinsics")]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers, several arrays indexed alike"
)]

use std::{
    arch::{asm, x86_64::*},
    hint::black_box,
    mem::MaybeUninit,
};

use super::{
    decode::{Decode, Kind},
    panel::PanelBlock,
};
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
pub struct Panel<T: Decode> {
    blocks: [MaybeUninit<PanelBlock<T::Kind>>; PANEL_BLOCKS],
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
/// The instructions of [`Simd::Avx512`](crate::simd::Simd); `x` has `rows` rows of the tile's columns that nobody writes;
/// `out` has room for them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
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
        match rows {
            ..PANEL_ROWS => few_rows(tile, x, totals),
            _ => {
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
        }
        out.write_all(totals);
    }
}

/// Adds the products of the rows from `x` on to their totals, fewer than [`PANEL_ROWS`].
///
/// # Safety
///
/// As for [`multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn few_rows<T: Decode>(tile: &[T], x: Cursor, totals: &mut [[f32; TILE]]) {
    // SAFETY: the caller's promise.
    unsafe {
        match totals.len() {
            1 => add_products::<T, 1>(tile, x, totals),
            2 => add_products::<T, 2>(tile, x, totals),
            _ => add_products::<T, 3>(tile, x, totals),
        }
    }
}

/// Adds the products of the rows from `x` on to their totals, in groups of [`Kind::GROUP`] while there are.
///
/// # Safety
///
/// As for [`multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn each_group<K: Kind>(blocks: &[PanelBlock<K>], x: Cursor, totals: &mut [[f32; TILE]]) {
    let mut row = 0;
    while row < totals.len() {
        let (x, rest) = (x.advance(row, 0), &mut totals[row..]);
        // As even as can be: sixteen rows are eight and eight, not twelve and four.
        let group = rest.len().div_ceil(rest.len().div_ceil(K::GROUP));
        // SAFETY: the caller's promise for every row.
        unsafe {
            match group {
                12.. => add_products::<_, 12>(blocks, x, rest),
                11 => add_products::<_, 11>(blocks, x, rest),
                10 => add_products::<_, 10>(blocks, x, rest),
                9 => add_products::<_, 9>(blocks, x, rest),
                8 => add_products::<_, 8>(blocks, x, rest),
                7 => add_products::<_, 7>(blocks, x, rest),
                6 => add_products::<_, 6>(blocks, x, rest),
                5 => add_products::<_, 5>(blocks, x, rest),
                4 => add_products::<_, 4>(blocks, x, rest),
                3 => add_products::<_, 3>(blocks, x, rest),
                2 => add_products::<_, 2>(blocks, x, rest),
                _ => add_products::<_, 1>(blocks, x, rest),
            }
        }
        row += group;
    }
}

/// Adds the products of a pair of steps to the sums of a block, the two halves of it apart where `$apart`.
///
/// A macro, because the pinning below must stand in a function that is compiled for AVX-512, and such a function cannot be
/// inlined for certain.
macro_rules! add_pair {
    ($M:ident, $tile:ident, $block:ident, $x:ident, $sums:ident, $apart:ident, $pair:literal) => {{
        let quants = $tile.quants($block, $pair);
        for half in 0..2 {
            for m in 0..$M {
                let four = $x[m].cast::<i32>().add($pair + half * 4).read();
                let sum = &mut $sums[if $apart { half } else { 0 }][m];
                *sum = _mm512_dpbusd_epi32(*sum, quants[half], _mm512_set1_epi32(four));
                // Holds the sum in its register, and loads where they stand: left alone, the compiler reorders the steps
                // of a block until sums and weights no longer fit the registers.
                asm!("/* {0} */", inout(zmm_reg) *sum, options(nostack, preserves_flags));
            }
        }
    }};
}

/// The kernel for `M` rows at once.
///
/// # Safety
///
/// As for [`multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add_products<T: Decode, const M: usize>(
    tile: &[T],
    x: Cursor,
    totals: &mut [[f32; TILE]],
) {
    // Unrelated pointers, as far as the compiler knows: a register each instead of sums of strides in the loop.
    let mut x: [*const RowQuants; M] = std::array::from_fn(|m| black_box(x.advance(m, 0).blocks));
    let totals = &mut totals[..M];
    // Two sums a row where halves have factors, and where there are too few rows to keep the multipliers busy.
    let apart = T::Kind::HALVES || M < 4;
    // SAFETY: the caller's promise: there are `M` totals, a vector each, and as many blocks in each row.
    unsafe {
        let mut kept = [_mm512_setzero_ps(); M];
        for m in 0..M {
            kept[m] = _mm512_loadu_ps(totals[m].as_ptr());
        }
        for tile in tile {
            for block in 0..T::PARTS {
                if !T::WIDENED {
                    prefetch(tile, block, T::PARTS);
                }
                let mut sums = start::<T::Kind, M>(&x);
                add_pair!(M, tile, block, x, sums, apart, 0);
                add_pair!(M, tile, block, x, sums, apart, 1);
                add_pair!(M, tile, block, x, sums, apart, 2);
                add_pair!(M, tile, block, x, sums, apart, 3);
                let whole = whole(tile, block, &x, sums, apart);
                let (scales, mins) = (tile.scales(block), tile.mins(block));
                for m in 0..M {
                    let both = _mm512_mul_ps(scales, _mm512_set1_ps((*x[m]).scale));
                    kept[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[m]), both, kept[m]);
                    if T::Kind::MINS {
                        kept[m] = _mm512_fmadd_ps(mins, _mm512_set1_ps((*x[m]).sum), kept[m]);
                    }
                    x[m] = x[m].wrapping_add(1);
                }
            }
        }
        for m in 0..M {
            _mm512_storeu_ps(totals[m].as_mut_ptr(), kept[m]);
        }
    }
}

/// Where the sums of both halves start: zero, or what takes off the 128 that signed numbers are too large by, which is
/// eight times the -16 times that the activations' sums are kept as.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
unsafe fn start<K: Kind, const M: usize>(x: &[*const RowQuants; M]) -> [[__m512i; M]; 2] {
    // SAFETY: AVX-512 and a block in each row by the caller's promise.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); M]; 2];
        if K::SIGNED {
            for m in 0..M {
                sums[0][m] = _mm512_dpwssd_epi32(sums[0][m], _mm512_set1_epi16(8), half_sums(x[m]));
            }
        }
        sums
    }
}

/// The block's sums in one, halves times their factors.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
unsafe fn whole<T: Decode, const M: usize>(
    tile: &T,
    block: usize,
    x: &[*const RowQuants; M],
    sums: [[__m512i; M]; 2],
    apart: bool,
) -> [__m512i; M] {
    let [mut whole, last] = sums;
    // SAFETY: AVX-512 and a block in each row by the caller's promise.
    unsafe {
        if T::Kind::HALVES {
            let factors = tile.factors(block);
            let second = _mm512_srai_epi32(factors, 16);
            let first = _mm512_srai_epi32(_mm512_slli_epi32(factors, 16), 16);
            // With -16 times the sums of activations they take off what numbers add that are 32 too large.
            let offset = _mm512_add_epi16(factors, factors);
            for m in 0..M {
                let products = _mm512_add_epi32(
                    _mm512_mullo_epi32(whole[m], first),
                    _mm512_mullo_epi32(last[m], second),
                );
                whole[m] = _mm512_dpwssd_epi32(products, offset, half_sums(x[m]));
            }
        } else if apart {
            for m in 0..M {
                whole[m] = _mm512_add_epi32(whole[m], last[m]);
            }
        }
    }
    whole
}

/// -16 times the sums of both halves of a block, for every row of the tile.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
unsafe fn half_sums(x: *const RowQuants) -> __m512i {
    // SAFETY: AVX-512 and a block by the caller's promise; the sums are 32 bits at a multiple of 4.
    unsafe { _mm512_set1_epi32((&raw const (*x).half_sums).cast::<i32>().read()) }
}
