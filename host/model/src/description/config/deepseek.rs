//! DeepSeek's config.json: latent attention, experts and their two routers.

use super::{
    families::{Described, gated, layer_count, model},
    keys::Keys,
    rope::{self, RopeDefaults},
};
use crate::{
    description::{
        Attention, Experts, GatedNetwork, GroupScore, LatentAttention, LayerDescription, RopeStyle,
        Router, RouterScore, rope_scaling::yarn_magnitude,
    },
    error::ModelError,
};

/// The latents' norms are made without the model's own epsilon.
const LATENT_NORM_EPS: f32 = 1e-6;

/// DeepSeek V2 and V2.5: a softmax router, whose groups are judged by their best.
pub(super) fn deepseek_v2(keys: &Keys<'_>) -> Described {
    let (groups, groups_used) = match keys.string("topk_method")?.unwrap_or("greedy") {
        "greedy" => {
            keys.value("n_group");
            keys.value("topk_group");
            (1, 1)
        }
        "group_limited_greedy" => (keys.size("n_group")?, keys.size("topk_group")?),
        other => {
            let reason = format!("routing by {other} is not supported");
            return Err(keys.unsupported("topk_method", reason));
        }
    };
    // The family's class leaves the sum as it is, whatever this says; no model says otherwise.
    keys.only(
        "norm_topk_prob",
        keys.boolean_or("norm_topk_prob", false)?,
        false,
    )?;
    keys.only(
        "scoring_func",
        keys.string("scoring_func")?.unwrap_or("softmax"),
        "softmax",
    )?;
    let router = Router {
        groups,
        groups_used,
        scale: keys.factor_or("routed_scaling_factor", 1.0)? as f32,
        ..Router::plain()
    };
    deepseek(keys, router, RopeStyle::Interleaved)
}

/// DeepSeek V3, V3.1 and R1, Kimi K2: a sigmoid router with a correction bias, whose groups are judged by their best two.
pub(super) fn deepseek_v3(keys: &Keys<'_>) -> Described {
    keys.only(
        "topk_method",
        keys.string("topk_method")?.unwrap_or("noaux_tc"),
        "noaux_tc",
    )?;
    keys.only(
        "scoring_func",
        keys.string("scoring_func")?.unwrap_or("sigmoid"),
        "sigmoid",
    )?;
    let router = Router {
        score: RouterScore::Sigmoid,
        correction_bias: true,
        groups: keys.size_or("n_group", 8)?,
        groups_used: keys.size_or("topk_group", 4)?,
        group_score: GroupScore::BestTwo,
        normalise: keys.boolean_or("norm_topk_prob", true)?,
        scale: keys.factor_or("routed_scaling_factor", 2.5)? as f32,
    };
    let style = if keys.boolean_or("rope_interleave", true)? {
        RopeStyle::Interleaved
    } else {
        RopeStyle::Halves
    };
    deepseek(keys, router, style)
}

fn deepseek(keys: &Keys<'_>, router: Router, style: RopeStyle) -> Described {
    let attention = Attention::Latent(latent(keys)?);
    let network = gated(keys)?;
    let leading_dense = keys.optional_count("first_k_dense_replace")?.unwrap_or(0);
    keys.only("moe_layer_freq", keys.size_or("moe_layer_freq", 1)?, 1)?;
    let experts = experts(keys, &network, router)?;
    let rope_dim = keys.size("qk_rope_head_dim")?;
    // Told, but of no meaning with latents.
    for unused in ["head_dim", "qk_head_dim", "num_key_value_heads"] {
        keys.value(unused);
    }
    let rope = rope::rope(
        keys,
        RopeDefaults {
            style,
            head_dim: rope_dim,
            theta: 10_000.0,
        },
    )?;
    let layers = LayerDescription::leading_dense(
        layer_count(keys)?,
        leading_dense,
        &attention,
        &network,
        experts.as_ref(),
    );
    let mut description = model(keys, layers)?;
    description.ropes.push(rope);
    Ok(description)
}

fn latent(keys: &Keys<'_>) -> Result<LatentAttention, ModelError> {
    let (nope_dim, rope_dim) = (
        keys.size("qk_nope_head_dim")?,
        keys.size("qk_rope_head_dim")?,
    );
    let bias = keys.boolean_or("attention_bias", false)?;
    let mscale = mscale(keys)?;
    Ok(LatentAttention {
        heads: keys.size("num_attention_heads")?,
        query_rank: keys.optional_size("q_lora_rank")?,
        kv_rank: keys.size("kv_lora_rank")?,
        nope_dim,
        rope_dim,
        value_dim: keys.size("v_head_dim")?,
        scale: (mscale * mscale / ((nope_dim + rope_dim) as f64).sqrt()) as f32,
        rope: 0,
        norm_eps: LATENT_NORM_EPS,
        latent_bias: bias,
        output_bias: bias,
    })
}

/// YaRN's factor on queries and keys goes into the scale, squared.
fn mscale(keys: &Keys<'_>) -> Result<f64, ModelError> {
    let Some(parameters) = rope::parameters(keys)? else {
        return Ok(1.0);
    };
    let weight = parameters.optional_number("mscale_all_dim")?.unwrap_or(0.0);
    let factor = parameters.optional_factor("factor")?.unwrap_or(1.0);
    Ok(if weight == 0.0 {
        1.0
    } else {
        yarn_magnitude(factor, weight)
    })
}

fn experts(
    keys: &Keys<'_>,
    network: &GatedNetwork,
    router: Router,
) -> Result<Option<Experts>, ModelError> {
    let count = keys.optional_count("n_routed_experts")?.unwrap_or(0);
    let shared = keys.optional_count("n_shared_experts")?.unwrap_or(0);
    let used = keys.optional_size("num_experts_per_tok")?;
    let inner = keys.optional_size("moe_intermediate_size")?;
    if count == 0 {
        return Ok(None);
    }
    let inner = inner.ok_or_else(|| keys.missing("moe_intermediate_size"))?;
    Ok(Some(Experts {
        count,
        used: used.ok_or_else(|| keys.missing("num_experts_per_tok"))?,
        inner,
        activation: network.activation,
        shared_inner: (shared > 0).then(|| shared.saturating_mul(inner)),
        router,
    }))
}
