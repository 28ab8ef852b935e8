//! How fast the kernels are beside what the processor can do: `cargo bench -p weir-cpu --bench matrix [FORMAT...]`.
//!
//! One thread. A table of GOP/s (two a weight and row) and, of one row, GB/s of packed weights, each beside its limit as
//! benches/limits measures it in the same run. The kernels run in samples of less than a millisecond, so that a neighbour on
//! the machine interrupts few of them; the rate is the one that the fastest fiftieth of the samples reach.
#![allow(unsafe_code, reason = "the kernels write through a pointer")]

mod limits;

use std::time::Instant;

use weir_cpu::matrix::{PackedMatrix, QuantizedRows, WeightFormat};

const FORMATS: [(WeightFormat, usize, usize); 11] = [
    (WeightFormat::Q8_0, 32, 34),
    (WeightFormat::Q4_1, 32, 20),
    (WeightFormat::Q4_0, 32, 18),
    (WeightFormat::Q4K, 256, 144),
    (WeightFormat::Q6K, 256, 210),
    (WeightFormat::Q5_0, 32, 22),
    (WeightFormat::Q5_1, 32, 24),
    (WeightFormat::Q5K, 256, 176),
    (WeightFormat::F16, 32, 64),
    (WeightFormat::Bf16, 32, 64),
    (WeightFormat::F32, 32, 128),
];
/// Outputs and inputs.
const SHAPES: [(usize, usize); 2] = [(576, 1536), (2048, 2048)];
const ROWS: [usize; 4] = [1, 8, 32, 512];
const SAMPLES: usize = 400;
/// Operations of a sample: half a millisecond at full speed.
const SAMPLE_OPERATIONS: usize = 150_000_000;
/// Bytes of a sample of one row's products.
const SAMPLE_BYTES: usize = 4 << 20;
/// What they walk through: more than the last-level cache holds.
const WEIGHT_BYTES: usize = 128 << 20;

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let (peak, memory) = (limits::int8(1), limits::memory(1));
    let widened = limits::int8_widened(1);
    println!(
        "int8 peak {peak:.0} GOP/s (widened {widened:.0}), memory {memory:.1} GB/s, one thread"
    );
    println!(
        "{:<22}1 row             8 rows            32 rows           512 rows",
        "format"
    );
    for (format, block, bytes) in FORMATS {
        let name = format!("{format:?}");
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        for (rows, columns) in SHAPES {
            if columns % block == 0 {
                let raw = tensor(rows * columns / block, bytes);
                measure(format, &raw, rows, columns, peak, memory);
            }
        }
    }
}

/// Bytes whose every 16 bits are a small, finite f16 or part of one: the numbers do not matter, but must be finite.
fn tensor(blocks: usize, bytes: usize) -> Vec<u8> {
    (0..blocks * bytes).map(|i| (i * 37 % 41) as u8).collect()
}

fn measure(format: WeightFormat, raw: &[u8], rows: usize, columns: usize, peak: f64, memory: f64) {
    let pack = || PackedMatrix::pack(format, raw, rows, columns).expect("a shape that fits");
    let first = pack();
    let copies: Vec<PackedMatrix> = (1..WEIGHT_BYTES / first.bytes()).map(|_| pack()).collect();
    let mut line = format!("{:<6} {rows:>5} x {columns:<5}", format!("{format:?}"));
    let tiles = first.tiles();
    let matrices: Vec<&PackedMatrix> = std::iter::once(&first).chain(&copies).collect();
    for x_rows in ROWS {
        let x = activations(x_rows, columns, format.is_float());
        let mut out = vec![0.0f32; x_rows * rows];
        // A sample is some tiles of the first matrix, or of all in turn where weights are to come from memory.
        let operations_a_tile = 2 * PackedMatrix::TILE * columns * x_rows;
        let (turn, a_sample) = match x_rows {
            1 => (matrices.len(), SAMPLE_BYTES * tiles / first.bytes()),
            _ => (1, (SAMPLE_OPERATIONS / operations_a_tile).clamp(1, tiles)),
        };
        let mut next = 0;
        let seconds = fast_sample(|| {
            let matrix = matrices[next / tiles % turn];
            let start = next % tiles;
            let end = tiles.min(start + a_sample);
            // SAFETY: the output has `rows` floats a row.
            unsafe { matrix.multiply(&x, start..end, out.as_mut_ptr(), rows) };
            next += end - start;
            end - start
        });
        assert!(out.iter().all(|float| float.is_finite()));
        let (done, limit, unit) = match x_rows {
            1 => (first.bytes() / tiles, memory, "GB/s"),
            _ => (operations_a_tile, peak, "GOP/s"),
        };
        let rate = done as f64 / seconds / 1e9;
        line += &format!("  {rate:>6.1} {unit} {:>3.0}%", rate / limit * 100.0);
    }
    println!("{line}");
}

fn activations(rows: usize, columns: usize, floats: bool) -> QuantizedRows {
    let mut x = if floats {
        QuantizedRows::with_floats(rows, columns)
    } else {
        QuantizedRows::new(rows, columns)
    };
    x.set_rows(rows);
    for row in 0..rows {
        let numbers: Vec<f32> = (0..columns)
            .map(|i| ((i * 7 + row * 13) % 29) as f32 - 14.0)
            .collect();
        // SAFETY: one thread.
        unsafe { x.quantize_blocks(row, 0..columns / 32, &numbers) };
    }
    x
}

/// Seconds for each thing a sample says it did, that a fiftieth of the samples stay below.
fn fast_sample(mut run: impl FnMut() -> usize) -> f64 {
    let mut times = [0.0; SAMPLES];
    for time in &mut times {
        let start = Instant::now();
        let done = run();
        *time = start.elapsed().as_secs_f64() / done as f64;
    }
    times.sort_by(f64::total_cmp);
    times[SAMPLES / 50]
}
