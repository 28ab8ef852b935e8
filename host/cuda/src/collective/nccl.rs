//! NCCL: sums over GPUs, on their own streams. The library is opened when a model is shared, so that weir is built, and starts,
//! where it is not installed; cudarc would link it.
//!
//! Format: the declarations are those of nccl.h of NCCL 2.
#![allow(
    unsafe_code,
    reason = "NCCL is foreign code: nothing but its header says what its functions take"
)]

use std::{
    error::Error as _,
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use candle_core::DType;
use libloading::Library;

/// As the library is called in NVIDIA's packages and in Python's, where the launcher looks too.
#[cfg(feature = "cuda")]
const LIBRARY: &str = "libnccl.so.2";

/// `ncclSuccess`.
const SUCCESS: c_int = 0;
/// `ncclSum`.
const SUM: c_int = 0;

/// A communicator, a stream: pointers whose targets only the libraries know.
type Opaque = *mut c_void;
type CommInitAll = unsafe extern "C" fn(*mut Opaque, c_int, *const c_int) -> c_int;
type AllReduce =
    unsafe extern "C" fn(*const c_void, Opaque, usize, c_int, c_int, Opaque, Opaque) -> c_int;
type CommAbort = unsafe extern "C" fn(Opaque) -> c_int;
type GetErrorString = unsafe extern "C" fn(c_int) -> *const c_char;

/// The library's functions; they are its own as long as it is open.
#[derive(Debug)]
struct Nccl {
    init_all: CommInitAll,
    all_reduce: AllReduce,
    abort: CommAbort,
    error_string: GetErrorString,
    _library: Library,
}

impl Nccl {
    fn open(name: &str) -> Result<Self, String> {
        let missing = |error: libloading::Error| {
            let why = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            format!("NCCL, through which GPUs share a model, cannot be used: {why}")
        };
        // SAFETY: what a library does when it is opened is its own affair; NCCL's does nothing to us.
        let library = unsafe { Library::new(name) }.map_err(missing)?;
        // SAFETY: the types are those of the header.
        unsafe {
            Ok(Self {
                init_all: *library.get(b"ncclCommInitAll\0").map_err(missing)?,
                all_reduce: *library.get(b"ncclAllReduce\0").map_err(missing)?,
                abort: *library.get(b"ncclCommAbort\0").map_err(missing)?,
                error_string: *library.get(b"ncclGetErrorString\0").map_err(missing)?,
                _library: library,
            })
        }
    }

    fn check(&self, what: &str, code: c_int) -> Result<(), String> {
        if code == SUCCESS {
            return Ok(());
        }
        // SAFETY: the function takes any number, and its texts are constants.
        let text = unsafe { CStr::from_ptr((self.error_string)(code)) };
        Err(format!("NCCL: {what}: {}", text.to_string_lossy()))
    }
}

/// Devices that are joined.
#[derive(Debug)]
struct Group {
    nccl: Nccl,
    /// One a device; None behind the end. A communicator is used by one thread at a time.
    communicators: Vec<Mutex<Option<Communicator>>>,
    ended: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Communicator(Opaque);

// SAFETY: NCCL's communicators may go from thread to thread.
unsafe impl Send for Communicator {}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    /// Joins devices of these numbers.
    fn join(nccl: Nccl, devices: &[c_int]) -> Result<Self, String> {
        let mut communicators = vec![ptr::null_mut(); devices.len()];
        // SAFETY: both pointers are to as many elements as are told.
        let code = unsafe {
            (nccl.init_all)(
                communicators.as_mut_ptr(),
                devices.len() as c_int,
                devices.as_ptr(),
            )
        };
        nccl.check("GPUs cannot be joined", code)?;
        let communicators = communicators.into_iter();
        Ok(Self {
            communicators: communicators
                .map(|one| Mutex::new(Some(Communicator(one))))
                .collect(),
            ended: Mutex::new(None),
            nccl,
        })
    }

    /// Adds up `count` numbers of each device in place, behind all that its stream holds already.
    ///
    /// # Safety
    /// `numbers` are as many of that type, in the memory of this rank's device, until the stream is through; `stream` is the
    /// device's.
    unsafe fn sum(
        &self,
        rank: usize,
        numbers: Opaque,
        count: usize,
        dtype: DType,
        stream: Opaque,
    ) -> Result<(), String> {
        // ncclFloat16, ncclFloat32, ncclBfloat16.
        let kind = match dtype {
            DType::F16 => 6,
            DType::F32 => 7,
            DType::BF16 => 9,
            other => return Err(format!("GPUs do not add up {other:?}")),
        };
        let communicator = locked(&self.communicators[rank]);
        let Some(Communicator(communicator)) = &*communicator else {
            return Err(self.ended().unwrap_or_default());
        };
        // SAFETY: as the caller promises; nobody else uses the communicator now.
        let code = unsafe {
            (self.nccl.all_reduce)(numbers, numbers, count, kind, SUM, *communicator, stream)
        };
        self.nccl.check("a sum over all GPUs", code)
    }

    /// Stops sums that wait, too.
    fn leave(&self, reason: &str) {
        locked(&self.ended).get_or_insert_with(|| reason.to_owned());
        for communicator in &self.communicators {
            if let Some(Communicator(communicator)) = locked(communicator).take() {
                // SAFETY: nobody has it any more. What aborting fails at, nobody could do better.
                unsafe { (self.nccl.abort)(communicator) };
            }
        }
    }

    fn ended(&self) -> Option<String> {
        locked(&self.ended).clone()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.leave("it was dropped");
    }
}

#[cfg(feature = "cuda")]
pub(super) use gpus::connect;

#[cfg(feature = "cuda")]
mod gpus {
    use std::sync::Arc;

    use candle_core::{CudaDevice, Device, Error, Result, Tensor, cuda_backend::WrapErr};

    use super::{Group, LIBRARY, Nccl, Opaque, c_int};
    use crate::{collective::Collective, memory};

    /// One GPU's place in the group.
    #[derive(Debug)]
    struct Place {
        group: Arc<Group>,
        rank: usize,
        device: CudaDevice,
    }

    /// A collective for each of some GPUs.
    pub(in crate::collective) fn connect(
        devices: &[Device],
    ) -> std::result::Result<Vec<Arc<dyn Collective>>, String> {
        let devices: Vec<&CudaDevice> = devices
            .iter()
            .map(|device| device.as_cuda_device())
            .collect::<Result<_>>()
            .map_err(|error| error.to_string())?;
        let ordinal = |device: &&CudaDevice| device.cuda_stream().context().ordinal() as c_int;
        let ordinals: Vec<c_int> = devices.iter().map(ordinal).collect();
        let group = Arc::new(Group::join(Nccl::open(LIBRARY)?, &ordinals)?);
        let place = |(rank, device): (usize, &CudaDevice)| -> Arc<dyn Collective> {
            Arc::new(Place {
                group: Arc::clone(&group),
                rank,
                device: device.clone(),
            })
        };
        Ok(devices.into_iter().enumerate().map(place).collect())
    }

    impl Collective for Place {
        fn sum(&self, part: Tensor) -> Result<Tensor> {
            let numbers = memory::pointer(&part)? as Opaque;
            let stream = self.device.cuda_stream();
            stream.context().bind_to_thread().w()?;
            let stream = stream.cu_stream().cast();
            // SAFETY: the tensor is this device's, and its memory is given back on the same stream, behind the sum.
            let queued = unsafe {
                let (count, dtype) = (part.elem_count(), part.dtype());
                self.group.sum(self.rank, numbers, count, dtype, stream)
            };
            queued.map(|()| part).map_err(Error::msg)
        }

        fn leave(&self, reason: &str) {
            self.group.leave(reason);
        }

        fn ended(&self) -> Option<String> {
            self.group.ended()
        }
    }
}

#[cfg(test)]
mod tests;
