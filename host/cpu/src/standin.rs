//! Stand-in of the weight matrices until theirs are merged.
#![allow(unsafe_code, missing_docs, reason = "stand-in")]
use crate::shared::Shared;
use half::{bf16, f16};
use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightFormat {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}
#[derive(Debug)]
pub struct PackedMatrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
    floats: bool,
}
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PackError(String);
fn h(b: &[u8]) -> f32 {
    f16::from_le_bytes([b[0], b[1]]).to_f32()
}
impl PackedMatrix {
    pub const TILE: usize = 16;
    pub fn pack(
        format: WeightFormat,
        raw: &[u8],
        rows: usize,
        columns: usize,
    ) -> Result<Self, PackError> {
        let values: Vec<f32> = match format {
            WeightFormat::F32 => raw
                .chunks(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            WeightFormat::F16 => raw.chunks(2).map(h).collect(),
            WeightFormat::Bf16 => raw
                .chunks(2)
                .map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect(),
            WeightFormat::Q8_0 => raw
                .chunks(34)
                .flat_map(|b| b[2..].iter().map(move |&q| h(b) * f32::from(q as i8)))
                .collect(),
            WeightFormat::Q4_1 => raw
                .chunks(20)
                .flat_map(|b| {
                    (0..32).map(move |i| {
                        let q = b[4 + i % 16];
                        h(b) * f32::from(if i < 16 { q & 15 } else { q >> 4 }) + h(&b[2..])
                    })
                })
                .collect(),
            _ => return Err(PackError(format!("{format:?}"))),
        };
        if values.len() != rows * columns {
            return Err(PackError("length".into()));
        }
        Ok(Self {
            rows,
            columns,
            values,
            floats: matches!(
                format,
                WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16
            ),
        })
    }
    pub fn rows(&self) -> usize {
        self.rows
    }
    pub fn columns(&self) -> usize {
        self.columns
    }
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(16)
    }
    pub fn reads_floats(&self) -> bool {
        self.floats
    }
    pub unsafe fn multiply(
        &self,
        x: &QuantizedRows,
        tiles: Range<usize>,
        out: *mut f32,
        stride: usize,
    ) {
        for i in 0..x.rows {
            let x = unsafe { x.values.slice(i * x.columns..(i + 1) * x.columns) };
            for r in tiles.start * 16..(tiles.end * 16).min(self.rows) {
                let w = &self.values[r * self.columns..(r + 1) * self.columns];
                unsafe {
                    *out.add(i * stride + r) = crate::math::sum(
                        &w.iter().zip(x).map(|(a, b)| a * b).collect::<Vec<_>>(),
                        |x| x,
                    )
                };
            }
        }
    }
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.values[row * self.columns..(row + 1) * self.columns]);
    }
}
#[derive(Debug)]
pub struct QuantizedRows {
    rows: usize,
    columns: usize,
    values: Shared<f32>,
}
impl QuantizedRows {
    pub fn new(max_rows: usize, columns: usize, _floats: bool) -> Self {
        Self {
            rows: max_rows,
            columns,
            values: Shared::zeros(max_rows * columns),
        }
    }
    pub fn rows(&self) -> usize {
        self.rows
    }
    pub fn set_rows(&mut self, rows: usize) {
        self.rows = rows;
    }
    pub unsafe fn quantize_blocks(&self, row: usize, blocks: Range<usize>, x: &[f32]) {
        let start = row * self.columns + blocks.start * 32;
        unsafe { self.values.slice_mut(start..start + x.len()) }.copy_from_slice(x);
    }
}
