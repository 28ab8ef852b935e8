"""transformers' generate with PyTorch's own attention, on the same weights: decode alone, as the difference of two runs."""

import time

import torch

import models
import reference

ALLOWED_BATCH = 64


def run(plan, name, outcome):
    sizes = plan.sizes
    dtype = torch.bfloat16 if plan.device == "cuda" else torch.float32
    model = reference.load(models.folder(plan, name), dtype, plan.device, "sdpa")
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    vocabulary = models.facts(plan, name)["vocab"]
    ours = plan.found("speed")
    rows = []
    for batch in sizes.peer_batches:
        prompts = torch.randint(vocabulary, (batch, sizes.context), device=plan.device)
        few, many = sizes.peer_tokens
        try:
            generate(plan, model, prompts[:, :64], 2)
            seconds = generate(plan, model, prompts, many) - generate(plan, model, prompts, few)
        except torch.OutOfMemoryError:
            rows.append([batch, "out of memory", None, None])
            torch.cuda.empty_cache()
            continue
        rate = batch * (many - few) / seconds
        weir = ours.get(f"decode_{batch}")
        ratio = weir / rate if weir else None
        rows.append([batch, rate, weir, ratio])
        if ratio and batch == ALLOWED_BATCH:
            outcome.goal("decode of 64: weir to transformers' generate", ratio, at_least=10)
    head = ["sequences", "transformers, tok/s", "weir, tok/s", "ratio"]
    outcome.table(f"Decode behind {sizes.context} tokens, {name}, {str(dtype).removeprefix('torch.')}, SDPA", head, rows)


def generate(plan, model, prompts, count):
    """Seconds to generate so many tokens for each prompt."""
    begun = time.perf_counter()
    model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=count,
        min_new_tokens=count,
        do_sample=False,
    )
    if plan.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun
