//! Made-up weights and activations, and what their product must be.

use crate::{
    matrix::{PackedMatrix, WeightFormat},
    simd::Simd,
};

/// Every format.
pub const FORMATS: [WeightFormat; 11] = [
    WeightFormat::F32,
    WeightFormat::F16,
    WeightFormat::Bf16,
    WeightFormat::Q4_0,
    WeightFormat::Q4_1,
    WeightFormat::Q5_0,
    WeightFormat::Q5_1,
    WeightFormat::Q8_0,
    WeightFormat::Q4K,
    WeightFormat::Q5K,
    WeightFormat::Q6K,
];

/// Numbers from a seed (splitmix64).
pub struct Noise(pub u64);

impl Noise {
    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// `len` floats of at most this magnitude; some blocks of 32 are zero.
    pub fn floats(&mut self, len: usize, magnitude: f32) -> Vec<f32> {
        let mut floats = vec![0.0; len];
        for block in floats.chunks_mut(32) {
            if self.next().is_multiple_of(16) {
                continue;
            }
            for float in block {
                *float = (self.next() as i32) as f32 / i32::MAX as f32 * magnitude;
            }
        }
        floats
    }
}

/// A tensor as a file would have it.
pub struct Weights {
    /// How `raw` is to be read.
    pub format: WeightFormat,
    /// As a GGUF file has them, row after row.
    pub raw: Vec<u8>,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
}

/// Where a block of an int8 format has its f16 numbers.
fn f16_places(format: WeightFormat) -> &'static [usize] {
    match format {
        WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => &[],
        WeightFormat::Q4_0 | WeightFormat::Q5_0 | WeightFormat::Q8_0 => &[0],
        WeightFormat::Q4_1 | WeightFormat::Q5_1 | WeightFormat::Q4K | WeightFormat::Q5K => &[0, 2],
        WeightFormat::Q6K => &[208],
    }
}

/// With every f16 at most 1/16, the largest magnitude that enters a sum: unsigned numbers, and minima, before they cancel.
fn largest_term(format: WeightFormat) -> f64 {
    match format {
        WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => 2.0,
        WeightFormat::Q4_0 | WeightFormat::Q4_1 => 15.0 / 16.0 + 0.5,
        WeightFormat::Q5_0 | WeightFormat::Q5_1 => 31.0 / 16.0 + 1.0,
        WeightFormat::Q8_0 => 8.0,
        WeightFormat::Q4K => 63.0,
        WeightFormat::Q5K => 126.0,
        WeightFormat::Q6K => 512.0,
    }
}

impl Weights {
    /// `blocks` blocks of the format a row, every bit at random, scales of at most 1/16, floats below 2.
    pub fn noise(format: WeightFormat, rows: usize, blocks: usize, noise: &mut Noise) -> Self {
        Self::with(format, rows, blocks, || noise.next() as u8)
    }

    /// The same with every byte `byte`, so that all numbers are alike.
    pub fn filled(format: WeightFormat, rows: usize, blocks: usize, byte: u8) -> Self {
        Self::with(format, rows, blocks, || byte)
    }

    fn with(
        format: WeightFormat,
        rows: usize,
        blocks: usize,
        mut byte: impl FnMut() -> u8,
    ) -> Self {
        let (columns, bytes) = format.block();
        let mut raw: Vec<u8> = (0..rows * blocks * bytes).map(|_| byte()).collect();
        for block in raw.chunks_exact_mut(bytes) {
            for &at in f16_places(format) {
                // Exponent 01010 at most: below 2^-4.
                block[at + 1] &= 0b1010_1011;
            }
            // The exponent's top bit is off: floats are below 2.
            match format {
                WeightFormat::F32 => block.chunks_exact_mut(4).for_each(|float| float[3] &= 0xbf),
                WeightFormat::F16 | WeightFormat::Bf16 => {
                    block.chunks_exact_mut(2).for_each(|float| float[1] &= 0xbf);
                }
                _ => (),
            }
        }
        Self {
            format,
            raw,
            rows,
            columns: columns * blocks,
        }
    }

    /// One block of a row, as a tensor of its own.
    pub fn block(&self, row: usize, at: usize) -> Self {
        let (columns, bytes) = self.format.block();
        let start = (row * self.columns / columns + at) * bytes;
        Self {
            format: self.format,
            raw: self.raw[start..start + bytes].to_vec(),
            rows: 1,
            columns,
        }
    }

    /// Packed for an instruction set.
    pub fn pack(&self, simd: Simd) -> PackedMatrix {
        PackedMatrix::pack_for(simd, self.format, &self.raw, self.rows, self.columns)
            .expect("a shape that fits")
    }

    /// What f32 sums may lose with activations of at most `largest`: half a unit for every block, of the largest sum.
    pub fn rounding(&self, largest: f32) -> f64 {
        let columns = self.columns as f64;
        let sums = if self.format.is_float() {
            columns
        } else {
            columns / 32.0
        };
        (sums + 8.0) * 2f64.powi(-23) * columns * f64::from(largest) * largest_term(self.format)
    }

    /// The product of a dequantized row with activations, and how far a kernel's may be from it.
    pub fn expected(&self, row: &[f32], x: &[f32]) -> (f64, f64) {
        let (mut exact, mut error, mut largest) = (0.0, 0.0, 0.0f32);
        for (row, x) in row.chunks_exact(32).zip(x.chunks_exact(32)) {
            let products = row
                .iter()
                .zip(x)
                .map(|(&w, &x)| f64::from(w) * f64::from(x));
            exact += products.sum::<f64>();
            let of_block = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            let weights: f64 = row.iter().map(|w| f64::from(w.abs())).sum();
            if !self.format.is_float() {
                // A quant is half a unit off, and its rounding a 10,000th of one.
                error += f64::from(of_block) / 254.0 * 1.0001 * weights;
            }
            largest = largest.max(of_block);
        }
        (exact, error + self.rounding(largest))
    }
}
