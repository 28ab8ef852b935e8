//! Paged K and V as int16 with a scale for each key and each value, laid out for the attention kernel.
//!
//! A layer's slab holds, block by block and in each head by head, the keys as `(dim / 2, slots, 2)` and the values as
//! `(slots / 2, dim, 2)`: both are then the right side of a product of int16 that takes two rows at a time. Widths are
//! padded to whole vectors. Latent attention stores one head, whose values are the beginnings of its keys: they are stored
//! twice, for the two products read them in different orders (1,088 numbers a token rather than 576 for DeepSeek-V3,
//! where as many heads of keys and values would take 40,960). The caller's block tables say which block holds what.
//!
//! Invariant: every scale is finite, so a stale slot that a query may not see counts 0 times whatever is in it.

use std::ops::Range;

use weir_model::{Attention, KvLayout, ModelDescription};

use crate::{int16, shared::Shared, simd::Simd};

/// Sums of a vector; widths are multiples of it.
pub(crate) const VECTOR: usize = 8;

/// Elements of a line of the processor's caches. One is left free behind each head: otherwise the same columns of all
/// blocks would share a sixteenth of the first-level cache.
const CACHE_LINE: usize = 32;

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
    elements: Shared<i16>,
    scales: Shared<f32>,
}

/// Sizes of a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KvShape {
    /// Tokens a block.
    pub(crate) block_size: usize,
    /// `block_size` in whole vectors: from one pair of elements of a key to the next.
    pub(crate) key_stride: usize,
    /// Heads of keys, and as many of values, as groups of query heads see them.
    pub(crate) heads: usize,
    /// Heads that are stored: as many, or one that they all see.
    stored: usize,
    /// Elements of a key.
    pub(crate) dim: usize,
    /// Elements of a value.
    pub(crate) value_dim: usize,
    /// `value_dim` in whole vectors: from one pair of values to the next.
    pub(crate) value_stride: usize,
}

/// One head's keys and values of one block.
pub(crate) struct KvBlock<'a> {
    /// `(dim / 2, key_stride, 2)`.
    pub(crate) keys: &'a [i16],
    /// `(block_size / 2, value_stride, 2)`.
    pub(crate) values: &'a [i16],
    /// What the keys' numbers are multiples of: `key_stride`, by slot.
    pub(crate) key_scales: &'a [f32],
    /// The same of the values.
    pub(crate) value_scales: &'a [f32],
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

    /// Elements of a head's keys in a block.
    fn key_elements(self) -> usize {
        let pairs = self.dim.div_ceil(2).saturating_mul(2);
        pairs.saturating_mul(self.key_stride)
    }

    fn head_elements(self) -> usize {
        let pairs = self.block_size.div_ceil(2).saturating_mul(2);
        let values = pairs.saturating_mul(self.value_stride);
        let both = self.key_elements().saturating_add(values);
        both.saturating_add(CACHE_LINE)
    }

    /// Elements and scales of a block.
    fn block_lens(self) -> (usize, usize) {
        let scales = self.key_stride.saturating_mul(2);
        (
            self.stored.saturating_mul(self.head_elements()),
            self.stored.saturating_mul(scales),
        )
    }
}

impl KvCache {
    /// Bytes of one block over all layers; saturates, because the metadata is not checked against tensors yet.
    pub(crate) fn bytes_per_block(description: &ModelDescription, block_size: usize) -> usize {
        shapes(description, block_size).fold(0, |sum: usize, shape| {
            let (elements, scales) = shape.block_lens();
            sum.saturating_add(elements.saturating_mul(size_of::<i16>()))
                .saturating_add(scales.saturating_mul(size_of::<f32>()))
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
        let (elements, scales) = shape.block_lens();
        Some(Self {
            shape,
            elements: Shared::try_zeros(num_blocks.checked_mul(elements)?)?,
            scales: Shared::try_zeros(num_blocks.checked_mul(scales)?)?,
        })
    }

    /// Writes a token's key and value of one head into a slot of a block.
    ///
    /// # Safety
    /// In this phase of the step nobody else touches this slot.
    pub(crate) unsafe fn write(
        &self,
        simd: Simd,
        (block, slot): (usize, usize),
        head: usize,
        (key, value): (&[f32], &[f32]),
    ) {
        let shape = self.shape;
        assert!(slot < shape.block_size);
        assert!(key.len() == shape.dim && value.len() == shape.value_dim);
        let (elements, scales) = self.head(block, head);
        let keys = self.elements.pointer(elements);
        let scales = self.scales.pointer(scales);
        let key_scale = finite(int16::by_norm(simd, key));
        narrow(simd, key, key_scale, |at, number| {
            let place = (at / 2 * shape.key_stride + slot) * 2 + at % 2;
            // SAFETY: the element and the slot are within the shape of the keys; the caller answers for the slot.
            unsafe { *keys.add(place) = number };
        });
        let value_scale = finite(int16::by_largest(simd, value));
        let first = shape.key_elements() + slot / 2 * shape.value_stride * 2 + slot % 2;
        narrow(simd, value, value_scale, |at, number| {
            // SAFETY: as above, of the values, which follow the keys.
            unsafe { *keys.add(first + at * 2) = number };
        });
        // SAFETY: a head has a scale for each slot's key, then one for each slot's value.
        unsafe {
            *scales.add(slot) = key_scale;
            *scales.add(shape.key_stride + slot) = value_scale;
        }
    }

    /// One head's part of a block.
    ///
    /// # Safety
    /// While it lives, nobody writes into the block.
    pub(crate) unsafe fn block(&self, block: usize, head: usize) -> KvBlock<'_> {
        let (elements, scales) = self.head(block, head);
        // SAFETY: the caller's word.
        let (elements, scales) =
            unsafe { (self.elements.slice(elements), self.scales.slice(scales)) };
        let (keys, values) = elements.split_at(self.shape.key_elements());
        let (key_scales, value_scales) = scales.split_at(self.shape.key_stride);
        KvBlock {
            keys,
            values,
            key_scales,
            value_scales,
        }
    }

    /// Where a head's elements and scales are.
    fn head(&self, block: usize, head: usize) -> (Range<usize>, Range<usize>) {
        let shape = self.shape;
        assert!(head < shape.heads);
        let place = block * shape.stored + head * shape.stored / shape.heads;
        let of = |len: usize| place * len..(place + 1) * len;
        (of(shape.head_elements()), of(2 * shape.key_stride))
    }
}

/// Nothing where a vector has an element that is no number.
fn finite(scale: f32) -> f32 {
    if scale.is_finite() { scale } else { 0.0 }
}

/// Hands out the numbers of a vector's elements, one by one.
fn narrow(simd: Simd, elements: &[f32], scale: f32, mut to: impl FnMut(usize, i16)) {
    let mut numbers = [0; NARROWED];
    for (part, elements) in elements.chunks(NARROWED).enumerate() {
        let numbers = &mut numbers[..elements.len()];
        int16::fill(simd, elements, scale, numbers);
        for (at, &number) in numbers.iter().enumerate() {
            to(part * NARROWED + at, number);
        }
    }
}
