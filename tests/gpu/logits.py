"""Logits of weir beside PyTorch's in f32, on the same weights; PyTorch's own in bf16 say how far off bf16 may be.

Prompts of several lengths in one ragged batch, in chunks, then a token of each a step: the way the engine computes.
"""

import random

import numpy
import torch

import models
import reference
from weir_process import Engine

# weir's error may be this many times PyTorch's own.
ALLOWED = 2.0


def run(plan, name, outcome):
    compare(plan, name, outcome, name)


def compare(plan, name, outcome, title, *options):
    """weir with these options, under this title, against PyTorch."""
    folder = models.folder(plan, name)
    sizes = plan.sizes
    vocabulary = models.facts(plan, name)["vocab"]
    tokens = random.Random(name)
    lengths = [length + sizes.decoded for length in sizes.prompts]
    sequences = [[tokens.randrange(vocabulary) for _ in range(length)] for length in lengths]
    kept = sizes.decoded + 1
    ours = by_weir(plan, folder, sequences, kept, outcome, *options)
    exact = by_torch(plan, folder, sequences, kept, torch.float32, "eager")
    theirs = by_torch(plan, folder, sequences, kept, torch.bfloat16, "sdpa")
    largest, size = exact.abs().max().item(), exact.pow(2).mean().sqrt().item()
    rows, errors = [], {}
    for who, computed in (("weir", ours), ("PyTorch bf16", theirs)):
        off = computed - exact
        errors[who] = (off.pow(2).mean().sqrt().item(), off.abs().max().item())
        agree = (computed.argmax(1) == exact.argmax(1)).sum().item()
        rows.append([who, errors[who][0] / size, errors[who][1] / largest, f"{agree} of {len(exact)}"])
    head = ["", "error, root of mean square", "largest error, of the largest logit", "same highest token as f32"]
    outcome.table(f"{title}, {sum(lengths)} tokens, {len(exact)} rows of logits against PyTorch f32", head, rows)
    for kind, index in (("mean square", 0), ("largest", 1)):
        ratio = errors["weir"][index] / max(errors["PyTorch bf16"][index], 1e-30)
        outcome.goal(f"{title}: weir's error to PyTorch bf16's, {kind}", ratio, at_most=ALLOWED)
    outcome.figures = {"bf16_largest_error": errors["PyTorch bf16"][1], "largest_logit": largest}


def by_weir(plan, folder, sequences, kept, outcome, *options):
    output = plan.work / "logits.f32"
    longest = max(len(sequence) for sequence in sequences)
    sizes = ["--kv-cache-memory", "1GiB", "--max-model-len", str(max(longest, 512))]
    with Engine(plan, folder, *sizes, *options) as engine:
        outcome.note(f"weir loaded it in {engine.load_seconds:.1f} s.")
        first = [len(sequence) - kept for sequence in sequences]
        engine.ask("logits", sequences=sequences, **{"from": first}, output=str(output))
        vocabulary = engine.info["vocab_size"]
    computed = torch.from_numpy(numpy.fromfile(output, dtype="<f4").reshape(-1, vocabulary))
    output.unlink()
    assert len(computed) == kept * len(sequences), computed.shape
    assert computed.isfinite().all(), "weir's logits hold what is no number"
    return computed


def by_torch(plan, folder, sequences, kept, dtype, attention):
    model = reference.load(folder, dtype, plan.device, attention)
    computed = reference.logits(model, sequences, kept)
    del model
    if plan.device == "cuda":
        torch.cuda.empty_cache()
    return computed
