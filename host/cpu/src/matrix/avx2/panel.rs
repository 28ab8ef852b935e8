//! A stretch of a tile widened for many rows: numbers to bytes, scales and minima to f32.
//!
//! Invariant: answers the kernel exactly as the tile it was made of. Lives in the first-level cache, for one pass.
#![allow(unsafe_code, reason = "AVX2 intrinsics")]

use std::{arch::x86_64::*, marker::PhantomData, mem::MaybeUninit};

use super::decode::{Decode, load};

/// A block of sixteen rows of format `T`, widened.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct PanelBlock<T> {
    quants: [[u8; 64]; 8],
    scales: [f32; 16],
    mins: [f32; 16],
    factors: [[i16; 16]; 2],
    format: PhantomData<T>,
}

impl<T: Decode> PanelBlock<T> {
    /// Widens block `block` of a tile into `place`.
    ///
    /// # Safety
    ///
    /// As for [`Decode`].
    #[inline(always)]
    pub unsafe fn fill(place: &mut MaybeUninit<Self>, tile: &T, block: usize) {
        let place = place.as_mut_ptr();
        // SAFETY: the caller's promise; every store is as long as its array, and aligned as it is. Arrays that the format
        // has no use for are zeros, so that nothing stays unwritten.
        unsafe {
            for step in 0..8 {
                let target = (&raw mut (*place).quants[step]).cast::<__m256i>();
                for (v, quants) in tile.quants(block, step).into_iter().enumerate() {
                    _mm256_store_si256(target.add(v), quants);
                }
            }
            store(&raw mut (*place).scales, tile.scales(block));
            store(&raw mut (*place).mins, tile.mins(block));
            let target = (&raw mut (*place).factors).cast::<__m256i>();
            for (half, factors) in tile.factors(block).into_iter().enumerate() {
                _mm256_store_si256(target.add(half), factors);
            }
        }
    }
}

#[inline(always)]
unsafe fn store(to: *mut [f32; 16], from: [__m256; 2]) {
    // SAFETY: AVX2 and a valid place by the caller's promise; sixteen floats are two stores.
    unsafe {
        _mm256_storeu_ps(to.cast(), from[0]);
        _mm256_storeu_ps(to.cast::<f32>().add(8), from[1]);
    }
}

#[inline(always)]
unsafe fn floats(from: &[f32; 16]) -> [__m256; 2] {
    // SAFETY: AVX2 by the caller's promise; sixteen floats are two loads.
    unsafe {
        [
            _mm256_loadu_ps(from.as_ptr()),
            _mm256_loadu_ps(from.as_ptr().add(8)),
        ]
    }
}

impl<T: Decode> Decode for PanelBlock<T> {
    const PARTS: usize = 1;
    const WIDENED: bool = true;
    const STEPS: usize = T::STEPS;
    const SIGNED: bool = T::SIGNED;
    const MINS: bool = T::MINS;
    const HALVES: bool = T::HALVES;

    #[inline(always)]
    unsafe fn quants(&self, _block: usize, step: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise; the array lies at a multiple of 32.
        unsafe { load(self.quants.get_unchecked(step)) }
    }

    #[inline(always)]
    unsafe fn scales(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { floats(&self.scales) }
    }

    #[inline(always)]
    unsafe fn mins(&self, _block: usize) -> [__m256; 2] {
        // SAFETY: the trait's promise.
        unsafe { floats(&self.mins) }
    }

    #[inline(always)]
    unsafe fn factors(&self, _block: usize) -> [__m256i; 2] {
        // SAFETY: the trait's promise; each array is a vector.
        unsafe {
            [
                _mm256_load_si256(self.factors[0].as_ptr().cast()),
                _mm256_load_si256(self.factors[1].as_ptr().cast()),
            ]
        }
    }
}
