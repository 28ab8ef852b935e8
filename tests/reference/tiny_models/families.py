"""The tiny checkpoints: one entry a model, with the config.json that the hub's model of the family has.

The configs are spelled as the hub's files are (rope_theta, rope_scaling, torch_dtype), which transformers 5 still
reads; SPELLED_ANEW names those that also get the file transformers 5 would write. Sizes are tiny, and every number
that a decoder could ignore differs from the value at which ignoring it changes nothing: hence an epsilon of 1e-3.
DeepSeek's alone is 1e-6 as in the real models, because the norms of its latents have that, whatever the config says.
"""

from dataclasses import dataclass, field

LLAMA3_ROPE = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 32,
    "rope_type": "llama3",
}
YARN_ROPE = {"factor": 4.0, "original_max_position_embeddings": 32, "type": "yarn"}
DEEPSEEK_YARN = {
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 4,
    "mscale": 0.707,
    "mscale_all_dim": 0.707,
    "original_max_position_embeddings": 32,
    "type": "yarn",
}
FP8 = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}


@dataclass
class TinyModel:
    """One checkpoint: its config.json, how the weights are stored, and the GGUF files made of it.

    `gguf` maps a file name to the options of gguf_file.write. `dtype` is the safetensors' type; `shards` above 1
    splits them. `unused` are names and shapes of tensors that real files hold beside what the text needs. `wrapper` is
    the config of a model that sees too: the text's own is its text_config, and its tensors' names get `prefix`.
    """

    config: dict
    dtype: str = "float32"
    shards: int = 1
    unused: dict = field(default_factory=dict)
    wrapper: dict | None = None
    prefix: str = ""
    gguf: dict = field(default_factory=lambda: {"model.gguf": {}})


def common(architecture, model_type, *changes):
    """What every config has: 2 layers, 4 heads of 8 over 2 KV heads, 96 tokens; later changes win."""
    config = {
        "architectures": [architecture],
        "model_type": model_type,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "hidden_act": "silu",
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 48,
        "max_position_embeddings": 256,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-03,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": 96,
    }
    for change in changes:
        config |= change
    return config


def llama(**changes):
    own = {"attention_bias": False, "mlp_bias": False, "pretraining_tp": 1, "rope_scaling": None}
    return common("LlamaForCausalLM", "llama", own, changes)


def mistral(**changes):
    return common("MistralForCausalLM", "mistral", {"head_dim": 16, "rope_theta": 1000000.0}, changes)


def qwen2(**changes):
    own = {
        "max_window_layers": 2,
        "rope_theta": 1000000.0,
        "sliding_window": 64,
        "use_sliding_window": False,
    }
    return common("Qwen2ForCausalLM", "qwen2", own, changes)


QWEN3 = {
    "attention_bias": False,
    "head_dim": 16,
    "max_window_layers": 2,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "use_sliding_window": False,
}


def qwen3(**changes):
    return common("Qwen3ForCausalLM", "qwen3", QWEN3, {"tie_word_embeddings": True}, changes)


def qwen3_moe(**changes):
    own = {
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": 16,
        "norm_topk_prob": True,
        "num_experts": 8,
        "num_experts_per_tok": 3,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    }
    return common("Qwen3MoeForCausalLM", "qwen3_moe", QWEN3, own, changes)


def gemma2(**changes):
    own = {
        "attention_bias": False,
        "attn_logit_softcapping": 3.0,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": 6.0,
        "head_dim": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "num_hidden_layers": 3,
        "query_pre_attn_scalar": 16,
        "sliding_window": 24,
        "tie_word_embeddings": True,
    }
    return common("Gemma2ForCausalLM", "gemma2", own, changes)


def gemma3(**changes):
    """gemma-3-1b-it: five local layers to one global, which has a base of its own.

    transformers ignores attn_logit_softcapping in this family; every real model has null.
    """
    own = {
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": None,
        "head_dim": 16,
        "hidden_activation": "gelu_pytorch_tanh",
        "num_hidden_layers": 7,
        "query_pre_attn_scalar": 16,
        "rope_local_base_freq": 10000,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "rope_theta": 1000000,
        "sliding_window": 16,
        "sliding_window_pattern": 6,
        "tie_word_embeddings": True,
    }
    config = common("Gemma3ForCausalLM", "gemma3_text", own, changes)
    del config["hidden_act"]
    return config


DEEPSEEK = {
    "attention_bias": False,
    "aux_loss_alpha": 0.001,
    "ep_size": 1,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 24,
    "moe_intermediate_size": 16,
    "moe_layer_freq": 1,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": DEEPSEEK_YARN,
    "v_head_dim": 10,
}


def deepseek_v2(**changes):
    """DeepSeek-V2-Lite's router; V2 itself has groups."""
    own = {
        "n_group": 1,
        "n_shared_experts": 2,
        "norm_topk_prob": False,
        "q_lora_rank": None,
        "routed_scaling_factor": 1.0,
        "scoring_func": "softmax",
        "seq_aux": True,
        "topk_group": 1,
        "topk_method": "greedy",
    }
    return common("DeepseekV2ForCausalLM", "deepseek_v2", DEEPSEEK, own, changes)


def deepseek_v3(**changes):
    own = {
        "n_group": 4,
        "n_shared_experts": 1,
        "norm_topk_prob": True,
        "num_nextn_predict_layers": 0,
        "q_lora_rank": 20,
        "rope_scaling": {**DEEPSEEK_YARN, "beta_fast": 0.4, "beta_slow": 0.02, "mscale": 1.0, "mscale_all_dim": 1.0},
        "routed_scaling_factor": 2.5,
        "scoring_func": "sigmoid",
        "topk_group": 2,
        "topk_method": "noaux_tc",
    }
    return common("DeepseekV3ForCausalLM", "deepseek_v3", DEEPSEEK, own, changes)


def phi3(**changes):
    own = {
        "attention_bias": False,
        "embd_pdrop": 0.0,
        "hidden_size": 64,
        "original_max_position_embeddings": 256,
        "resid_pdrop": 0.0,
        "rope_scaling": None,
        "sliding_window": 24,
    }
    return common("Phi3ForCausalLM", "phi3", own, changes)


def longrope(original, pairs, **changes):
    """Every pair of a head has its own factor, for short and for long contexts."""
    scaling = {
        "long_factor": [round(1.0 + 0.75 * pair, 2) for pair in range(pairs)],
        "short_factor": [round(1.0 + 0.125 * pair, 3) for pair in range(pairs)],
        "type": "longrope",
    }
    own = {"original_max_position_embeddings": original, "rope_scaling": scaling, "sliding_window": 262144}
    return phi3(**own, **changes)


def granite(**changes):
    own = {
        "attention_bias": False,
        "attention_multiplier": 0.2,
        "embedding_multiplier": 3.0,
        "logits_scaling": 2.0,
        "mlp_bias": False,
        "residual_multiplier": 0.6,
        "rope_scaling": None,
        "tie_word_embeddings": True,
    }
    return common("GraniteForCausalLM", "granite", own, changes)


def smollm3(**changes):
    """SmolLM3-3B: no rotary embedding in every fourth layer."""
    own = {
        "attention_bias": False,
        "layer_types": ["full_attention"] * 4,
        "max_window_layers": 28,
        "mlp_bias": False,
        "no_rope_layer_interval": 4,
        "no_rope_layers": [1, 1, 1, 0],
        "num_hidden_layers": 4,
        "rope_scaling": None,
        "rope_theta": 5000000.0,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
    }
    return common("SmolLM3ForCausalLM", "smollm3", own, changes)


# Frequencies that Llama 2's files hold.
INVERSE_FREQUENCIES = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": [4] for layer in range(2)}
# Some of the layer behind the last, which predicts a second token.
NEXT_TOKEN_LAYER = {
    "model.layers.2.eh_proj.weight": [144, 288],
    "model.layers.2.embed_tokens.weight": [96, 144],
    "model.layers.2.enorm.weight": [144],
    "model.layers.2.input_layernorm.weight": [144],
    "model.layers.2.mlp.gate.e_score_correction_bias": [8],
    "model.layers.2.self_attn.o_proj.weight": [144, 40],
    "model.layers.2.shared_head.head.weight": [96, 144],
}
VISION_TOWER = {
    "multi_modal_projector.mm_input_projection_weight": [16, 32],
    "multi_modal_projector.mm_soft_emb_norm.weight": [16],
    "vision_tower.vision_model.embeddings.patch_embedding.bias": [16],
    "vision_tower.vision_model.embeddings.patch_embedding.weight": [16, 3, 2, 2],
}
# gemma-3-4b-it's config around the text's.
GEMMA3_WRAPPER = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "boi_token_index": 90,
    "eoi_token_index": 91,
    "eos_token_id": [1, 92],
    "image_token_index": 93,
    "initializer_range": 0.02,
    "mm_tokens_per_image": 4,
    "model_type": "gemma3",
    "torch_dtype": "bfloat16",
    "vision_config": {
        "hidden_size": 16,
        "image_size": 4,
        "intermediate_size": 24,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "patch_size": 2,
        "vision_use_head": False,
    },
}

NO_GGUF = {}
WHOLE_AND_SPLIT = {"model.gguf": {"split_kv_b": True}, "whole_kv_b.gguf": {"split_kv_b": False}}

MODELS = {
    "llama": TinyModel(llama()),
    "llama-llama3-rope": TinyModel(llama(eos_token_id=[2, 95], hidden_size=64, rope_scaling=LLAMA3_ROPE)),
    "llama-yarn": TinyModel(llama(hidden_size=64, rope_scaling=YARN_ROPE)),
    "llama-linear-tied": TinyModel(llama(rope_scaling={"factor": 4.0, "type": "linear"}, tie_word_embeddings=True)),
    "llama-bias": TinyModel(llama(attention_bias=True, mlp_bias=True)),
    "llama-bf16-sharded": TinyModel(
        llama(torch_dtype="bfloat16"),
        dtype="bfloat16",
        shards=3,
        unused=INVERSE_FREQUENCIES,
        gguf={"model.gguf": {"dtype": "bfloat16"}},
    ),
    "mistral": TinyModel(mistral(sliding_window=None)),
    "mistral-window": TinyModel(mistral(sliding_window=20), gguf=NO_GGUF),
    "qwen2": TinyModel(qwen2()),
    "qwen2-window": TinyModel(qwen2(max_window_layers=1, sliding_window=16, use_sliding_window=True), gguf=NO_GGUF),
    "qwen2-f16": TinyModel(
        qwen2(torch_dtype="float16"), dtype="float16", gguf={"model.gguf": {"dtype": "float16"}}
    ),
    "qwen3": TinyModel(qwen3()),
    "qwen3-moe": TinyModel(qwen3_moe()),
    "qwen3-moe-dense-layer": TinyModel(
        qwen3_moe(decoder_sparse_step=2, mlp_only_layers=[3], norm_topk_prob=False, num_hidden_layers=4), gguf=NO_GGUF
    ),
    "gemma2": TinyModel(gemma2()),
    "gemma2-scalar": TinyModel(gemma2(query_pre_attn_scalar=9), gguf=NO_GGUF),
    "gemma3": TinyModel(gemma3()),
    "gemma3-cap": TinyModel(
        gemma3(
            final_logit_softcapping=6.0,
            num_hidden_layers=4,
            query_pre_attn_scalar=9,
            rope_scaling=None,
            sliding_window_pattern=2,
        ),
        gguf=NO_GGUF,
    ),
    "gemma3-vision": TinyModel(
        gemma3(num_hidden_layers=3, sliding_window_pattern=2),
        dtype="bfloat16",
        unused=VISION_TOWER,
        wrapper=GEMMA3_WRAPPER,
        prefix="language_model.",
        gguf=NO_GGUF,
    ),
    "deepseek-v2-lite": TinyModel(deepseek_v2(), gguf=WHOLE_AND_SPLIT),
    "deepseek-v2": TinyModel(
        deepseek_v2(
            n_group=4,
            q_lora_rank=20,
            routed_scaling_factor=1.5,
            topk_group=2,
            topk_method="group_limited_greedy",
        ),
    ),
    "deepseek-v3": TinyModel(deepseek_v3(), gguf=WHOLE_AND_SPLIT),
    "deepseek-v3-fp8": TinyModel(
        deepseek_v3(
            hidden_size=144,
            intermediate_size=136,
            num_hidden_layers=2,
            num_nextn_predict_layers=1,
            quantization_config=FP8,
            rope_scaling={**DEEPSEEK_YARN, "mscale": 0.5, "mscale_all_dim": 1.5},
            torch_dtype="bfloat16",
        ),
        dtype="bfloat16",
        unused=NEXT_TOKEN_LAYER,
        gguf=NO_GGUF,
    ),
    "phi3": TinyModel(phi3()),
    "phi3-longrope-short": TinyModel(longrope(512, pairs=8, max_position_embeddings=1024)),
    "phi3-longrope-long": TinyModel(longrope(16, pairs=8)),
    "phi4-mini": TinyModel(
        longrope(16, pairs=6, partial_rotary_factor=0.75, tie_word_embeddings=True)
    ),
    "granite": TinyModel(granite()),
    "smollm3": TinyModel(smollm3()),
}

SPELLED_ANEW = ["llama-llama3-rope", "qwen3-moe-dense-layer", "gemma3", "deepseek-v3"]
