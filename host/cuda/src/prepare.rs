//! What happens once, before the first step: devices are joined and proven, weights loaded, the memory for KV measured.
//!
//! Several devices do each of these at the same time, the first on the caller's thread.

use std::{iter, panic::resume_unwind, sync::Arc, thread};

use candle_core::Device;
use weir_engine::{Batch, BatchRow, RunnerInfo, SequenceId};
use weir_model::{
    Attention, Checkpoint, KvCapacity, KvSlabs, LoadProgress, ModelDescription, ModelError,
};

use crate::{
    built,
    collective::{self, Collective, take_part},
    decoder::Decoder,
    device::{self, Gpus},
    dtype::Dtype,
    layer,
    runner::{CudaOptions, LargestStep},
    self_test::{self, MakeKernels, Proof},
    shard::Shard,
    split::Share,
    step::Step,
    uploads::Uploads,
    weight_source::CheckpointSource,
};

/// The longest context there is a table of angles for, in tokens: half a GiB of them for a usual head.
const LONGEST_CONTEXT: usize = 1 << 20;

/// What a runner steps with.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// One a device.
    pub(crate) shards: Vec<Shard>,
    pub(crate) info: RunnerInfo,
    /// Of the device that makes the logits.
    pub(crate) proof: Proof,
}

/// Proves the devices on random numbers, then loads a model; see [`crate::CudaRunner::load`].
pub(crate) fn prepare(
    checkpoint: &Checkpoint,
    gpus: &Gpus,
    options: CudaOptions,
    progress: &mut dyn FnMut(LoadProgress),
    make: &MakeKernels<'_>,
) -> Result<Prepared, ModelError> {
    let refuse = ModelError::InvalidOptions;
    let CudaOptions {
        mut runner,
        dtype,
        fill,
    } = options;
    let devices = gpus.devices();
    let whole = checkpoint.describe()?;
    supports(&whole).map_err(refuse)?;
    for device in devices {
        device::check(device, dtype.candle()).map_err(refuse)?;
    }
    if let Some(lacking) = built::lacks_numbers(dtype) {
        return Err(refuse(lacking));
    }
    let first = Share {
        model: &whole,
        rank: 0,
        count: devices.len(),
    };
    let part = first.description().map_err(refuse)?;
    let block_bytes = KvSlabs::bytes_per_block(&part, runner.block_size, dtype.candle());
    // Before anything is read: wrong sizes are known already.
    let info = runner.clone().runner_info(&part, block_bytes)?;
    check_sizes(&info)?;
    let crew = Crew {
        whole: &whole,
        part,
        dtype,
        make,
        places: Place::all(devices).map_err(refuse)?,
    };
    let proof = crew.prove()?;
    let decoders = crew.load(checkpoint, info.max_model_len, progress)?;
    let info = match fill {
        None => info,
        Some(step) => {
            runner.kv_capacity = KvCapacity::Bytes(crew.free(&decoders, &info, step)?);
            let info = runner.runner_info(&crew.part, block_bytes)?;
            check_sizes(&info)?;
            info
        }
    };
    let shards = crew.shards(decoders, &info).map_err(|error| {
        let kv = (info.num_blocks * block_bytes) >> 20;
        refuse(format!(
            "a KV cache of {kv} MiB does not fit {}, choose a smaller kv_cache_memory: {error}",
            gpus.name()
        ))
    })?;
    tracing::debug!(model = ?whole, ?info, devices = devices.len(), "model loaded");
    Ok(Prepared {
        shards,
        info,
        proof,
    })
}

/// One device of several.
struct Place<'a> {
    rank: usize,
    device: &'a Device,
    collective: Arc<dyn Collective>,
}

impl<'a> Place<'a> {
    fn all(devices: &'a [Device]) -> Result<Vec<Self>, String> {
        let places = devices
            .iter()
            .zip(collective::connect(devices)?)
            .enumerate();
        let places = places.map(|(rank, (device, collective))| Self {
            rank,
            device,
            collective,
        });
        Ok(places.collect())
    }
}

/// All devices, and what they are to compute.
struct Crew<'a> {
    whole: &'a ModelDescription,
    /// Each device's share; equal but for which one it is.
    part: ModelDescription,
    dtype: Dtype,
    make: &'a MakeKernels<'a>,
    places: Vec<Place<'a>>,
}

impl Crew<'_> {
    /// First each device by itself, because one that fails must not be waited for; then their sums.
    fn prove(&self) -> Result<Proof, ModelError> {
        let alone = |place: &Place<'_>| {
            let proof = self_test::run(place.device, self.dtype, &self.part, self.make);
            proof.map_err(ModelError::InvalidOptions)
        };
        let proofs = self.on_each(alone, alone)?;
        let proof = proofs.into_iter().next().unwrap_or(Proof::Whole);
        let count = self.places.len();
        if count == 1 {
            return Ok(proof);
        }
        let together = |place: &Place<'_>| {
            let Place {
                rank,
                device,
                collective,
            } = place;
            let off = take_part(&**collective, *rank, || {
                collective::is_off(&**collective, (*rank, count), self.dtype.candle(), device)
            })?;
            match off {
                true => Err(ModelError::InvalidOptions(format!(
                    "the GPUs must not serve: the sum of what {count} of them hand in is wrong on device {rank}"
                ))),
                false => Ok(()),
            }
        };
        self.on_each(together, together).map(|_| proof)
    }

    /// Each device's weights.
    fn load(
        &self,
        checkpoint: &Checkpoint,
        max_model_len: usize,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Vec<Decoder>, ModelError> {
        let load = |place: &Place<'_>, progress: &mut dyn FnMut(LoadProgress)| {
            let share = Share {
                model: self.whole,
                rank: place.rank,
                count: self.places.len(),
            };
            let mut source = CheckpointSource::new(checkpoint, share, progress);
            let decoder = Decoder::load(
                &self.part,
                max_model_len,
                &mut source,
                self.dtype.candle(),
                place.device,
                (self.make)(place.device)?,
                Arc::clone(&place.collective),
            )?;
            source.finish().map(|()| decoder)
        };
        self.on_each(
            |first| load(first, progress),
            |other| load(other, &mut |_| {}),
        )
    }

    /// Bytes for KV on the device that has fewest left when all compute the step that needs most.
    fn free(
        &self,
        decoders: &[Decoder],
        info: &RunnerInfo,
        step: LargestStep,
    ) -> Result<u64, ModelError> {
        let measure = |place: &Place<'_>| {
            let work = || self.largest_step(place, &decoders[place.rank], info, step);
            let free = take_part(&*place.collective, place.rank, || {
                device::free_after(place.device, work)
            });
            Ok(free?)
        };
        let free = self.on_each(measure, measure)?;
        Ok(free.into_iter().min().unwrap_or(0))
    }

    /// Its rows share blocks, whose KV means nothing.
    fn largest_step(
        &self,
        place: &Place<'_>,
        decoder: &Decoder,
        info: &RunnerInfo,
        step: LargestStep,
    ) -> candle_core::Result<()> {
        let rows = step.rows.clamp(1, step.tokens.max(1));
        let len = (step.tokens / rows).clamp(1, info.max_model_len);
        let blocks = len.div_ceil(info.block_size);
        let dtype = self.dtype.candle();
        let slabs = KvSlabs::new(&self.part, blocks, info.block_size, dtype, place.device)?;
        let row = |row| BatchRow {
            sequence: SequenceId(row),
            context_len: 0,
            len,
            block_table: (0..blocks as u32).collect(),
            wants_logits: true,
        };
        let batch = Batch {
            embedded: Vec::new(),
            tokens: vec![0; rows * len],
            rows: (0..rows as u64).map(row).collect(),
        };
        let step = Step::new(&batch, info.block_size, place.device)?;
        decoder.forward(&step, &slabs).map(drop)
    }

    /// The shares with KV beside them.
    fn shards(&self, decoders: Vec<Decoder>, info: &RunnerInfo) -> candle_core::Result<Vec<Shard>> {
        let shards = self.places.iter().zip(decoders).map(|(place, decoder)| {
            let slabs = KvSlabs::new(
                &self.part,
                info.num_blocks,
                info.block_size,
                self.dtype.candle(),
                place.device,
            )?;
            place.device.synchronize()?;
            Ok(Shard {
                decoder,
                slabs,
                uploads: Uploads::to(place.device),
            })
        });
        shards.collect()
    }

    /// Has something done by each device, by the first on this thread.
    fn on_each<T: Send>(
        &self,
        first: impl FnOnce(&Place<'_>) -> Result<T, ModelError>,
        other: impl Fn(&Place<'_>) -> Result<T, ModelError> + Sync,
    ) -> Result<Vec<T>, ModelError> {
        thread::scope(|scope| {
            let other = &other;
            let others = self.places[1..].iter();
            let others: Vec<_> = others
                .map(|place| scope.spawn(move || other(place)))
                .collect();
            let first = first(&self.places[0]);
            let others = others.into_iter();
            let others = others.map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)));
            iter::once(first).chain(others).collect()
        })
    }
}

/// Whether a model is one that is computed here; what it lacks, in one line.
pub(crate) fn supports(description: &ModelDescription) -> Result<(), String> {
    let lacking = description.layers.iter().find_map(layer::lacking);
    if let Some(lacking) = lacking {
        return Err(format!(
            "the model has {lacking}, which the GPU runner lacks"
        ));
    }
    for layer in &description.layers {
        let Attention::Grouped(attention) = &layer.attention else {
            continue;
        };
        if !(attention.head_dim.is_multiple_of(8) && attention.head_dim <= 512) {
            return Err(format!(
                "the model has heads of {} elements; the GPU runner needs a multiple of 8, 512 at most",
                attention.head_dim
            ));
        }
        if let Some(lacking) = built::lacks_heads(attention.head_dim) {
            return Err(lacking);
        }
    }
    Ok(())
}

fn check_sizes(info: &RunnerInfo) -> Result<(), ModelError> {
    if info.max_model_len > LONGEST_CONTEXT {
        return Err(ModelError::InvalidOptions(format!(
            "a context of {} tokens is not possible on a GPU, at most {LONGEST_CONTEXT} are: choose a smaller max_model_len",
            info.max_model_len
        )));
    }
    // Slots are numbered in u32.
    let slots = info.num_blocks.checked_mul(info.block_size);
    match slots.and_then(|slots| u32::try_from(slots).ok()) {
        Some(_) => Ok(()),
        None => Err(ModelError::InvalidOptions(format!(
            "{} KV blocks of {} tokens are not possible: choose a smaller kv_cache_memory",
            info.num_blocks, info.block_size
        ))),
    }
}
