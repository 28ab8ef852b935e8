//! The one product of attention: `a * b`, rows of f32 times a matrix of f16, put into `c` or added to it.
//!
//! Scores are queries times keys, results are weights times values; both have some rows, up to a few hundred, against a
//! block of the KV cache. Each element of `c` is summed in the order of `b`'s rows, whatever the tiling: a row's
//! result does not depend on how many rows are computed beside it.
#![allow(
    unsafe_code,
    reason = "vector intrinsics on slices whose bounds are checked once"
)]

use half::f16;

use crate::{kv_cache::VECTOR, simd::Simd};

/// What is multiplied; strides are in elements, from row to row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product<'a> {
    /// `rows` rows, with columns for every part.
    pub(crate) a: &'a [f32],
    pub(crate) a_stride: usize,
    pub(crate) rows: usize,
    /// The rows of `b`, which need not lie together.
    pub(crate) parts: &'a [Part<'a>],
    pub(crate) b_stride: usize,
    /// Columns of `b`, in whole vectors.
    pub(crate) width: usize,
}

/// Some rows of the right side.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Part<'a> {
    /// The column of `a` that meets the first of them.
    pub(crate) column: usize,
    /// `(depth, width)` in f16.
    pub(crate) rows: &'a [u16],
    pub(crate) depth: usize,
}

/// `c = a * b`, `c` of `(rows, width)`.
///
/// # Panics
/// If a slice is shorter than its shape, or the width is no multiple of a vector.
pub(crate) fn set_product(simd: Simd, product: &Product<'_>, c: &mut [f32], c_stride: usize) {
    compute::<false>(simd, product, c, c_stride);
}

/// `c += a * b`, `c` of `(rows, width)`.
///
/// # Panics
/// As [`set_product`].
pub(crate) fn add_product(simd: Simd, product: &Product<'_>, c: &mut [f32], c_stride: usize) {
    compute::<true>(simd, product, c, c_stride);
}

fn compute<const ADD: bool>(simd: Simd, product: &Product<'_>, c: &mut [f32], c_stride: usize) {
    let Product {
        a, a_stride, rows, ..
    } = *product;
    let (b_stride, width) = (product.b_stride, product.width);
    if rows == 0 || width == 0 {
        return;
    }
    assert!(width.is_multiple_of(VECTOR) && width <= b_stride && width <= c_stride);
    for part in product.parts.iter().filter(|part| part.depth > 0) {
        let columns = part.column + part.depth;
        assert!(columns <= a_stride && (rows - 1) * a_stride + columns <= a.len());
        assert!((part.depth - 1) * b_stride + width <= part.rows.len());
    }
    assert!((rows - 1) * c_stride + width <= c.len());
    match simd {
        Simd::Portable => portable::<ADD>(product, c, c_stride),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the instructions are there, and the shapes above fit the slices.
        Simd::Avx2 => unsafe { avx2::compute::<ADD>(product, c.as_mut_ptr(), c_stride) },
    }
}

fn portable<const ADD: bool>(product: &Product<'_>, c: &mut [f32], c_stride: usize) {
    for row in 0..product.rows {
        let a = &product.a[row * product.a_stride..];
        let c = &mut c[row * c_stride..][..product.width];
        if !ADD {
            c.fill(0.0);
        }
        for part in product.parts {
            let rows = part.rows.chunks(product.b_stride);
            for (factor, b) in a[part.column..][..part.depth].iter().zip(rows) {
                for (c, &b) in c.iter_mut().zip(b) {
                    *c += factor * f16::from_bits(b).to_f32();
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use core::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm256_broadcast_ss, _mm256_cvtph_ps, _mm256_fmadd_ps,
        _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };

    use super::{Product, VECTOR};

    /// Twelve sums are kept in registers: four rows by three vectors would convert more, six by two broadcasts less.
    ///
    /// # Safety
    /// The machine has AVX2, FMA and F16C; the product's shapes fit its slices and `c`.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn compute<const ADD: bool>(
        product: &Product<'_>,
        c: *mut f32,
        c_stride: usize,
    ) {
        let mut row = 0;
        while row < product.rows {
            let rows = (product.rows - row).min(6);
            // SAFETY: these rows are among the product's.
            unsafe {
                match rows {
                    6 => columns::<ADD, 6, 2>(product, row, c, c_stride),
                    5 => columns::<ADD, 5, 2>(product, row, c, c_stride),
                    4 => columns::<ADD, 4, 2>(product, row, c, c_stride),
                    3 => columns::<ADD, 3, 4>(product, row, c, c_stride),
                    2 => columns::<ADD, 2, 4>(product, row, c, c_stride),
                    _ => columns::<ADD, 1, 8>(product, row, c, c_stride),
                }
            }
            row += rows;
        }
    }

    /// All columns of `R` rows, `V` vectors at a time.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn columns<const ADD: bool, const R: usize, const V: usize>(
        product: &Product<'_>,
        row: usize,
        c: *mut f32,
        c_stride: usize,
    ) {
        let mut column = 0;
        // SAFETY: rows and columns are within the product's shape.
        unsafe {
            while column + V * VECTOR <= product.width {
                tile::<ADD, R, V>(product, row, column, c.add(row * c_stride), c_stride);
                column += V * VECTOR;
            }
            while column < product.width {
                tile::<ADD, R, 1>(product, row, column, c.add(row * c_stride), c_stride);
                column += VECTOR;
            }
        }
    }

    /// `R` rows by `V` vectors; `c` points at the first of the rows.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn tile<const ADD: bool, const R: usize, const V: usize>(
        product: &Product<'_>,
        row: usize,
        column: usize,
        c: *mut f32,
        c_stride: usize,
    ) {
        // SAFETY: the caller's rows and columns are within the shape that was checked against the slices.
        unsafe {
            let a = product.a.as_ptr().add(row * product.a_stride);
            let c = c.add(column);
            let mut sums = [[_mm256_setzero_ps(); V]; R];
            if ADD {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm256_loadu_ps(c.add(r * c_stride + v * VECTOR));
                    }
                }
            }
            for part in product.parts {
                let a = a.add(part.column);
                let mut b = part.rows.as_ptr().wrapping_add(column);
                for at in 0..part.depth {
                    let mut vectors = [sums[0][0]; V];
                    for (v, vector) in vectors.iter_mut().enumerate() {
                        let halves = _mm_loadu_si128(b.add(v * VECTOR).cast::<__m128i>());
                        *vector = _mm256_cvtph_ps(halves);
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let factor = _mm256_broadcast_ss(&*a.add(r * product.a_stride + at));
                        for (sum, vector) in sums.iter_mut().zip(vectors) {
                            *sum = _mm256_fmadd_ps(factor, vector, *sum);
                        }
                    }
                    b = b.wrapping_add(product.b_stride);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    _mm256_storeu_ps(c.add(r * c_stride + v * VECTOR), *sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(seed: usize, len: usize) -> Vec<f32> {
        (0..len)
            .map(|at| ((at * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0)
            .collect()
    }

    proptest! {
        #[test]
        fn products_are_those_of_f64(
            rows in 1usize..20, depth in 1usize..40, vectors in 1usize..10, pad in 0usize..3, cut in 0usize..40,
        ) {
            let width = vectors * VECTOR;
            let (a_stride, b_stride, c_stride) = (depth + pad, width + pad, width + 2 * pad);
            let a = numbers(1, rows * a_stride);
            let halves: Vec<f16> = numbers(2, depth * b_stride).into_iter().map(f16::from_f32).collect();
            let b: Vec<u16> = halves.iter().map(|half| half.to_bits()).collect();
            let before = numbers(3, rows * c_stride);
            let cut = cut.min(depth);
            let parts = [
                Part { column: 0, rows: &b[..cut * b_stride], depth: cut },
                Part { column: cut, rows: &b[cut * b_stride..], depth: depth - cut },
            ];
            let product = Product { a: &a, a_stride, rows, parts: &parts, b_stride, width };
            for simd in [Simd::Portable, Simd::detect()] {
                let mut c = before.clone();
                add_product(simd, &product, &mut c, c_stride);
                for (at, &found) in c.iter().enumerate() {
                    let (row, column) = (at / c_stride, at % c_stride);
                    let mut right = f64::from(before[at]);
                    if column < width {
                        for d in 0..depth {
                            right += f64::from(a[row * a_stride + d]) * halves[d * b_stride + column].to_f64();
                        }
                    }
                    prop_assert!((f64::from(found) - right).abs() < 1e-5);
                }
                // Set anew it is the same as added to zeros.
                let mut set = before.clone();
                set_product(simd, &product, &mut set, c_stride);
                let mut added = before.clone();
                for row in added.chunks_mut(c_stride) {
                    row[..width].fill(0.0);
                }
                add_product(simd, &product, &mut added, c_stride);
                prop_assert_eq!(set, added);
                // Row by row it is the same to the bit.
                for row in 0..rows {
                    let one = Product { a: &a[row * a_stride..], rows: 1, ..product };
                    let mut alone = before[row * c_stride..].to_vec();
                    add_product(simd, &one, &mut alone, c_stride);
                    prop_assert_eq!(&alone[..width], &c[row * c_stride..][..width]);
                }
            }
        }
    }
}
