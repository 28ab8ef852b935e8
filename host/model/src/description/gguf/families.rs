//! One function a family: which keys it has and what they mean.

use super::{keys::Keys, rope};
use crate::{
    description::{
        Activation, Attention, Experts, FeedForward, GatedNetwork, GroupedAttention,
        LayerDescription, ModelDescription, RopeStyle, Router,
    },
    error::ModelError,
};

pub(super) type Described = Result<ModelDescription, ModelError>;

const END_TOKEN_KEYS: &[&str] = &[
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
];

/// Llama 1 to 3, SmolLM 1 and 2, Mistral.
pub(super) fn llama(keys: &Keys<'_>) -> Described {
    if keys.optional_count("expert_count")?.unwrap_or(0) > 0 {
        return Err(keys.unsupported("expert_count", "mixtures of experts are not supported"));
    }
    let window = keys.optional_size("attention.sliding_window")?;
    let mut attention = grouped(keys)?;
    attention.window = window;
    attention.qkv_bias = has_layer_tensor(keys, 0, "attn_q.bias");
    attention.output_bias = has_layer_tensor(keys, 0, "attn_output.bias");
    let mut network = gated(keys, Activation::Silu)?;
    network.bias = has_layer_tensor(keys, 0, "ffn_gate.bias");
    uniform(keys, RopeStyle::Interleaved, attention, network)
}

/// Qwen2 and 2.5.
pub(super) fn qwen2(keys: &Keys<'_>) -> Described {
    let attention = GroupedAttention {
        qkv_bias: true,
        ..grouped(keys)?
    };
    let network = gated(keys, Activation::Silu)?;
    uniform(keys, RopeStyle::Halves, attention, network)
}

/// Qwen3.
pub(super) fn qwen3(keys: &Keys<'_>) -> Described {
    let attention = GroupedAttention {
        qk_norm: true,
        qkv_bias: has_layer_tensor(keys, 0, "attn_q.bias"),
        output_bias: has_layer_tensor(keys, 0, "attn_output.bias"),
        ..grouped(keys)?
    };
    let network = gated(keys, Activation::Silu)?;
    uniform(keys, RopeStyle::Halves, attention, network)
}

/// Qwen3 with experts; a layer without a router has one network.
pub(super) fn qwen3_moe(keys: &Keys<'_>) -> Described {
    let attention = GroupedAttention {
        qk_norm: true,
        ..grouped(keys)?
    };
    let experts = Experts {
        count: keys.size("expert_count")?,
        used: keys.size("expert_used_count")?,
        inner: keys.size("expert_feed_forward_length")?,
        activation: Activation::Silu,
        shared_inner: None,
        router: Router {
            normalise: keys.boolean("expert_weights_norm")?.unwrap_or(true),
            scale: keys.optional_factor("expert_weights_scale")?.unwrap_or(1.0),
            ..Router::plain()
        },
    };
    let dense = keys.optional_size("feed_forward_length")?;
    let network = GatedNetwork::plain(dense.unwrap_or(experts.inner), Activation::Silu);
    let mut description = uniform(keys, RopeStyle::Halves, attention, network)?;
    for (index, layer) in description.layers.iter_mut().enumerate() {
        if dense.is_none() || has_layer_tensor(keys, index, "ffn_gate_inp.weight") {
            layer.feed_forward = FeedForward::Experts(experts.clone());
        }
    }
    Ok(description)
}

/// Gemma 2: every other layer looks back only so far, the first one among them.
pub(super) fn gemma2(keys: &Keys<'_>) -> Described {
    // Of the sizes there are, the largest scales by the width that a head would have without key_length.
    let mut description = gemma(keys, 46)?;
    // llama.cpp's defaults, for files from before the keys.
    let window = keys.optional_size("attention.sliding_window")?;
    let window = window.unwrap_or(4096);
    let softcap = keys.optional_factor("attn_logit_softcapping")?;
    let softcap = Some(softcap.unwrap_or(50.0));
    description.logit_softcap = description.logit_softcap.or(Some(30.0));
    for (index, layer) in description.layers.iter_mut().enumerate() {
        if let Attention::Grouped(attention) = &mut layer.attention {
            attention.softcap = softcap;
            attention.window = index.is_multiple_of(2).then_some(window);
        }
    }
    Ok(description)
}

/// Gemma 3: five layers that look back only so far, with a rope of their own, then one that sees all.
pub(super) fn gemma3(keys: &Keys<'_>) -> Described {
    let mut description = gemma(keys, 62)?;
    let window = keys.size("attention.sliding_window")?;
    let period = keys
        .optional_size("attention.sliding_window_pattern")?
        .unwrap_or(6);
    let local_theta = keys
        .optional_factor("rope.freq_base_swa")?
        .unwrap_or(10_000.0);
    if local_theta <= 1.0 {
        let reason = format!("{local_theta} is no base");
        return Err(keys.unsupported("rope.freq_base_swa", reason));
    }
    let global = &description.ropes[0];
    let local = rope::plain(global.style, local_theta, 2 * global.frequencies.len());
    description.ropes.push(local);
    for (index, layer) in description.layers.iter_mut().enumerate() {
        if let Attention::Grouped(attention) = &mut layer.attention {
            attention.qk_norm = true;
            if !(index + 1).is_multiple_of(period) {
                attention.window = Some(window);
                attention.rope = Some(1);
            }
        }
    }
    Ok(description)
}

fn gemma(keys: &Keys<'_>, layers_of_the_largest: usize) -> Described {
    let mut attention = grouped(keys)?;
    if keys.size("block_count")? == layers_of_the_largest {
        let width = keys.size("embedding_length")? / attention.heads;
        attention.scale = (width as f32).sqrt().recip();
    }
    let network = gated(keys, Activation::GeluTanh)?;
    let mut description = uniform(keys, RopeStyle::Halves, attention, network)?;
    description.embedding_scale = (description.hidden as f32).sqrt();
    description.logit_softcap = keys.optional_factor("final_logit_softcapping")?;
    for layer in &mut description.layers {
        layer.post_norms = true;
    }
    Ok(description)
}

/// Phi-3 and Phi-4-mini.
pub(super) fn phi3(keys: &Keys<'_>) -> Described {
    let window = keys.optional_count("attention.sliding_window")?;
    let attention = GroupedAttention {
        fused_qkv: true,
        window: window.filter(|window| *window > 0),
        ..grouped(keys)?
    };
    let network = GatedNetwork {
        fused_gate_up: true,
        ..gated(keys, Activation::Silu)?
    };
    uniform(keys, RopeStyle::Halves, attention, network)
}

/// Granite 3.
pub(super) fn granite(keys: &Keys<'_>) -> Described {
    let mut attention = grouped(keys)?;
    if let Some(scale) = keys.optional_factor("attention.scale")? {
        attention.scale = scale;
    }
    let network = gated(keys, Activation::Silu)?;
    let mut description = uniform(keys, RopeStyle::Interleaved, attention, network)?;
    let factor = |name| Ok::<_, ModelError>(keys.optional_factor(name)?.unwrap_or(1.0));
    description.embedding_scale = factor("embedding_scale")?;
    description.residual_scale = factor("residual_scale")?;
    description.logit_scale = factor("logit_scale")?.recip();
    Ok(description)
}

/// SmolLM3: every fourth layer has no position embedding.
pub(super) fn smollm3(keys: &Keys<'_>) -> Described {
    let network = gated(keys, Activation::Silu)?;
    let mut description = uniform(keys, RopeStyle::Interleaved, grouped(keys)?, network)?;
    for layer in description.layers.iter_mut().skip(3).step_by(4) {
        if let Attention::Grouped(attention) = &mut layer.attention {
            attention.rope = None;
        }
    }
    Ok(description)
}

/// Attention as most families have it; their own traits are set after.
fn grouped(keys: &Keys<'_>) -> Result<GroupedAttention, ModelError> {
    let hidden = keys.size("embedding_length")?;
    let heads = keys.size("attention.head_count")?;
    let kv_heads = keys
        .optional_size("attention.head_count_kv")?
        .unwrap_or(heads);
    let head_dim = match keys.optional_size("attention.key_length")? {
        Some(length) => length,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            let reason = format!("{heads} heads do not divide {hidden} elements");
            return Err(keys.unsupported("attention.head_count", reason));
        }
    };
    if let Some(length) = keys.optional_size("attention.value_length")?
        && length != head_dim
    {
        let reason =
            format!("{length} elements a value head and {head_dim} a key head are not supported");
        return Err(keys.unsupported("attention.value_length", reason));
    }
    Ok(GroupedAttention::plain(heads, kv_heads, head_dim))
}

fn gated(keys: &Keys<'_>, activation: Activation) -> Result<GatedNetwork, ModelError> {
    Ok(GatedNetwork::plain(
        keys.size("feed_forward_length")?,
        activation,
    ))
}

/// A model whose layers are all alike, with one rope.
fn uniform(
    keys: &Keys<'_>,
    style: RopeStyle,
    attention: GroupedAttention,
    network: GatedNetwork,
) -> Described {
    let rope = rope::rope(keys, style, attention.head_dim)?;
    let layer = LayerDescription::plain(Attention::Grouped(attention), FeedForward::Dense(network));
    let mut description = model(keys, vec![layer; layer_count(keys)?])?;
    description.ropes.push(rope);
    Ok(description)
}

/// How many layers there are: not more than tensors, whatever the file says.
pub(super) fn layer_count(keys: &Keys<'_>) -> Result<usize, ModelError> {
    let (layers, tensors) = (keys.size("block_count")?, keys.file().tensors().count());
    if layers > tensors {
        let reason = format!("{layers} layers, but the file holds {tensors} tensors");
        return Err(keys.unsupported("block_count", reason));
    }
    Ok(layers)
}

/// What stands around the layers.
pub(super) fn model(keys: &Keys<'_>, layers: Vec<LayerDescription>) -> Described {
    let file = keys.file();
    Ok(ModelDescription {
        architecture: keys.architecture().to_owned(),
        name: file.string("general.name")?.map(str::to_owned),
        layers,
        hidden: keys.size("embedding_length")?,
        vocab: vocab(keys)?,
        context_length: keys.size("context_length")?,
        norm_eps: keys.factor("attention.layer_norm_rms_epsilon")?,
        norm_offset: 0.0,
        ropes: Vec::new(),
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: None,
        tied_embeddings: file.tensor_shape("output.weight").is_none(),
        eos_token_ids: end_tokens(keys)?,
    })
}

/// The embedding has the last word on the vocabulary's size, because it is what ids index.
fn vocab(keys: &Keys<'_>) -> Result<usize, ModelError> {
    let name = "token_embd.weight";
    let rows = match keys.file().tensor_shape(name) {
        Some([rows, _]) if *rows > 0 => *rows,
        Some(shape) => {
            let expected = vec![keys.size("vocab_size")?, keys.size("embedding_length")?];
            return Err(ModelError::TensorShape {
                name: name.to_owned(),
                found: shape.to_vec(),
                expected,
            });
        }
        None => {
            return Err(ModelError::MissingTensor {
                name: name.to_owned(),
            });
        }
    };
    match keys.optional_size("vocab_size")? {
        Some(size) if size != rows => {
            let reason = format!("is {size}, but {name} has {rows} rows");
            Err(keys.unsupported("vocab_size", reason))
        }
        _ => Ok(rows),
    }
}

fn end_tokens(keys: &Keys<'_>) -> Result<Vec<u32>, ModelError> {
    let mut ids = Vec::new();
    for key in END_TOKEN_KEYS {
        if let Some(value) = keys.file().unsigned(key)? {
            let id = u32::try_from(value).map_err(|_| {
                ModelError::unsupported_metadata(key, &format!("{value} is no token id"))
            })?;
            ids.push(id);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn has_layer_tensor(keys: &Keys<'_>, layer: usize, name: &str) -> bool {
    let name = format!("blk.{layer}.{name}");
    keys.file().tensor_shape(&name).is_some()
}
