//! [`Flash`]: the kernels a GPU is served with: candle-flash-attn over pages, and our own for what stands around it.

use candle_core::{CudaDevice, DType, Result, Tensor};
use candle_flash_attn::flash_attn_varlen_paged_windowed;
use weir_engine::LOGITS_BLOCK;
use weir_model::{Activation, KvSlabs};

use crate::{
    heads::Heads,
    kernels::Kernels,
    launch::{Argument, CHOOSE, GATE, KV_WRITE, TURN, Threads, launch, unwritten},
    step::Step,
};

/// Warps of a block that turns heads: a warp a head.
const TURNING_WARPS: u32 = 4;
const GATING_THREADS: u32 = 256;
/// Threads that look through a block of logits each.
const CHOOSING_THREADS: u32 = 64;
/// Threads that copy a token's keys and values, at most.
const WRITING_THREADS: usize = 256;
/// Bytes that one thread copies at a time.
const VECTOR_BYTES: usize = 16;

/// Flash attention and our own kernels, on one device's stream.
#[derive(Debug)]
pub(crate) struct Flash {
    device: CudaDevice,
}

impl Flash {
    pub(crate) fn new(device: &CudaDevice) -> Self {
        Self {
            device: device.clone(),
        }
    }
}

/// How our kernels' names end.
fn suffix(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::BF16 => Ok("bf16"),
        DType::F16 => Ok("f16"),
        other => candle_core::bail!("a GPU computes in bf16 or f16, not in {other:?}"),
    }
}

impl Kernels for Flash {
    fn turn(&self, projected: Tensor, heads: &Heads, step: &Step<'_>) -> Result<Tensor> {
        if heads.rope.is_none() && heads.norms.is_none() && heads.bias.is_none() {
            return Ok(projected);
        }
        let tokens = projected.dim(0)?;
        let (query_norm, key_norm) = match &heads.norms {
            Some((query, key)) => (Some(query), Some(key)),
            None => (None, None),
        };
        let rope = heads.rope.as_ref();
        let arguments = [
            Argument::pointer(&projected)?,
            Argument::optional(heads.bias.as_ref())?,
            Argument::optional(query_norm)?,
            Argument::optional(key_norm)?,
            Argument::float(heads.norm_eps),
            Argument::optional(rope.map(|table| &table.angles))?,
            Argument::pointer(&step.positions)?,
            Argument::size(heads.attention.heads),
            Argument::size(heads.attention.kv_heads),
            Argument::size(heads.attention.head_dim),
            Argument::size(rope.map_or(0, |table| table.pairs)),
        ];
        let threads = Threads {
            grid: (tokens as u32, (heads.all() as u32).div_ceil(TURNING_WARPS)),
            block: (32, TURNING_WARPS),
        };
        let kernel = format!("turn_{}", suffix(projected.dtype())?);
        launch(&self.device, &TURN, &kernel, threads, &arguments)?;
        Ok(projected)
    }

    fn store(
        &self,
        projected: &Tensor,
        heads: &Heads,
        slabs: &KvSlabs,
        layer: usize,
        step: &Step<'_>,
    ) -> Result<()> {
        let in_a_vector = VECTOR_BYTES / projected.dtype().size_in_bytes();
        let dim = heads.attention.head_dim / in_a_vector;
        let row = heads.attention.kv_heads * dim;
        let arguments = [
            Argument::pointer(slabs.slab(layer))?,
            Argument::pointer(projected)?,
            Argument::pointer(&step.slots)?,
            Argument::size(slabs.block_size()),
            Argument::size(row),
            Argument::size(heads.all() * dim),
            Argument::size(heads.attention.heads * dim),
        ];
        let threads = Threads {
            grid: (projected.dim(0)? as u32, 1),
            block: (row.next_multiple_of(32).min(WRITING_THREADS) as u32, 1),
        };
        launch(&self.device, &KV_WRITE, "kv_write", threads, &arguments)
    }

    fn attend(
        &self,
        projected: &Tensor,
        heads: &Heads,
        slabs: &KvSlabs,
        layer: usize,
        step: &Step<'_>,
    ) -> Result<Tensor> {
        let attention = &heads.attention;
        let queries = projected
            .reshape(((), heads.all(), attention.head_dim))?
            .narrow(1, 0, attention.heads)?;
        let plane = |plane| slabs.slab(layer).narrow(1, plane, 1)?.squeeze(1);
        let rows = &step.rows;
        // A query's last visible key is its own: right of it nothing. The kernel counts a window's tokens to the left.
        let mixed = flash_attn_varlen_paged_windowed(
            &queries,
            &plane(0)?,
            &plane(1)?,
            &rows.query_ends,
            &rows.key_ends,
            &rows.block_table,
            None,
            rows.longest_query,
            rows.longest_context,
            attention.scale,
            attention.window.map(|window| window.saturating_sub(1)),
            Some(0),
            slabs.block_size(),
            attention.softcap,
        )?;
        mixed.flatten_from(1)
    }

    fn gate(&self, both: &Tensor, activation: Activation) -> Result<Tensor> {
        let (tokens, columns) = both.dims2()?;
        let inner = columns / 2;
        let gated = unwritten(tokens, inner, both)?;
        let arguments = [
            Argument::pointer(&gated)?,
            Argument::pointer(both)?,
            Argument::size(inner),
        ];
        let threads = Threads {
            grid: (tokens as u32, (inner as u32).div_ceil(GATING_THREADS)),
            block: (GATING_THREADS, 1),
        };
        let activation = match activation {
            Activation::Silu => "silu",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_tanh",
        };
        let kernel = format!("gate_{activation}_{}", suffix(both.dtype())?);
        launch(&self.device, &GATE, &kernel, threads, &arguments).map(|()| gated)
    }

    fn block_maxima(&self, logits: &Tensor) -> Result<Tensor> {
        let (rows, vocab) = logits.dims2()?;
        let blocks = vocab.div_ceil(LOGITS_BLOCK);
        let maxima = unwritten(rows, blocks, logits)?;
        let arguments = [
            Argument::pointer(&maxima)?,
            Argument::pointer(logits)?,
            Argument::size(vocab),
            Argument::size(blocks),
        ];
        let threads = Threads {
            grid: (rows as u32, (blocks as u32).div_ceil(CHOOSING_THREADS)),
            block: (CHOOSING_THREADS, 1),
        };
        launch(&self.device, &CHOOSE, "block_maxima", threads, &arguments).map(|()| maxima)
    }

    fn take_blocks(&self, logits: &Tensor, which: &Tensor) -> Result<Tensor> {
        let vocab = logits.dim(1)?;
        let taken = which.dim(0)?;
        let part = unwritten(taken, LOGITS_BLOCK, logits)?;
        let arguments = [
            Argument::pointer(&part)?,
            Argument::pointer(logits)?,
            Argument::pointer(which)?,
            Argument::size(vocab),
            Argument::size(vocab.div_ceil(LOGITS_BLOCK)),
        ];
        let threads = Threads {
            grid: (taken as u32, 1),
            block: (LOGITS_BLOCK as u32, 1),
        };
        launch(&self.device, &CHOOSE, "take_blocks", threads, &arguments).map(|()| part)
    }
}
