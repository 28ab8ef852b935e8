//! The one product of attention: `a * b`, rows of int16 times a matrix of int16, put into `c` or added to it.
//!
//! Scores are queries times keys, results are weights times values; both have some rows, up to a few hundred, against a
//! block of the KV cache. Rows of `b` are taken in pairs, which one instruction multiplies and adds. The caller's scales
//! see to it that no sum leaves int32 ([`crate::int16`]); whole numbers are the same in whatever order they are added.
#![allow(
    unsafe_code,
    reason = "vector intrinsics on slices whose bounds are checked once"
)]

use crate::{kv_cache::VECTOR, simd::Simd};

/// What is multiplied; strides are in elements of `a`, in columns of `b`, from row to row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product<'a> {
    /// `rows` rows, with columns for every part.
    pub(crate) a: &'a [i16],
    pub(crate) a_stride: usize,
    pub(crate) rows: usize,
    /// The rows of `b`, which need not lie together.
    pub(crate) parts: &'a [Part<'a>],
    pub(crate) b_stride: usize,
    /// Columns of `b`, in whole vectors.
    pub(crate) width: usize,
}

/// Some pairs of rows of the right side.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Part<'a> {
    /// The column of `a` that meets the first row.
    pub(crate) column: usize,
    /// `(pairs, b_stride, 2)`.
    pub(crate) rows: &'a [i16],
    pub(crate) pairs: usize,
}

/// `c = a * b`, `c` of `(rows, width)`.
///
/// # Panics
/// If a slice is shorter than its shape, or the width is no multiple of a vector.
pub(crate) fn set_product(simd: Simd, product: &Product<'_>, c: &mut [i32], c_stride: usize) {
    compute::<false>(simd, product, c, c_stride);
}

/// `c += a * b`, `c` of `(rows, width)`.
///
/// # Panics
/// As [`set_product`].
pub(crate) fn add_product(simd: Simd, product: &Product<'_>, c: &mut [i32], c_stride: usize) {
    compute::<true>(simd, product, c, c_stride);
}

fn compute<const ADD: bool>(simd: Simd, product: &Product<'_>, c: &mut [i32], c_stride: usize) {
    let Product {
        a, a_stride, rows, ..
    } = *product;
    let (b_stride, width) = (product.b_stride, product.width);
    if rows == 0 || width == 0 {
        return;
    }
    assert!(width.is_multiple_of(VECTOR) && width <= b_stride && width <= c_stride);
    for part in product.parts.iter().filter(|part| part.pairs > 0) {
        let columns = part.column + 2 * part.pairs;
        assert!(columns <= a_stride && (rows - 1) * a_stride + columns <= a.len());
        assert!(2 * ((part.pairs - 1) * b_stride + width) <= part.rows.len());
    }
    assert!((rows - 1) * c_stride + width <= c.len());
    match simd {
        Simd::Portable => portable::<ADD>(product, c, c_stride),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the instructions are there, and the shapes above fit the slices.
        Simd::Avx2 => unsafe { avx2::compute::<ADD>(product, c.as_mut_ptr(), c_stride) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the same.
        Simd::Avx512 => unsafe { avx512::compute::<ADD>(product, c.as_mut_ptr(), c_stride) },
    }
}

fn portable<const ADD: bool>(product: &Product<'_>, c: &mut [i32], c_stride: usize) {
    for row in 0..product.rows {
        let a = &product.a[row * product.a_stride..];
        let c = &mut c[row * c_stride..][..product.width];
        if !ADD {
            c.fill(0);
        }
        for part in product.parts {
            let factors = a[part.column..][..2 * part.pairs].as_chunks::<2>().0;
            let pairs = part.rows.chunks(2 * product.b_stride);
            for ([even, odd], b) in factors.iter().zip(pairs) {
                for (c, [first, second]) in c.iter_mut().zip(b.as_chunks::<2>().0) {
                    *c +=
                        i32::from(*even) * i32::from(*first) + i32::from(*odd) * i32::from(*second);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use core::arch::x86_64::{
        __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32,
        _mm256_setzero_si256, _mm256_storeu_si256,
    };

    use super::{Product, VECTOR};

    /// Twelve sums are kept in registers. Columns are the outer loop: what is read of `b` then stays in the first-level
    /// cache for all rows.
    ///
    /// # Safety
    /// The machine has AVX2; the product's shapes fit its slices and `c`.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn compute<const ADD: bool>(
        product: &Product<'_>,
        c: *mut i32,
        c_stride: usize,
    ) {
        // SAFETY: the caller's word.
        unsafe {
            match product.rows {
                1 => columns::<ADD, 8>(product, c, c_stride),
                2 | 3 => columns::<ADD, 4>(product, c, c_stride),
                _ => columns::<ADD, 2>(product, c, c_stride),
            }
        }
    }

    /// All columns, `V` vectors at a time.
    #[target_feature(enable = "avx2")]
    unsafe fn columns<const ADD: bool, const V: usize>(
        product: &Product<'_>,
        c: *mut i32,
        c_stride: usize,
    ) {
        let mut column = 0;
        // SAFETY: rows and columns are within the product's shape.
        unsafe {
            while column + V * VECTOR <= product.width {
                rows::<ADD, V>(product, column, c, c_stride);
                column += V * VECTOR;
            }
            while column < product.width {
                rows::<ADD, 1>(product, column, c, c_stride);
                column += VECTOR;
            }
        }
    }

    /// All rows of `V` vectors of columns.
    #[target_feature(enable = "avx2")]
    unsafe fn rows<const ADD: bool, const V: usize>(
        product: &Product<'_>,
        column: usize,
        c: *mut i32,
        c_stride: usize,
    ) {
        let mut row = 0;
        while row < product.rows {
            let rows = (product.rows - row).min(6);
            // SAFETY: these rows are among the product's.
            unsafe {
                let c = c.add(row * c_stride + column);
                match rows {
                    6 => tile::<ADD, 6, V>(product, row, column, c, c_stride),
                    5 => tile::<ADD, 5, V>(product, row, column, c, c_stride),
                    4 => tile::<ADD, 4, V>(product, row, column, c, c_stride),
                    3 => tile::<ADD, 3, V>(product, row, column, c, c_stride),
                    2 => tile::<ADD, 2, V>(product, row, column, c, c_stride),
                    _ => tile::<ADD, 1, V>(product, row, column, c, c_stride),
                }
            }
            row += rows;
        }
    }

    /// `R` rows by `V` vectors; `c` points at the first of them.
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const ADD: bool, const R: usize, const V: usize>(
        product: &Product<'_>,
        row: usize,
        column: usize,
        c: *mut i32,
        c_stride: usize,
    ) {
        // SAFETY: the caller's rows and columns are within the shape that was checked against the slices.
        unsafe {
            let a = product.a.as_ptr().add(row * product.a_stride);
            let a: [*const i16; R] = std::array::from_fn(|r| a.wrapping_add(r * product.a_stride));
            let mut sums = [[_mm256_setzero_si256(); V]; R];
            if ADD {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm256_loadu_si256(c.add(r * c_stride + v * VECTOR).cast());
                    }
                }
            }
            for part in product.parts {
                let a = a.map(|a| a.wrapping_add(part.column).cast::<i32>());
                let mut b = part.rows.as_ptr().wrapping_add(2 * column);
                for pair in 0..part.pairs {
                    let mut vectors = [sums[0][0]; V];
                    for (v, vector) in vectors.iter_mut().enumerate() {
                        *vector = _mm256_loadu_si256(b.add(2 * v * VECTOR).cast::<__m256i>());
                    }
                    for (sums, a) in sums.iter_mut().zip(a) {
                        let factors = _mm256_set1_epi32(a.add(pair).read_unaligned());
                        for (sum, vector) in sums.iter_mut().zip(vectors) {
                            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(factors, vector));
                        }
                    }
                    b = b.wrapping_add(2 * product.b_stride);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    _mm256_storeu_si256(c.add(r * c_stride + v * VECTOR).cast(), *sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(seed: usize, len: usize) -> Vec<i16> {
        (0..len)
            .map(|at| ((at * 7919 + seed * 104_729) % 8191) as i16 - 4095)
            .collect()
    }

    proptest! {
        #[test]
        fn products_are_those_of_whole_numbers(
            rows in 1usize..20, pairs in 1usize..30, vectors in 1usize..10, pad in 0usize..3, cut in 0usize..30,
        ) {
            let width = vectors * VECTOR;
            let (a_stride, b_stride, c_stride) = (2 * pairs + pad, width + pad, width + 2 * pad);
            let a = numbers(1, rows * a_stride);
            let b = numbers(2, 2 * pairs * b_stride);
            let before: Vec<i32> = numbers(3, rows * c_stride).into_iter().map(i32::from).collect();
            let cut = cut.min(pairs);
            let parts = [
                Part { column: 0, rows: &b[..2 * cut * b_stride], pairs: cut },
                Part { column: 2 * cut, rows: &b[2 * cut * b_stride..], pairs: pairs - cut },
            ];
            let product = Product { a: &a, a_stride, rows, parts: &parts, b_stride, width };
            for simd in Simd::all() {
                let mut added = before.clone();
                add_product(simd, &product, &mut added, c_stride);
                let mut set = before.clone();
                set_product(simd, &product, &mut set, c_stride);
                for at in 0..rows * c_stride {
                    let (row, column) = (at / c_stride, at % c_stride);
                    let mut right = 0;
                    if column < width {
                        for d in 0..2 * pairs {
                            let b = b[(d / 2 * b_stride + column) * 2 + d % 2];
                            right += i32::from(a[row * a_stride + d]) * i32::from(b);
                        }
                        prop_assert_eq!(set[at], right);
                    } else {
                        prop_assert_eq!(set[at], before[at]);
                    }
                    prop_assert_eq!(added[at], before[at] + right);
                }
            }
        }
    }
}
