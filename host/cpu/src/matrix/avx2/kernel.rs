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
    arch::x86_64::*,
    hint::black_box,
    sync::atomic::{Ordering, compiler_fence},
};

use super::{decode::Decode, panel::PanelBlock};
use crate::matrix::{
    layout::TILE,
    output::Output,
    product::ROWS_A_PASS,
    rows::{Cursor, RowQuants},
};

/// From this many rows on, widening the tile first pays.
const PANEL_ROWS: usize = 4;
/// Blocks of a panel: with the activations of a group of rows they fill most of a first-level cache of 32 KiB.
const PANEL_BLOCKS: usize = 16;
/// How far ahead weights are asked for where they come from memory: some hundred nanoseconds at full speed.
const PREFETCH_BYTES: usize = 4096;

/// Room for a widened stretch of a tile; none where so few rows come that none is used.
pub struct Panel<T>(Option<[PanelBlock<T>; PANEL_BLOCKS]>);

impl<T: Decode> Panel<T> {
    /// For products with `rows` rows.
    pub fn for_rows(rows: usize) -> Self {
        Self((rows >= PANEL_ROWS).then_some([PanelBlock::ZERO; PANEL_BLOCKS]))
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
    // SAFETY: the caller's promise; the totals are as many as the rows.
    unsafe {
        match &mut panel.0 {
            Some(panel) if rows >= PANEL_ROWS => {
                let mut totals = [[0.0; TILE]; ROWS_A_PASS];
                let totals = &mut totals[..rows];
                for (i, stretch) in tile.chunks(PANEL_BLOCKS / T::PARTS).enumerate() {
                    let panel = &mut panel[..stretch.len() * T::PARTS];
                    for (b, block) in panel.iter_mut().enumerate() {
                        prefetch(&stretch[b / T::PARTS], b % T::PARTS);
                        block.fill(&stretch[b / T::PARTS], b % T::PARTS);
                    }
                    each_group(panel, x.advance(0, i * PANEL_BLOCKS), totals);
                }
                out.write_all(totals);
            }
            _ => {
                let mut totals = [[0.0; TILE]; PANEL_ROWS];
                let totals = &mut totals[..rows];
                each_group(tile, x, totals);
                out.write_all(totals);
            }
        }
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
    let mut rows: [*const RowQuants; M] = std::array::from_fn(|m| x.advance(m, 0).blocks);
    let mut totals: *mut [f32; TILE] = totals[..M].as_mut_ptr();
    if T::ROLLED {
        // Unrelated pointers, as far as the compiler knows: one register each instead of sums of strides in the loop, and
        // totals that stay in memory, because the registers are taken.
        (rows, totals) = black_box((rows, totals));
    }
    let turns = Turns::of::<T>();
    let mut index = 0;
    // SAFETY: the caller's promise: there are `M` totals, of two vectors each, and as many blocks in each row.
    unsafe {
        for tile in tile {
            for block in 0..T::PARTS {
                if !T::ROLLED {
                    prefetch(tile, block);
                }
                let whole = whole_sums::<T, M>(tile, block, turns, &rows, index);
                if T::ROLLED {
                    // Scales and totals are read now: read before the loop, they would only be written to the stack.
                    compiler_fence(Ordering::SeqCst);
                }
                let (scales, mins) = (tile.scales(block), tile.mins(block));
                for m in 0..M {
                    let x = rows[m].add(index);
                    let scale = _mm256_broadcast_ss(&(*x).scale);
                    let sum = _mm256_broadcast_ss(&(*x).sum);
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
                index += 1;
            }
        }
    }
    M
}

/// Asks for what a later block of this matrix holds: of a tile's parts, which lie apart, the processor guesses less well.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
unsafe fn prefetch<T: Decode>(tile: &T, block: usize) {
    const LINE: usize = 64;
    let bytes = size_of::<T>() / T::PARTS;
    let start = std::ptr::from_ref(tile)
        .cast::<i8>()
        .wrapping_add(PREFETCH_BYTES + block * bytes);
    for at in (0..bytes).step_by(LINE) {
        // SAFETY: a prefetch reads nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(at)) };
    }
}

/// How often the loops of [`whole_sums`] turn: `sums * steps` is eight.
///
/// Where the steps of a tile are alike ([`Decode::ROLLED`]) the compiler may not know, or it unrolls all eight and
/// reorders them until sums and weights no longer fit the registers, which costs a third of the speed.
#[derive(Clone, Copy)]
struct Turns {
    sums: usize,
    steps: usize,
}

impl Turns {
    fn of<T: Decode>() -> Self {
        let (sums, steps) = (8 / T::STEPS, T::STEPS);
        match (T::ROLLED, T::STEPS) {
            (false, _) => Self { sums, steps },
            (true, ..4) => Self {
                sums: black_box(sums),
                steps,
            },
            (true, _) => Self {
                sums,
                steps: black_box(steps),
            },
        }
    }
}

/// The int32 products of a block: `M` rows with rows 0 to 7 and 8 to 15 of the tile.
///
/// # Safety
///
/// As for [`multiply`]; each of `rows` has a block at `index`.
#[inline(always)]
unsafe fn whole_sums<T: Decode, const M: usize>(
    tile: &T,
    block: usize,
    turns: Turns,
    rows: &[*const RowQuants; M],
    index: usize,
) -> [[__m256i; 2]; M] {
    // SAFETY: the caller's promise: each row has 32 quants at the index.
    unsafe {
        let factors = Factors::of(tile, block);
        let mut whole = [[_mm256_setzero_si256(); 2]; M];
        if T::HALVES {
            for m in 0..M {
                let sums = (&raw const (*rows[m].add(index)).half_sums).cast::<i32>();
                let sums = _mm256_set1_epi32(sums.read());
                for v in 0..2 {
                    whole[m][v] = _mm256_madd_epi16(sums, factors.offset[v]);
                }
            }
        }
        let mut add = |sum| {
            add_sum(
                tile,
                block,
                (sum, turns.steps),
                &factors,
                (rows, index),
                &mut whole,
            )
        };
        if T::ROLLED {
            for sum in 0..turns.sums {
                add(sum);
            }
        } else {
            // Written out: the compiler leaves a long loop alone, and then shifts by what it could have known.
            add(0);
            if T::STEPS < 8 {
                add(1);
            }
            if T::STEPS < 4 {
                add(2);
                add(3);
            }
            if T::STEPS < 2 {
                add(4);
                add(5);
                add(6);
                add(7);
            }
        }
        whole
    }
}

/// Adds int16 sum number `sum` of a block, of `steps` steps, to the int32 sums.
///
/// # Safety
///
/// As for [`whole_sums`].
#[inline(always)]
unsafe fn add_sum<T: Decode, const M: usize>(
    tile: &T,
    block: usize,
    (sum, steps): (usize, usize),
    factors: &Factors,
    (rows, index): (&[*const RowQuants; M], usize),
    whole: &mut [[__m256i; 2]; M],
) {
    // SAFETY: the caller's promise: each row has 32 quants at the index.
    unsafe {
        let mut part = [[_mm256_setzero_si256(); 2]; M];
        let mut turn = 0;
        // A loop that runs at least once, or the compiler makes a second copy of what follows.
        loop {
            let step = sum * T::STEPS + turn;
            let quants = tile.quants(block, step);
            for m in 0..M {
                let four = rows[m].add(index).cast::<i32>().add(step).read();
                add_step::<T>(&mut part[m], quants, _mm256_set1_epi32(four));
            }
            turn += 1;
            if turn == steps {
                break;
            }
        }
        let factors = factors.of_half[if T::HALVES { sum * T::STEPS / 4 } else { 0 }];
        for m in 0..M {
            for v in 0..2 {
                let wide = _mm256_madd_epi16(part[m][v], factors[v]);
                whole[m][v] = _mm256_add_epi32(whole[m][v], wide);
            }
        }
    }
}

/// Adds four columns' products to the int16 sums of a row.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
unsafe fn add_step<T: Decode>(part: &mut [__m256i; 2], quants: [__m256i; 2], four: __m256i) {
    // SAFETY: AVX2 by the caller's promise.
    unsafe {
        for v in 0..2 {
            let products = if T::SIGNED {
                let signed = _mm256_sign_epi8(four, quants[v]);
                _mm256_maddubs_epi16(_mm256_abs_epi8(quants[v]), signed)
            } else {
                _mm256_maddubs_epi16(quants[v], four)
            };
            part[v] = _mm256_add_epi16(part[v], products);
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
