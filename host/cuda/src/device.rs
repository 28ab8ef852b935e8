//! [`Gpus`]: the devices that a model is computed on, found or not in one line.

use std::fmt;

use candle_core::{DType, Device, Result, Tensor};

/// One device, or several that share a model.
#[derive(Debug, Clone)]
pub struct Gpus {
    devices: Vec<Device>,
    name: String,
}

impl Gpus {
    /// The first `count` GPUs, 1 or more.
    ///
    /// # Errors
    /// Why there are none to compute on, or too few, in one line.
    #[cfg(feature = "cuda")]
    pub fn open(count: usize) -> std::result::Result<Self, String> {
        let opened = crate::memory::open(count);
        let (devices, first) = opened.map_err(|reason| refused(count, &reason))?;
        let name = match count {
            1 => first,
            _ => format!("{count} GPUs ({first})"),
        };
        Ok(Self { devices, name })
    }

    /// The first `count` GPUs, 1 or more.
    ///
    /// # Errors
    /// Why there are none to compute on, or too few, in one line.
    #[cfg(not(feature = "cuda"))]
    pub fn open(_count: usize) -> std::result::Result<Self, String> {
        Err("this build has no CUDA".to_owned())
    }

    /// The CPU in the place of so many GPUs: the same code in plain operations, a thread a device. It is what tests compute
    /// with.
    pub fn on_the_cpu(count: usize) -> Self {
        Self {
            devices: vec![Device::Cpu; count],
            name: "the CPU in a GPU's place".to_owned(),
        }
    }

    /// What they call themselves.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn devices(&self) -> &[Device] {
        &self.devices
    }
}

/// Whether a device computes with such numbers.
pub(crate) fn check(device: &Device, dtype: DType) -> std::result::Result<(), String> {
    match (device, dtype) {
        (Device::Cuda(_), DType::F32) => {
            Err("a GPU computes in bf16 or f16, not in f32: choose another dtype".to_owned())
        }
        _ => Ok(()),
    }
}

/// Why so many GPUs are not there.
#[cfg(any(test, feature = "cuda"))]
fn refused(count: usize, reason: &str) -> String {
    match count {
        1 => reason.to_owned(),
        _ => format!("tp is {count}, but {reason}"),
    }
}

/// Why those that were found will not do.
#[cfg(any(test, feature = "cuda"))]
pub(crate) fn too_few(found: usize) -> String {
    let gpus = if found == 1 { "GPU is" } else { "GPUs are" };
    format!("{found} {gpus} in sight: choose a smaller tp, or let CUDA_VISIBLE_DEVICES name more")
}

/// What an error says, without the places it came through, which candle adds where backtraces are on.
pub(crate) fn first_line(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Bytes that are free once `work` has taken all it ever needs, less what the driver may want besides.
pub(crate) fn free_after(device: &Device, work: impl FnOnce() -> Result<()>) -> Result<u64> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => crate::memory::free_after(device, work),
        _ => {
            work()?;
            candle_core::bail!("only a GPU says how much memory is free: choose kv_cache_memory")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_numbers_are_named() {
        assert!(refused(2, &too_few(1)).starts_with("tp is 2, but 1 GPU is in sight: "));
        assert!(refused(8, &too_few(4)).starts_with("tp is 8, but 4 GPUs are in sight: "));
        assert_eq!(refused(1, "no GPU can be used"), "no GPU can be used");
    }
}
