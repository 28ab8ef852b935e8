//! [`Uploads`]: the way of a step's integers to the device.

use candle_core::{Device, Result, Tensor};

#[cfg(feature = "cuda")]
use crate::memory::Pinned;

/// Uploads to one device, step after step. A GPU reads page-locked memory by itself, so that neither the host waits for the
/// copy nor the copy for the host; what is not locked the driver would copy to memory that is, first.
#[derive(Debug)]
pub(crate) struct Uploads {
    device: Device,
    #[cfg(feature = "cuda")]
    pinned: Option<Pinned>,
}

impl Uploads {
    pub(crate) fn to(device: &Device) -> Self {
        Self {
            device: device.clone(),
            #[cfg(feature = "cuda")]
            pinned: None,
        }
    }

    /// Numbers as a tensor of one dimension.
    pub(crate) fn upload(&mut self, numbers: Vec<u32>) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(device) = &self.device {
            return Pinned::upload(&mut self.pinned, device, &numbers);
        }
        let len = numbers.len();
        Tensor::from_vec(numbers, len, &self.device)
    }
}
