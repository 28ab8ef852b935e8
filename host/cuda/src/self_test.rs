//! What a device must get right before a model is served on it: its kernels on random numbers, and a small random model
//! with the attention of the one to be loaded, both held to the plain operations in f32 on the CPU.
//!
//! The libraries underneath do not look at CUDA's errors, and a kernel that was left out of a build may answer with noise.
//! Batches are ragged: decode beside prefill, contexts that end at, before and behind a page's border, scattered blocks.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use weir_engine::{Batch, BatchRow, LOGITS_BLOCK, SequenceId};
use weir_model::{
    Activation, Attention, FeedForward, GroupedAttention, KvSlabs, LayerDescription,
    ModelDescription,
};

use crate::{
    collective::Alone, decoder::Decoder, device::first_line, dtype::Dtype, heads::Heads,
    kernels::Kernels, reference::Reference, rope::RopeTable, step::Step,
    weight_source::RandomSource,
};

/// Tokens a page; kernels of attention want a multiple of 32.
const PAGE: usize = 32;
const BLOCKS: usize = 12;
/// Longer than all rows.
const POSITIONS: usize = 128;
/// Windows of real models are longer than any context here.
const WINDOW: usize = 45;
const VOCAB: usize = 96;
/// Query heads that share a head of keys, at most.
const LARGEST_GROUP: usize = 16;

/// Makes the kernels of a device.
pub(crate) type MakeKernels<'a> = dyn Fn(&Device) -> Result<Box<dyn Kernels>> + Sync + 'a;

/// What a device may serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// All there is.
    Whole,
    /// Logits, but all of each row: it does not find the largest, for this reason. The host can.
    WholeRows(String),
}

/// Proves a device for a model.
///
/// # Errors
/// What the device computes wrong that nothing else can compute in its place, in one line.
pub(crate) fn run(
    device: &Device,
    dtype: Dtype,
    description: &ModelDescription,
    make: &MakeKernels<'_>,
) -> std::result::Result<Proof, String> {
    let small = small(description);
    let wrong = |what: String| format!("the GPU must not serve: {what}");
    let failed = |error: candle_core::Error| wrong(format!("its self-test failed: {error}"));
    let kernels = make(device).map_err(failed)?;
    for layer in 0..small.layers.len() {
        let found = layer_is_off(device, dtype, &small, layer, kernels.as_ref());
        if let Some(what) = found.map_err(failed)? {
            return Err(wrong(what));
        }
    }
    // A kernel that fails in a way that the device does not get over fails the model's test, too.
    let proof = match choice_is_off(device, kernels.as_ref()) {
        Ok(false) => Proof::Whole,
        Ok(true) => {
            Proof::WholeRows("the largest logits are not what the plain operations find".to_owned())
        }
        Err(error) => {
            let error = first_line(&error);
            Proof::WholeRows(format!("looking for the largest logits failed: {error}"))
        }
    };
    let off =
        model_is_off(device, dtype, &small, make).map_err(|error| wrong(error.to_string()))?;
    let allowed = dtype.tolerance(8.0);
    if off > allowed {
        return Err(wrong(format!(
            "the logits of a small random model are off by {off:.1e} of the largest, {allowed:.1e} is allowed"
        )));
    }
    Ok(proof)
}

/// A model with each kind of the layers of another, and little else.
fn small(description: &ModelDescription) -> ModelDescription {
    let mut layers: Vec<LayerDescription> = Vec::new();
    for layer in &description.layers {
        let mut layer = layer.clone();
        if let Attention::Grouped(attention) = &mut layer.attention {
            // No tensor has confirmed these numbers yet.
            let group = (attention.heads / attention.kv_heads).min(LARGEST_GROUP);
            attention.kv_heads = attention.kv_heads.min(2);
            attention.heads = attention.kv_heads * group;
            attention.window = attention.window.map(|window| window.min(WINDOW));
        }
        if let FeedForward::Dense(network) = &mut layer.feed_forward {
            network.inner = 160;
        }
        if !layers.contains(&layer) {
            layers.push(layer);
        }
    }
    ModelDescription {
        layers,
        hidden: 128,
        vocab: VOCAB,
        ..description.clone()
    }
}

/// Two steps: prefill, then decode beside prefill. Sequences 1 and 3 end at a page's border.
fn batches(source: &mut RandomSource) -> [Batch; 2] {
    let row = |sequence, context_len, len, block_table: &[u32]| BatchRow {
        sequence: SequenceId(sequence),
        context_len,
        len,
        block_table: block_table.to_vec(),
        wants_logits: true,
    };
    let tables: [&[u32]; 4] = [&[5, 2, 9], &[7, 0, 11], &[3], &[1]];
    let steps = [
        vec![
            row(0, 0, 70, tables[0]),
            row(1, 0, 32, tables[1]),
            row(2, 0, 1, tables[2]),
        ],
        vec![
            row(0, 70, 1, tables[0]),
            row(1, 32, 40, tables[1]),
            row(2, 1, 1, tables[2]),
            row(3, 0, 32, tables[3]),
        ],
    ];
    steps.map(|rows| {
        let count = rows.iter().map(|row| row.len).sum::<usize>();
        let token = |_| ((source.number() + 1.0) * 0.5 * VOCAB as f32) as u32 % VOCAB as u32;
        Batch {
            embedded: Vec::new(),
            tokens: (0..count).map(token).collect(),
            rows,
        }
    })
}

/// What of one layer's kernels is off, if anything.
fn layer_is_off(
    device: &Device,
    dtype: Dtype,
    small: &ModelDescription,
    layer: usize,
    kernels: &dyn Kernels,
) -> Result<Option<String>> {
    let (Attention::Grouped(attention), FeedForward::Dense(network)) = (
        &small.layers[layer].attention,
        &small.layers[layer].feed_forward,
    ) else {
        return Ok(None);
    };
    let mut random = RandomSource::new(layer as u64, 0.0);
    let heads = random_heads(attention, small, &mut random)?;
    let here = Place {
        heads: heads.on(device)?,
        slabs: KvSlabs::new(small, BLOCKS, PAGE, dtype.candle(), device)?,
        layer,
    };
    let there = Place {
        heads,
        slabs: KvSlabs::new(small, BLOCKS, PAGE, DType::F32, &Device::Cpu)?,
        layer,
    };
    let allowed = dtype.tolerance(2.0);
    let says = |what: &str, off: f32| {
        format!(
            "{what} of heads of {} elements, window {:?}, cap {:?}, is off by {off:.1e} of the largest, {allowed:.1e} is allowed",
            attention.head_dim, attention.window, attention.softcap
        )
    };
    for batch in &batches(&mut random) {
        let shape = [batch.tokens.len(), there.heads.columns()];
        // Both start from the numbers that the device's type can hold.
        let rounded = random.tensor(&shape, 1.5)?.to_dtype(dtype.candle())?;
        let found = here.run(rounded.to_device(device)?, batch, device, kernels)?;
        let right = there.run(
            rounded.to_dtype(DType::F32)?,
            batch,
            &Device::Cpu,
            &Reference,
        )?;
        for (what, found, right) in [
            ("the rotation", &found.0, &right.0),
            ("the attention", &found.1, &right.1),
        ] {
            let off = off(found, right)?;
            if off > allowed {
                return Ok(Some(says(what, off)));
            }
        }
    }
    let off = gate_is_off(device, dtype, network.activation, kernels, &mut random)?;
    Ok((off > allowed).then(|| format!("the gate {:?} is off by {off:.1e}", network.activation)))
}

fn gate_is_off(
    device: &Device,
    dtype: Dtype,
    activation: Activation,
    kernels: &dyn Kernels,
    random: &mut RandomSource,
) -> Result<f32> {
    let rounded = random.tensor(&[37, 2 * 352], 6.0)?;
    let rounded = rounded.to_dtype(dtype.candle())?;
    let found = kernels.gate(&rounded.to_device(device)?, activation)?;
    let right = Reference.gate(&rounded.to_dtype(DType::F32)?, activation)?;
    off(&found, &right)
}

/// Whether other logits are found than the plain operations find; these are moved and compared, so not one bit may differ.
fn choice_is_off(device: &Device, kernels: &dyn Kernels) -> Result<bool> {
    const VOCAB: usize = 5 * LOGITS_BLOCK + 7;
    let mut logits = RandomSource::new(5, 0.0)
        .tensor(&[3, VOCAB], 9.0)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    logits[..LOGITS_BLOCK].fill(f32::NAN);
    (logits[100], logits[VOCAB + 1], logits[2 * VOCAB - 1]) = (f32::NAN, f32::INFINITY, 11.0);
    let logits = Tensor::from_vec(logits, (3, VOCAB), &Device::Cpu)?;
    let which = Tensor::new(&[17u32, 0, 5, 8], &Device::Cpu)?;
    let (there, which_there) = (logits.to_device(device)?, which.to_device(device)?);
    let bits = |tensor: Tensor| -> Result<Vec<u32>> {
        let numbers = tensor.flatten_all()?.to_vec1::<f32>()?;
        Ok(numbers.into_iter().map(f32::to_bits).collect())
    };
    let same = bits(kernels.block_maxima(&there)?)? == bits(Reference.block_maxima(&logits)?)?
        && bits(kernels.take_blocks(&there, &which_there)?)?
            == bits(Reference.take_blocks(&logits, &which)?)?;
    Ok(!same)
}

/// Where a layer's kernels run.
struct Place {
    heads: Heads,
    slabs: KvSlabs,
    layer: usize,
}

impl Place {
    /// What is projected, after it was turned, and the attention's result.
    fn run(
        &self,
        projected: Tensor,
        batch: &Batch,
        device: &Device,
        kernels: &dyn Kernels,
    ) -> Result<(Tensor, Tensor)> {
        let (heads, slabs, layer) = (&self.heads, &self.slabs, self.layer);
        let step = Step::new(batch, PAGE, device)?;
        let turned = kernels.turn(projected, heads, &step)?;
        kernels.store(&turned, heads, slabs, layer, &step)?;
        let mixed = kernels.attend(&turned, heads, slabs, layer, &step)?;
        Ok((turned, mixed))
    }
}

fn random_heads(
    attention: &GroupedAttention,
    small: &ModelDescription,
    random: &mut RandomSource,
) -> Result<Heads> {
    let dim = attention.head_dim;
    let columns = (attention.heads + 2 * attention.kv_heads) * dim;
    let mut norm = || random.tensor(&[dim], 0.5)? + 1.0;
    let norms = match attention.qk_norm {
        true => Some((norm()?, norm()?)),
        false => None,
    };
    let bias = match attention.qkv_bias {
        true => Some(random.tensor(&[columns], 0.5)?),
        false => None,
    };
    let table = |rope: usize| RopeTable::new(&small.ropes[rope], POSITIONS, &Device::Cpu);
    Ok(Heads {
        attention: attention.clone(),
        bias,
        norms,
        norm_eps: small.norm_eps,
        rope: attention.rope.map(table).transpose()?,
    })
}

/// How far the logits of a random model are off, of the largest.
fn model_is_off(
    device: &Device,
    dtype: Dtype,
    small: &ModelDescription,
    make: &MakeKernels<'_>,
) -> std::result::Result<f32, weir_model::ModelError> {
    let load = |device: &Device, dtype: DType, kernels| {
        let mut weights = RandomSource::new(7, small.norm_offset);
        let alone = Arc::new(Alone);
        Decoder::load(
            small,
            POSITIONS,
            &mut weights,
            dtype,
            device,
            kernels,
            alone,
        )
    };
    let here = load(device, dtype.candle(), make(device)?)?;
    let there = load(&Device::Cpu, DType::F32, Box::new(Reference))?;
    let slabs = |device: &Device, dtype| KvSlabs::new(small, BLOCKS, PAGE, dtype, device);
    let (slabs_here, slabs_there) = (
        slabs(device, dtype.candle())?,
        slabs(&Device::Cpu, DType::F32)?,
    );
    let mut worst = 0f32;
    for batch in &batches(&mut RandomSource::new(8, 0.0)) {
        let found = here.forward(&Step::new(batch, PAGE, device)?, &slabs_here)?;
        let right = there.forward(&Step::new(batch, PAGE, &Device::Cpu)?, &slabs_there)?;
        if let (Some(found), Some(right)) = (found, right) {
            worst = worst.max(off(&found, &right)?);
        }
    }
    Ok(worst)
}

/// The largest difference, of the largest of `right`; a number that is none is infinitely far off.
fn off(found: &Tensor, right: &Tensor) -> Result<f32> {
    let numbers = |tensor: &Tensor| {
        let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        tensor.flatten_all()?.to_vec1::<f32>()
    };
    let (found, right) = (numbers(found)?, numbers(right)?);
    let largest = right
        .iter()
        .fold(0f32, |most, number| most.max(number.abs()));
    let differences = found.iter().zip(&right).map(|(found, right)| {
        let difference = (found - right).abs();
        if difference.is_finite() {
            difference
        } else {
            f32::INFINITY
        }
    });
    Ok(differences.fold(0f32, f32::max) / largest)
}

#[cfg(test)]
mod tests;
