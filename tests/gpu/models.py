"""Models of random numbers in the shapes of real ones: config.json, safetensors in bf16, and a tokenizer of bytes.

Every weight is random, those too that training starts at 0 or 1, so that an ignored one shows. The scales keep the
activations as large as their inputs, the logits between 1 and 10, and attention far from uniform.
"""

import json
import zlib

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

LLAMA3_ROPE = {
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
# As the hub's config.json of each has it.
SHAPES = {
    "llama-1b": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "head_dim": 64,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "num_attention_heads": 32,
        "num_hidden_layers": 16,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 32.0, **LLAMA3_ROPE},
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "vocab_size": 128256,
    },
    "llama-8b": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 8.0, **LLAMA3_ROPE},
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "vocab_size": 128256,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "attention_bias": False,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "max_position_embeddings": 40960,
        "max_window_layers": 28,
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "gemma3": {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "max_position_embeddings": 32768,
        "num_attention_heads": 4,
        "num_hidden_layers": 26,
        "num_key_value_heads": 1,
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "tie_word_embeddings": True,
        "vocab_size": 262144,
    },
}
# What makes them tiny; gemma keeps a layer that sees everything.
TINY = {
    "head_dim": 16,
    "hidden_size": 64,
    "intermediate_size": 96,
    "max_position_embeddings": 512,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "vocab_size": 512,
}
TINY_GEMMA = {**TINY, "num_hidden_layers": 7, "query_pre_attn_scalar": 16, "sliding_window": 16}
# Small, with the heads of a real model: what kernels are chosen by.
SMALL = {
    "hidden_size": 256,
    "intermediate_size": 384,
    "max_position_embeddings": 512,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "vocab_size": 512,
}
SMALL_GEMMA = {**SMALL, "num_hidden_layers": 7, "sliding_window": 64}
SHARD_BYTES = 4e9
END = "<|end|>"
TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"


def folder(plan, name):
    """The model's folder, made the first time it is asked for."""
    place = plan.work / name
    if (place / "facts.json").exists():
        return place
    place.mkdir(exist_ok=True)
    config = config_of(name, plan.sizes.tiny)
    write(place / "config.json", config)
    write_tokenizer(place, config["vocab_size"])
    # Last: it says that all is there.
    write(place / "facts.json", write_weights(place, name, config, plan.device))
    return place


def config_of(name, tiny):
    """config.json of a model; `small-NAME` is the small one of its kind."""
    kind = name.removeprefix("small-")
    config = dict(SHAPES["llama-1b" if kind == "llama" else kind], torch_dtype="bfloat16")
    is_gemma = kind == "gemma3"
    if tiny:
        config |= TINY_GEMMA if is_gemma else TINY
    elif kind != name:
        config |= SMALL_GEMMA if is_gemma else SMALL
    if config["rope_scaling"] and config["max_position_embeddings"] == 512:
        config["rope_scaling"] = dict(config["rope_scaling"], original_max_position_embeddings=128)
    return config | {"bos_token_id": None, "eos_token_id": config["vocab_size"] - 1, "pad_token_id": None}


def facts(plan, name):
    """Sizes that floors are made of: numbers that every token is multiplied with, bytes a token keeps, and so on."""
    return json.loads((folder(plan, name) / "facts.json").read_text())


def write_weights(place, name, config, device):
    """The safetensors and their index; returns the facts."""
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(place))
    tied = config["tie_word_embeddings"]
    parameters = dict(skeleton.named_parameters())
    if tied:
        parameters.pop("lm_head.weight", None)
    weight_map, shard, count = {}, {}, 0

    def save():
        file = f"model-{len(set(weight_map.values())) + 1:05}.safetensors"
        save_file(shard, place / file, {"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))
        shard.clear()

    for tensor, parameter in parameters.items():
        shard[tensor] = random_tensor(name, tensor, parameter.shape, config, device)
        count += parameter.numel()
        if sum(value.nbytes for value in shard.values()) > SHARD_BYTES:
            save()
    if shard:
        save()
    write(place / "model.safetensors.index.json", {"metadata": {"total_size": 2 * count}, "weight_map": weight_map})
    embedding = config["vocab_size"] * config["hidden_size"]
    head = embedding
    layers = count - embedding - (0 if tied else head)
    heads = config["num_attention_heads"] * config["head_dim"]
    kv = 2 * config["num_key_value_heads"] * config["head_dim"]
    return {
        "parameters": count,
        "layer_numbers": layers,
        "head_numbers": head,
        "layers": config["num_hidden_layers"],
        "attention_width": heads,
        "kv_numbers": kv * config["num_hidden_layers"],
        "vocab": config["vocab_size"],
    }


def random_tensor(name, tensor, shape, config, device):
    """The same numbers whenever it is made on the same kind of device."""
    generator = torch.Generator(device).manual_seed(zlib.crc32(f"{name} {tensor}".encode()))
    noise = torch.randn(shape, generator=generator, device=device, dtype=torch.float32)
    if len(shape) == 1:
        centre = 1.0 if tensor.endswith("norm.weight") and not config["model_type"].startswith("gemma") else 0.0
        value = centre + 0.1 * noise
    else:
        value = noise.mul_(scale(tensor, shape[-1], config))
    return value.to(torch.bfloat16).contiguous()


def scale(tensor, columns, config):
    """Standard deviation of a matrix: 1 over the root of its columns keeps its input's size."""
    if tensor.endswith("embed_tokens.weight"):
        return 3.0 * config["hidden_size"] ** -0.5 if config["tie_word_embeddings"] else 1.0
    gains = {"lm_head": 3.0, "q_proj": 1.5, "k_proj": 1.5}
    return gains.get(tensor.split(".")[-2], 1.0) * columns**-0.5


def write_tokenizer(place, vocabulary):
    """A token for each byte, made-up words that texts are never cut into, and an end token: every id has a text."""
    tokens = list(byte_characters().values())
    tokens += [f"Ġw{number}" for number in range(len(tokens), vocabulary - 1)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    end = {"id": vocabulary - 1, "content": END, "special": True, "normalized": False}
    end |= {"single_word": False, "lstrip": False, "rstrip": False}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [end],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: number for number, token in enumerate([*tokens, END])},
            "merges": [],
        },
    }
    write(place / "tokenizer.json", tokenizer)
    write(place / "tokenizer_config.json", {"eos_token": END, "chat_template": TEMPLATE})


def byte_characters():
    """How byte-level tokenizers write each byte: itself where it is a visible character, else one from 256 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in visible)
    written = {byte: chr(byte) for byte in visible}
    written |= {byte: chr(256 + place) for place, byte in enumerate(others)}
    return dict(sorted(written.items()))


def write(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
