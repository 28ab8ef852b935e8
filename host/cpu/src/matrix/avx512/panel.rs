//! A stretch of a tile widened for many rows: numbers to unsigned bytes, scales and minima to f32.
//!
//! Invariant: answers the kernel exactly as the tile it was made of. Lives in the first-level cache, for one pass.
#![allow(unsafe_code, reason = "AVX-512 intrinsics")]

use std::{arch::x86_64::*, marker::PhantomData, mem::MaybeUninit};

use super::decode::{Decode, Kind, load};

/// A block of sixteen rows, widened. Formats of one kind look alike, and share their kernels.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct PanelBlock<K> {
    quants: [[u8; 64]; 8],
    scales: [f32; 16],
    /// Minima or factors: no kind has both.
    mins: [f32; 16],
    kind: PhantomData<K>,
}

impl<K: Kind> PanelBlock<K> {
    /// Widens block `block` of a tile into `place`.
    ///
    /// # Safety
    ///
    /// As for [`Decode`].
    #[inline(always)]
    pub unsafe fn fill<T: Decode<Kind = K>>(place: &mut MaybeUninit<Self>, tile: &T, block: usize) {
        let place = place.as_mut_ptr();
        // SAFETY: the caller's promise; every store is as long as its array. Without minima and factors zeros are stored,
        // so that nothing stays unwritten.
        unsafe {
            for pair in 0..4 {
                let [first, last] = tile.quants(block, pair);
                _mm512_store_si512((&raw mut (*place).quants[pair]).cast(), first);
                _mm512_store_si512((&raw mut (*place).quants[pair + 4]).cast(), last);
            }
            _mm512_store_ps((&raw mut (*place).scales).cast(), tile.scales(block));
            let mins = match K::HALVES {
                true => _mm512_castsi512_ps(tile.factors(block)),
                false => tile.mins(block),
            };
            _mm512_store_ps((&raw mut (*place).mins).cast(), mins);
        }
    }
}

impl<K: Kind> Decode for PanelBlock<K> {
    type Kind = K;
    const PARTS: usize = 1;
    const WIDENED: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, _block: usize, pair: usize) -> [__m512i; 2] {
        // SAFETY: the trait's promise.
        unsafe { [load(&self.quants[pair]), load(&self.quants[pair + 4])] }
    }

    #[inline(always)]
    unsafe fn scales(&self, _block: usize) -> __m512 {
        // SAFETY: the trait's promise; sixteen floats are a vector.
        unsafe { _mm512_loadu_ps(self.scales.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn mins(&self, _block: usize) -> __m512 {
        // SAFETY: the trait's promise; sixteen floats are a vector.
        unsafe { _mm512_loadu_ps(self.mins.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn factors(&self, _block: usize) -> __m512i {
        // SAFETY: the trait's promise; the vector was stored whole.
        unsafe { _mm512_loadu_si512(self.mins.as_ptr().cast()) }
    }
}
