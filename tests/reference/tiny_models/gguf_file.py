"""The same checkpoint as a GGUF, with the metadata and tensors that llama.cpp's converter writes.

Facts it follows: q and k rows of llama-like models lie in rotated pairs (permute), gemma's norms have the 1 added,
llama3's rope scaling and phi3's longrope are tensors of factors, experts are stacked into one tensor of three
dimensions, and DeepSeek's kv_b_proj is split into a transposed k_b and a v_b (older files have it whole).
"""

import math
import re

import gguf
import numpy
import torch

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "qwen3_moe": gguf.MODEL_ARCH.QWEN3MOE,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "deepseek_v2": gguf.MODEL_ARCH.DEEPSEEK2,
    "deepseek_v3": gguf.MODEL_ARCH.DEEPSEEK2,
    "phi3": gguf.MODEL_ARCH.PHI3,
    "granite": gguf.MODEL_ARCH.GRANITE,
    "smollm3": gguf.MODEL_ARCH.SMOLLM3,
}
PERMUTED = ["llama", "mistral", "granite", "smollm3"]
FILE_TYPES = {
    "float32": gguf.LlamaFileType.ALL_F32,
    "float16": gguf.LlamaFileType.MOSTLY_F16,
    "bfloat16": gguf.LlamaFileType.MOSTLY_BF16,
}


def write(path, name, config, weights, dtype="float32", split_kv_b=True):
    """`weights` are the checkpoint's in f32, by their hub names; `dtype` is that of the matrices."""
    family = config["model_type"]
    architecture = ARCHITECTURES[family]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_name(name)
    writer.add_file_type(FILE_TYPES[dtype])
    add_sizes(writer, config)
    add_rope(writer, config)
    add_experts(writer, config)
    add_family(writer, family, config, split_kv_b)
    add_tokenizer(writer, config)
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    for tensor, value in extra_tensors(config) + converted(config, weights, split_kv_b):
        tensor = names.get_name(tensor, try_suffixes=(".weight", ".bias")) or tensor
        add_tensor(writer, tensor, value, dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tensor(writer, tensor, value, dtype):
    """Vectors and the router stay f32; numpy has no bf16, so its bytes go in as such."""
    value = value.contiguous()
    if value.ndim == 1 or dtype == "float32" or "ffn_gate_inp" in tensor:
        writer.add_tensor(tensor, value.float().numpy())
    elif dtype == "float16":
        writer.add_tensor(tensor, value.half().numpy())
    else:
        raw = value.bfloat16().view(torch.int16).numpy().view(numpy.uint8)
        writer.add_tensor(tensor, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)


def add_sizes(writer, config):
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    if "head_dim" in config:
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])


def add_rope(writer, config):
    writer.add_rope_freq_base(config["rope_theta"])
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(scaling["factor"])
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
        if "beta_fast" in scaling:
            writer.add_rope_scaling_yarn_beta_fast(scaling["beta_fast"])
            writer.add_rope_scaling_yarn_beta_slow(scaling["beta_slow"])
    elif kind == "longrope":
        original = config["original_max_position_embeddings"]
        stretch = math.log(config["max_position_embeddings"] / original)
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + stretch / math.log(original)))


def add_experts(writer, config):
    if (count := config.get("num_experts", config.get("n_routed_experts"))) is None:
        return
    writer.add_expert_count(count)
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if "n_group" in config:
        writer.add_expert_group_count(config["n_group"])
        writer.add_expert_group_used_count(config["topk_group"])
    if "scoring_func" in config:
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType[config["scoring_func"].upper()])


def add_family(writer, family, config, split_kv_b):
    """What the architectures have of their own, and the K and V heads, which DeepSeek's depend on."""
    kv_heads = config["num_key_value_heads"]
    if family.startswith("deepseek"):
        add_deepseek(writer, config, split_kv_b)
        kv_heads = 1 if split_kv_b else kv_heads
    writer.add_head_count_kv(kv_heads)
    if family in ("llama", "mistral", "granite"):
        writer.add_rope_dimension_count(head_dim(config))
    if family.startswith("gemma"):
        writer.add_sliding_window(config["sliding_window"])
    if family == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if family == "gemma3_text":
        writer.add_rope_freq_base_swa(config["rope_local_base_freq"])
    if family == "granite":
        writer.add_attention_scale(config["attention_multiplier"])
        writer.add_embedding_scale(config["embedding_multiplier"])
        writer.add_residual_scale(config["residual_multiplier"])
        writer.add_logit_scale(config["logits_scaling"])
    if family == "phi3":
        writer.add_rope_scaling_orig_ctx_len(config["original_max_position_embeddings"])
        writer.add_rope_dimension_count(int(config.get("partial_rotary_factor", 1.0) * head_dim(config)))
        writer.add_sliding_window(config["sliding_window"] or 0)


def add_deepseek(writer, config, split_kv_b):
    """Split, the file describes attention over the latents: one K head that is the latent and the turned part."""
    key = config["qk_nope_head_dim"] + config["qk_rope_head_dim"]
    if config["q_lora_rank"] is not None:
        writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_kv_lora_rank(config["kv_lora_rank"])
    writer.add_rope_dimension_count(config["qk_rope_head_dim"])
    if split_kv_b:
        writer.add_key_length(config["kv_lora_rank"] + config["qk_rope_head_dim"])
        writer.add_value_length(config["kv_lora_rank"])
        writer.add_key_length_mla(key)
        writer.add_value_length_mla(config["v_head_dim"])
    else:
        writer.add_key_length(key)
        writer.add_value_length(config["v_head_dim"])
    writer.add_leading_dense_block_count(config["first_k_dense_replace"])
    writer.add_expert_shared_count(config["n_shared_experts"])
    writer.add_expert_weights_scale(config["routed_scaling_factor"])
    if config["norm_topk_prob"]:
        writer.add_expert_weights_norm(True)
    if config["rope_scaling"] is not None:
        writer.add_rope_scaling_yarn_log_mul(0.1 * config["rope_scaling"]["mscale_all_dim"])


def add_tokenizer(writer, config):
    """A complete byte-level tokenizer of 96 tokens: control, space, line feed, characters, two merged.

    llama.cpp wants phi3 to have these four control tokens.
    """
    control = ["<unk>", "<s>", "</s>", "<|endoftext|>"]
    tokens = control + ["\u0120", "\u010a"] + [chr(code) for code in range(ord("!"), ord("x") + 1)] + ["he", "er"]
    assert len(tokens) == config["vocab_size"]
    kinds = [gguf.TokenType.CONTROL] * len(control)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * (len(tokens) - len(kinds)))
    writer.add_token_merges(["h e", "e r"])
    writer.add_bos_token_id(config["bos_token_id"])
    ends = config["eos_token_id"]
    writer.add_eos_token_id(ends[0] if isinstance(ends, list) else ends)
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)


def extra_tensors(config):
    """Rope factors, which the checkpoint has in its config."""
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "llama3":
        return [("rope_freqs.weight", llama3_factors(config, scaling))]
    if kind == "longrope":
        return [(f"rope_factors_{which}.weight", torch.tensor(scaling[f"{which}_factor"])) for which in ("long", "short")]
    return []


def llama3_factors(config, scaling):
    """What each pair's frequency is divided by: 1 for short waves, the factor for long ones, between them between."""
    dims = head_dim(config)
    original = scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    factors = []
    for pair in range(0, dims, 2):
        turns = original / (2 * math.pi * config["rope_theta"] ** (pair / dims))
        unscaled = min(1.0, max(0.0, (turns - low) / (high - low)))
        factors.append(1.0 / (unscaled + (1.0 - unscaled) / scaling["factor"]))
    return torch.tensor(factors)


def head_dim(config):
    return config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])


def converted(config, weights, split_kv_b):
    """The checkpoint's tensors in the converter's layout, experts last."""
    family = config["model_type"]
    tensors, experts = [], {}
    for tensor, value in weights.items():
        if match := re.fullmatch(r"(.*\.experts)\.(\d+)\.(.*)", tensor):
            experts.setdefault(f"{match[1]}.{match[3]}", {})[int(match[2])] = value
        elif tensor.endswith("kv_b_proj.weight") and split_kv_b:
            tensors += split(config, tensor, value)
        elif family in PERMUTED and (match := re.search(r"\.([qk])_proj\.", tensor)):
            heads = config["num_attention_heads" if match[1] == "q" else "num_key_value_heads"]
            tensors.append((tensor, permute(value, heads)))
        elif family.startswith("gemma") and tensor.endswith("norm.weight"):
            tensors.append((tensor, value + 1))
        else:
            tensors.append((tensor.replace("e_score_correction_bias", "e_score_correction.bias"), value))
    stacked = [(tensor, torch.stack([part[index] for index in sorted(part)])) for tensor, part in experts.items()]
    return tensors + stacked


def split(config, tensor, value):
    """kv_b into k_b, transposed so that a query can be taken into the latents' space, and v_b."""
    key, rows = config["qk_nope_head_dim"], config["qk_nope_head_dim"] + config["v_head_dim"]
    by_head = value.view(config["num_key_value_heads"], rows, -1)
    k_b, v_b = by_head[:, :key].transpose(1, 2), by_head[:, key:]
    return [(tensor.replace("kv_b_proj", "k_b_proj"), k_b), (tensor.replace("kv_b_proj", "v_b_proj"), v_b)]


def permute(value, heads):
    """Row i and row i + d/2 of a head, which turn together, become rows 2i and 2i + 1."""
    halves = value.view(heads, 2, -1, *value.shape[1:])
    return halves.transpose(1, 2).reshape(value.shape)
