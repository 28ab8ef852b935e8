//! Activations to int8, one block of 32 at a time.
//!
//! Invariant: the same quants, scale and sums as the portable path, bit for bit. Does not store scales.
#![allow(unsafe_code, reason = "AVX2 intrinsics")]

use std::arch::x86_64::*;

use crate::matrix::{
    layout::BLOCK,
    rows::{RowQuants, scale_and_inverse},
};

/// Quantizes blocks to where they are to lie: handed back they would be stored twice, and the second time wait for the first.
///
/// # Safety
///
/// The processor has AVX2, FMA and F16C; `out` has as many places, which nobody else touches.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn quantize(x: &[[f32; BLOCK]], out: *mut RowQuants) {
    for (i, block) in x.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { out.add(i).write(quantize_block(block)) };
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn quantize_block(x: &[f32; BLOCK]) -> RowQuants {
    let sign = _mm256_set1_ps(-0.0);
    // SAFETY: four vectors of eight floats are the block's 32.
    let x = unsafe {
        [
            _mm256_loadu_ps(x.as_ptr()),
            _mm256_loadu_ps(x.as_ptr().add(8)),
            _mm256_loadu_ps(x.as_ptr().add(16)),
            _mm256_loadu_ps(x.as_ptr().add(24)),
        ]
    };
    let mut largest = _mm256_setzero_ps();
    for x in x {
        largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, x));
    }
    let (scale, inverse) = scale_and_inverse(largest_of(largest));
    let inverse = _mm256_set1_ps(inverse);
    let mut whole = [_mm256_setzero_si256(); 4];
    for (whole, x) in whole.iter_mut().zip(x) {
        *whole = _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse));
    }
    let sums = [
        sum_of(_mm256_add_epi32(whole[0], whole[1])),
        sum_of(_mm256_add_epi32(whole[2], whole[3])),
    ];
    // Both packs work within 128-bit lanes; the permutation puts their 32-bit pieces back in order.
    let pairs = [
        _mm256_packs_epi32(whole[0], whole[1]),
        _mm256_packs_epi32(whole[2], whole[3]),
    ];
    let bytes = _mm256_packs_epi16(pairs[0], pairs[1]);
    let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    let mut quants = [0; BLOCK];
    // SAFETY: the block has 32 bytes.
    unsafe { _mm256_storeu_si256(quants.as_mut_ptr().cast(), bytes) };
    RowQuants::new(quants, scale, sums)
}

#[target_feature(enable = "avx2")]
fn largest_of(x: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_extractf128_ps(x, 1), _mm256_castps256_ps128(x));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
}

#[target_feature(enable = "avx2")]
fn sum_of(x: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_extracti128_si256(x, 1), _mm256_castsi256_si128(x));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0b01_00_11_10));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0b10_11_00_01)))
}
