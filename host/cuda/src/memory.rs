//! A CUDA device's memory: opening the device, keeping what was freed, measuring what is left, reading results.
#![allow(
    unsafe_code,
    reason = "cudarc has no safe call for a memory pool's settings, and candle marks switching off its events unsafe"
)]

use candle_core::{
    CudaDevice, Device, Error, Result, Storage, Tensor,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{result, sys},
    },
};

/// Never given to KV: the driver loads code and grows stacks as kernels are first launched.
const SPARE_BYTES: u64 = 512 << 20;
/// What flash attention needs: bf16 and asynchronous copies.
const LEAST_CAPABILITY: i32 = 8;

/// The first device and its name.
pub(crate) fn open() -> std::result::Result<(Device, String), String> {
    let unusable = |error: Error| format!("no GPU can be used: {}", first_line(&error));
    // A stream of its own: the per-thread one would be another on each thread that computes.
    let device = Device::new_cuda_with_stream(0).map_err(unusable)?;
    let name = match &device {
        Device::Cuda(cuda) => {
            // SAFETY: all work is on this one stream, so nothing has to wait for another stream's use of a tensor.
            unsafe { cuda.disable_event_tracking() };
            let stream = cuda.cuda_stream();
            let context = stream.context();
            let (major, minor) = context.compute_capability().w().map_err(unusable)?;
            let name = context.name().w().map_err(unusable)?;
            if major < LEAST_CAPABILITY {
                return Err(format!(
                    "no GPU can be used: {name} has compute capability {major}.{minor}, {LEAST_CAPABILITY}.0 is needed"
                ));
            }
            name
        }
        _ => String::new(),
    };
    Ok((device, name))
}

/// Bytes that are free once `work` has run and all it took is kept for the steps to come.
pub(crate) fn free_after(device: &CudaDevice, work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let stream = device.cuda_stream();
    // Loading's own memory goes back to the device here; from now on the pool keeps what steps free, because a step that
    // had to map its memory anew would wait for it.
    stream.synchronize().w()?;
    let context = stream.context();
    keep_freed_memory(context.cu_device())?;
    work()?;
    stream.synchronize().w()?;
    context.bind_to_thread().w()?;
    let (free, total) = result::mem_get_info().w()?;
    tracing::info!(
        "the GPU has {} of {} MiB left for KV",
        free >> 20,
        total >> 20
    );
    Ok((free as u64).saturating_sub(SPARE_BYTES))
}

fn keep_freed_memory(device: sys::CUdevice) -> Result<()> {
    let mut pool: sys::CUmemoryPool = std::ptr::null_mut();
    let mut all = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: `pool` is written before it is read, and the attribute's value is a u64 that outlives the call.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&raw mut pool, device)
            .result()
            .w()?;
        sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut all).cast())
            .result()
            .w()
    }
}

/// Copies f32 numbers straight to where they are wanted.
pub(crate) fn fetch(numbers: &Tensor, into: &mut [f32]) -> Result<()> {
    let numbers = numbers.contiguous()?;
    let (storage, layout) = numbers.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        candle_core::bail!("the numbers are on no GPU");
    };
    let start = layout.start_offset();
    let slice = storage.as_cuda_slice::<f32>()?;
    let slice = slice.slice(start..start + into.len());
    let stream = storage.device.cuda_stream();
    stream.memcpy_dtoh(&slice, into).w()?;
    stream.synchronize().w()
}

fn first_line(error: &Error) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
