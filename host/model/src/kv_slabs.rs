//! Paged KV storage: one slab a layer, `(blocks, planes, block_size, heads, dim)`; K before V in each block, or one plane
//! of latents.
//!
//! The caller's block tables say which block holds what; nothing here knows of sequences or of free blocks.
//! Writing and gathering copy whole runs of slots, never single tokens of a longer run.

use candle_core::{DType, Device, IndexOp, Result, Tensor};
use weir_engine::BatchRow;

use crate::description::{KvLayout, ModelDescription};

/// The KV blocks of all layers.
#[derive(Debug)]
pub struct KvSlabs {
    layers: Vec<Slab>,
    block_size: usize,
}

#[derive(Debug)]
struct Slab {
    layout: KvLayout,
    blocks: Tensor,
}

/// Where one row's tokens lie, once a step for all layers.
#[derive(Debug)]
pub struct KvPages {
    blocks: Vec<u32>,
    tokens: usize,
}

fn layouts(description: &ModelDescription) -> impl Iterator<Item = KvLayout> {
    description
        .layers
        .iter()
        .map(|layer| layer.attention.kv_layout())
}

impl KvSlabs {
    /// Bytes of one block over all layers; saturates, because the metadata is not checked against tensors yet.
    pub fn bytes_per_block(
        description: &ModelDescription,
        block_size: usize,
        dtype: DType,
    ) -> usize {
        layouts(description)
            .fold(0, |sum: usize, layout| {
                sum.saturating_add(layout.elements())
            })
            .saturating_mul(block_size)
            .saturating_mul(dtype.size_in_bytes())
    }

    /// Zeroed slabs; on the CPU the system hands out their memory as blocks are first written.
    ///
    /// # Errors
    /// No memory for them.
    pub fn new(
        description: &ModelDescription,
        num_blocks: usize,
        block_size: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let slab = |layout: KvLayout| {
            let KvLayout { planes, heads, dim } = layout;
            let shape = (num_blocks, planes, block_size, heads, dim);
            Ok(Slab {
                layout,
                blocks: Tensor::zeros(shape, dtype, device)?,
            })
        };
        Ok(Self {
            layers: layouts(description).map(slab).collect::<Result<_>>()?,
            block_size,
        })
    }

    /// Tokens a block.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// A layer's slab, `(blocks, planes, block_size, heads, dim)`.
    pub fn slab(&self, layer: usize) -> &Tensor {
        &self.layers[layer].blocks
    }

    /// Writes one plane of a row's new tokens, `(len, heads, dim)`, into its blocks.
    ///
    /// # Errors
    /// Tensors of another shape or type.
    pub fn write(&self, layer: usize, plane: usize, row: &BatchRow, new: &Tensor) -> Result<()> {
        let Slab { layout, blocks } = &self.layers[layer];
        let slots = blocks.reshape(((), layout.heads, layout.dim))?;
        let mut written = 0;
        while written < row.len {
            let position = row.context_len + written;
            let slot = position % self.block_size;
            let len = (self.block_size - slot).min(row.len - written);
            let block = row.block_table[position / self.block_size] as usize;
            let first = (layout.planes * block + plane) * self.block_size + slot;
            slots.slice_set(&new.narrow(0, written, len)?.contiguous()?, 0, first)?;
            written += len;
        }
        Ok(())
    }

    /// The pages of a row's context and new tokens.
    pub fn pages(&self, row: &BatchRow) -> KvPages {
        let tokens = row.context_len + row.len;
        KvPages {
            blocks: row.block_table[..tokens.div_ceil(self.block_size)].to_vec(),
            tokens,
        }
    }

    /// One plane of a row, `(heads, tokens, dim)`: one copy, the heads a strided view of it.
    ///
    /// # Errors
    /// No memory for it.
    pub fn gather(&self, layer: usize, plane: usize, pages: &KvPages) -> Result<Tensor> {
        let Slab { layout, blocks } = &self.layers[layer];
        let KvLayout { planes, heads, dim } = *layout;
        let wanted: Vec<u32> = pages
            .blocks
            .iter()
            .map(|block| planes as u32 * block + plane as u32)
            .collect();
        let wanted = Tensor::new(wanted.as_slice(), blocks.device())?;
        blocks
            .reshape(((), self.block_size * heads * dim))?
            .index_select(&wanted, 0)?
            .reshape(((), heads, dim))?
            .i(..pages.tokens)?
            .transpose(0, 1)
    }
}
