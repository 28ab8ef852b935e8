//! The product for AVX-512 with VNNI: `vpdpwssd` multiplies a pair of rows and adds it to its sums at once.
//!
//! Sixteen columns a vector; the last vector of a width may be half, and is read and written under a mask.

use core::arch::{
    asm,
    x86_64::{
        __mmask16, _mm512_mask_storeu_epi32, _mm512_maskz_loadu_epi32, _mm512_set1_epi32,
        _mm512_setzero_si512,
    },
};

use super::Product;

const COLUMNS: usize = 16;

/// Up to 24 sums are kept in registers. Columns are the outer loop: what is read of `b` then stays in the first-level
/// cache for all rows.
///
/// # Safety
/// The machine has what [`Simd::Avx512`](crate::simd::Simd) says; the product's shapes fit its slices and `c`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn compute<const ADD: bool>(product: &Product<'_>, c: *mut i32, c_stride: usize) {
    let mut column = 0;
    while column < product.width {
        let vectors = (product.width - column).div_ceil(COLUMNS);
        // SAFETY: these columns begin within the product's shape.
        column += COLUMNS
            * unsafe {
                match (vectors, product.rows) {
                    (4.., ..4) => rows::<ADD, 4>(product, column, c, c_stride),
                    (2.., _) => rows::<ADD, 2>(product, column, c, c_stride),
                    _ => rows::<ADD, 1>(product, column, c, c_stride),
                }
            };
    }
}

/// All rows of `V` vectors of columns; returns `V`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn rows<const ADD: bool, const V: usize>(
    product: &Product<'_>,
    column: usize,
    c: *mut i32,
    c_stride: usize,
) -> usize {
    let mut row = 0;
    while row < product.rows {
        // SAFETY: these rows are among the product's.
        row += unsafe {
            let c = c.add(row * c_stride + column);
            match product.rows - row {
                // As many sums of two vectors do not fit the registers.
                16.. if V == 1 => tile::<ADD, 16, V>(product, row, column, c, c_stride),
                12.. => tile::<ADD, 12, V>(product, row, column, c, c_stride),
                8.. => tile::<ADD, 8, V>(product, row, column, c, c_stride),
                6.. => tile::<ADD, 6, V>(product, row, column, c, c_stride),
                4.. => tile::<ADD, 4, V>(product, row, column, c, c_stride),
                3 => tile::<ADD, 3, V>(product, row, column, c, c_stride),
                2 => tile::<ADD, 2, V>(product, row, column, c, c_stride),
                _ => tile::<ADD, 1, V>(product, row, column, c, c_stride),
            }
        };
    }
    V
}

/// `R` rows by `V` vectors; `c` points at the first of them. Returns `R`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const ADD: bool, const R: usize, const V: usize>(
    product: &Product<'_>,
    row: usize,
    column: usize,
    c: *mut i32,
    c_stride: usize,
) -> usize {
    // All vectors but the last are whole.
    let left = product.width - column - (V - 1) * COLUMNS;
    let last = __mmask16::MAX >> COLUMNS.saturating_sub(left);
    let mask = |v: usize| if v + 1 == V { last } else { __mmask16::MAX };
    // SAFETY: the caller's rows and columns are within the shape that was checked against the slices.
    unsafe {
        let a = product.a.as_ptr().add(row * product.a_stride);
        let a: [*const i16; R] = std::array::from_fn(|r| a.wrapping_add(r * product.a_stride));
        let mut sums = [[_mm512_setzero_si512(); V]; R];
        if ADD {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    let from = c.add(r * c_stride + v * COLUMNS);
                    *sum = _mm512_maskz_loadu_epi32(mask(v), from);
                }
            }
        }
        for part in product.parts {
            let a = a.map(|a| a.wrapping_add(part.column).cast::<i32>());
            let mut b = part.rows.as_ptr().wrapping_add(2 * column).cast::<i32>();
            for pair in 0..part.pairs {
                let mut vectors = [sums[0][0]; V];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    *vector = _mm512_maskz_loadu_epi32(mask(v), b.wrapping_add(v * COLUMNS));
                }
                for (sums, a) in sums.iter_mut().zip(a) {
                    let factors = _mm512_set1_epi32(a.add(pair).read_unaligned());
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        // The intrinsic may become a multiplication and an addition, for a latency that so many sums hide.
                        asm!(
                            "vpdpwssd {sum}, {factors}, {vector}",
                            sum = inout(zmm_reg) *sum,
                            factors = in(zmm_reg) factors,
                            vector = in(zmm_reg) vector,
                            options(pure, nomem, nostack, preserves_flags)
                        );
                    }
                }
                b = b.wrapping_add(product.b_stride);
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                let to = c.add(r * c_stride + v * COLUMNS);
                _mm512_mask_storeu_epi32(to, mask(v), *sum);
            }
        }
    }
    R
}
