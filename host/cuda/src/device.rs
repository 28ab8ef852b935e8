//! [`Gpu`]: the device that a model is computed on, found or not in one line.

use candle_core::{DType, Device, Result, Tensor};

/// A device.
#[derive(Debug, Clone)]
pub struct Gpu {
    device: Device,
    name: String,
}

impl Gpu {
    /// The first GPU.
    ///
    /// # Errors
    /// Why there is none to compute on, in one line.
    #[cfg(feature = "cuda")]
    pub fn open() -> std::result::Result<Self, String> {
        crate::memory::open().map(|(device, name)| Self { device, name })
    }

    /// The first GPU.
    ///
    /// # Errors
    /// Why there is none to compute on, in one line.
    #[cfg(not(feature = "cuda"))]
    pub fn open() -> std::result::Result<Self, String> {
        Err("this build has no CUDA".to_owned())
    }

    /// The CPU in a GPU's place: the same code in plain operations, which is what tests compute with.
    pub fn on_the_cpu() -> Self {
        Self {
            device: Device::Cpu,
            name: "the CPU in a GPU's place".to_owned(),
        }
    }

    /// What the device calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the device computes with such numbers.
    pub(crate) fn check(&self, dtype: DType) -> std::result::Result<(), String> {
        match (&self.device, dtype) {
            (Device::Cuda(_), DType::F32) => {
                Err("a GPU computes in bf16 or f16, not in f32: choose another dtype".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Bytes that are free once `work` has taken all it ever needs, less what the driver may want besides.
    pub(crate) fn free_after(&self, work: impl FnOnce() -> Result<()>) -> Result<u64> {
        match &self.device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => crate::memory::free_after(device, work),
            _ => {
                work()?;
                candle_core::bail!(
                    "only a GPU says how much memory is free: choose kv_cache_memory"
                )
            }
        }
    }
}

/// Copies f32 numbers of a device into memory that is there already.
pub(crate) fn fetch(numbers: &Tensor, into: &mut [f32]) -> Result<()> {
    #[cfg(feature = "cuda")]
    if numbers.device().is_cuda() {
        return crate::memory::fetch(numbers, into);
    }
    into.copy_from_slice(&numbers.flatten_all()?.to_vec1::<f32>()?);
    Ok(())
}
