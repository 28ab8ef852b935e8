//! The position embedding that a config.json describes, in both spellings.

use serde_json::Value;

use super::keys::Keys;
use crate::{
    description::{
        LongRope, RopeDescription, RopeStyle,
        rope_scaling::{self, Llama3, Yarn, longrope_magnitude, yarn_magnitude},
    },
    error::ModelError,
};

/// Elements of a head, more than any model has.
const LARGEST_HEAD: usize = 1 << 14;

/// What a family knows of its rope beside the configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct RopeDefaults {
    /// Which elements pair up.
    pub(super) style: RopeStyle,
    /// Elements of a head.
    pub(super) head_dim: usize,
    /// The base where the configuration has none.
    pub(super) theta: f64,
}

/// The rope of a model that has one for all its layers.
pub(super) fn rope(keys: &Keys<'_>, defaults: RopeDefaults) -> Result<RopeDescription, ModelError> {
    let theta = keys.factor_or("rope_theta", defaults.theta)?;
    let partial = keys.factor_or("partial_rotary_factor", 1.0)?;
    scaled(
        keys,
        parameters(keys)?.as_ref(),
        RopeDefaults { theta, ..defaults },
        partial,
    )
}

/// The object of the rope's parameters, by its newer or its older name. What is given twice must be given alike.
pub(super) fn parameters<'a>(keys: &Keys<'a>) -> Result<Option<Keys<'a>>, ModelError> {
    let filled = |name| -> Result<_, ModelError> {
        Ok(keys.object(name)?.filter(|object| !object.is_empty()))
    };
    match (filled("rope_parameters")?, filled("rope_scaling")?) {
        (Some(new), Some(old)) if !old.is_part_of(&new) => {
            Err(keys.unsupported("rope_scaling", "is not what rope_parameters says"))
        }
        (Some(one), _) | (None, Some(one)) => Ok(Some(one)),
        (None, None) => Ok(None),
    }
}

/// A rope of the parameters in one object; without one it is not scaled.
pub(super) fn scaled(
    keys: &Keys<'_>,
    parameters: Option<&Keys<'_>>,
    defaults: RopeDefaults,
    partial: f64,
) -> Result<RopeDescription, ModelError> {
    let (theta, partial) = match parameters {
        Some(parameters) => (
            parameters.factor_or("rope_theta", defaults.theta)?,
            parameters.factor_or("partial_rotary_factor", partial)?,
        ),
        None => (defaults.theta, partial),
    };
    if theta <= 1.0 {
        return Err(keys.unsupported("rope_theta", format!("{theta} is no base")));
    }
    let dims = turning_dims(keys, defaults.head_dim, partial)?;
    let mut rope = RopeDescription {
        style: defaults.style,
        frequencies: rope_scaling::plain(theta, dims),
        magnitude: 1.0,
        long: None,
    };
    let Some(parameters) = parameters else {
        return Ok(rope);
    };
    let older_name = parameters.string("type")?;
    let kind = parameters.string("rope_type")?.or(older_name);
    match kind.unwrap_or("default") {
        "default" => {}
        "linear" => rope_scaling::linear(&mut rope.frequencies, parameters.factor("factor")?),
        "llama3" => llama3(parameters)?.apply(&mut rope.frequencies),
        "yarn" => yarn(keys, parameters, &mut rope, theta)?,
        // Phi-3's first name for it.
        "longrope" | "su" => longrope(keys, parameters, &mut rope)?,
        other => {
            let reason = format!("rope scaling {other} is not supported");
            return Err(parameters.unsupported("rope_type", reason));
        }
    }
    parameters.refuse_unread()?;
    Ok(rope)
}

fn turning_dims(keys: &Keys<'_>, head_dim: usize, partial: f64) -> Result<usize, ModelError> {
    let dims = (head_dim as f64 * partial) as usize;
    // The other families' classes turn whole heads, whatever this says.
    if partial != 1.0 && keys.architecture() != "phi3" {
        let reason = format!(
            "{partial} is not supported in architecture {}",
            keys.architecture()
        );
        return Err(keys.unsupported("partial_rotary_factor", reason));
    }
    if head_dim > LARGEST_HEAD || dims > head_dim || dims == 0 || !dims.is_multiple_of(2) {
        let reason = format!("turning {dims} of {head_dim} elements of a head is not supported");
        return Err(keys.unsupported("partial_rotary_factor", reason));
    }
    Ok(dims)
}

fn llama3(parameters: &Keys<'_>) -> Result<Llama3, ModelError> {
    let llama3 = Llama3 {
        factor: parameters.factor("factor")?,
        low_freq_factor: parameters.factor("low_freq_factor")?,
        high_freq_factor: parameters.factor("high_freq_factor")?,
        original_context: parameters.factor("original_max_position_embeddings")?,
    };
    if llama3.high_freq_factor <= llama3.low_freq_factor {
        let reason = format!("is not above low_freq_factor {}", llama3.low_freq_factor);
        return Err(parameters.unsupported("high_freq_factor", reason));
    }
    Ok(llama3)
}

/// The context that the scaling starts from; models name it in either place.
fn original_context(keys: &Keys<'_>, parameters: &Keys<'_>) -> Result<f64, ModelError> {
    let name = "original_max_position_embeddings";
    // Phi-3's class has a default for its own place, which comes before the other.
    let default = (keys.architecture() == "phi3").then_some(4096.0);
    let own = keys.optional_factor(name)?.or(default);
    match (own, parameters.optional_factor(name)?) {
        (Some(own), Some(inner)) if own != inner => {
            let reason = format!("is {inner}, but {own} for the model");
            Err(parameters.unsupported(name, reason))
        }
        (Some(context), _) | (None, Some(context)) => Ok(context),
        (None, None) => keys.factor("max_position_embeddings"),
    }
}

fn yarn(
    keys: &Keys<'_>,
    parameters: &Keys<'_>,
    rope: &mut RopeDescription,
    theta: f64,
) -> Result<(), ModelError> {
    let factor = parameters.factor("factor")?;
    Yarn {
        factor,
        original_context: original_context(keys, parameters)?,
        beta_fast: parameters.factor_or("beta_fast", 32.0)?,
        beta_slow: parameters.factor_or("beta_slow", 1.0)?,
        truncate: parameters.boolean_or("truncate", true)?,
    }
    .apply(&mut rope.frequencies, theta);
    let given = parameters.optional_factor("attention_factor")?;
    let mscale = parameters.optional_number("mscale")?.unwrap_or(0.0);
    let all_dim = parameters.optional_number("mscale_all_dim")?.unwrap_or(0.0);
    rope.magnitude = match given {
        Some(given) => given,
        None if mscale != 0.0 && all_dim != 0.0 => {
            yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all_dim)
        }
        None => yarn_magnitude(factor, 1.0),
    } as f32;
    Ok(())
}

fn longrope(
    keys: &Keys<'_>,
    parameters: &Keys<'_>,
    rope: &mut RopeDescription,
) -> Result<(), ModelError> {
    let pairs = rope.frequencies.len();
    let factor = |value: &Value| {
        let factor = value.as_f64()? as f32;
        (factor.is_normal() && factor > 0.0).then_some(factor)
    };
    let factors = |name: &str| -> Result<Vec<f32>, ModelError> {
        let factors = parameters
            .list(name, factor)?
            .ok_or_else(|| parameters.missing(name))?;
        if factors.len() != pairs {
            let reason = format!("has {} factors for {pairs} pairs", factors.len());
            return Err(parameters.unsupported(name, reason));
        }
        Ok(factors)
    };
    let (short, long) = (factors("short_factor")?, factors("long_factor")?);
    let original = original_context(keys, parameters)?;
    let extended = keys.factor("max_position_embeddings")? / original;
    let factor = parameters.factor_or("factor", extended)?;
    rope.magnitude = match parameters.optional_factor("attention_factor")? {
        Some(given) => given,
        None => longrope_magnitude(factor, original),
    } as f32;
    rope.long = Some(LongRope {
        original_context: original as usize,
        frequencies: rope_scaling::by_factors(&rope.frequencies, &long),
    });
    rope.frequencies = rope_scaling::by_factors(&rope.frequencies, &short);
    Ok(())
}

/// Two ropes, for layers that see all and for those that look back only so far: Gemma 3's.
pub(super) fn global_and_local(
    keys: &Keys<'_>,
    defaults: RopeDefaults,
    local_theta: f64,
) -> Result<Vec<RopeDescription>, ModelError> {
    let local = RopeDefaults {
        theta: keys.factor_or("rope_local_base_freq", local_theta)?,
        ..defaults
    };
    let nested = keys
        .value("rope_parameters")
        .and_then(|parameters| parameters.get("full_attention"))
        .is_some_and(Value::is_object);
    if !nested {
        // The family's class looks for it by the kind of layer only.
        if keys
            .object("rope_parameters")?
            .is_some_and(|all| !all.is_empty())
        {
            return Err(keys.unsupported("rope_parameters", "has no full_attention"));
        }
        return Ok(vec![rope(keys, defaults)?, scaled(keys, None, local, 1.0)?]);
    }
    let parameters = keys.object("rope_parameters")?;
    let of = |name: &str| match &parameters {
        Some(parameters) => parameters.object(name),
        None => Ok(None),
    };
    let global_parameters = of("full_attention")?;
    let local_parameters = of("sliding_attention")?;
    Ok(vec![
        scaled(keys, global_parameters.as_ref(), defaults, 1.0)?,
        scaled(keys, local_parameters.as_ref(), local, 1.0)?,
    ])
}
