"""What the device can do at most: bytes a second of a large copy, operations a second of a large product, by PyTorch.

Decoding cannot be faster than its weights and its KV are read, prefill not faster than its products are computed.
"""

import time

import torch

RUNS = 7


def run(plan, _, outcome):
    sizes = plan.sizes
    number = torch.bfloat16 if plan.device == "cuda" else torch.float32
    source = torch.zeros(sizes.copied, dtype=torch.uint8, device=plan.device)
    target = torch.empty_like(source)
    copied = fastest(plan, lambda: target.copy_(source))
    bandwidth = 2 * sizes.copied / copied
    left = torch.randn(sizes.matrix, sizes.matrix, device=plan.device).to(number)
    right = torch.randn(sizes.matrix, sizes.matrix, device=plan.device).to(number)
    multiplied = fastest(plan, lambda: left @ right)
    rate = 2 * sizes.matrix**3 / multiplied
    outcome.figures = {"bandwidth": bandwidth, "rate": rate}
    rows = [
        [f"copy of {sizes.copied >> 20} MiB, read and written", bandwidth / 1e9, "GB/s"],
        [f"product of {sizes.matrix} by {sizes.matrix}, {str(number).removeprefix('torch.')}", rate / 1e12, "TFLOP/s"],
    ]
    outcome.table("What the device can do, by PyTorch", ["", "best of 7", ""], rows)


def fastest(plan, work):
    """Seconds of the fastest of some runs, behind one that does not count."""
    times = []
    for _ in range(RUNS + 1):
        begun = time.perf_counter()
        work()
        if plan.device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def decode_bytes(facts, sequences, tokens):
    """What a step of so many sequences with so many tokens each must read: all matrices, and the KV of all."""
    weights = facts["layer_numbers"] + facts["head_numbers"]
    return 2 * (weights + sequences * tokens * facts["kv_numbers"])


def prefill_operations(facts, tokens, before=0):
    """What a prompt of so many tokens must compute up to its last token's logits: products with all matrices of the
    layers, and two of attention with every token at or before each one."""
    pairs = tokens * before + tokens * (tokens + 1) / 2
    attention = 4 * facts["attention_width"] * facts["layers"] * pairs
    return 2 * facts["layer_numbers"] * tokens + attention + 2 * facts["head_numbers"]
