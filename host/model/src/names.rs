//! What the parts of a decoder are called in the two kinds of files.
//!
//! GGUF names are llama.cpp's, the same for all families; folders have the names of the families' own implementations,
//! which nearly agree. Weights end in `.weight`, biases in `.bias`.

/// A part of the decoder with weights of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) gguf: &'static str,
    pub(crate) folder: &'static str,
}

const fn part(gguf: &'static str, folder: &'static str) -> Part {
    Part { gguf, folder }
}

/// Where a part stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// Before or behind the layers.
    Model,
    /// In the layer of this number.
    Layer(usize),
}

pub(crate) const EMBEDDING: Part = part("token_embd", "embed_tokens");
pub(crate) const OUTPUT_NORM: Part = part("output_norm", "norm");
pub(crate) const OUTPUT: Part = part("output", "lm_head");

pub(crate) const ATTENTION_NORM: Part = part("attn_norm", "input_layernorm");
pub(crate) const QUERY: Part = part("attn_q", "self_attn.q_proj");
pub(crate) const KEY: Part = part("attn_k", "self_attn.k_proj");
pub(crate) const VALUE: Part = part("attn_v", "self_attn.v_proj");
pub(crate) const FUSED_QKV: Part = part("attn_qkv", "self_attn.qkv_proj");
pub(crate) const QUERY_NORM: Part = part("attn_q_norm", "self_attn.q_norm");
pub(crate) const KEY_NORM: Part = part("attn_k_norm", "self_attn.k_norm");
pub(crate) const ATTENTION_OUTPUT: Part = part("attn_output", "self_attn.o_proj");
pub(crate) const FEED_FORWARD_NORM: Part = part("ffn_norm", "post_attention_layernorm");

// Where each half's result has a norm of its own, folders name the norms by their place.
pub(crate) const POST_ATTENTION_NORM: Part =
    part("post_attention_norm", "post_attention_layernorm");
pub(crate) const PRE_FEED_FORWARD_NORM: Part = part("ffn_norm", "pre_feedforward_layernorm");
pub(crate) const POST_FEED_FORWARD_NORM: Part = part("post_ffw_norm", "post_feedforward_layernorm");

pub(crate) const LATENT_QUERY: Part = part("attn_q_a", "self_attn.q_a_proj");
pub(crate) const LATENT_QUERY_NORM: Part = part("attn_q_a_norm", "self_attn.q_a_layernorm");
pub(crate) const QUERY_OF_LATENT: Part = part("attn_q_b", "self_attn.q_b_proj");
pub(crate) const LATENT_KV: Part = part("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa");
pub(crate) const LATENT_KV_NORM: Part = part("attn_kv_a_norm", "self_attn.kv_a_layernorm");
pub(crate) const KV_OF_LATENT: Part = part("attn_kv_b", "self_attn.kv_b_proj");
/// GGUF files may hold the halves of `KV_OF_LATENT` apart, the keys' half transposed.
pub(crate) const KEY_OF_LATENT: Part = part("attn_k_b", "");
pub(crate) const VALUE_OF_LATENT: Part = part("attn_v_b", "");

/// The three matrices of a gated network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatedParts {
    pub(crate) gate: Part,
    pub(crate) up: Part,
    pub(crate) down: Part,
}

pub(crate) const DENSE: GatedParts = GatedParts {
    gate: part("ffn_gate", "mlp.gate_proj"),
    up: part("ffn_up", "mlp.up_proj"),
    down: part("ffn_down", "mlp.down_proj"),
};
pub(crate) const FUSED_GATE_UP: Part = part("ffn_up", "mlp.gate_up_proj");
pub(crate) const SHARED_EXPERT: GatedParts = GatedParts {
    gate: part("ffn_gate_shexp", "mlp.shared_experts.gate_proj"),
    up: part("ffn_up_shexp", "mlp.shared_experts.up_proj"),
    down: part("ffn_down_shexp", "mlp.shared_experts.down_proj"),
};
/// GGUF files stack all experts in one tensor; folders have each under `mlp.experts.NUMBER`.
pub(crate) const EXPERTS: GatedParts = GatedParts {
    gate: part("ffn_gate_exps", "gate_proj"),
    up: part("ffn_up_exps", "up_proj"),
    down: part("ffn_down_exps", "down_proj"),
};
pub(crate) const ROUTER: Part = part("ffn_gate_inp", "mlp.gate");

/// The router's correction bias, which has no weights beside it.
pub(crate) const ROUTER_CORRECTION_GGUF: &str = "exp_probs_b.bias";
pub(crate) const ROUTER_CORRECTION_FOLDER: &str = "mlp.gate.e_score_correction_bias";

/// The name in a GGUF file; `suffix` is `weight` or `bias`.
pub(crate) fn in_gguf(place: Place, part: Part, suffix: &str) -> String {
    match place {
        Place::Model => format!("{}.{suffix}", part.gguf),
        Place::Layer(layer) => format!("blk.{layer}.{}.{suffix}", part.gguf),
    }
}

/// The name in a folder, where the decoder's tensors begin with `prefix`; the head's may not.
pub(crate) fn in_folder(prefix: &str, place: Place, part: Part, suffix: &str) -> String {
    match place {
        Place::Model => format!("{prefix}{}.{suffix}", part.folder),
        Place::Layer(layer) => format!("{prefix}layers.{layer}.{}.{suffix}", part.folder),
    }
}
