//! [`CudaRunner`]: the decoder and its KV slabs behind the engine's boundary, on one device or on several.

use std::sync::Arc;

use candle_core::Device;
use weir_engine::{Batch, EngineError, Logits, ModelRunner, RunnerInfo};
use weir_model::{
    Checkpoint, LoadProgress, ModelDescription, ModelError, RunnerOptions, check_batch,
};

use crate::{
    choose::Chooser,
    collective::take_part,
    device::{self, Gpus},
    dtype::Dtype,
    kernels,
    prepare::{Prepared, prepare, supports},
    self_test::{MakeKernels, Proof},
    shard::{Follower, Order, Shard},
};

/// What a caller chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaOptions {
    /// Sizes; bytes of KV are those of each device.
    pub runner: RunnerOptions,
    /// The type of weights, activations and KV.
    pub dtype: Dtype,
    /// KV takes what the GPU has left beside the weights and the largest step, whatever `runner.kv_capacity` says; None
    /// keeps to that.
    pub fill: Option<LargestStep>,
}

/// The most that one step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargestStep {
    /// New tokens of all rows.
    pub tokens: usize,
    /// Rows.
    pub rows: usize,
}

/// Computes a decoder on a GPU, or on several that share it.
#[derive(Debug)]
pub struct CudaRunner {
    /// On the first device; it makes the logits.
    leader: Shard,
    followers: Vec<Follower>,
    info: RunnerInfo,
    chooser: Chooser,
    /// A device that failed once answers every later call with that failure.
    fails_for_good: bool,
}

impl CudaRunner {
    /// Whether a model is one that this runner computes.
    ///
    /// # Errors
    /// What it lacks, in one line; or that the model cannot be described at all.
    pub fn supports(checkpoint: &Checkpoint) -> Result<(), String> {
        let description = checkpoint.describe().map_err(|error| error.to_string())?;
        supports(&description)
    }

    /// Proves the devices on random numbers, then loads a model, of which each device reads its share; `progress` hears of
    /// every tensor, first with nothing loaded.
    ///
    /// # Errors
    /// Names what the files lack or hold that is not supported, the option that does not fit the model or the devices, or
    /// what a device computes wrong.
    pub fn load(
        checkpoint: &Checkpoint,
        gpus: &Gpus,
        options: CudaOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, ModelError> {
        Self::with_kernels(checkpoint, gpus, options, progress, &kernels::serving)
    }

    fn with_kernels(
        checkpoint: &Checkpoint,
        gpus: &Gpus,
        options: CudaOptions,
        progress: &mut dyn FnMut(LoadProgress),
        make: &MakeKernels<'_>,
    ) -> Result<Self, ModelError> {
        let Prepared {
            shards,
            info,
            proof,
        } = prepare(checkpoint, gpus, options, progress, make)?;
        if let Proof::WholeRows(reason) = &proof {
            tracing::warn!("{reason}: all logits go to the host, which is slower");
        }
        let mut shards = shards.into_iter();
        let none = || ModelError::InvalidOptions("tp is 0, it must be at least 1".to_owned());
        let leader = shards.next().ok_or_else(none)?;
        let followers = shards.enumerate().map(|(index, shard)| {
            Follower::start(index + 1, shard).map_err(|error| {
                ModelError::InvalidOptions(format!("no thread for device {}: {error}", index + 1))
            })
        });
        Ok(Self {
            leader,
            followers: followers.collect::<Result<_, _>>()?,
            info,
            chooser: Chooser::new(proof != Proof::Whole),
            fails_for_good: gpus.devices().iter().any(Device::is_cuda),
        })
    }

    /// What was loaded, or the first device's share of it.
    pub fn description(&self) -> &ModelDescription {
        self.leader.decoder.description()
    }

    /// Has all devices do a step. What the first makes of it is good only if none has left.
    fn step(
        &mut self,
        batch: &Batch,
        hidden: bool,
        lead: impl FnOnce(&mut Shard, &mut Chooser) -> candle_core::Result<()>,
    ) -> Result<(), EngineError> {
        if !self.followers.is_empty() {
            let order = Order {
                batch: Arc::new(batch.clone()),
                hidden,
            };
            for follower in &self.followers {
                follower.order(order.clone());
            }
        }
        let collective = self.leader.collective();
        let (leader, chooser) = (&mut self.leader, &mut self.chooser);
        let led = take_part(&*collective, 0, || lead(leader, chooser));
        match (collective.ended(), led) {
            (Some(reason), _) => Err(EngineError::Lost(reason)),
            (None, Ok(())) => Ok(()),
            (None, Err(error)) if self.fails_for_good => Err(EngineError::Lost(error.to_string())),
            (None, Err(error)) => Err(EngineError::Runner(error.to_string())),
        }
    }
}

impl Drop for CudaRunner {
    fn drop(&mut self) {
        // A step that was broken off may have left followers in a sum; their threads are waited for next.
        self.leader.collective().leave("the runner is gone");
    }
}

impl ModelRunner for CudaRunner {
    fn info(&self) -> &RunnerInfo {
        &self.info
    }

    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError> {
        self.execute_choosing(batch, &[], logits)
    }

    fn execute_choosing(
        &mut self,
        batch: &Batch,
        enough: &[Option<usize>],
        logits: &mut Logits,
    ) -> Result<(), EngineError> {
        check_batch(batch, &self.info).map_err(EngineError::Runner)?;
        let vocab = self.info.vocab_size;
        if batch.rows.is_empty() {
            logits.resize(0, vocab);
            return Ok(());
        }
        self.step(batch, false, |leader, chooser| {
            match leader.logits(batch)? {
                Some(computed) => {
                    chooser.hand_over(&computed, enough, leader.decoder.kernels(), logits)
                }
                None => {
                    logits.resize(0, vocab);
                    Ok(())
                }
            }
        })
    }

    fn hidden_size(&self) -> Option<usize> {
        Some(self.description().hidden)
    }

    fn hidden_into(&mut self, batch: &Batch, hidden: &mut Vec<f32>) -> Result<(), EngineError> {
        check_batch(batch, &self.info).map_err(EngineError::Runner)?;
        hidden.resize(batch.wanted_tokens() * self.description().hidden, 0.0);
        if batch.rows.is_empty() {
            return Ok(());
        }
        self.step(batch, true, |leader, _| match leader.hidden(batch)? {
            Some(computed) => device::fetch(&computed, hidden),
            None => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests;
