//! Launching our own kernels: `kernels/*.cu`, compiled to PTX (for compute capability 8.0, which newer ones run) that stands
//! beside them and is loaded by the driver.
//!
//! Invariants: all of a runner's work is on its device's one stream, so a kernel runs behind whatever wrote its arguments
//! and before whatever reads its results; candle's events are off for the same reason.
#![allow(
    unsafe_code,
    reason = "a kernel is foreign code: nothing but its own text says that its arguments are the ones it takes"
)]

use candle_core::{
    CudaDevice, Result, Tensor,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{LaunchConfig, PushKernelArg},
    },
};

use crate::memory;

/// A file of kernels.
pub(crate) struct Module {
    name: &'static str,
    ptx: &'static str,
}

pub(crate) const KV_WRITE: Module = Module {
    name: "weir_kv_write",
    ptx: include_str!("../kernels/kv_write.ptx"),
};
pub(crate) const TURN: Module = Module {
    name: "weir_turn",
    ptx: include_str!("../kernels/turn.ptx"),
};
pub(crate) const GATE: Module = Module {
    name: "weir_gate",
    ptx: include_str!("../kernels/gate.ptx"),
};

pub(crate) const CHOOSE: Module = Module {
    name: "weir_choose",
    ptx: include_str!("../kernels/choose.ptx"),
};

/// How many threads, and in which shape.
pub(crate) struct Threads {
    pub(crate) grid: (u32, u32),
    pub(crate) block: (u32, u32),
}

/// One argument of a kernel, as the 8 bytes whose first ones the driver copies: it knows how many the kernel takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Argument(u64);

impl Argument {
    /// A null pointer.
    pub(crate) const NULL: Self = Self(0);

    /// A 32-bit size. Larger ones are cut; the sizes of a step and of a layer are bounded far below.
    pub(crate) fn size(size: usize) -> Self {
        Self(u64::from(size as u32))
    }

    pub(crate) fn float(number: f32) -> Self {
        Self(u64::from(number.to_bits()))
    }

    /// Where a contiguous tensor's elements begin.
    pub(crate) fn pointer(tensor: &Tensor) -> Result<Self> {
        memory::pointer(tensor).map(Self)
    }

    /// The same, or null.
    pub(crate) fn optional(tensor: Option<&Tensor>) -> Result<Self> {
        tensor.map_or(Ok(Self::NULL), Self::pointer)
    }
}

/// Launches a kernel of a module on the device's stream.
pub(crate) fn launch(
    device: &CudaDevice,
    module: &Module,
    kernel: &str,
    threads: Threads,
    arguments: &[Argument],
) -> Result<()> {
    if module.ptx.is_empty() {
        candle_core::bail!(
            "{} was built without its PTX: run cargo xtask cuda and build again",
            module.name
        );
    }
    let function = device.get_or_load_custom_func(kernel, module.name, module.ptx)?;
    let mut builder = function.builder();
    for argument in arguments {
        builder.arg(&argument.0);
    }
    let (grid, block) = (threads.grid, threads.block);
    let config = LaunchConfig {
        grid_dim: (grid.0, grid.1, 1),
        block_dim: (block.0, block.1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: callers pass what the kernel's head in its .cu lists, in that order, of the sizes it says; tensors outlive
    // the launch, and their memory is given back on the same stream, behind it.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}

/// A tensor whose elements a kernel is about to write, all of them.
pub(crate) fn unwritten(rows: usize, columns: usize, like: &Tensor) -> Result<Tensor> {
    // SAFETY: numbers of any bits are numbers, and each is written before it is read.
    unsafe { Tensor::empty((rows, columns), like.dtype(), like.device()) }
}
