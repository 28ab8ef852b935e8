"""One model on several GPUs (`--tp`): more than there are is refused by both numbers; where there are several, their logits are
held to PyTorch's as one GPU's are, and a decode step is measured beside one GPU's."""

import subprocess

import logits
import models
import speed
from weir_process import Engine

# Sequences of the decode steps that are measured.
BATCHES = (1, 64)


def run(plan, names, outcome):
    small, large = names
    there = devices(plan)
    refused(plan, models.folder(plan, small), there, outcome)
    shares = sorted({count for count in (2, 4, 8) if count <= there})
    if not shares:
        outcome.note(f"GPUs in sight: {there}. No model was shared.")
        return
    for count in sorted({shares[0], shares[-1]}):
        logits.compare(plan, small, outcome, f"{small} on {count} GPUs", "--tp", str(count))
    outcome.figures = {}
    decode(plan, large, shares[-1], outcome)


def devices(plan):
    if plan.device != "cuda":
        return 0
    import torch

    return torch.cuda.device_count()


def refused(plan, folder, there, outcome):
    """What asks for more GPUs than there are ends at once, with one line that says so."""
    wanted = max(there + 1, 2)
    command = [str(plan.weir), "engine", "--device", plan.device, "--model", str(folder), "--tp", str(wanted)]
    output = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    lines = [line for line in output.stderr.splitlines() if f"tp is {wanted}" in line]
    # On a processor there are none to count.
    named = [line for line in lines if plan.device != "cuda" or f"but {there} GPU" in line]
    outcome.note(f"--tp {wanted} with {there} GPUs in sight: {' '.join(lines) or 'no line says why not'}")
    outcome.goal(f"--tp {wanted} with {there} GPUs in sight: exit status is not 0", int(output.returncode != 0), at_least=1)
    outcome.goal(f"--tp {wanted} with {there} GPUs in sight: lines that say so", len(named), at_least=1)


def decode(plan, name, count, outcome):
    """No goal is set: what the sums cost depends on how the GPUs are joined."""
    sizes = plan.sizes
    tokens = speed.Tokens(models.facts(plan, name)["vocab"])
    options = ["--tp", count, "--max-num-batched-tokens", sizes.step_tokens, "--max-num-seqs", max(BATCHES)]
    options += ["--max-model-len", sizes.prefill + 64]
    rows = []
    with Engine(plan, models.folder(plan, name), *map(str, options)) as engine:
        outcome.note(f"weir loaded {name} on {count} GPUs in {engine.load_seconds:.1f} s, with {engine.info['num_blocks']} KV blocks.")
        for batch in BATCHES:
            context, _, step = speed.decode_step(plan, engine, tokens, batch)
            rate = batch / step * 1e3 if step else None
            one = plan.found("speed").get(f"decode_{batch}")
            ratio = rate / one if rate and one else None
            rows.append([batch, context, step, rate, one, ratio])
    head = ["sequences", "tokens before", "step, ms", "tok/s", "one GPU's", "ratio"]
    outcome.table(f"{name}, decode on {count} GPUs", head, rows)
