//! One function a family: which keys it has, their defaults, and what they mean.

use super::{
    keys::Keys,
    rope::{self, RopeDefaults},
};
use crate::{
    description::{
        Activation, Attention, Experts, FeedForward, GatedNetwork, GroupedAttention,
        LayerDescription, ModelDescription, RopeDescription, RopeStyle, Router,
    },
    error::ModelError,
};

pub(super) type Described = Result<ModelDescription, ModelError>;

/// The base of families that do not have one of their own.
const THETA: f64 = 10_000.0;

/// The window of models that have one and do not tell.
const WINDOW: usize = 4096;

/// Llama 1 to 3, SmolLM 1 and 2.
pub(super) fn llama(keys: &Keys<'_>) -> Described {
    // Written by one trainer; the interleaved kind never left it.
    keys.only(
        "rope_interleaved",
        keys.boolean_or("rope_interleaved", false)?,
        false,
    )?;
    let attention = biased(keys, grouped(keys, None)?)?;
    let network = gated(keys)?;
    uniform(keys, attention, network, THETA)
}

/// Mistral.
pub(super) fn mistral(keys: &Keys<'_>) -> Described {
    let attention = grouped(keys, None)?;
    let mut description = uniform(keys, attention, gated(keys)?, THETA)?;
    let window = keys.size_unless_null("sliding_window", Some(WINDOW))?;
    set_one_window(keys, &mut description, window)?;
    Ok(description)
}

/// Qwen2 and 2.5.
pub(super) fn qwen2(keys: &Keys<'_>) -> Described {
    let attention = GroupedAttention {
        qkv_bias: true,
        ..grouped(keys, None)?
    };
    let mut description = uniform(keys, attention, gated(keys)?, THETA)?;
    set_qwen_windows(keys, &mut description)?;
    Ok(description)
}

/// Qwen3.
pub(super) fn qwen3(keys: &Keys<'_>) -> Described {
    let attention = GroupedAttention {
        qk_norm: true,
        ..biased(keys, grouped(keys, Some(128))?)?
    };
    let mut description = uniform(keys, attention, gated(keys)?, THETA)?;
    set_qwen_windows(keys, &mut description)?;
    Ok(description)
}

/// Qwen3 with experts in every layer, or in every so-manieth.
pub(super) fn qwen3_moe(keys: &Keys<'_>) -> Described {
    let attention = GroupedAttention {
        qk_norm: true,
        ..biased(keys, grouped(keys, None)?)?
    };
    let network = gated(keys)?;
    let newer_name = keys.optional_size("num_local_experts")?;
    let count = match newer_name {
        Some(count) => count,
        None => keys.size("num_experts")?,
    };
    let experts = Experts {
        count,
        used: keys.size("num_experts_per_tok")?,
        inner: keys.size("moe_intermediate_size")?,
        activation: network.activation,
        shared_inner: None,
        router: Router {
            normalise: keys.boolean_or("norm_topk_prob", false)?,
            ..Router::plain()
        },
    };
    let step = keys.size_or("decoder_sparse_step", 1)?;
    let dense = keys.list("mlp_only_layers", serde_json::Value::as_u64)?;
    let dense = dense.unwrap_or_default();
    let mut description = uniform(keys, attention, network, THETA)?;
    for (index, layer) in description.layers.iter_mut().enumerate() {
        if (index + 1).is_multiple_of(step) && !dense.contains(&(index as u64)) {
            layer.feed_forward = FeedForward::Experts(experts.clone());
        }
    }
    let window = switched_window(keys, Some(WINDOW))?;
    // Written by the family's class, but not read.
    keys.value("max_window_layers");
    set_one_window(keys, &mut description, window)?;
    Ok(description)
}

/// Gemma 2: every other layer looks back only so far, the first one among them.
pub(super) fn gemma2(keys: &Keys<'_>) -> Described {
    let defaults = GemmaDefaults {
        vocab: 256_000,
        context_length: 8192,
        logit_softcap: Some(30.0),
    };
    let mut description = gemma(keys, defaults)?;
    let softcap = keys.factor_unless_null("attn_logit_softcapping", Some(50.0))?;
    for layer in &mut description.layers {
        if let Attention::Grouped(attention) = &mut layer.attention {
            attention.softcap = softcap.map(|cap| cap as f32);
        }
    }
    description.ropes = vec![rope::rope(keys, halves(256, keys, THETA)?)?];
    let window = keys.size_unless_null("sliding_window", Some(WINDOW))?;
    let slides = sliding_layers(keys, &description, |index| index.is_multiple_of(2))?;
    set_windows(&mut description, window, &slides);
    Ok(description)
}

/// Gemma 3: layers that look back only so far, with a rope of their own, and after five of them one that sees all. Its
/// class knows a cap on scores and does not apply it, so a model that asks for one is refused with the unread keys.
pub(super) fn gemma3(keys: &Keys<'_>) -> Described {
    let defaults = GemmaDefaults {
        vocab: 262_208,
        context_length: 131_072,
        logit_softcap: None,
    };
    let mut description = gemma(keys, defaults)?;
    description.ropes = rope::global_and_local(keys, halves(256, keys, 1_000_000.0)?, THETA)?;
    let window = keys.size_unless_null("sliding_window", Some(WINDOW))?;
    let older = keys.optional_size("_sliding_window_pattern")?;
    let period = keys.optional_size("sliding_window_pattern")?;
    let period = period.or(older).unwrap_or(6);
    let slides = sliding_layers(keys, &description, |index| {
        !(index + 1).is_multiple_of(period)
    })?;
    set_windows(&mut description, window, &slides);
    for (layer, slides) in description.layers.iter_mut().zip(slides) {
        if let Attention::Grouped(attention) = &mut layer.attention {
            attention.qk_norm = true;
            attention.rope = Some(usize::from(slides));
        }
    }
    Ok(description)
}

/// What the two generations leave out where they agree with their class.
struct GemmaDefaults {
    vocab: usize,
    context_length: usize,
    logit_softcap: Option<f64>,
}

fn gemma(keys: &Keys<'_>, defaults: GemmaDefaults) -> Described {
    let heads = keys.size_or("num_attention_heads", 8)?;
    let scale = keys.factor_or("query_pre_attn_scalar", 256.0)?;
    let kv_heads = keys.size_or("num_key_value_heads", 4)?;
    let head_dim = keys.size_or("head_dim", 256)?;
    let attention = GroupedAttention {
        scale: scale.sqrt().recip() as f32,
        ..biased(keys, GroupedAttention::plain(heads, kv_heads, head_dim))?
    };
    keys.only(
        "use_bidirectional_attention",
        keys.boolean_or("use_bidirectional_attention", false)?,
        false,
    )?;
    // Older files carry a second key that the family's class does not read.
    keys.value("hidden_act");
    let activation = activation(keys, "hidden_activation", "gelu_pytorch_tanh")?;
    let network = GatedNetwork::plain(keys.size("intermediate_size")?, activation);
    let layer = LayerDescription {
        post_norms: true,
        ..layer(attention, network)
    };
    let hidden = keys.size("hidden_size")?;
    Ok(ModelDescription {
        vocab: keys.size_or("vocab_size", defaults.vocab)?,
        context_length: keys.size_or("max_position_embeddings", defaults.context_length)?,
        norm_offset: 1.0,
        embedding_scale: (hidden as f32).sqrt(),
        logit_softcap: keys
            .factor_unless_null("final_logit_softcapping", defaults.logit_softcap)?
            .map(|cap| cap as f32),
        tied_embeddings: keys.boolean_or("tie_word_embeddings", true)?,
        ..model(keys, vec![layer; layer_count(keys)?])?
    })
}

/// Phi-3 and Phi-4-mini.
pub(super) fn phi3(keys: &Keys<'_>) -> Described {
    let attention = GroupedAttention {
        fused_qkv: true,
        ..biased(keys, grouped(keys, None)?)?
    };
    let network = GatedNetwork {
        fused_gate_up: true,
        ..gated(keys)?
    };
    let mut description = uniform(keys, attention, network, THETA)?;
    description.norm_eps = keys.factor_or("rms_norm_eps", 1e-5)? as f32;
    // Set beside the scaling too, whether or not there is one.
    keys.value("original_max_position_embeddings");
    let window = keys.optional_size("sliding_window")?;
    set_one_window(keys, &mut description, window)?;
    Ok(description)
}

/// Granite 3.
pub(super) fn granite(keys: &Keys<'_>) -> Described {
    let multiplier = |name| Ok::<_, ModelError>(keys.factor_or(name, 1.0)? as f32);
    let mut attention = biased(keys, grouped(keys, None)?)?;
    attention.scale = multiplier("attention_multiplier")?;
    Ok(ModelDescription {
        embedding_scale: multiplier("embedding_multiplier")?,
        residual_scale: multiplier("residual_multiplier")?,
        logit_scale: multiplier("logits_scaling")?.recip(),
        ..uniform(keys, attention, gated(keys)?, THETA)?
    })
}

/// SmolLM3: every fourth layer has no position embedding.
pub(super) fn smollm3(keys: &Keys<'_>) -> Described {
    let attention = biased(keys, grouped(keys, None)?)?;
    let mut description = uniform(keys, attention, gated(keys)?, 2_000_000.0)?;
    description.tied_embeddings = keys.boolean_or("tie_word_embeddings", true)?;
    let period = keys.size_or("no_rope_layer_interval", 4)?;
    let listed = keys.list("no_rope_layers", serde_json::Value::as_u64)?;
    if let Some(listed) = &listed
        && listed.len() < description.layers.len()
    {
        let reason = format!("names {} layers only", listed.len());
        return Err(keys.unsupported("no_rope_layers", reason));
    }
    for (index, layer) in description.layers.iter_mut().enumerate() {
        // The list says 1 where there is a rope.
        let turns = match &listed {
            Some(listed) => listed.get(index) != Some(&0),
            None => !(index + 1).is_multiple_of(period),
        };
        if let Attention::Grouped(attention) = &mut layer.attention
            && !turns
        {
            attention.rope = None;
        }
    }
    let window = switched_window(keys, None)?;
    // Written by the family's class, but not read.
    keys.value("max_window_layers");
    let turns: Vec<bool> = description
        .layers
        .iter()
        .map(|layer| matches!(&layer.attention, Attention::Grouped(a) if a.rope.is_some()))
        .collect();
    let slides = sliding_layers(keys, &description, |index| !turns[index])?;
    set_windows(&mut description, window, &slides);
    Ok(description)
}

/// Attention as most families have it; their own traits are set after.
fn grouped(
    keys: &Keys<'_>,
    default_head_dim: Option<usize>,
) -> Result<GroupedAttention, ModelError> {
    let hidden = keys.size("hidden_size")?;
    let heads = keys.size("num_attention_heads")?;
    let head_dim = match (keys.optional_size("head_dim")?, default_head_dim) {
        (Some(head_dim), _) | (None, Some(head_dim)) => head_dim,
        (None, None) if hidden.is_multiple_of(heads) => hidden / heads,
        (None, None) => {
            let reason = format!("{heads} heads do not divide {hidden} elements");
            return Err(keys.unsupported("num_attention_heads", reason));
        }
    };
    let kv_heads = keys.size_or("num_key_value_heads", heads)?;
    Ok(GroupedAttention::plain(heads, kv_heads, head_dim))
}

/// With biases on all four projections where the configuration says so.
fn biased(keys: &Keys<'_>, attention: GroupedAttention) -> Result<GroupedAttention, ModelError> {
    let bias = keys.boolean_or("attention_bias", false)?;
    Ok(GroupedAttention {
        qkv_bias: bias,
        output_bias: bias,
        ..attention
    })
}

pub(super) fn gated(keys: &Keys<'_>) -> Result<GatedNetwork, ModelError> {
    let activation = activation(keys, "hidden_act", "silu")?;
    Ok(GatedNetwork {
        bias: keys.boolean_or("mlp_bias", false)?,
        ..GatedNetwork::plain(keys.size("intermediate_size")?, activation)
    })
}

fn activation(
    keys: &Keys<'_>,
    name: &str,
    default: &'static str,
) -> Result<Activation, ModelError> {
    match keys.string(name)?.unwrap_or(default) {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_pytorch_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
        other => Err(keys.unsupported(name, format!("activation {other} is not supported"))),
    }
}

fn layer(attention: GroupedAttention, network: GatedNetwork) -> LayerDescription {
    LayerDescription::plain(Attention::Grouped(attention), FeedForward::Dense(network))
}

fn halves(head_dim: usize, keys: &Keys<'_>, theta: f64) -> Result<RopeDefaults, ModelError> {
    Ok(RopeDefaults {
        style: RopeStyle::Halves,
        head_dim: keys.size_or("head_dim", head_dim)?,
        theta,
    })
}

/// A model whose layers are all alike, with one rope.
fn uniform(
    keys: &Keys<'_>,
    attention: GroupedAttention,
    network: GatedNetwork,
    theta: f64,
) -> Described {
    let rope = rope::rope(keys, halves(attention.head_dim, keys, theta)?)?;
    let layers = vec![layer(attention, network); layer_count(keys)?];
    Ok(ModelDescription {
        ropes: vec![rope],
        ..model(keys, layers)?
    })
}

/// How many layers there are: not more than tensors, whatever the file says.
pub(super) fn layer_count(keys: &Keys<'_>) -> Result<usize, ModelError> {
    let (layers, tensors) = (
        keys.size("num_hidden_layers")?,
        keys.folder().tensors().count(),
    );
    if layers > tensors {
        let reason = format!("{layers} layers, but the files hold {tensors} tensors");
        return Err(keys.unsupported("num_hidden_layers", reason));
    }
    Ok(layers)
}

/// What stands around the layers; ropes and end tokens are set after.
pub(super) fn model(keys: &Keys<'_>, layers: Vec<LayerDescription>) -> Described {
    let gemma = keys.architecture().starts_with("gemma");
    let required = |name| {
        if gemma {
            keys.size_or(name, 1)
        } else {
            keys.size(name)
        }
    };
    Ok(ModelDescription {
        architecture: keys.architecture().to_owned(),
        name: None,
        layers,
        hidden: keys.size("hidden_size")?,
        vocab: required("vocab_size")?,
        context_length: required("max_position_embeddings")?,
        norm_eps: keys.factor_or("rms_norm_eps", 1e-6)? as f32,
        norm_offset: 0.0,
        ropes: Vec::<RopeDescription>::new(),
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: None,
        tied_embeddings: keys.boolean_or("tie_word_embeddings", false)?,
        eos_token_ids: Vec::new(),
    })
}

/// Which layers look back only so far: those that `layer_types` names, or else those of the family's own pattern.
fn sliding_layers(
    keys: &Keys<'_>,
    description: &ModelDescription,
    pattern: impl Fn(usize) -> bool,
) -> Result<Vec<bool>, ModelError> {
    let layers = description.layers.len();
    let Some(types) = keys.list("layer_types", serde_json::Value::as_str)? else {
        return Ok((0..layers).map(pattern).collect());
    };
    if types.len() != layers {
        let reason = format!("names {} layers, the model has {layers}", types.len());
        return Err(keys.unsupported("layer_types", reason));
    }
    let slides = |kind: &&str| match *kind {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => {
            let reason = format!("layers of type {other} are not supported");
            Err(keys.unsupported("layer_types", reason))
        }
    };
    types.iter().map(slides).collect()
}

/// One window for all layers. These families' classes do not look at `layer_types`, though newer models of other
/// families were published under their names with it: layers of two kinds are refused, as there are two answers.
fn set_one_window(
    keys: &Keys<'_>,
    description: &mut ModelDescription,
    window: Option<usize>,
) -> Result<(), ModelError> {
    let slides = sliding_layers(keys, description, |_| true)?;
    if window.is_some() && slides.contains(&false) {
        let reason = "sliding_window is for all layers of this architecture";
        return Err(keys.unsupported("layer_types", reason));
    }
    set_windows(description, window, &slides);
    Ok(())
}

fn set_windows(description: &mut ModelDescription, window: Option<usize>, slides: &[bool]) {
    for (layer, slides) in description.layers.iter_mut().zip(slides) {
        if let Attention::Grouped(attention) = &mut layer.attention {
            attention.window = window.filter(|_| *slides);
        }
    }
}

/// A window that `use_sliding_window` switches on.
fn switched_window(keys: &Keys<'_>, default: Option<usize>) -> Result<Option<usize>, ModelError> {
    let slides = keys.boolean_or("use_sliding_window", false)?;
    let window = keys.size_unless_null("sliding_window", default)?;
    Ok(window.filter(|_| slides))
}

fn set_qwen_windows(keys: &Keys<'_>, description: &mut ModelDescription) -> Result<(), ModelError> {
    let window = switched_window(keys, Some(WINDOW))?;
    let first = keys.optional_count("max_window_layers")?.unwrap_or(28);
    let slides = sliding_layers(keys, description, |index| index >= first)?;
    set_windows(description, window, &slides);
    Ok(())
}
