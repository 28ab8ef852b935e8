//! What several devices that share a model do together: add up the parts that each has computed.
//!
//! Invariants: every device sums equally often, equal shapes in the same order; who cannot go on says why and leaves, and
//! nobody waits for it.

#[cfg(any(test, feature = "cuda"))]
mod nccl;
mod threads;

use std::{fmt, sync::Arc};

use candle_core::{DType, Device, Result, Tensor};

use crate::device::first_line;

/// One device's way to the others.
pub(crate) trait Collective: fmt::Debug + Send + Sync {
    /// The sum of what all devices hand in, on each of them; what was handed in may be overwritten.
    fn sum(&self, part: Tensor) -> Result<Tensor>;

    /// Ends it for all: whoever waits in a sum, now or later, stops. What a device finds then means nothing.
    fn leave(&self, reason: &str);

    /// Why it ended, in the words of who left first.
    fn ended(&self) -> Option<String>;
}

/// A device that holds all of a model.
#[derive(Debug)]
pub(crate) struct Alone;

impl Collective for Alone {
    fn sum(&self, part: Tensor) -> Result<Tensor> {
        Ok(part)
    }

    fn leave(&self, _reason: &str) {}

    fn ended(&self) -> Option<String> {
        None
    }
}

/// A collective for each of some devices, in their order.
///
/// # Errors
/// What they cannot be joined by, in one line.
pub(crate) fn connect(devices: &[Device]) -> std::result::Result<Vec<Arc<dyn Collective>>, String> {
    match devices {
        [_] => Ok(vec![Arc::new(Alone)]),
        #[cfg(feature = "cuda")]
        [Device::Cuda(_), ..] => nccl::connect(devices),
        _ => Ok(threads::connect(devices.len())),
    }
}

/// Does one device's part of something that all do together. Neither an error nor a panic keeps the others waiting.
pub(crate) fn take_part<T, E: fmt::Display>(
    collective: &dyn Collective,
    rank: usize,
    work: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let panicked = LeaveOnDrop(collective, rank);
    let outcome = work();
    std::mem::forget(panicked);
    if let Err(error) = &outcome {
        collective.leave(&format!("device {rank}: {}", first_line(error)));
    }
    outcome
}

struct LeaveOnDrop<'a>(&'a dyn Collective, usize);

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        let Self(collective, rank) = self;
        collective.leave(&format!("device {rank}: its thread has panicked"));
    }
}

/// Whether devices add up wrong. The numbers are whole and so small that bf16 holds the sums of some forty devices exactly.
pub(crate) fn is_off(
    collective: &dyn Collective,
    (rank, count): (usize, usize),
    dtype: DType,
    device: &Device,
) -> Result<bool> {
    const LEN: usize = 1000;
    // At each place another device adds nothing, so a part that is missing, doubled or another's shows.
    let number = |at: usize| (at % 7) as f32;
    let own = |at| if at % count == rank { 0.0 } else { number(at) };
    let part = Tensor::from_vec((0..LEN).map(own).collect(), LEN, &Device::Cpu)?;
    let found = collective.sum(part.to_dtype(dtype)?.to_device(device)?)?;
    let found = found.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let right = (0..LEN).map(|at| number(at) * (count - 1) as f32);
    Ok(!right.eq(found.to_vec1::<f32>()?))
}

#[cfg(test)]
mod tests;
