//! Paged K and V in f16, laid out for the attention kernel.
//!
//! A layer's slab holds, block by block and in each head by head, the keys as `(dim, slots)` and the values as
//! `(slots, dim)`: both are then the right side of a row-times-matrix product whose rows are contiguous. Widths are
//! padded to whole vectors. Latent attention stores one head, whose values are the beginnings of its keys: they are stored
//! twice, for the two products read them in different orders (1,088 numbers a token rather than 576 for DeepSeek-V3,
//! where as many heads of keys and values would take 40,960). The caller's block tables say which block holds what. Numbers that f16 has no room for
//! become its largest, so that no stale slot ever holds an infinity: a slot that a query may not see counts 0 times.

use half::{
    f16,
    slice::{HalfBitsSliceExt, HalfFloatSliceExt},
};
use weir_model::{Attention, KvLayout, ModelDescription};

use crate::shared::Shared;

/// Floats of a vector; widths are multiples of it.
pub(crate) const VECTOR: usize = 8;

/// Elements narrowed at a time.
const NARROWED: usize = 64;

/// The KV blocks of all layers.
#[derive(Debug)]
pub(crate) struct KvCache {
    pub(crate) layers: Vec<KvLayer>,
}

/// One layer's slab.
#[derive(Debug)]
pub(crate) struct KvLayer {
    pub(crate) shape: KvShape,
    elements: Shared<u16>,
}

/// Sizes of a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KvShape {
    /// Tokens a block.
    pub(crate) block_size: usize,
    /// `block_size` in whole vectors: from one element of a key to the next.
    pub(crate) key_stride: usize,
    /// Heads of keys, and as many of values, as groups of query heads see them.
    pub(crate) heads: usize,
    /// Heads that are stored: as many, or one that they all see.
    stored: usize,
    /// Elements of a key.
    pub(crate) dim: usize,
    /// Elements of a value.
    pub(crate) value_dim: usize,
    /// `value_dim` in whole vectors: from one value to the next.
    pub(crate) value_stride: usize,
}

/// One head's keys and values of one block.
pub(crate) struct KvBlock<'a> {
    /// `(dim, key_stride)`.
    pub(crate) keys: &'a [u16],
    /// `(block_size, value_stride)`.
    pub(crate) values: &'a [u16],
}

impl KvShape {
    pub(crate) fn new(layout: KvLayout, block_size: usize) -> Self {
        Self {
            block_size,
            key_stride: block_size.next_multiple_of(VECTOR),
            heads: layout.heads,
            stored: layout.heads,
            dim: layout.dim,
            value_dim: layout.dim,
            value_stride: layout.dim.next_multiple_of(VECTOR),
        }
    }

    /// What a layer needs.
    fn of(attention: &Attention, block_size: usize) -> Self {
        let shape = Self::new(attention.kv_layout(), block_size);
        match attention {
            Attention::Grouped(_) => shape,
            Attention::Latent(latent) => Self {
                heads: latent_groups(latent.heads),
                value_dim: latent.kv_rank,
                value_stride: latent.kv_rank.next_multiple_of(VECTOR),
                ..shape
            },
        }
    }

    fn head_elements(self) -> usize {
        let keys = self.dim.saturating_mul(self.key_stride);
        keys.saturating_add(self.block_size.saturating_mul(self.value_stride))
    }

    fn block_elements(self) -> usize {
        self.stored.saturating_mul(self.head_elements())
    }
}

impl KvCache {
    /// Bytes of one block over all layers; saturates, because the metadata is not checked against tensors yet.
    pub(crate) fn bytes_per_block(description: &ModelDescription, block_size: usize) -> usize {
        shapes(description, block_size).fold(0, |sum: usize, shape| {
            sum.saturating_add(shape.block_elements().saturating_mul(size_of::<u16>()))
        })
    }

    /// None when the system does not give so much memory. What it gives takes none until it is written.
    pub(crate) fn new(
        description: &ModelDescription,
        num_blocks: usize,
        block_size: usize,
    ) -> Option<Self> {
        let layer = |shape| KvLayer::new(shape, num_blocks);
        let layers = shapes(description, block_size).map(layer);
        Some(Self {
            layers: layers.collect::<Option<_>>()?,
        })
    }
}

/// Query heads of a group of latent attention at most. More would read a block less often, but the queries and sums of a
/// tile should stay in a core's cache, and a step with one token should have work for several.
const LATENT_GROUP: usize = 16;

/// Groups of query heads, all of one size, that latent attention is computed in.
pub(crate) fn latent_groups(heads: usize) -> usize {
    let groups = (heads.div_ceil(LATENT_GROUP)..heads).find(|groups| heads.is_multiple_of(*groups));
    groups.unwrap_or(heads)
}

fn shapes(description: &ModelDescription, block_size: usize) -> impl Iterator<Item = KvShape> {
    description
        .layers
        .iter()
        .map(move |layer| KvShape::of(&layer.attention, block_size))
}

#[allow(unsafe_code, reason = "workers write disjoint slots of one slab")]
impl KvLayer {
    pub(crate) fn new(shape: KvShape, num_blocks: usize) -> Option<Self> {
        Some(Self {
            shape,
            elements: Shared::try_zeros(num_blocks.checked_mul(shape.block_elements())?)?,
        })
    }

    /// Writes a token's key and value of one head into a slot of a block.
    ///
    /// # Safety
    /// In this phase of the step nobody else touches this slot.
    pub(crate) unsafe fn write(
        &self,
        (block, slot): (usize, usize),
        head: usize,
        key: &[f32],
        value: &[f32],
    ) {
        let shape = self.shape;
        assert!(slot < shape.block_size);
        assert!(key.len() == shape.dim && value.len() == shape.value_dim);
        let keys = self.start(block, head);
        let values = keys + shape.dim * shape.key_stride + slot * shape.value_stride;
        let keys = self
            .elements
            .pointer(keys..keys + shape.dim * shape.key_stride);
        let mut halves = [0; NARROWED];
        for (part, elements) in key.chunks(NARROWED).enumerate() {
            let halves = &mut halves[..elements.len()];
            narrow(elements, halves);
            for (at, &half) in halves.iter().enumerate() {
                let at = part * NARROWED + at;
                // SAFETY: `at` is below `dim` and the slot below the stride, so the place is within the range above; the
                // caller answers for the slot.
                unsafe { *keys.add(at * shape.key_stride + slot) = half };
            }
        }
        // SAFETY: the caller answers for the slot.
        let values = unsafe { self.elements.slice_mut(values..values + shape.value_dim) };
        for (elements, halves) in value.chunks(NARROWED).zip(values.chunks_mut(NARROWED)) {
            narrow(elements, halves);
        }
    }

    /// One head's part of a block.
    ///
    /// # Safety
    /// While it lives, nobody writes into the block.
    pub(crate) unsafe fn block(&self, block: usize, head: usize) -> KvBlock<'_> {
        let shape = self.shape;
        let keys = self.start(block, head);
        let values = keys + shape.dim * shape.key_stride;
        let end = keys + shape.head_elements();
        // SAFETY: the caller's word.
        unsafe {
            KvBlock {
                keys: self.elements.slice(keys..values),
                values: self.elements.slice(values..end),
            }
        }
    }

    fn start(&self, block: usize, head: usize) -> usize {
        let shape = self.shape;
        assert!(head < shape.heads);
        let stored = head * shape.stored / shape.heads;
        block * shape.block_elements() + stored * shape.head_elements()
    }
}

/// The elements as f16, at most [`NARROWED`] of them.
fn narrow(elements: &[f32], halves: &mut [u16]) {
    let largest = f16::MAX.to_f32();
    let mut bounded = [0.0; NARROWED];
    let bounded = &mut bounded[..elements.len()];
    for (bounded, element) in bounded.iter_mut().zip(elements) {
        *bounded = element.clamp(-largest, largest);
    }
    halves
        .reinterpret_cast_mut::<f16>()
        .convert_from_f32_slice(bounded);
}
