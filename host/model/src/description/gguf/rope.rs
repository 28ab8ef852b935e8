//! The position embedding that GGUF metadata describe.

use candle_core::Device;

use super::keys::Keys;
use crate::{
    description::{
        LongRope, RopeDescription, RopeStyle,
        rope_scaling::{self, Yarn, yarn_magnitude},
    },
    error::ModelError,
};

/// The format's default base.
const DEFAULT_THETA: f32 = 10_000.0;

/// Elements of a head, more than any model has.
const LARGEST_HEAD: usize = 1 << 14;

/// The rope of a model whose heads have `head_dim` elements.
pub(super) fn rope(
    keys: &Keys<'_>,
    style: RopeStyle,
    head_dim: usize,
) -> Result<RopeDescription, ModelError> {
    let dims = keys
        .optional_size("rope.dimension_count")?
        .unwrap_or(head_dim);
    if dims > head_dim.min(LARGEST_HEAD) || dims % 2 != 0 {
        let reason = format!("turning {dims} of {head_dim} elements of a head is not supported");
        return Err(keys.unsupported("rope.dimension_count", reason));
    }
    let theta = keys
        .optional_factor("rope.freq_base")?
        .unwrap_or(DEFAULT_THETA);
    if theta <= 1.0 {
        return Err(keys.unsupported("rope.freq_base", format!("{theta} is no base")));
    }
    let mut rope = RopeDescription {
        style,
        frequencies: rope_scaling::plain(f64::from(theta), dims),
        magnitude: 1.0,
        long: None,
    };
    scale(keys, &mut rope, f64::from(theta))?;
    scale_by_tensors(keys, &mut rope)?;
    Ok(rope)
}

/// A rope without any scaling.
pub(super) fn plain(style: RopeStyle, theta: f32, dims: usize) -> RopeDescription {
    RopeDescription {
        style,
        frequencies: rope_scaling::plain(f64::from(theta), dims),
        magnitude: 1.0,
        long: None,
    }
}

fn scale(keys: &Keys<'_>, rope: &mut RopeDescription, theta: f64) -> Result<(), ModelError> {
    let factor = keys.optional_factor("rope.scaling.factor")?;
    let original_context = keys.optional_size("rope.scaling.original_context_length")?;
    let attention_factor = keys.optional_factor("rope.scaling.attn_factor")?;
    let missing = |name: &str| ModelError::MissingMetadata {
        key: format!("{}.{name}", keys.architecture()),
    };
    let mut magnitude = attention_factor.unwrap_or(1.0);
    match keys.string("rope.scaling.type")? {
        Some("none") => {}
        // Files from before the type was written scale linearly.
        kind @ (None | Some("linear")) => match factor {
            Some(factor) => rope_scaling::linear(&mut rope.frequencies, f64::from(factor)),
            None if kind.is_some() => return Err(missing("rope.scaling.factor")),
            None => {}
        },
        Some("yarn") => {
            let factor = f64::from(factor.ok_or_else(|| missing("rope.scaling.factor"))?);
            let original_context =
                original_context.ok_or_else(|| missing("rope.scaling.original_context_length"))?;
            let beta = |name, default| -> Result<f64, ModelError> {
                Ok(keys.optional_factor(name)?.map_or(default, f64::from))
            };
            let yarn = Yarn {
                factor,
                original_context: original_context as f64,
                beta_fast: beta("rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: beta("rope.scaling.yarn_beta_slow", 1.0)?,
                truncate: true,
            };
            yarn.apply(&mut rope.frequencies, theta);
            magnitude *= yarn_magnitude(factor, 1.0) as f32;
        }
        // Its factors are tensors, see below; with a number beside them the formats' readers disagree.
        Some("longrope") => {
            if factor.is_some_and(|factor| factor != 1.0) {
                let reason = "not supported beside longrope's tensors";
                return Err(keys.unsupported("rope.scaling.factor", reason));
            }
        }
        Some(kind) => {
            let reason = format!("rope scaling {kind} is not supported");
            return Err(keys.unsupported("rope.scaling.type", reason));
        }
    }
    rope.magnitude = magnitude;
    Ok(())
}

/// Factors that stand in tensors: one set (llama 3), or one for short and one for long contexts (phi 3).
fn scale_by_tensors(keys: &Keys<'_>, rope: &mut RopeDescription) -> Result<(), ModelError> {
    let pairs = rope.frequencies.len();
    let factors = |name: &str| -> Result<Option<Vec<f32>>, ModelError> {
        let file = keys.file();
        let Some(found) = file.tensor_shape(name) else {
            return Ok(None);
        };
        if found != [pairs] {
            return Err(ModelError::TensorShape {
                name: name.to_owned(),
                found: found.to_vec(),
                expected: vec![pairs],
            });
        }
        let device = Device::Cpu;
        let tensor = file.read_tensor(name, &device)?.dequantize(&device)?;
        Ok(Some(tensor.to_vec1()?))
    };
    if let Some(factors) = factors("rope_freqs.weight")? {
        rope.frequencies = rope_scaling::by_factors(&rope.frequencies, &factors);
    }
    let (short, long) = (
        factors("rope_factors_short.weight")?,
        factors("rope_factors_long.weight")?,
    );
    let missing = |name: &str| ModelError::MissingTensor {
        name: name.to_owned(),
    };
    let asked = keys.string("rope.scaling.type")? == Some("longrope");
    if asked || short.is_some() || long.is_some() {
        let short = short.ok_or_else(|| missing("rope_factors_short.weight"))?;
        let long = long.ok_or_else(|| missing("rope_factors_long.weight"))?;
        let name = "rope.scaling.original_context_length";
        let original_context = keys.size(name)?;
        rope.long = Some(LongRope {
            original_context,
            frequencies: rope_scaling::by_factors(&rope.frequencies, &long),
        });
        rope.frequencies = rope_scaling::by_factors(&rope.frequencies, &short);
    }
    Ok(())
}
