//! Where weights come from: a checkpoint, or a generator of random ones for the self-test.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use weir_model::{
    Checkpoint, LoadProgress, ModelError, TensorAccount,
    names::{Part, Place},
};

use crate::split::{Cut, Share};

/// Hands out tensors by part and place.
pub(crate) trait WeightSource {
    /// A tensor of a shape, in floats of any type on the CPU; `suffix` is `weight` or `bias`.
    fn take(
        &mut self,
        place: Place,
        part: Part,
        suffix: &str,
        shape: &[usize],
    ) -> Result<Tensor, ModelError>;

    /// A model that says its head is its embedding may hold a head nevertheless: an error unless they are equal.
    fn check_second_head(&mut self, _embedding: &Tensor) -> Result<(), ModelError> {
        Ok(())
    }
}

/// The files of a model, of which one device's share is read. Quantized tensors are widened: the runner multiplies floats only. Floats stay what they are stored as,
/// because widening gigabytes takes longer than all the rest of a start.
pub(crate) struct CheckpointSource<'a> {
    checkpoint: &'a Checkpoint,
    share: Share<'a>,
    account: TensorAccount<'a>,
    loaded: LoadProgress,
    progress: &'a mut dyn FnMut(LoadProgress),
}

impl<'a> CheckpointSource<'a> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        share: Share<'a>,
        progress: &'a mut dyn FnMut(LoadProgress),
    ) -> Self {
        let account = TensorAccount::new(checkpoint);
        let loaded = account.nothing_loaded();
        progress(loaded);
        Self {
            checkpoint,
            share,
            account,
            loaded,
            progress,
        }
    }

    /// An error if a tensor is left over that the model cannot be without.
    pub(crate) fn finish(self) -> Result<(), ModelError> {
        self.account.finish(self.share.model)
    }

    /// A tensor that has a shape in the files, by whatever reads what is wanted of it. Its bytes count as loaded even where
    /// this device reads a part, because the others read the rest.
    fn read(
        &mut self,
        name: &str,
        shape: &[usize],
        read: impl FnOnce(&Checkpoint) -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        let bytes = self.account.take(name, shape)?;
        let tensor = read(self.checkpoint)?;
        self.loaded.loaded_bytes += bytes;
        (self.progress)(self.loaded);
        Ok(tensor)
    }
}

impl WeightSource for CheckpointSource<'_> {
    fn take(
        &mut self,
        place: Place,
        part: Part,
        suffix: &str,
        shape: &[usize],
    ) -> Result<Tensor, ModelError> {
        let name = self.checkpoint.name(place, part, suffix);
        let name = name.as_str();
        let mut whole = shape.to_vec();
        match self.share.cut(place, part, suffix) {
            Cut::Whole => self.read(name, shape, |files| files.read_floats(name)),
            Cut::Rows(of, ranges) => {
                whole[0] = of;
                self.read(name, &whole, |files| rows(files, name, &whole, &ranges))
            }
            Cut::Columns(of, range) => {
                whole[1] = of;
                self.read(name, &whole, |files| {
                    files.read_section(name, 0..shape[0], range)
                })
            }
            Cut::Zeros => self.read(name, shape, |_| {
                Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
            }),
        }
    }

    fn check_second_head(&mut self, embedding: &Tensor) -> Result<(), ModelError> {
        let Some(name) = self.checkpoint.second_head() else {
            return Ok(());
        };
        let head = self.read(name, embedding.dims(), |files| files.read_floats(name))?;
        let head = head.to_dtype(DType::F32)?;
        let embedding = embedding.to_dtype(DType::F32)?;
        let differences = head.ne(&embedding)?.flatten_all()?.max(0)?;
        if differences.to_scalar::<u8>()? == 0 {
            return Ok(());
        }
        Err(ModelError::UnsupportedConfig {
            key: "tie_word_embeddings".to_owned(),
            reason: format!("is true, but tensor {name} is not the embedding"),
        })
    }
}

/// Ranges of the rows of a matrix, or of a vector's elements, one behind the other.
fn rows(
    files: &Checkpoint,
    name: &str,
    shape: &[usize],
    ranges: &[Range<usize>],
) -> Result<Tensor, ModelError> {
    let read = |range: &Range<usize>| match shape {
        [_, columns] => files.read_section(name, range.clone(), 0..*columns),
        _ => Ok(files
            .read_floats(name)?
            .narrow(0, range.start, range.len())?),
    };
    let parts: Vec<Tensor> = ranges.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}

/// Random weights, the same for the same order of calls. Numbers keep their size from layer to layer, or roundings would
/// grow with them.
pub(crate) struct RandomSource {
    state: u64,
    /// What a model adds to its norms' weights.
    norm_offset: f32,
}

impl RandomSource {
    pub(crate) fn new(seed: u64, norm_offset: f32) -> Self {
        Self {
            state: seed,
            norm_offset,
        }
    }

    /// A number from -1 to 1.
    pub(crate) fn number(&mut self) -> f32 {
        // splitmix64 (Steele, Lea, Flood 2014): any seed will do, and nothing here asks for more.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Numbers from `-spread` to `spread`.
    pub(crate) fn tensor(&mut self, shape: &[usize], spread: f32) -> candle_core::Result<Tensor> {
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|_| self.number() * spread).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu)
    }
}

impl WeightSource for RandomSource {
    fn take(
        &mut self,
        _place: Place,
        _part: Part,
        suffix: &str,
        shape: &[usize],
    ) -> Result<Tensor, ModelError> {
        Ok(match (shape, suffix) {
            // Sums over a row's columns then are of the size of what is multiplied.
            ([_, columns], _) => self.tensor(shape, (3.0 / *columns as f32).sqrt())?,
            (_, "bias") => self.tensor(shape, 0.5)?,
            _ => (self.tensor(shape, 0.5)? + f64::from(1.0 - self.norm_offset))?,
        })
    }
}
