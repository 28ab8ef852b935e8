"""Weights, safetensors and goldens of one tiny checkpoint.

Every weight is random, also those that training starts at 0 or 1 (norms, biases, a router's correction), so that an
ignored one shows in the logits. The scales keep logits between 1 and 10, and queries and keys large enough that
attention is far from uniform.
"""

import json
import tempfile
import zlib
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

PROMPT_TOKENS = 70
SECOND_PROMPT_TOKENS = 23
GOLDEN_POSITIONS = [6, 20, 48, 63, 68, 69]
FP8_BLOCK = 128
FP8_LARGEST = 448.0


def make(name, model, folder, spell_anew):
    """Writes config.json, the safetensors and golden.json; returns the stored weights in f32 by their hub names."""
    config = model.config if model.wrapper is None else {**model.wrapper, "text_config": model.config}
    write_json(folder / "config.json", config)
    weights = stored(random_weights(name, model.config), model)
    unused = {tensor: random_tensor(name, tensor, shape, model.config) for tensor, shape in model.unused.items()}
    prefixed = {model.prefix + tensor: value for tensor, value in weights.items()}
    save_shards(prefixed | stored(unused, model), folder, model.shards)
    values = {tensor: value.float() for tensor, value in dequantized(weights).items()}
    write_json(folder / "golden.json", golden(name, model.config, values))
    if spell_anew:
        (folder / "transformers5").mkdir()
        config = AutoConfig.from_pretrained(folder)
        config.save_pretrained(folder / "transformers5")
    return values


def random_weights(name, config):
    """Every weight of the model by its hub name, in f32."""
    config = {key: value for key, value in config.items() if key != "quantization_config"}
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", config)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
        with torch.no_grad():
            persistent = set(model.state_dict())
            for tensor, value in [*model.named_parameters(), *model.named_buffers()]:
                if tensor in persistent:
                    value.copy_(random_tensor(name, tensor, value.shape, config))
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def random_tensor(name, tensor, shape, config):
    generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {tensor}".encode()))
    noise = torch.randn(shape, generator=generator)
    if tensor.endswith("e_score_correction_bias"):
        return 0.3 * noise
    if len(shape) == 1:
        is_norm = tensor.endswith("norm.weight")
        centre = 1.0 if is_norm and not config["model_type"].startswith("gemma") else 0.0
        return centre + (0.3 if is_norm else 0.5) * noise
    return matrix_scale(tensor, shape[-1], config) * noise


def matrix_scale(tensor, columns, config):
    """Standard deviation of a matrix: 1 over the root of its columns keeps its input's size."""
    if tensor.endswith("embed_tokens.weight"):
        return 3.0 * config["hidden_size"] ** -0.5 if config["tie_word_embeddings"] else 1.0
    gains = {"lm_head": 3.0, "q_proj": 1.5, "k_proj": 1.5, "qkv_proj": 1.4, "q_b_proj": 1.5, "gate": 2.0}
    return gains.get(tensor.split(".")[-2], 1.0) * columns**-0.5


def stored(weights, model):
    """The weights as they lie in the file; DeepSeek leaves the router's correction in f32 and scales fp8 by block."""
    result = {}
    for tensor, value in sorted(weights.items()):
        if "quantization_config" in model.config and is_fp8(tensor, value):
            result[tensor], result[f"{tensor}_scale_inv"] = to_fp8(value)
        elif tensor.endswith("e_score_correction_bias"):
            result[tensor] = value
        else:
            result[tensor] = value.to(getattr(torch, model.dtype)).contiguous()
    return result


def is_fp8(tensor, value):
    left = ("mlp.gate.weight", "eh_proj.weight", "embed_tokens.weight", "head.weight")
    return value.ndim == 2 and tensor.startswith("model.layers.") and not tensor.endswith(left)


def to_fp8(value):
    """e4m3 values and one factor for each block of 128 by 128, the last ones smaller."""
    scales = torch.zeros([-(-size // FP8_BLOCK) for size in value.shape])
    for row in range(scales.shape[0]):
        for column in range(scales.shape[1]):
            scales[row, column] = block(value, row, column).abs().max() / FP8_LARGEST
    return (value / spread(scales, value.shape)).to(torch.float8_e4m3fn), scales


def block(value, row, column):
    rows = slice(row * FP8_BLOCK, (row + 1) * FP8_BLOCK)
    return value[rows, column * FP8_BLOCK : (column + 1) * FP8_BLOCK]


def spread(scales, shape):
    """Each block's factor at every element of the block."""
    wide = scales.repeat_interleave(FP8_BLOCK, 0).repeat_interleave(FP8_BLOCK, 1)
    return wide[: shape[0], : shape[1]]


def dequantized(weights):
    result = {}
    for tensor, value in weights.items():
        scales = weights.get(f"{tensor}_scale_inv")
        if not tensor.endswith("_scale_inv"):
            result[tensor] = value if scales is None else value.float() * spread(scales, value.shape)
    return result


def save_shards(weights, folder, count):
    """One model.safetensors, or `count` files and their index."""
    if count == 1:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return
    names = sorted(weights)
    weight_map = {}
    for shard in range(count):
        file = f"model-{shard + 1:05}-of-{count:05}.safetensors"
        part = {tensor: weights[tensor] for tensor in names[shard::count]}
        save_file(part, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(value.nbytes for value in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / "model.safetensors.index.json", index)


def golden(name, config, weights):
    """The logits and pooled last hidden states transformers computes in f32 from the stored weights."""
    config = {key: value for key, value in config.items() if key != "quantization_config"}
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", config)
        save_file(weights, Path(folder) / "model.safetensors", {"format": "pt"})
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[problem], (name, problem, report[problem])
    prompts = []
    for count, positions in [(PROMPT_TOKENS, GOLDEN_POSITIONS), (SECOND_PROMPT_TOKENS, [SECOND_PROMPT_TOKENS - 1])]:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{name} prompt of {count}".encode()))
        tokens = torch.randint(3, config["vocab_size"], (1, count), generator=generator)
        with torch.no_grad():
            logits = model(tokens, use_cache=False).logits[0]
            hidden = model.model(tokens, use_cache=False).last_hidden_state[0]
        rows = [{"position": position, "logits": logits[position].numpy()} for position in positions]
        pooled = {"last": hidden[-1].numpy(), "mean": hidden.mean(0).numpy()}
        prompts.append({"tokens": tokens[0].tolist(), **pooled, "rows": rows})
    return {"prompts": prompts}


def write_json(path, value):
    """Indented, with every list of numbers on one line; an f32 in the fewest digits that give it back."""
    path.write_text(json_text(value, 0) + "\n", encoding="utf-8")


def json_text(value, depth):
    indent, end = "\n" + "  " * (depth + 1), "\n" + "  " * depth
    if isinstance(value, numpy.ndarray):
        return "[" + ",".join(str(element) for element in value.astype(numpy.float32)) + "]"
    if isinstance(value, dict) and value:
        items = (f"{indent}{json.dumps(key)}: {json_text(item, depth + 1)}" for key, item in value.items())
        return "{" + ",".join(items) + end + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[" + ",".join(indent + json_text(item, depth + 1) for item in value) + end + "]"
    return json.dumps(value)
