//! Asking for weights before they are needed.
//!
//! Into the second-level cache: from there the processor fetches a line in a dozen cycles, guessing well. Asked for in the
//! first level, the lines that are under way take up all the places it has for that, and what the products read next waits:
//! one sequence decodes a tenth to a quarter slower so. Of a tile's parts, which lie apart, the processor guesses less well by itself.
#![allow(unsafe_code, reason = "a prefetch intrinsic")]

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

/// How far ahead: some hundred nanoseconds at the speed of memory.
const BYTES_AHEAD: usize = 4096;
/// Of a cache line.
const LINE: usize = 64;

/// Asks for what lies behind block `block` of a tile of `blocks` by [`BYTES_AHEAD`]; that may be no memory at all.
#[inline(always)]
pub fn prefetch<T>(tile: &T, block: usize, blocks: usize) {
    let bytes = size_of::<T>() / blocks;
    let start = std::ptr::from_ref(tile)
        .cast::<i8>()
        .wrapping_add(BYTES_AHEAD + block * bytes);
    for at in (0..bytes).step_by(LINE) {
        // SAFETY: a prefetch reads nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(at)) };
    }
}
