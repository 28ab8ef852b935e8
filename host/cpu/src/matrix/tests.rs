//! The kernels against dequantized weights in f64, and against each other.

mod made_up;

use made_up::{FORMATS, Noise, Weights};
use proptest::prelude::*;

use super::{PackError, PackedMatrix, QuantizedRows, WeightFormat};
use crate::simd::Simd;

fn quantized(simd: Simd, x: &[f32], columns: usize) -> QuantizedRows {
    let rows = x.len() / columns;
    let mut quantized = QuantizedRows::with(rows, columns, true, simd);
    quantized.set_rows(rows);
    for (row, x) in x.chunks_exact(columns).enumerate() {
        // In two parts, as two threads would.
        let middle = columns / 32 / 2;
        // SAFETY: nobody else knows these rows.
        unsafe {
            quantized.quantize_blocks(row, 0..middle, &x[..middle * 32]);
            quantized.quantize_blocks(row, middle..columns / 32, &x[middle * 32..]);
        }
    }
    quantized
}

/// The product, checked to have left the floats between its rows alone.
fn product(matrix: &PackedMatrix, x: &QuantizedRows) -> Vec<f32> {
    const UNTOUCHED: f32 = 12345.0;
    let (rows, stride) = (matrix.rows(), matrix.rows() + 5);
    let mut out = vec![UNTOUCHED; x.rows() * stride];
    // SAFETY: the output has `stride` floats a row.
    unsafe { matrix.multiply(x, 0..matrix.tiles(), out.as_mut_ptr(), stride) };
    let mut products = Vec::new();
    for row in out.chunks_exact(stride) {
        products.extend_from_slice(&row[..rows]);
        assert!(row[rows..].iter().all(|&float| float == UNTOUCHED));
    }
    products
}

/// Checks all kernels: within the stated bound of the dequantized product, and of each other within rounding; those for
/// vector instructions agree to the bit.
fn check(weights: &Weights, x: &[f32]) {
    let (columns, rows) = (weights.columns, weights.rows);
    let mut products = Vec::new();
    for simd in Simd::all() {
        let matrix = weights.pack(simd);
        let got = product(&matrix, &quantized(simd, x, columns));
        let mut row = vec![0.0; columns];
        for r in 0..rows {
            matrix.dequantize_row(r, &mut row);
            for (i, x) in x.chunks_exact(columns).enumerate() {
                let (exact, error) = weights.expected(&row, x);
                let got = got[i * rows + r];
                assert!(
                    (f64::from(got) - exact).abs() <= error,
                    "{:?} by {simd:?}: row {i}, {r}: {got}, expected {exact} within {error}",
                    weights.format
                );
            }
        }
        products.push(got);
    }
    if let [_portable, avx2, avx512] = &products[..] {
        let bits =
            |products: &[f32]| -> Vec<u32> { products.iter().map(|x| x.to_bits()).collect() };
        assert_eq!(bits(avx2), bits(avx512), "{:?}", weights.format);
    }
    let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let rounding = 2.0 * weights.rounding(largest);
    for pair in products.windows(2) {
        for (a, b) in pair[0].iter().zip(&pair[1]) {
            assert!(
                f64::from((a - b).abs()) <= rounding,
                "{:?}: {a} and {b}",
                weights.format
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn products_are_within_the_bound(
        format in 0..FORMATS.len(),
        rows in 1usize..50,
        blocks in 1usize..5,
        x_rows in 1usize..21,
        magnitude in -20i32..20,
        seed: u64,
    ) {
        let mut noise = Noise(seed);
        let weights = Weights::noise(FORMATS[format], rows, blocks, &mut noise);
        let x = noise.floats(x_rows * weights.columns, 2f32.powi(magnitude));
        check(&weights, &x);
    }

    /// So what holds of one block (`tensors_are_read_as_the_format_says`) holds of every row and tile.
    #[test]
    fn a_block_is_read_alike_wherever_it_stands(
        format in 0..FORMATS.len(),
        rows in 1usize..50,
        blocks in 1usize..4,
        seed: u64,
    ) {
        let weights = Weights::noise(FORMATS[format], rows, blocks, &mut Noise(seed));
        let matrix = weights.pack(Simd::detect());
        let mut row = vec![0.0; weights.columns];
        let mut alone = vec![0.0; weights.columns / blocks];
        for r in 0..rows {
            matrix.dequantize_row(r, &mut row);
            for (at, block) in row.chunks_exact(alone.len()).enumerate() {
                weights.block(r, at).pack(Simd::detect()).dequantize_row(0, &mut alone);
                prop_assert_eq!(block, &alone[..]);
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours(
        format in 0..FORMATS.len(),
        rows in 1usize..40,
        x_rows in 1usize..80,
        seed: u64,
    ) {
        let mut noise = Noise(seed);
        let weights = Weights::noise(FORMATS[format], rows, 2, &mut noise);
        let x = noise.floats(x_rows * weights.columns, 1.0);
        let matrix = weights.pack(Simd::detect());
        let together = product(&matrix, &quantized(Simd::detect(), &x, weights.columns));
        let each = x.chunks_exact(weights.columns).flat_map(|x| {
            product(&matrix, &quantized(Simd::detect(), x, weights.columns))
        });
        prop_assert!(together.iter().map(|float| float.to_bits()).eq(each.map(f32::to_bits)));
    }

    #[test]
    fn every_set_quantizes_alike(magnitude in -140i32..120, seed: u64) {
        let mut noise = Noise(seed);
        let mut x = noise.floats(128, 2f32.powi(magnitude));
        x[64..96].fill(0.0);
        let ones = Weights::filled(WeightFormat::Q4_1, 16, 4, 0x11);
        // The same quants and scales give the same products; the same bits once one kernel multiplies both.
        let matrix = ones.pack(Simd::Portable);
        let products = Simd::all().into_iter().map(|simd| product(&matrix, &quantized(simd, &x, 128)));
        let all: Vec<Vec<f32>> = products.collect();
        prop_assert!(all.iter().all(|products| *products == all[0]));
        prop_assert!(all[0].iter().all(|float| float.is_finite()));
    }
}

#[test]
fn tensors_are_read_as_the_format_says() {
    for line in include_str!("gguf_blocks.txt").lines() {
        let mut fields = line.split(' ');
        let mut field = || {
            fields
                .next()
                .unwrap_or_else(|| panic!("three fields: {line}"))
        };
        let name = field();
        let bytes = |hex: &str| -> Vec<u8> {
            let pairs = hex.as_bytes().chunks_exact(2);
            pairs
                .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        };
        let (raw, expected) = (bytes(field()), bytes(field()));
        let format = FORMATS
            .into_iter()
            .find(|format| format!("{format:?}") == name)
            .unwrap();
        let matrix = PackedMatrix::pack(format, &raw, 1, expected.len() / 4).unwrap();
        let mut row = vec![0.0; matrix.columns()];
        matrix.dequantize_row(0, &mut row);
        let expected: Vec<f32> = expected
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect();
        assert_eq!(row, expected, "{name}");
    }
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    for format in FORMATS {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let weights = Weights::filled(format, 17, 3, byte);
            for pattern in [[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]] {
                for rows in [1, 3, 9] {
                    let numbers = rows * weights.columns;
                    let x: Vec<f32> = pattern.into_iter().cycle().take(numbers).collect();
                    check(&weights, &x);
                }
            }
        }
    }
}

#[test]
fn zeros_give_zeros() {
    for format in FORMATS {
        let weights = Weights::noise(format, 20, 2, &mut Noise(1));
        for x_rows in [1, 8] {
            for x in [0.0, -0.0, 1e-40] {
                let x = vec![x; x_rows * weights.columns];
                let got = product(
                    &weights.pack(Simd::detect()),
                    &quantized(Simd::detect(), &x, weights.columns),
                );
                assert!(got.iter().all(|float| float.abs() < 1e-30), "{format:?}");
            }
        }
    }
}

#[test]
fn threads_may_share_an_output() {
    let weights = Weights::noise(WeightFormat::Q4_1, 37, 3, &mut Noise(2));
    let x = Noise(3).floats(10 * weights.columns, 1.0);
    let matrix = weights.pack(Simd::detect());
    let x = quantized(Simd::detect(), &x, weights.columns);
    let whole = product(&matrix, &x);
    let mut out = vec![0.0f32; 10 * 37];
    for tiles in [2..3, 0..1, 1..1, 1..2] {
        // SAFETY: the output has 37 floats a row.
        unsafe { matrix.multiply(&x, tiles, out.as_mut_ptr(), 37) };
    }
    assert_eq!(out, whole);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let refusal = |format, bytes: usize, rows, columns| {
        PackedMatrix::pack(format, &vec![0; bytes], rows, columns)
            .err()
            .map(|error| error.to_string())
    };
    let cases = [
        (WeightFormat::Q4_1, 20, 1, 32, None),
        (WeightFormat::Q4_1, 0, 0, 32, None),
        (
            WeightFormat::Q4_1,
            20,
            1,
            48,
            Some("a row of 48 columns is not a multiple of the 32 that Q4_1 needs"),
        ),
        (
            WeightFormat::Q6K,
            210,
            1,
            32,
            Some("a row of 32 columns is not a multiple of the 256 that Q6K needs"),
        ),
        (
            WeightFormat::F32,
            0,
            1,
            0,
            Some("a row of 0 columns is not a multiple of the 32 that F32 needs"),
        ),
        (
            WeightFormat::Q8_0,
            33,
            1,
            32,
            Some("1 rows of 32 columns in Q8_0 do not take 33 bytes"),
        ),
        (
            WeightFormat::F16,
            64,
            usize::MAX,
            32,
            Some("18446744073709551615 rows of 32 columns in F16 do not take 64 bytes"),
        ),
    ];
    for (format, bytes, rows, columns, expected) in cases {
        assert_eq!(refusal(format, bytes, rows, columns).as_deref(), expected);
    }
    let columns = PackError::Columns {
        format: WeightFormat::F32,
        columns: 0,
        multiple: 32,
    };
    assert_eq!(
        PackedMatrix::pack(WeightFormat::F32, &[], 1, 0).err(),
        Some(columns)
    );
}

#[test]
fn a_matrix_packed_in_pieces_is_the_same() {
    let mut noise = Noise(7);
    for format in FORMATS {
        let rows = 50;
        let weights = Weights::noise(format, rows, 2, &mut noise);
        let whole = weights.pack(Simd::detect());
        let columns = weights.columns;
        let mut pieces = PackedMatrix::zeros(format, rows, columns).unwrap();
        let row_bytes = weights.raw.len() / rows;
        // Out of order, and not whole tiles.
        for piece in [32..50, 0..16, 16..21, 21..32] {
            let raw = &weights.raw[piece.start * row_bytes..piece.end * row_bytes];
            pieces.put_rows(piece.start, raw);
        }
        let [mut expected, mut found] = [(); 2].map(|()| vec![0.0; columns]);
        for row in 0..rows {
            whole.dequantize_row(row, &mut expected);
            pieces.dequantize_row(row, &mut found);
            assert_eq!(found, expected, "{format:?}, row {row}");
        }
    }
}
