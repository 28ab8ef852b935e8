//! DeepSeek's GGUF keys: latent attention, experts, and what older files leave out.

use super::{
    families::{Described, layer_count, model},
    keys::Keys,
    rope,
};
use crate::{
    description::{
        Activation, Attention, Experts, GatedNetwork, GroupScore, LatentAttention,
        LayerDescription, RopeStyle, Router, RouterScore, rope_scaling::yarn_magnitude,
    },
    error::ModelError,
};

/// DeepSeek V2 and V3, Kimi K2.
pub(super) fn deepseek2(keys: &Keys<'_>) -> Described {
    let attention = Attention::Latent(latent(keys)?);
    let dense = GatedNetwork::plain(keys.size("feed_forward_length")?, Activation::Silu);
    let leading_dense = keys
        .optional_count("leading_dense_block_count")?
        .unwrap_or(0);
    let experts = deepseek_experts(keys)?;
    let rope_dim = keys.size("rope.dimension_count")?;
    let mut rope = rope::rope(keys, RopeStyle::Interleaved, rope_dim)?;
    // What YaRN puts on queries and keys is part of the scale here.
    rope.magnitude = 1.0;
    let layers = LayerDescription::leading_dense(
        layer_count(keys)?,
        leading_dense,
        &attention,
        &dense,
        experts.as_ref(),
    );
    let mut description = model(keys, layers)?;
    description.ropes.push(rope);
    Ok(description)
}

fn latent(keys: &Keys<'_>) -> Result<LatentAttention, ModelError> {
    let rope_dim = keys.size("rope.dimension_count")?;
    // Files for the absorbed form tell the sizes of a head under names of their own, and one KV head.
    let key_dim = keys.size("attention.key_length")?;
    let key_dim = keys
        .optional_size("attention.key_length_mla")?
        .unwrap_or(key_dim);
    let value_dim = keys.size("attention.value_length")?;
    let value_dim = keys
        .optional_size("attention.value_length_mla")?
        .unwrap_or(value_dim);
    keys.optional_size("attention.head_count_kv")?;
    let nope_dim = key_dim.checked_sub(rope_dim).filter(|dim| *dim > 0);
    let nope_dim = nope_dim.ok_or_else(|| {
        let reason = format!("{key_dim} is too small for {rope_dim} elements that turn");
        keys.unsupported("attention.key_length", reason)
    })?;
    // The file holds a tenth of YaRN's mscale_all_dim.
    let log_multiplier = keys.optional_float("rope.scaling.yarn_log_multiplier")?;
    let factor = keys.optional_factor("rope.scaling.factor")?.unwrap_or(1.0);
    let mscale = yarn_magnitude(
        f64::from(factor),
        10.0 * f64::from(log_multiplier.unwrap_or(0.0)),
    );
    Ok(LatentAttention {
        heads: keys.size("attention.head_count")?,
        query_rank: keys
            .optional_count("attention.q_lora_rank")?
            .filter(|rank| *rank > 0),
        kv_rank: keys.size("attention.kv_lora_rank")?,
        nope_dim,
        rope_dim,
        value_dim,
        scale: (mscale * mscale / (key_dim as f64).sqrt()) as f32,
        rope: 0,
        norm_eps: keys.factor("attention.layer_norm_rms_epsilon")?,
        latent_bias: false,
        output_bias: false,
    })
}

fn deepseek_experts(keys: &Keys<'_>) -> Result<Option<Experts>, ModelError> {
    let count = keys.optional_count("expert_count")?.unwrap_or(0);
    let shared = keys.optional_count("expert_shared_count")?.unwrap_or(0);
    if count == 0 {
        return Ok(None);
    }
    let inner = keys.size("expert_feed_forward_length")?;
    // llama.cpp numbers the gating functions; files from before V3 do not have the key.
    let score = match keys.optional_count("expert_gating_func")?.unwrap_or(1) {
        1 => RouterScore::Softmax,
        2 => RouterScore::Sigmoid,
        other => {
            let reason = format!("gating function {other} is not supported");
            return Err(keys.unsupported("expert_gating_func", reason));
        }
    };
    let sigmoid = score == RouterScore::Sigmoid;
    // Older files do not tell the groups; these are the models that have them.
    let known = match (count, sigmoid) {
        (256, true) => (8, 4),
        (160, false) => (8, 3),
        _ => (1, 1),
    };
    let groups = keys.optional_size("expert_group_count")?.unwrap_or(known.0);
    let groups_used = keys
        .optional_size("expert_group_used_count")?
        .unwrap_or(known.1);
    Ok(Some(Experts {
        count,
        used: keys.size("expert_used_count")?,
        inner,
        activation: Activation::Silu,
        shared_inner: (shared > 0).then(|| shared.saturating_mul(inner)),
        router: Router {
            score,
            correction_bias: sigmoid,
            groups,
            groups_used,
            group_score: if sigmoid {
                GroupScore::BestTwo
            } else {
                GroupScore::Best
            },
            normalise: keys.boolean("expert_weights_norm")?.unwrap_or(false),
            scale: keys.optional_factor("expert_weights_scale")?.unwrap_or(1.0),
        },
    }))
}
