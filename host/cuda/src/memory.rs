//! CUDA devices' memory: opening devices, keeping what was freed, measuring what is left, uploading a step's integers, reading
//! results.
#![allow(
    unsafe_code,
    reason = "cudarc has no safe call for a memory pool's settings, and candle marks switching off its events unsafe"
)]

use candle_core::{
    CudaDevice, CudaStorage, Device, Error, Result, Storage, Tensor,
    backend::BackendStorage,
    cuda_backend::{
        CudaStorageSlice, WrapErr,
        cudarc::driver::{
            CudaContext, CudaEvent, CudaSlice, CudaStream, DevicePtr, PinnedHostSlice, result, sys,
        },
    },
    op::BackpropOp,
};

use crate::device::{first_line, too_few};

/// Never given to KV: the driver loads code and grows stacks as kernels are first launched.
const SPARE_BYTES: u64 = 512 << 20;
/// What flash attention needs: bf16 and asynchronous copies.
const LEAST_CAPABILITY: i32 = 8;

/// The first `count` devices, and the first one's name.
pub(crate) fn open(count: usize) -> std::result::Result<(Vec<Device>, String), String> {
    if count > 1 {
        let found = CudaContext::device_count().w().map_err(unusable)?;
        if (found as usize) < count {
            return Err(too_few(found as usize));
        }
    }
    let devices = (0..count).map(open_one);
    let devices = devices.collect::<std::result::Result<Vec<_>, _>>()?;
    let name = devices.first().map(|(_, name)| name.clone());
    let devices = devices.into_iter().map(|(device, _)| device).collect();
    Ok((devices, name.unwrap_or_default()))
}

/// A device and its name.
fn open_one(number: usize) -> std::result::Result<(Device, String), String> {
    // A stream of its own: the per-thread one would be another on each thread that computes.
    let device = Device::new_cuda_with_stream(number).map_err(unusable)?;
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

/// Page-locked memory that a device is uploaded from.
#[derive(Debug)]
pub(crate) struct Pinned {
    memory: PinnedHostSlice<u32>,
    /// Behind the last upload: until then the memory is the device's. cudarc's own events are off.
    uploaded: CudaEvent,
}

impl Pinned {
    /// Uploads through memory that is kept, and taken anew where it is too small.
    pub(crate) fn upload(
        kept: &mut Option<Self>,
        device: &CudaDevice,
        numbers: &[u32],
    ) -> Result<Tensor> {
        let stream = device.cuda_stream();
        let pinned = match kept.take() {
            Some(pinned) if pinned.memory.len() >= numbers.len() => kept.insert(pinned),
            _ => kept.insert(Self::new(&stream, numbers.len().next_power_of_two())?),
        };
        pinned.uploaded.synchronize().w()?;
        let memory = &mut pinned.memory.as_mut_slice().w()?[..numbers.len()];
        memory.copy_from_slice(numbers);
        // SAFETY: every element is written by the copy, before anything behind it on the stream reads it.
        let mut there = unsafe { device.alloc::<u32>(numbers.len())? };
        stream.memcpy_htod(&*memory, &mut there).w()?;
        pinned.uploaded.record(&stream).w()?;
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(there, device.clone()));
        Ok(Tensor::from_storage(
            storage,
            numbers.len(),
            BackpropOp::none(),
            false,
        ))
    }

    fn new(stream: &CudaStream, len: usize) -> Result<Self> {
        let context = stream.context();
        Ok(Self {
            // SAFETY: it is written before it is read.
            memory: unsafe { context.alloc_pinned(len) }.w()?,
            uploaded: context.new_event(None).w()?,
        })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // The memory goes next. A device that fails here has read all it ever will.
        let _failed = self.uploaded.synchronize();
    }
}

/// Where a contiguous tensor's elements begin on its device.
pub(crate) fn pointer(tensor: &Tensor) -> Result<u64> {
    if !tensor.is_contiguous() {
        candle_core::bail!("what a kernel takes must be contiguous");
    }
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        candle_core::bail!("what a kernel takes must be on the GPU");
    };
    let offset = layout.start_offset() * tensor.dtype().size_in_bytes();
    Ok(base(storage)? + offset as u64)
}

fn base(storage: &CudaStorage) -> Result<u64> {
    let stream = storage.device().cuda_stream();
    Ok(match &storage.slice {
        CudaStorageSlice::BF16(slice) => address(slice, &stream),
        CudaStorageSlice::F16(slice) => address(slice, &stream),
        CudaStorageSlice::F32(slice) => address(slice, &stream),
        CudaStorageSlice::U32(slice) => address(slice, &stream),
        _ => candle_core::bail!("kernels take bf16, f16, f32 and u32"),
    })
}

fn address<T>(slice: &CudaSlice<T>, stream: &CudaStream) -> u64 {
    // What is dropped here would record an event, and events are off.
    slice.device_ptr(stream).0
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

fn unusable(error: Error) -> String {
    format!("no GPU can be used: {}", first_line(&error))
}
