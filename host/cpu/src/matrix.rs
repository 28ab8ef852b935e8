//! Weight matrices repacked for the processor, and their product with int8 activations.
//!
//! A [`PackedMatrix`] holds a GGUF tensor in tiles of 16 rows; [`QuantizedRows`] holds activations. Their product differs
//! from that of the dequantized weights and unquantized activations by the rounding of the activations alone: by at most
//! `sum over blocks of (max |x| of the block / 254) * (sum of |w| in it)`, and by f32 rounding of the sums of blocks. Float
//! formats multiply unquantized activations. A row's products do not depend on the other rows, nor on how tiles are
//! split among threads: the order of sums is fixed.
//!
//! Not here: threads, and what the numbers mean.
#![allow(
    unsafe_code,
    reason = "`multiply` hands the kernels an output that several threads write"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod floats;
mod half;
mod layout;
mod output;
mod portable;
#[cfg(target_arch = "x86_64")]
mod prefetch;
mod product;
mod rows;
#[cfg(test)]
mod tests;

use std::ops::Range;

use floats::{ColumnBf16, ColumnF16, ColumnF32, FloatTile};
use layout::{
    BLOCK, TILE, Tile, TileQ4_0, TileQ4_1, TileQ4K, TileQ5_0, TileQ5_1, TileQ5K, TileQ6K, TileQ8_0,
};
use product::Product;
pub use rows::QuantizedRows;

use crate::simd::Simd;

/// How a GGUF tensor stores its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFormat {
    /// 32-bit floats.
    F32,
    /// IEEE 754 16-bit floats.
    F16,
    /// bfloat16.
    Bf16,
    /// 4 bits, scale.
    Q4_0,
    /// 4 bits, scale and minimum.
    Q4_1,
    /// 5 bits, scale.
    Q5_0,
    /// 5 bits, scale and minimum.
    Q5_1,
    /// 8 bits, scale.
    Q8_0,
    /// 4 bits, scales and minima of blocks within blocks.
    Q4K,
    /// 5 bits, scales and minima of blocks within blocks.
    Q5K,
    /// 6 bits, scales of blocks within blocks.
    Q6K,
}

impl WeightFormat {
    /// Columns of a block, and its bytes in a GGUF file. Float formats count as blocks of 32, as activations are.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (BLOCK, BLOCK * ColumnF32::RAW_BYTES),
            Self::F16 => (BLOCK, BLOCK * ColumnF16::RAW_BYTES),
            Self::Bf16 => (BLOCK, BLOCK * ColumnBf16::RAW_BYTES),
            Self::Q4_0 => block_of::<TileQ4_0>(),
            Self::Q4_1 => block_of::<TileQ4_1>(),
            Self::Q5_0 => block_of::<TileQ5_0>(),
            Self::Q5_1 => block_of::<TileQ5_1>(),
            Self::Q8_0 => block_of::<TileQ8_0>(),
            Self::Q4K => block_of::<TileQ4K>(),
            Self::Q5K => block_of::<TileQ5K>(),
            Self::Q6K => block_of::<TileQ6K>(),
        }
    }

    /// [`Self::block`], of which a row has to be some.
    fn check_columns(self, columns: usize) -> Result<(usize, usize), PackError> {
        let (multiple, bytes) = self.block();
        match columns > 0 && columns.is_multiple_of(multiple) {
            true => Ok((multiple, bytes)),
            false => Err(PackError::Columns {
                format: self,
                columns,
                multiple,
            }),
        }
    }

    /// Whether it multiplies f32 activations ([`QuantizedRows::with_floats`]).
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }
}

fn block_of<T: Tile>() -> (usize, usize) {
    (T::BLOCKS * BLOCK, T::RAW_BYTES)
}

/// Why a tensor cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Rows are not whole blocks.
    #[error("a row of {columns} columns is not a multiple of the {multiple} that {format:?} needs")]
    Columns {
        /// Of the tensor.
        format: WeightFormat,
        /// Of the tensor.
        columns: usize,
        /// Of the format.
        multiple: usize,
    },
    /// The bytes are too few or too many for the shape.
    #[error("{rows} rows of {columns} columns in {format:?} do not take {found} bytes")]
    Length {
        /// Of the tensor.
        format: WeightFormat,
        /// Of the tensor.
        rows: usize,
        /// Of the tensor.
        columns: usize,
        /// Bytes given.
        found: usize,
    },
}

/// The tiles of a matrix: all blocks (or float columns) of the first 16 rows, then those of the next.
enum Tiles {
    F32(Vec<ColumnF32>),
    F16(Vec<ColumnF16>),
    Bf16(Vec<ColumnBf16>),
    Q4_0(Vec<TileQ4_0>),
    Q4_1(Vec<TileQ4_1>),
    Q5_0(Vec<TileQ5_0>),
    Q5_1(Vec<TileQ5_1>),
    Q8_0(Vec<TileQ8_0>),
    Q4K(Vec<TileQ4K>),
    Q5K(Vec<TileQ5K>),
    Q6K(Vec<TileQ6K>),
}

/// The same expression for every float format, and another for every int8 format.
macro_rules! for_tiles {
    ($tiles:expr, $vec:ident, float: $float:expr, int8: $int8:expr) => {
        match $tiles {
            Tiles::F32($vec) => $float,
            Tiles::F16($vec) => $float,
            Tiles::Bf16($vec) => $float,
            Tiles::Q4_0($vec) => $int8,
            Tiles::Q4_1($vec) => $int8,
            Tiles::Q5_0($vec) => $int8,
            Tiles::Q5_1($vec) => $int8,
            Tiles::Q8_0($vec) => $int8,
            Tiles::Q4K($vec) => $int8,
            Tiles::Q5K($vec) => $int8,
            Tiles::Q6K($vec) => $int8,
        }
    };
}

/// A weight matrix (rows are outputs, columns are inputs) repacked for the kernels.
pub struct PackedMatrix {
    tiles: Tiles,
    rows: usize,
    columns: usize,
    simd: Simd,
}

impl PackedMatrix {
    /// Output rows a tile.
    pub const TILE: usize = TILE;

    /// Packs `raw`, the tensor's bytes as the GGUF file has them, row after row.
    ///
    /// # Errors
    ///
    /// If the columns are not whole blocks of the format (and of 32), or the bytes do not fit the shape.
    pub fn pack(
        format: WeightFormat,
        raw: &[u8],
        rows: usize,
        columns: usize,
    ) -> Result<Self, PackError> {
        Self::pack_for(Simd::detect(), format, raw, rows, columns)
    }

    fn pack_for(
        simd: Simd,
        format: WeightFormat,
        raw: &[u8],
        rows: usize,
        columns: usize,
    ) -> Result<Self, PackError> {
        let (multiple, bytes) = format.check_columns(columns)?;
        if (columns / multiple)
            .checked_mul(bytes)
            .and_then(|row| row.checked_mul(rows))
            != Some(raw.len())
        {
            return Err(PackError::Length {
                format,
                rows,
                columns,
                found: raw.len(),
            });
        }
        let mut matrix = Self::zeros_for(simd, format, rows, columns)?;
        matrix.put_rows(0, raw);
        Ok(matrix)
    }

    /// A matrix of zeros, for [`Self::put_rows`] to fill: so a large tensor is packed in pieces and never in memory as
    /// it was.
    ///
    /// # Errors
    ///
    /// If the columns are not whole blocks of the format (and of 32).
    pub fn zeros(format: WeightFormat, rows: usize, columns: usize) -> Result<Self, PackError> {
        Self::zeros_for(Simd::detect(), format, rows, columns)
    }

    fn zeros_for(
        simd: Simd,
        format: WeightFormat,
        rows: usize,
        columns: usize,
    ) -> Result<Self, PackError> {
        let (multiple, _) = format.check_columns(columns)?;
        let units = rows.div_ceil(TILE) * (columns / multiple);
        let columns_in_tiles = rows.div_ceil(TILE) * columns;
        let tiles = match format {
            WeightFormat::F32 => Tiles::F32(vec![ColumnF32::ZERO; columns_in_tiles]),
            WeightFormat::F16 => Tiles::F16(vec![ColumnF16::ZERO; columns_in_tiles]),
            WeightFormat::Bf16 => Tiles::Bf16(vec![ColumnBf16::ZERO; columns_in_tiles]),
            WeightFormat::Q4_0 => Tiles::Q4_0(vec![TileQ4_0::ZERO; units]),
            WeightFormat::Q4_1 => Tiles::Q4_1(vec![TileQ4_1::ZERO; units]),
            WeightFormat::Q5_0 => Tiles::Q5_0(vec![TileQ5_0::ZERO; units]),
            WeightFormat::Q5_1 => Tiles::Q5_1(vec![TileQ5_1::ZERO; units]),
            WeightFormat::Q8_0 => Tiles::Q8_0(vec![TileQ8_0::ZERO; units]),
            WeightFormat::Q4K => Tiles::Q4K(vec![TileQ4K::ZERO; units]),
            WeightFormat::Q5K => Tiles::Q5K(vec![TileQ5K::ZERO; units]),
            WeightFormat::Q6K => Tiles::Q6K(vec![TileQ6K::ZERO; units]),
        };
        Ok(Self {
            tiles,
            rows,
            columns,
            simd,
        })
    }

    /// Packs whole rows, as the GGUF file has them, from row `first` on. A row is put once.
    ///
    /// # Panics
    ///
    /// If there are no such rows.
    pub fn put_rows(&mut self, first: usize, raw: &[u8]) {
        let columns = self.columns;
        for_tiles!(
            &mut self.tiles,
            packed,
            float: put_floats(packed, first, raw, columns),
            int8: put_blocks(packed, first, raw, columns)
        );
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes the packed weights take: what a product with one row reads.
    pub fn bytes(&self) -> usize {
        for_tiles!(&self.tiles, packed, float: size_of_val(&packed[..]), int8: size_of_val(&packed[..]))
    }

    /// Tiles there are; the last may be short.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE)
    }

    /// `out[i * stride + r] = x row i * matrix row r` for the matrix rows `r` of `tiles`. Threads call it with disjoint
    /// tiles of the same output.
    ///
    /// # Panics
    ///
    /// If the columns differ, there are no such tiles, or a float format's activations were not kept as floats.
    ///
    /// # Safety
    ///
    /// `out` is valid for `x.rows()` rows of `stride` floats, the last of `rows()` at least; nobody else touches
    /// these columns, and nobody quantizes into `x` meanwhile.
    pub unsafe fn multiply(
        &self,
        x: &QuantizedRows,
        tiles: Range<usize>,
        out: *mut f32,
        stride: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.multiply_rows(x, 0..x.rows(), tiles, out, stride) };
    }

    /// The same of some rows of `x`; `out` begins with the first of them.
    ///
    /// # Panics
    ///
    /// As [`Self::multiply`], and if there are no such rows.
    ///
    /// # Safety
    ///
    /// As for [`Self::multiply`], but `out` has these rows, and nobody quantizes into them meanwhile.
    pub unsafe fn multiply_rows(
        &self,
        x: &QuantizedRows,
        rows: Range<usize>,
        tiles: Range<usize>,
        out: *mut f32,
        stride: usize,
    ) {
        assert!(rows.end <= x.rows(), "{} rows", x.rows());
        assert_eq!(x.columns(), self.columns, "columns of both factors");
        assert!(tiles.end <= self.tiles(), "{} tiles", self.tiles());
        assert!(
            x.keeps_floats()
                || !matches!(self.tiles, Tiles::F32(_) | Tiles::F16(_) | Tiles::Bf16(_)),
            "a float matrix takes float activations"
        );
        let product = Product {
            simd: self.simd,
            x,
            rows,
            tiles,
            matrix_rows: self.rows,
            out,
            stride,
        };
        // SAFETY: the caller's promise; the assertions hold the shapes.
        unsafe {
            for_tiles!(&self.tiles, packed, float: product.of_floats(packed), int8: product.of_blocks(packed));
        }
    }

    /// Row `row` dequantized, for embedding lookups: `out` has `columns()` floats.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "{} rows", self.rows);
        assert_eq!(out.len(), self.columns, "columns of the row");
        let (tile, lane) = (row / TILE, row % TILE);
        for_tiles!(
            &self.tiles,
            packed,
            float: {
                let columns = &packed[tile * self.columns..][..self.columns];
                for (out, column) in out.iter_mut().zip(columns) {
                    *out = column.get(lane);
                }
            },
            int8: {
                let blocks = packed.len() / self.tiles();
                dequantize_blocks(&packed[blocks * tile..][..blocks], lane, out);
            }
        );
    }
}

/// Sixteen rows a tile, a block of columns after another.
fn put_blocks<T: Tile>(tiles: &mut [T], first: usize, raw: &[u8], columns: usize) {
    let blocks = columns / BLOCK / T::BLOCKS;
    for (row, raw) in (first..).zip(raw.chunks_exact(blocks * T::RAW_BYTES)) {
        let tiles = &mut tiles[row / TILE * blocks..][..blocks];
        for (tile, block) in tiles.iter_mut().zip(raw.chunks_exact(T::RAW_BYTES)) {
            tile.put(row % TILE, block);
        }
    }
}

/// Sixteen rows a tile, a column after another.
fn put_floats<T: FloatTile>(tiles: &mut [T], first: usize, raw: &[u8], columns: usize) {
    for (row, raw) in (first..).zip(raw.chunks_exact(columns * T::RAW_BYTES)) {
        let tiles = &mut tiles[row / TILE * columns..][..columns];
        for (tile, number) in tiles.iter_mut().zip(raw.chunks_exact(T::RAW_BYTES)) {
            tile.put(row % TILE, number);
        }
    }
}

/// One row of a tile.
fn dequantize_blocks<T: Tile>(tile: &[T], lane: usize, out: &mut [f32]) {
    for (i, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        *out = tile[i / T::BLOCKS].row_block(lane, i % T::BLOCKS).weights();
    }
}
