//! Products of some rows, and rows copied to where they are wanted: as experts multiply them.
#![allow(
    unsafe_code,
    reason = "what is tested is unsafe, and one thread runs it"
)]

use proptest::prelude::*;
use weir_cpu::matrix::{PackedMatrix, QuantizedRows, WeightFormat};

const COLUMNS: usize = 64;
const ROWS: usize = 37;

fn floats(seed: usize, len: usize) -> impl Iterator<Item = f32> {
    (0..len).map(move |at| ((at * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0)
}

/// Blocks of a scale in f16, which is 1, and of 32 int8 numbers.
fn matrix(format: WeightFormat) -> PackedMatrix {
    let numbers = floats(1, ROWS * COLUMNS);
    let bytes: Vec<u8> = if format.is_float() {
        numbers.flat_map(f32::to_le_bytes).collect()
    } else {
        let quants: Vec<u8> = numbers.map(|x| (x * 127.0) as i8 as u8).collect();
        let blocks = quants.chunks_exact(32);
        blocks
            .flat_map(|block| [&[0x00, 0x3c], block].concat())
            .collect()
    };
    PackedMatrix::pack(format, &bytes, ROWS, COLUMNS).unwrap()
}

fn rows(count: usize) -> QuantizedRows {
    let mut rows = QuantizedRows::with_floats(count, COLUMNS);
    rows.set_rows(count);
    rows
}

proptest! {
    #[test]
    fn some_rows_have_the_products_of_all(
        float in any::<bool>(),
        order in Just((0..90).collect::<Vec<usize>>()).prop_shuffle(),
        count in 1usize..90,
        start in 0usize..90,
        tile in 0usize..3,
    ) {
        let matrix = matrix(if float { WeightFormat::F32 } else { WeightFormat::Q8_0 });
        let order = &order[..count];
        let (first, copied) = (rows(90), rows(count));
        for row in 0..90 {
            let x: Vec<f32> = floats(row + 2, COLUMNS).collect();
            // SAFETY: there is one thread.
            unsafe { first.quantize_blocks(row, 0..COLUMNS / 32, &x) };
        }
        for (to, &from) in order.iter().enumerate() {
            // SAFETY: there is one thread.
            unsafe { copied.copy_row(to, &first, from) };
        }
        let mut whole = vec![0.0f32; 90 * ROWS];
        let start = start % count;
        let mut part = vec![f32::NAN; (count - start) * ROWS];
        // SAFETY: both have the rows that are multiplied, of as many numbers as the matrix has rows.
        unsafe {
            matrix.multiply(&first, 0..matrix.tiles(), whole.as_mut_ptr(), ROWS);
            matrix.multiply_rows(&copied, start..count, tile..tile + 1, part.as_mut_ptr(), ROWS);
        }
        let columns = tile * PackedMatrix::TILE..ROWS.min((tile + 1) * PackedMatrix::TILE);
        for (found, &from) in part.chunks_exact(ROWS).zip(&order[start..]) {
            let right = &whole[from * ROWS..][..ROWS];
            prop_assert_eq!(&found[columns.clone()], &right[columns.clone()]);
            prop_assert!(found[..columns.start].iter().all(|float| float.is_nan()));
            prop_assert!(found[columns.end..].iter().all(|float| float.is_nan()));
        }
    }
}
