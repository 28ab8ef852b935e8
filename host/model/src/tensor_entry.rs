//! One tensor as the header of its file lists it, the same for both formats.

use std::ops::Range;

use crate::error::ModelError;

/// A tensor of a file: what is known of it before its data is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry<'a> {
    /// Its name, such as `blk.0.attn_q.weight`.
    pub name: &'a str,
    /// Its shape, outermost dimension first.
    pub shape: &'a [usize],
    /// Its element type as the format spells it, such as `Q4_1` or `BF16`.
    pub dtype: String,
    /// Bytes of its data.
    pub bytes: u64,
}

/// The columns of a matrix that has these rows and columns, of which there is one at least.
pub(crate) fn section_width(
    name: &str,
    shape: &[usize],
    rows: &Range<usize>,
    columns: &Range<usize>,
) -> Result<usize, ModelError> {
    let inside = |range: &Range<usize>, count: usize| range.start < range.end && range.end <= count;
    match *shape {
        [height, width] if inside(rows, height) && inside(columns, width) => Ok(width),
        _ => Err(ModelError::UnreadableTensor {
            name: name.to_owned(),
            reason: format!("rows {rows:?} and columns {columns:?} of shape {shape:?}"),
        }),
    }
}
