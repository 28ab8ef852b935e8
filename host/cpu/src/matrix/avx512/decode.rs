//! What the int8 kernel asks of a format: vectors of its numbers, unsigned, and scales as f32.
//!
//! A vector of weights is a step: four columns of sixteen rows, 64 bytes. Steps come in pairs, `s` and `s + 4`, because
//! that is how nibbles lie.
//!
//! Invariant: the numbers are those of the portable path, but for a constant that the format's [`Kind`] takes off again.
//! Does not multiply.
#![allow(unsafe_code, reason = "AVX-512 intrinsics")]

use std::arch::x86_64::*;

use crate::matrix::layout::{
    HighBit, HighPair, Nibbles, TILE, Tile, TileQ4_0, TileQ4_1, TileQ4K, TileQ5_0, TileQ5_1,
    TileQ5K, TileQ6K, TileQ8_0,
};

/// What becomes of a block's sums.
pub trait Kind: Copy {
    /// Numbers are 128 too large, which the sum of the activations takes off.
    const SIGNED: bool = false;
    /// There is a minimum to add.
    const MINS: bool = false;
    /// Each half of a block has a factor, and its numbers are 32 too large: see [`Decode::factors`].
    const HALVES: bool = false;
    /// Activation rows at once: as many as sums and totals fit the 32 registers.
    const GROUP: usize = 12;
}

/// Unsigned numbers and a minimum.
#[derive(Clone, Copy)]
pub struct WithMinima;

impl Kind for WithMinima {
    const MINS: bool = true;
}

/// Signed bytes.
#[derive(Clone, Copy)]
pub struct SignedBytes;

impl Kind for SignedBytes {
    const SIGNED: bool = true;
}

/// Q6_K: factors for every 16 columns.
#[derive(Clone, Copy)]
pub struct WithHalves;

impl Kind for WithHalves {
    const HALVES: bool = true;
    const GROUP: usize = 8;
}

/// A tile's block for the kernel. `block` counts blocks of 32 columns within the tile, `pair` the four pairs of steps of a
/// block.
///
/// # Safety
///
/// The methods need AVX-512 F and BW, and `block` and `pair` in range.
pub trait Decode: Copy {
    /// What becomes of its sums.
    type Kind: Kind;
    /// Blocks in it.
    const PARTS: usize;
    /// It was widened from a tile and lies in the first-level cache.
    const WIDENED: bool = false;

    /// The numbers of step `pair` and of step `pair + 4`.
    unsafe fn quants(&self, block: usize, pair: usize) -> [__m512i; 2];
    /// The scales of the rows.
    unsafe fn scales(&self, block: usize) -> __m512;
    /// The minima of the rows, where there are.
    unsafe fn mins(&self, _block: usize) -> __m512 {
        // SAFETY: the trait's promise.
        unsafe { _mm512_setzero_ps() }
    }
    /// Where halves have factors: those of the first and of the second half of each row's block, an int16 each.
    unsafe fn factors(&self, _block: usize) -> __m512i {
        // SAFETY: the trait's promise.
        unsafe { _mm512_setzero_si512() }
    }
}

/// A vector from 64 bytes.
///
/// # Safety
///
/// AVX-512 F.
#[inline(always)]
pub unsafe fn load<T>(bytes: &[T; 64]) -> __m512i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: 64 bytes are a vector.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline(always)]
unsafe fn nibbles(plane: &Nibbles, pair: usize) -> [__m512i; 2] {
    // SAFETY: AVX-512 by the trait's promise.
    unsafe {
        let low = _mm512_set1_epi8(15);
        let both = load(&plane.0[pair]);
        [
            _mm512_and_si512(both, low),
            _mm512_and_si512(_mm512_srli_epi16(both, 4), low),
        ]
    }
}

/// `low`, and the bits of `high` that `mask` names once bit `from` has moved to bit 4.
#[inline(always)]
unsafe fn add_high(low: __m512i, high: __m512i, from: usize, mask: i8) -> __m512i {
    /// `a | (b & c)`.
    const OR_AND: i32 = 0xf8;
    // SAFETY: AVX-512 by the trait's promise.
    unsafe {
        let count = _mm_cvtsi32_si128(from.abs_diff(4) as i32);
        let moved = if from <= 4 {
            _mm512_sll_epi16(high, count)
        } else {
            _mm512_srl_epi16(high, count)
        };
        _mm512_ternarylogic_epi32(low, moved, _mm512_set1_epi8(mask), OR_AND)
    }
}

#[inline(always)]
unsafe fn five_bits(low: &Nibbles, high: &HighBit, pair: usize) -> [__m512i; 2] {
    // SAFETY: AVX-512 by the trait's promise.
    unsafe {
        let (low, high) = (nibbles(low, pair), load(&high.0));
        [
            add_high(low[0], high, pair, 16),
            add_high(low[1], high, pair + 4, 16),
        ]
    }
}

#[inline(always)]
unsafe fn six_bits(low: &Nibbles, high: &HighPair, pair: usize) -> [__m512i; 2] {
    // SAFETY: AVX-512 by the trait's promise.
    unsafe {
        let low = nibbles(low, pair);
        [
            add_high(low[0], load(&high.0[0]), pair * 2, 48),
            add_high(low[1], load(&high.0[1]), pair * 2, 48),
        ]
    }
}

/// Sixteen f16 as f32.
#[inline(always)]
unsafe fn widen(halves: &[u16; TILE]) -> __m512 {
    // SAFETY: AVX-512 by the trait's promise; sixteen 16-bit numbers are the load.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(halves.as_ptr().cast())) }
}

/// Sixteen f16 times sixteen bytes, exact in f32.
#[inline(always)]
unsafe fn widen_scaled(halves: &[u16; TILE], factors: &[u8; TILE]) -> __m512 {
    // SAFETY: AVX-512 by the trait's promise; sixteen bytes are the load.
    unsafe {
        let factors = _mm512_cvtepu8_epi32(_mm_loadu_si128(factors.as_ptr().cast()));
        _mm512_mul_ps(widen(halves), _mm512_cvtepi32_ps(factors))
    }
}

/// A vector times a number.
#[inline(always)]
unsafe fn times(x: __m512, by: f32) -> __m512 {
    // SAFETY: AVX-512 by the trait's promise.
    unsafe { _mm512_mul_ps(x, _mm512_set1_ps(by)) }
}

/// Formats with a scale and a minimum: which numbers, which scales, which minima.
macro_rules! with_minima {
    ($($tile:ident($self:ident, $block:ident, $pair:ident): $quants:expr, $scales:expr, $mins:expr;)*) => {$(
        impl Decode for $tile {
            type Kind = WithMinima;
            const PARTS: usize = Self::BLOCKS;

            #[inline(always)]
            unsafe fn quants(&$self, $block: usize, $pair: usize) -> [__m512i; 2] {
                // SAFETY: the trait's promise.
                unsafe { $quants }
            }

            #[inline(always)]
            unsafe fn scales(&$self, $block: usize) -> __m512 {
                // SAFETY: the trait's promise.
                unsafe { $scales }
            }

            #[inline(always)]
            unsafe fn mins(&$self, $block: usize) -> __m512 {
                // SAFETY: the trait's promise.
                unsafe { $mins }
            }
        }
    )*};
}

with_minima! {
    TileQ4_0(self, _block, pair):
        nibbles(&self.nibbles, pair),
        widen(&self.scale),
        times(widen(&self.scale), -8.0);
    TileQ4_1(self, _block, pair):
        nibbles(&self.nibbles, pair),
        widen(&self.scale),
        widen(&self.min);
    TileQ5_0(self, _block, pair):
        five_bits(&self.nibbles, &self.high, pair),
        widen(&self.scale),
        times(widen(&self.scale), -16.0);
    TileQ5_1(self, _block, pair):
        five_bits(&self.nibbles, &self.high, pair),
        widen(&self.scale),
        widen(&self.min);
    TileQ4K(self, block, pair):
        nibbles(&self.nibbles[block], pair),
        widen_scaled(&self.scales.scale, &self.scales.factor[block]),
        times(widen_scaled(&self.scales.min, &self.scales.min_factor[block]), -1.0);
    TileQ5K(self, block, pair):
        five_bits(&self.nibbles[block], &self.high[block], pair),
        widen_scaled(&self.scales.scale, &self.scales.factor[block]),
        times(widen_scaled(&self.scales.min, &self.scales.min_factor[block]), -1.0);
}

impl Decode for TileQ8_0 {
    type Kind = SignedBytes;
    const PARTS: usize = Self::BLOCKS;

    #[inline(always)]
    unsafe fn quants(&self, _block: usize, pair: usize) -> [__m512i; 2] {
        // SAFETY: the trait's promise.
        unsafe {
            let sign = _mm512_set1_epi8(-128);
            [
                _mm512_xor_si512(load(&self.quants.0[pair]), sign),
                _mm512_xor_si512(load(&self.quants.0[pair + 4]), sign),
            ]
        }
    }

    #[inline(always)]
    unsafe fn scales(&self, _block: usize) -> __m512 {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.scale) }
    }
}

impl Decode for TileQ6K {
    type Kind = WithHalves;
    const PARTS: usize = Self::BLOCKS;

    #[inline(always)]
    unsafe fn quants(&self, block: usize, pair: usize) -> [__m512i; 2] {
        // SAFETY: the trait's promise.
        unsafe { six_bits(&self.nibbles[block], &self.high[block], pair) }
    }

    #[inline(always)]
    unsafe fn scales(&self, _block: usize) -> __m512 {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.scale) }
    }

    #[inline(always)]
    unsafe fn factors(&self, block: usize) -> __m512i {
        // SAFETY: the trait's promise; sixteen pairs of bytes are the load.
        unsafe {
            let start = self.factors[block].as_ptr().cast();
            _mm512_cvtepi8_epi16(_mm256_loadu_si256(start))
        }
    }
}
