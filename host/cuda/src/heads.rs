//! A layer's heads: their sizes, and what is done to queries and keys between projection and attention.

use candle_core::{Device, Result, Tensor};
use weir_model::{GroupedAttention, Scores};

use crate::rope::RopeTable;

/// What kernels are told of a layer's attention. All tensors are f32 on the runner's device.
#[derive(Debug)]
pub(crate) struct Heads {
    /// Sizes, window and cap.
    pub(crate) attention: GroupedAttention,
    /// Added to what is projected, `((heads + 2 * kv_heads) * dim)`.
    pub(crate) bias: Option<Tensor>,
    /// Norms of each head of queries and of keys, `(dim)` each.
    pub(crate) norms: Option<(Tensor, Tensor)>,
    /// Added under the norms' root.
    pub(crate) norm_eps: f32,
    /// None where nothing turns.
    pub(crate) rope: Option<RopeTable>,
}

impl Heads {
    /// Heads of queries, keys and values.
    pub(crate) fn all(&self) -> usize {
        self.attention.heads + 2 * self.attention.kv_heads
    }

    /// Columns of what is projected.
    pub(crate) fn columns(&self) -> usize {
        self.all() * self.attention.head_dim
    }

    /// What the scores are made of.
    pub(crate) fn scores(&self) -> Scores {
        Scores {
            scale: self.attention.scale,
            softcap: self.attention.softcap,
            window: self.attention.window,
        }
    }

    /// The same on another device.
    pub(crate) fn on(&self, device: &Device) -> Result<Self> {
        let moved = |tensor: &Option<Tensor>| {
            let moved = tensor.as_ref().map(|tensor| tensor.to_device(device));
            moved.transpose()
        };
        Ok(Self {
            attention: self.attention.clone(),
            bias: moved(&self.bias)?,
            norms: match &self.norms {
                Some((query, key)) => Some((query.to_device(device)?, key.to_device(device)?)),
                None => None,
            },
            norm_eps: self.norm_eps,
            rope: match &self.rope {
                Some(table) => Some(RopeTable {
                    angles: table.angles.to_device(device)?,
                    pairs: table.pairs,
                }),
                None => None,
            },
        })
    }
}
