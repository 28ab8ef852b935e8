//! FP8 weights with one scale a block, as DeepSeek-V3 ships them: a matrix of F8_E4M3 and beside it `NAME_scale_inv`,
//! `[ceil(rows / block rows), ceil(columns / block columns)]`; an element is its value times the scale of its block.
//! The block size stands in config.json, `quantization_config.weight_block_size`. Format: README_WEIGHTS.md of
//! github.com/deepseek-ai/DeepSeek-V3.
//!
//! Every other quantization is refused by name here.

use serde_json::{Map, Value};

/// Rows and columns of the blocks that share a scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockSize {
    rows: usize,
    columns: usize,
}

impl BlockSize {
    /// The block size a config.json asks for, None when its weights are not quantized.
    ///
    /// # Errors
    /// Says which quantization is not supported.
    pub(super) fn from_config(config: &Map<String, Value>) -> Result<Option<Self>, String> {
        let text_config = config.get("text_config").and_then(Value::as_object);
        let Some(quantization) = [Some(config), text_config]
            .into_iter()
            .flatten()
            .flat_map(|config| {
                ["quantization_config", "compression_config"].map(|key| config.get(key))
            })
            .flatten()
            .find(|quantization| !quantization.is_null())
        else {
            return Ok(None);
        };
        let Some(method) = quantization.get("quant_method").and_then(Value::as_str) else {
            return Err("quantization_config without quant_method is not supported".to_owned());
        };
        if method != "fp8" {
            return Err(format!(
                "quantization {} is not supported",
                method.escape_debug()
            ));
        }
        for (key, supported) in [("activation_scheme", "dynamic"), ("fmt", "e4m3")] {
            match quantization.get(key) {
                None => {}
                Some(value) if value == supported => {}
                Some(value) => {
                    return Err(format!(
                        "quantization fp8 with {key} {value} is not supported"
                    ));
                }
            }
        }
        let sizes = quantization
            .get("weight_block_size")
            .unwrap_or(&Value::Null);
        let size = |index: usize| sizes.get(index)?.as_u64()?.try_into().ok();
        match (sizes.as_array().map(Vec::len), size(0), size(1)) {
            (Some(2), Some(rows @ 1..), Some(columns @ 1..)) => Ok(Some(Self { rows, columns })),
            _ => Err(format!(
                "quantization fp8 with weight_block_size {sizes} is not supported"
            )),
        }
    }

    /// The shape of the scales of a matrix, or of a stack of matrices; None for a vector.
    pub(super) fn scales_shape(&self, shape: &[usize]) -> Option<Vec<usize>> {
        let (&[rows, columns], stack) = shape
            .split_last_chunk()
            .map(|(stack, last)| (last, stack))?;
        let mut scales = stack.to_vec();
        scales.extend([rows.div_ceil(self.rows), columns.div_ceil(self.columns)]);
        Some(scales)
    }

    /// Multiplies rows of a matrix (or of a stack of matrices, counted through) with their scales.
    ///
    /// `values` are whole rows from `first_row` on, `rows` and `columns` the size of one matrix, `scales` all scales
    /// of the tensor.
    pub(super) fn apply(
        &self,
        values: &mut [f32],
        first_row: usize,
        (rows, columns): (usize, usize),
        scales: &[f32],
    ) {
        let scale_columns = columns.div_ceil(self.columns);
        for (row, values) in (first_row..).zip(values.chunks_exact_mut(columns)) {
            let scale_row = row / rows * rows.div_ceil(self.rows) + row % rows / self.rows;
            let scales = &scales[scale_row * scale_columns..][..scale_columns];
            for (block, scale) in values.chunks_mut(self.columns).zip(scales) {
                for value in block {
                    *value *= scale;
                }
            }
        }
    }
}
