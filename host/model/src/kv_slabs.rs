//! Paged KV storage: one slab a layer, `(blocks, 2, block_size, kv_heads, head_dim)` in f32, K before V in each block.
//!
//! The caller's block tables say which block holds what; nothing here knows of sequences or of free blocks.
//! Writing and gathering copy whole runs of slots, never single tokens of a longer run.

use candle_core::{DType, Device, IndexOp, Result, Tensor};
use weir_engine::BatchRow;

use crate::description::ModelDescription;

/// The KV blocks of all layers.
#[derive(Debug)]
pub(crate) struct KvSlabs {
    layers: Vec<Tensor>,
    block_size: usize,
}

/// Where one row's K and V lie: block numbers as the indices of their halves, once a step for all layers.
#[derive(Debug)]
pub(crate) struct KvPages {
    keys: Tensor,
    values: Tensor,
    tokens: usize,
}

impl KvSlabs {
    /// Bytes of one block over all layers; saturates, because the metadata is not checked against tensors yet.
    pub(crate) fn bytes_per_block(description: &ModelDescription, block_size: usize) -> usize {
        [
            description.layers,
            description.kv_heads,
            description.head_dim,
            block_size,
        ]
        .into_iter()
        .fold(2 * size_of::<f32>(), usize::saturating_mul)
    }

    /// Zeroed slabs; the system hands out their memory as blocks are first written.
    pub(crate) fn new(
        description: &ModelDescription,
        num_blocks: usize,
        block_size: usize,
        device: &Device,
    ) -> Result<Self> {
        let shape = (
            num_blocks,
            2,
            block_size,
            description.kv_heads,
            description.head_dim,
        );
        let layers = (0..description.layers)
            .map(|_| Tensor::zeros(shape, DType::F32, device))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { layers, block_size })
    }

    /// Writes K and V of a row's new tokens, both `(len, kv_heads, head_dim)`, into its blocks.
    pub(crate) fn write(
        &self,
        layer: usize,
        row: &BatchRow,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<()> {
        let (_, kv_heads, head_dim) = keys.dims3()?;
        let slots = self.layers[layer].reshape(((), kv_heads, head_dim))?;
        let mut written = 0;
        while written < row.len {
            let position = row.context_len + written;
            let slot = position % self.block_size;
            let len = (self.block_size - slot).min(row.len - written);
            let block = row.block_table[position / self.block_size] as usize;
            let first = 2 * block * self.block_size + slot;
            slots.slice_set(&keys.narrow(0, written, len)?, 0, first)?;
            slots.slice_set(&values.narrow(0, written, len)?, 0, first + self.block_size)?;
            written += len;
        }
        Ok(())
    }

    /// The pages of a row's context and new tokens.
    pub(crate) fn pages(&self, row: &BatchRow, device: &Device) -> Result<KvPages> {
        let tokens = row.context_len + row.len;
        let blocks = &row.block_table[..tokens.div_ceil(self.block_size)];
        let keys = blocks.iter().map(|block| 2 * block).collect::<Vec<_>>();
        let values = blocks.iter().map(|block| 2 * block + 1).collect::<Vec<_>>();
        let count = blocks.len();
        Ok(KvPages {
            keys: Tensor::from_vec(keys, count, device)?,
            values: Tensor::from_vec(values, count, device)?,
            tokens,
        })
    }

    /// K and V of a row, both `(kv_heads, tokens, head_dim)`: one copy each, the heads a strided view of it.
    pub(crate) fn gather(&self, layer: usize, pages: &KvPages) -> Result<(Tensor, Tensor)> {
        let slab = &self.layers[layer];
        let (_, _, block_size, kv_heads, head_dim) = slab.dims5()?;
        let halves = slab.reshape(((), block_size * kv_heads * head_dim))?;
        let gather = |halves_wanted: &Tensor| {
            halves
                .index_select(halves_wanted, 0)?
                .reshape(((), kv_heads, head_dim))?
                .i(..pages.tokens)?
                .transpose(0, 1)
        };
        Ok((gather(&pages.keys)?, gather(&pages.values)?))
    }
}
