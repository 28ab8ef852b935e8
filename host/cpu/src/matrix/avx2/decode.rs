//! What the int8 kernel asks of a format: vectors of its numbers, and scales as f32.
//!
//! A vector of weights is half a step: four columns of eight rows, 32 bytes. How many steps an int16 sum may run is what
//! the format's largest number allows: a step adds two products to each int16, and a quantized activation is at most
//! 127, so `steps * 2 * largest * 127 <= 32,767`:
//!
//! | numbers | steps | sum at most |
//! |---|---|---|
//! | 0 to 15 | 8 | 30,480 |
//! | 0 to 31 | 4 | 31,496 |
//! | 0 to 63 | 2 | 32,004 |
//! | -128 to 127, as magnitudes | 1 | 32,512 |
//!
//! Invariant: the numbers are those of the portable path, but for a constant that goes into the minimum: kernels take
//! unsigned numbers. Does not multiply.
#![allow(unsafe_code, reason = "AVX2 intrinsics")]

use std::arch::x86_64::*;

use crate::matrix::layout::{
    HighBit, HighPair, Nibbles, TILE, Tile, TileQ4_0, TileQ4_1, TileQ4K, TileQ5_0, TileQ5_1,
    TileQ5K, TileQ6K, TileQ8_0,
};

/// A tile's block for the kernel. `block` counts blocks of 32 columns within the tile, `step` the eight steps of a block.
///
/// # Safety
///
/// The methods need AVX2, FMA and F16C, and `block` and `step` in range.
pub trait Decode: Copy {
    /// Blocks in it.
    const PARTS: usize;
    /// Steps that an int16 sum may run.
    const STEPS: usize;
    /// Numbers are signed bytes; the kernel multiplies magnitudes.
    const SIGNED: bool = false;
    /// Activation rows at once, at most 6: as many as sums and weights fit the sixteen registers.
    const GROUP: usize = match Self::STEPS {
        1 => 4,
        2 => 3,
        _ => 6,
    };
    /// It was widened from a tile and lies in the first-level cache.
    const WIDENED: bool = false;
    /// There is a minimum to add.
    const MINS: bool = false;
    /// Each half of a block has its factors, and its numbers are 32 too large: see [`Self::factors`].
    const HALVES: bool = false;

    /// The numbers of rows 0 to 7 and 8 to 15.
    unsafe fn quants(&self, block: usize, step: usize) -> [__m256i; 2];
    /// The scales of the rows.
    unsafe fn scales(&self, block: usize) -> [__m256; 2];
    /// The minima of the rows, where there are.
    unsafe fn mins(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { [_mm256_setzero_ps(); 2] }
    }
    /// Where halves have factors: those of the first and of the second half of each row's block, an int16 each.
    unsafe fn factors(&self, _block: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise.
        unsafe { [_mm256_set1_epi16(1); 2] }
    }
}

/// Two vectors from 64 aligned bytes.
///
/// # Safety
///
/// AVX2; `bytes` lies at a multiple of 32.
#[inline(always)]
pub unsafe fn load<T>(bytes: &[T; 64]) -> [__m256i; 2] {
    const { assert!(size_of::<T>() == 1) };
    let start = bytes.as_ptr().cast::<__m256i>();
    // SAFETY: 64 bytes are two vectors, aligned by the caller's promise.
    unsafe { [_mm256_load_si256(start), _mm256_load_si256(start.add(1))] }
}

#[inline(always)]
unsafe fn nibbles(plane: &Nibbles, step: usize) -> [__m256i; 2] {
    // SAFETY: AVX2 by the trait's promise; planes are aligned.
    unsafe {
        let low = _mm256_set1_epi8(15);
        let [a, b] = load(&plane.0[step % 4]);
        if step < 4 {
            [_mm256_and_si256(a, low), _mm256_and_si256(b, low)]
        } else {
            [
                _mm256_and_si256(_mm256_srli_epi16(a, 4), low),
                _mm256_and_si256(_mm256_srli_epi16(b, 4), low),
            ]
        }
    }
}

/// `low`, and the bits of `high` that `mask` names once bit `from` has moved to bit 4.
#[inline(always)]
unsafe fn add_high(low: __m256i, high: __m256i, from: usize, mask: i8) -> __m256i {
    // SAFETY: AVX2 by the trait's promise.
    unsafe {
        let count = _mm_cvtsi32_si128(from.abs_diff(4) as i32);
        let moved = if from <= 4 {
            _mm256_sll_epi16(high, count)
        } else {
            _mm256_srl_epi16(high, count)
        };
        _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(mask)))
    }
}

#[inline(always)]
unsafe fn five_bits(low: &Nibbles, high: &HighBit, step: usize) -> [__m256i; 2] {
    // SAFETY: AVX2 by the trait's promise; planes are aligned.
    unsafe {
        let (low, high) = (nibbles(low, step), load(&high.0));
        [
            add_high(low[0], high[0], step, 16),
            add_high(low[1], high[1], step, 16),
        ]
    }
}

#[inline(always)]
unsafe fn six_bits(low: &Nibbles, high: &HighPair, step: usize) -> [__m256i; 2] {
    // SAFETY: AVX2 by the trait's promise; planes are aligned.
    unsafe {
        let (low, high) = (nibbles(low, step), load(&high.0[step / 4]));
        let from = step % 4 * 2;
        [
            add_high(low[0], high[0], from, 48),
            add_high(low[1], high[1], from, 48),
        ]
    }
}

/// Sixteen f16 as f32.
///
/// # Safety
///
/// AVX2 and F16C.
#[inline(always)]
pub unsafe fn widen(halves: &[u16; TILE]) -> [__m256; 2] {
    let start = halves.as_ptr().cast::<__m128i>();
    // SAFETY: sixteen 16-bit numbers are two loads.
    unsafe {
        [
            _mm256_cvtph_ps(_mm_loadu_si128(start)),
            _mm256_cvtph_ps(_mm_loadu_si128(start.add(1))),
        ]
    }
}

/// Sixteen f16 times sixteen bytes, exact in f32.
#[inline(always)]
unsafe fn widen_scaled(halves: &[u16; TILE], factors: &[u8; TILE]) -> [__m256; 2] {
    let start = factors.as_ptr().cast::<__m128i>();
    // SAFETY: AVX2 and F16C by the trait's promise; sixteen bytes are two loads of eight.
    unsafe {
        let [a, b] = widen(halves);
        let c = _mm256_cvtepu8_epi32(_mm_loadl_epi64(start));
        let d = _mm256_cvtepu8_epi32(_mm_loadl_epi64(start.byte_add(8)));
        [
            _mm256_mul_ps(a, _mm256_cvtepi32_ps(c)),
            _mm256_mul_ps(b, _mm256_cvtepi32_ps(d)),
        ]
    }
}

/// Two vectors times a number.
#[inline(always)]
unsafe fn times(x: [__m256; 2], by: f32) -> [__m256; 2] {
    // SAFETY: AVX2 by the trait's promise.
    unsafe {
        let by = _mm256_set1_ps(by);
        [_mm256_mul_ps(x[0], by), _mm256_mul_ps(x[1], by)]
    }
}

impl Decode for TileQ4_0 {
    const PARTS: usize = Self::BLOCKS;
    const STEPS: usize = 8;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, _block: usize, step: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise.
        unsafe { nibbles(&self.nibbles, step) }
    }

    #[inline(always)]
    unsafe fn scales(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.scale) }
    }

    #[inline(always)]
    unsafe fn mins(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { times(widen(&self.scale), -8.0) }
    }
}

impl Decode for TileQ4_1 {
    const PARTS: usize = Self::BLOCKS;
    const STEPS: usize = 8;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, _block: usize, step: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise.
        unsafe { nibbles(&self.nibbles, step) }
    }

    #[inline(always)]
    unsafe fn scales(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.scale) }
    }

    #[inline(always)]
    unsafe fn mins(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.min) }
    }
}

impl Decode for TileQ5_0 {
    const PARTS: usize = Self::BLOCKS;
    const STEPS: usize = 4;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, _block: usize, step: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise.
        unsafe { five_bits(&self.nibbles, &self.high, step) }
    }

    #[inline(always)]
    unsafe fn scales(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.scale) }
    }

    #[inline(always)]
    unsafe fn mins(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { times(widen(&self.scale), -16.0) }
    }
}

impl Decode for TileQ5_1 {
    const PARTS: usize = Self::BLOCKS;
    const STEPS: usize = 4;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, _block: usize, step: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise.
        unsafe { five_bits(&self.nibbles, &self.high, step) }
    }

    #[inline(always)]
    unsafe fn scales(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.scale) }
    }

    #[inline(always)]
    unsafe fn mins(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.min) }
    }
}

impl Decode for TileQ8_0 {
    const PARTS: usize = Self::BLOCKS;
    const STEPS: usize = 1;
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, _block: usize, step: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise.
        unsafe { load(&self.quants.0[step]) }
    }

    #[inline(always)]
    unsafe fn scales(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.scale) }
    }
}

impl Decode for TileQ4K {
    const PARTS: usize = Self::BLOCKS;
    const STEPS: usize = 8;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, block: usize, step: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise.
        unsafe { nibbles(&self.nibbles[block], step) }
    }

    #[inline(always)]
    unsafe fn scales(&self, block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen_scaled(&self.scales.scale, &self.scales.factor[block]) }
    }

    #[inline(always)]
    unsafe fn mins(&self, block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe {
            times(
                widen_scaled(&self.scales.min, &self.scales.min_factor[block]),
                -1.0,
            )
        }
    }
}

impl Decode for TileQ5K {
    const PARTS: usize = Self::BLOCKS;
    const STEPS: usize = 4;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, block: usize, step: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise.
        unsafe { five_bits(&self.nibbles[block], &self.high[block], step) }
    }

    #[inline(always)]
    unsafe fn scales(&self, block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen_scaled(&self.scales.scale, &self.scales.factor[block]) }
    }

    #[inline(always)]
    unsafe fn mins(&self, block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe {
            times(
                widen_scaled(&self.scales.min, &self.scales.min_factor[block]),
                -1.0,
            )
        }
    }
}

impl Decode for TileQ6K {
    const PARTS: usize = Self::BLOCKS;
    const STEPS: usize = 2;
    const HALVES: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, block: usize, step: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise.
        unsafe { six_bits(&self.nibbles[block], &self.high[block], step) }
    }

    #[inline(always)]
    unsafe fn scales(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { widen(&self.scale) }
    }

    #[inline(always)]
    unsafe fn factors(&self, block: usize) -> [__m256i; 2] {
        let start = self.factors[block].as_ptr().cast::<__m128i>();
        // SAFETY: the trait's promise; sixteen pairs of bytes are two loads.
        unsafe {
            [
                _mm256_cvtepi8_epi16(_mm_loadu_si128(start)),
                _mm256_cvtepi8_epi16(_mm_loadu_si128(start.add(1))),
            ]
        }
    }
}
