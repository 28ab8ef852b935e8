"""PyTorch and transformers on the same weights."""

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM


def load(folder, dtype, device, attention):
    """The model of a folder; `attention` is transformers' name of an implementation."""
    torch.set_float32_matmul_precision("highest")
    config = AutoConfig.from_pretrained(folder)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    wanted = set(dict(model.named_parameters()))
    for file in sorted(folder.glob("*.safetensors")):
        weights = load_file(file, device=str(device))
        unexpected = model.load_state_dict(weights, strict=False).unexpected_keys
        assert not unexpected, unexpected
        wanted -= set(weights)
    assert wanted <= {"lm_head.weight"}, wanted
    return model.eval()


@torch.no_grad()
def logits(model, sequences, kept):
    """f32 logits behind the last `kept` tokens of each sequence, one below the other, on the processor."""
    rows = []
    for tokens in sequences:
        tokens = torch.tensor([tokens], device=model.device)
        computed = model(tokens, use_cache=False, logits_to_keep=kept).logits[0]
        rows.append(computed.float().cpu())
    return torch.cat(rows)
