//! One tensor as the header of its file lists it, the same for both formats.

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
