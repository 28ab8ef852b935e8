//! What the parts of a decoder are called in the two kinds of files.
//!
//! GGUF names are llama.cpp's, the same for all families; folders have the names of the families' own implementations,
//! which nearly agree. Weights end in `.weight`, biases in `.bias`.

/// A part of the decoder with weights of its own.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// In a GGUF file.
    pub gguf: &'static str,
    /// In a folder.
    pub folder: &'static str,
}

const fn part(gguf: &'static str, folder: &'static str) -> Part {
    Part { gguf, folder }
}

/// Where a part stands.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// Before or behind the layers.
    Model,
    /// In the layer of this number.
    Layer(usize),
}

/// A row a token id.
pub const EMBEDDING: Part = part("token_embd", "embed_tokens");
/// Before the head.
pub const OUTPUT_NORM: Part = part("output_norm", "norm");
/// The head.
pub const OUTPUT: Part = part("output", "lm_head");

/// Before attention.
pub const ATTENTION_NORM: Part = part("attn_norm", "input_layernorm");
/// Projection to queries.
pub const QUERY: Part = part("attn_q", "self_attn.q_proj");
/// Projection to keys.
pub const KEY: Part = part("attn_k", "self_attn.k_proj");
/// Projection to values.
pub const VALUE: Part = part("attn_v", "self_attn.v_proj");
/// Projection to queries, keys and values, in this order.
pub const FUSED_QKV: Part = part("attn_qkv", "self_attn.qkv_proj");
/// Of each head of queries.
pub const QUERY_NORM: Part = part("attn_q_norm", "self_attn.q_norm");
/// Of each head of keys.
pub const KEY_NORM: Part = part("attn_k_norm", "self_attn.k_norm");
/// Projection of attention's result.
pub const ATTENTION_OUTPUT: Part = part("attn_output", "self_attn.o_proj");
/// Before the second half.
pub const FEED_FORWARD_NORM: Part = part("ffn_norm", "post_attention_layernorm");

// Where each half's result has a norm of its own, folders name the norms by their place.
/// Of attention's result.
pub const POST_ATTENTION_NORM: Part = part("post_attention_norm", "post_attention_layernorm");
/// Before the second half, where both halves' results are normed.
pub const PRE_FEED_FORWARD_NORM: Part = part("ffn_norm", "pre_feedforward_layernorm");
/// Of the second half's result.
pub const POST_FEED_FORWARD_NORM: Part = part("post_ffw_norm", "post_feedforward_layernorm");

/// Projection to the queries' latent.
pub const LATENT_QUERY: Part = part("attn_q_a", "self_attn.q_a_proj");
/// Of the queries' latent.
pub const LATENT_QUERY_NORM: Part = part("attn_q_a_norm", "self_attn.q_a_layernorm");
/// Latent to queries.
pub const QUERY_OF_LATENT: Part = part("attn_q_b", "self_attn.q_b_proj");
/// Projection to the latent of keys and values, and to the keys' part that turns.
pub const LATENT_KV: Part = part("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa");
/// Of the latent of keys and values.
pub const LATENT_KV_NORM: Part = part("attn_kv_a_norm", "self_attn.kv_a_layernorm");
/// Latent to keys and values.
pub const KV_OF_LATENT: Part = part("attn_kv_b", "self_attn.kv_b_proj");
/// GGUF files may hold the halves of `KV_OF_LATENT` apart, the keys' half transposed.
pub const KEY_OF_LATENT: Part = part("attn_k_b", "");
/// Latent to values.
pub const VALUE_OF_LATENT: Part = part("attn_v_b", "");

/// The three matrices of a gated network.
#[derive(Debug, Clone, Copy)]
pub struct GatedParts {
    /// To the gates.
    pub gate: Part,
    /// To what the gates let through.
    pub up: Part,
    /// Back to the residual stream.
    pub down: Part,
}

/// One network for all tokens.
pub const DENSE: GatedParts = GatedParts {
    gate: part("ffn_gate", "mlp.gate_proj"),
    up: part("ffn_up", "mlp.up_proj"),
    down: part("ffn_down", "mlp.down_proj"),
};
/// Gate and up in one matrix, in this order.
pub const FUSED_GATE_UP: Part = part("ffn_up", "mlp.gate_up_proj");
/// The network that all tokens pass beside their experts.
pub const SHARED_EXPERT: GatedParts = GatedParts {
    gate: part("ffn_gate_shexp", "mlp.shared_experts.gate_proj"),
    up: part("ffn_up_shexp", "mlp.shared_experts.up_proj"),
    down: part("ffn_down_shexp", "mlp.shared_experts.down_proj"),
};
/// GGUF files stack all experts in one tensor; folders have each under `mlp.experts.NUMBER`.
pub const EXPERTS: GatedParts = GatedParts {
    gate: part("ffn_gate_exps", "gate_proj"),
    up: part("ffn_up_exps", "up_proj"),
    down: part("ffn_down_exps", "down_proj"),
};
/// Scores of the experts.
pub const ROUTER: Part = part("ffn_gate_inp", "mlp.gate");

/// The router's correction bias, which has no weights beside it.
pub const ROUTER_CORRECTION_GGUF: &str = "exp_probs_b.bias";
/// The same in a folder.
pub const ROUTER_CORRECTION_FOLDER: &str = "mlp.gate.e_score_correction_bias";

/// The name in a GGUF file; `suffix` is `weight` or `bias`.
pub fn in_gguf(place: Place, part: Part, suffix: &str) -> String {
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
