//! The boundary to the device: what a layer computes beside its matrix products and norms.
//!
//! Queries, keys and values of a token stand side by side in one row, "projected": `(tokens, (heads + 2 * kv_heads) * dim)`.
//! All of an implementation's work is in the runner's type; what it adds up, it adds up in f32.

use std::fmt;

use candle_core::{Device, Result, Tensor};
use weir_model::{Activation, KvSlabs};

use crate::{
    heads::Heads,
    reference::{self, Reference},
    step::Step,
};

/// What differs between devices.
pub(crate) trait Kernels: fmt::Debug + Send + Sync {
    /// Adds biases, norms heads of queries and keys, and turns them by their tokens' positions, whichever of these the
    /// layer has. What was projected may be overwritten.
    fn turn(&self, projected: Tensor, heads: &Heads, step: &Step<'_>) -> Result<Tensor>;

    /// Writes keys and values of the step's tokens into their slots of a layer's slab.
    fn store(
        &self,
        projected: &Tensor,
        heads: &Heads,
        slabs: &KvSlabs,
        layer: usize,
        step: &Step<'_>,
    ) -> Result<()>;

    /// Attention of the step's queries over their rows' blocks: `(tokens, heads * dim)`. Keys and values of the step are
    /// stored already.
    fn attend(
        &self,
        projected: &Tensor,
        heads: &Heads,
        slabs: &KvSlabs,
        layer: usize,
        step: &Step<'_>,
    ) -> Result<Tensor>;

    /// `activation(gate) * up` of rows that hold a gate beside an up: `(tokens, 2 * inner)` to `(tokens, inner)`.
    fn gate(&self, both: &Tensor, activation: Activation) -> Result<Tensor>;

    /// The largest of each block of rows of logits, `(rows, vocab)` to `(rows, blocks)` in f32; what is no number does not count.
    fn block_maxima(&self, logits: &Tensor) -> Result<Tensor> {
        reference::block_maxima(logits)
    }

    /// Blocks of rows of logits, `(which, a block's logits)`: `which` numbers them through all rows. Behind a row's end stands
    /// negative infinity.
    fn take_blocks(&self, logits: &Tensor, which: &Tensor) -> Result<Tensor> {
        reference::take_blocks(logits, which)
    }
}

/// The kernels that a model is served with on a device.
#[cfg(feature = "flash-attn")]
pub(crate) fn serving(device: &Device) -> Result<Box<dyn Kernels>> {
    match device {
        Device::Cuda(device) => Ok(Box::new(crate::flash::Flash::new(device))),
        _ => Ok(Box::new(Reference)),
    }
}

/// The kernels that a model is served with on a device.
#[cfg(not(feature = "flash-attn"))]
pub(crate) fn serving(device: &Device) -> Result<Box<dyn Kernels>> {
    if device.is_cuda() {
        tracing::warn!("built without the feature flash-attn: attention is right, but slow");
    }
    Ok(Box::new(Reference))
}
